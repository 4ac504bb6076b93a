//! The same calls to the process engine and to a real Docker Engine, and the same answers.
//!
//! The client is the deploy-server's own. `scripts/with-docker.sh` runs it with an engine; without
//! one the comparison says that it was skipped, and the story is told to the process engine alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker;
mod story;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use deploy_server::docker::Engine as Client;
use process_engine::{Engine, Image, Registry};

/// An image as the real registry has it: a shell and nothing else.
fn registry(repository: &str) -> Registry {
    let registry = Registry::new();
    registry.push(Image::new(repository, "good").program("sh", "/bin/busybox", ["sh"]));
    registry
}

async fn told_by_processes(repository: &str, words: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let engine = Engine::start(&socket, registry(repository), None).unwrap();
    let lines = story::tell(&Client::connect(&socket), &socket, repository, words).await;
    assert!(engine.containers().is_empty(), "the story cleans up after itself");
    lines
}

#[tokio::test]
async fn a_real_engine_gives_the_same_answers() {
    let Some(real) = docker::Docker::find() else {
        println!("skipped: no Docker engine answers (scripts/with-docker.sh starts one)");
        return;
    };
    let client = Client::connect(&real.socket);
    let words = client.version().await.unwrap().api_version == "1.41";
    let ours = told_by_processes(&real.repository, words).await;
    let theirs = story::tell(&client, &real.socket, &real.repository, words).await;
    let pairs = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
    let differences: Vec<String> =
        pairs.map(|(ours, theirs)| format!("ours      {ours}\nDocker's  {theirs}\n")).collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert_eq!(ours.len(), theirs.len());
}

#[tokio::test]
async fn the_story_is_told_without_docker_as_well() {
    let lines = told_by_processes("registry.local/ghosthands", true).await;
    assert!(lines.iter().any(|line| line == "stop: 204"), "{lines:#?}");
}

/// A client that we did not write.
#[tokio::test]
async fn the_docker_command_works_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let _engine = Engine::start(&socket, registry("r.local/gh"), None).unwrap();
    let client = Client::connect(&socket);
    let docker = |arguments: &'static [&'static str]| {
        let mut command = tokio::process::Command::new("docker");
        let host = format!("unix://{}", socket.display());
        command.args(["-H", &host]).args(arguments).env("DOCKER_CONFIG", folder.path());
        async move {
            let output = command.output().await.ok()?;
            let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
            assert!(output.status.success(), "docker {arguments:?}: {err}");
            Some(String::from_utf8_lossy(&out).trim().to_owned())
        }
    };
    if docker(&["version"]).await.is_none() {
        println!("skipped: the docker command is not installed");
        return;
    }
    let ask = async |arguments| docker(arguments).await.unwrap();
    ask(&["pull", "r.local/gh:good"]).await;
    assert_eq!(ask(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).await, "r.local/gh:good");
    let body = story::body(
        "r.local/gh:good",
        "trap 'exit 5' TERM; echo well; while :; do sleep 0.05; done",
    );
    client.create_container("one", &body).await.unwrap();
    ask(&["start", "one"]).await;
    story::until(async || (ask(&["logs", "one"]).await == "well").then_some(())).await;
    assert_eq!(ask(&["ps", "--format", "{{.Names}} {{.Image}}"]).await, "one r.local/gh:good");
    ask(&["rename", "one", "two"]).await;
    ask(&["update", "--restart", "unless-stopped", "two"]).await;
    ask(&["stop", "two"]).await;
    let state = ask(&[
        "inspect",
        "-f",
        "{{.State.Status}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}",
        "two",
    ]);
    assert_eq!(state.await, "exited 5 unless-stopped");
    assert_eq!(ask(&["wait", "two"]).await, "5");
    ask(&["rm", "two"]).await;
    ask(&["rmi", "r.local/gh:good"]).await;
    assert_eq!(ask(&["ps", "-aq"]).await, "");
}

#[tokio::test]
async fn nothing_outlives_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let engine = Engine::start(&socket, registry("r.local/gh"), None).unwrap();
    assert!(std::fs::metadata(&socket).unwrap().mode() & 0o140_000 == 0o140_000);
    let client = Client::connect(&socket);
    client.pull_image("r.local/gh", "good", None).await.unwrap();
    // With a child of its own, which has to go as well.
    let body = story::body("r.local/gh:good", "sleep 600 & echo $!; wait");
    let id = client.create_container("tree", &body).await.unwrap();
    client.start_container(&id).await.unwrap();
    let child = story::until(async || client.last_log_lines(&id, 1).await.unwrap().pop()).await;
    let pids = [engine.containers()[0].pid.unwrap().to_string(), child];
    let lives = |pid: &String| Path::new("/proc").join(pid).join("exe").exists();
    assert!(pids.iter().all(lives), "{pids:?}");
    drop(engine);
    story::until(async || (!pids.iter().any(lives)).then_some(())).await;
    assert!(!socket.exists());
}
