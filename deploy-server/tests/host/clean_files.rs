//! The process that cleans files, spoken to as a server that was taken over would: what it takes,
//! when it stops, and what its death costs.

use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use deploy_server::cleanup::{self, KeepSet, Options};
use deploy_server::docker::Engine;

use crate::support::{deploy_server, strings, wait_for};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["tmp", "logs", "elsewhere"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of that many bytes of nothing, last written two days ago.
    fn old(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.at(name);
        let file = File::create(&path).expect("a file");
        file.set_len(bytes).expect("a length");
        let written = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
        file.set_times(FileTimes::new().set_modified(written)).expect("the owner sets times");
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(deploy_server());
        command
            .arg("clean-files")
            .env_clear()
            .env("GH_CLEANUP_TMP_DIR", self.at("tmp"))
            .env("GH_LOG_DIR", self.at("logs"))
            .env("GH_CLEANUP_JOURNALCTL", self.at("no-journalctl"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The process, and the end of its socket that a server has.
    fn start(&self) -> (Child, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let child = self.command().stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
        (child.expect("the program under test"), ours)
    }

    /// What it answers to these bytes, and how it ends.
    fn answer(&self, request: &str) -> (String, Option<i32>) {
        let (mut child, mut socket) = self.start();
        socket.write_all(request.as_bytes()).expect("it listens");
        let mut said = String::new();
        socket.read_to_string(&mut said).expect("it answers");
        (said, child.wait().expect("our own child").code())
    }

    fn options(&self) -> Options {
        let path = |name| self.at(name).display().to_string();
        let mut options = Options::from_env(&strings(&[
            ("GH_CLEANUP_TMP_DIR", &path("tmp")),
            ("GH_LOG_DIR", &path("logs")),
            ("GH_CLEANUP_LOG", &path("cleanup.log")),
            ("GH_CLEANUP_JOURNALCTL", &path("no-journalctl")),
        ]));
        options.program = deploy_server();
        options
    }
}

#[test]
fn a_request_that_names_a_path_a_time_or_absurd_values_is_refused_and_deletes_nothing() {
    let files = Files::new();
    let old = files.old("tmp/old", 1);
    let elsewhere = files.old("elsewhere/old", 1);
    let other = files.at("elsewhere").display().to_string();
    let with =
        |more: &str| format!("{{\"dryRun\":false,\"withinMs\":1000,\"places\":{{}}{more}}}\n");
    for request in [
        with(&format!(",\"tmp\":\"{other}\"")),
        with(&format!(",\"folders\":{{\"tmp\":\"{other}\"}}")),
        with(",\"nowMs\":9000000000000000000"),
        format!("{{\"dryRun\":false,\"withinMs\":1000,\"places\":{{\"{other}\":[0]}}}}\n"),
        "{\"dryRun\":false,\"withinMs\":999999999999,\"places\":{}}\n".to_owned(),
        format!(
            "{{\"dryRun\":false,\"withinMs\":1,\"places\":{{\"tmp_files\":[{}0]}}}}\n",
            "0,".repeat(65)
        ),
        "\n".to_owned(),
        format!("{}\n", "x".repeat(16 * 1024 - 1)),
    ] {
        let (said, code) = files.answer(&request);
        assert!(said.starts_with("{\"refused\":"), "{request}: {said}");
        assert_eq!(code, Some(64), "{request}");
        assert!(old.exists() && elsewhere.exists(), "{request}");
    }
    let (said, code) = files.answer(&with(""));
    assert!(said.starts_with("{\"done\":"), "{said}");
    assert_eq!(code, Some(0));
    assert!(!old.exists() && elsewhere.exists());
}

#[test]
fn it_hears_only_its_own_user_and_only_by_a_socket() {
    let files = Files::new();
    let status = files.command().stdin(Stdio::null()).status().expect("the program under test");
    assert_eq!(status.code(), Some(64));
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming somebody else needs root");
        return;
    }
    // The kernel says who made the pair: root, who is a stranger to user 1234.
    let (mut ours, theirs) = UnixStream::pair().expect("two sockets");
    let mut command = files.command();
    let child = command.uid(1234).stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
    drop(command);
    let mut said = String::new();
    ours.read_to_string(&mut said).expect("it closes");
    assert_eq!((said.as_str(), child.expect("it").wait().expect("it").code()), ("", Some(64)));
}

/// A server that is killed closes the connection, and one that is told to end half of it.
#[test]
fn a_closed_connection_stops_the_work() {
    let files = Files::new();
    // Reading as much nothing takes minutes.
    let log = files.old("logs/sparse.log", 60 << 30);
    let unfinished = files.at("logs/.sparse.log.gz.new");
    let request = "{\"dryRun\":false,\"withinMs\":120000,\"places\":{}}\n";
    for half in [false, true] {
        let (mut child, mut socket) = files.start();
        socket.write_all(request.as_bytes()).expect("it listens");
        let compresses = wait_for(Duration::from_secs(30), || unfinished.exists());
        assert!(compresses, "it does not work at all");
        if half {
            socket.shutdown(Shutdown::Write).expect("a socket");
            let mut said = String::new();
            socket.read_to_string(&mut said).expect("it answers");
            assert!(said.contains("the server ends"), "{said}");
        } else {
            drop(socket);
        }
        let ended = wait_for(Duration::from_secs(20), || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
        if !ended {
            child.kill().expect("our own child");
        }
        child.wait().expect("our own child");
        assert!(ended, "it works on for nobody");
        assert!(log.exists() && !unfinished.exists(), "and leaves nothing half done");
    }
}

#[tokio::test]
async fn a_process_that_dies_is_failed_targets_and_the_others_go_on() {
    let files = Files::new();
    let socket = files.at("docker.sock");
    crate::attacks::serve_engine_without_usage(&socket);
    let engine = Engine::connect(&socket);
    let listens_not = files.at("no-files.sock");
    for (program, at) in
        [("/bin/false", None), ("/nonexistent", None), ("/bin/false", Some(listens_not))]
    {
        let mut options = files.options();
        options.program = program.into();
        options.files_socket = at;
        let report = cleanup::run(&engine, &options, &KeepSet::default()).await;
        let failed = report.targets.iter().filter(|target| target.error.is_some());
        let failed: Vec<&str> = failed.map(|target| target.target.as_str()).collect();
        let expected = ["tmp_files", "logs_deleted", "logs_compressed", "journal"];
        assert_eq!(failed, expected, "{program}: {}", report.text());
        let images = report.targets.iter().find(|target| target.target == "unused_images");
        assert_eq!(images.expect("a target").count, 1, "{program}: {}", report.text());
        let written = fs::read_to_string(&options.log_file).expect("the log");
        assert!(written.contains("the process that cleans files gave no answer"), "{written}");
    }
}
