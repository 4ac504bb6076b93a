//! A real registry with a password: the engine pulls with the credential we hand it, and with no
//! other.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deploy_server::ecr::{Registry, Settings};

use crate::support::aws::{Fake, environment};
use crate::support::docker::Docker;
use crate::support::{Daemon, free_port, program, strings, wait_for};

const PASSWORD: &str = "eyJ-token-with-$igns:and/colons";

#[tokio::test]
async fn the_engine_pulls_with_the_token_and_only_with_it() {
    let Some(server) = program(&["/usr/bin/docker-registry"]) else {
        eprintln!("skipped: no docker-registry; apt-get install docker-registry");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let at = |name: &str| folder.path().join(name);
    // bcrypt by the C library: the registry takes nothing else.
    let hash = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], '$2y$05$abcdefghijklmnopqrstuu')", PASSWORD])
        .output()
        .expect("perl");
    std::fs::write(at("htpasswd"), format!("AWS:{}\n", String::from_utf8_lossy(&hash.stdout)))
        .expect("a file");
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n\
         auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        at("data").display(),
        at("htpasswd").display()
    );
    std::fs::write(at("config.yml"), config).expect("a file");
    let arguments = ["serve".to_owned(), at("config.yml").display().to_string()];
    let _registry = Daemon::start(&server, &arguments, &at("log"));
    let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(wait_for(Duration::from_secs(60), up), "the registry does not start");

    let Some(docker) = Docker::start(&[]) else { return };
    let host = format!("127.0.0.1:{port}");
    let image = format!("{host}/gh/app");
    docker.load(&format!("{image}:v1"), "2026-01-01T00:00:00Z", "app");
    let login = folder.path().join("docker-config");
    std::fs::create_dir(&login).expect("a folder");
    let auth = STANDARD.encode(format!("AWS:{PASSWORD}"));
    let auths = serde_json::json!({ "auths": { host.as_str(): { "auth": auth } } });
    std::fs::write(login.join("config.json"), auths.to_string()).expect("a file");
    let login = login.display().to_string();
    docker.cli(&["--config", &login, "push", "--quiet", &format!("{image}:v1")]);
    docker.cli(&["rmi", &format!("{image}:v1")]);

    let aws = Fake::start(|_| {
        let token = STANDARD.encode(format!("AWS:{PASSWORD}"));
        let data =
            serde_json::json!({ "authorizationToken": token, "expiresAt": 4_000_000_000_u64 });
        (200, serde_json::json!({ "authorizationData": [data] }).to_string())
    })
    .await;
    let mut env = environment(&aws.endpoint);
    env.extend(strings(&[("ECR_REGISTRY", &host), ("ECR_AUTH", "aws")]));
    let registry = Registry::new(Settings::from_env(&env).expect("settings"));
    let credential = registry.credential().await.expect("a token").expect("a credential");
    let engine = docker.engine();
    engine.pull_image(&image, "v1", None).await.expect_err("nobody is let in without a token");
    let wrong = deploy_server::ecr::Credential { password: "wrong".into(), ..credential.clone() };
    let refused =
        engine.pull_image(&image, "v1", Some(&wrong.header())).await.expect_err("a wrong token");
    assert!(refused.is_refused_credential(), "{refused}");
    engine.pull_image(&image, "v1", Some(&credential.header())).await.expect("the right token");

    // A registry that is not ECR: the same with fixed credentials, and nothing asked of AWS.
    let fixed = strings(&[
        ("ECR_REGISTRY", &host),
        ("REGISTRY_USERNAME", "AWS"),
        ("REGISTRY_PASSWORD", PASSWORD),
    ]);
    let fixed = Registry::new(Settings::from_env(&fixed).expect("settings"));
    let credential = fixed.credential().await.expect("fixed").expect("a credential");
    docker.cli(&["rmi", &format!("{image}:v1")]);
    engine
        .pull_image(&image, "v1", Some(&credential.header()))
        .await
        .expect("the fixed credential");
    let open = Settings::from_env(&strings(&[("ECR_REGISTRY", &host)])).expect("settings");
    assert!(Registry::new(open).credential().await.expect("nothing to ask").is_none());
}
