//! A socket that outlives the server, handed over as systemd does it: `LISTEN_FDS`,
//! `LISTEN_FDNAMES`, `LISTEN_PID`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::{free_port, wait_for};

/// The server keeps the process number of the shell, which is the one that systemd would name.
const AS_SYSTEMD: &str =
    r#"exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID="${PID:-$$}"; exec "$0" serve"#;

/// A host without Docker, whose socket is held by the test.
struct Host {
    folder: tempfile::TempDir,
    socket: UnixListener,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixListener::bind(folder.path().join("control.sock")).expect("a socket");
        Self { folder, socket }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, more: &[(&str, &str)]) -> Killed {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("log"));
        let server = Command::new("sh")
            .args(["-c", AS_SYSTEMD, env!("CARGO_BIN_EXE_deploy-server")])
            .env_clear()
            .env("GH_DEPLOY_SECRET", "a secret of some length")
            .env("GH_DEPLOY_HOSTNAME", "127.0.0.1")
            .env("GH_DEPLOY_PORT", free_port().to_string())
            .env("GH_DEPLOY_SOCKET", self.path("control.sock"))
            .env("GH_DEPLOY_STATE_DIR", self.path("state"))
            .env("DOCKER_SOCKET", self.path("docker.sock"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("LISTEN_FDNAMES", "control")
            .envs(more.iter().copied())
            .stdin(OwnedFd::from(self.socket.try_clone().expect("a second handle")))
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn();
        Killed(server.expect("sh"))
    }

    /// Gives a command that needs neither Docker nor a worker, and does not wait for it.
    fn command(&self) -> Killed {
        let command = Command::new(env!("CARGO_BIN_EXE_deploy-server"))
            .args(["status", "--json"])
            .env_clear()
            .env("GH_DEPLOY_SOCKET", self.path("control.sock"))
            .stdout(Stdio::piped())
            .spawn();
        Killed(command.expect("it starts"))
    }

    /// Why a server ends that does not start.
    fn refusal(&self, more: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut server = self.start(more);
        assert!(wait_for(Duration::from_secs(40), || server.has_ended()), "{}", self.log());
        (server.0.wait().expect("it ended").code(), self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("the log")
    }
}

/// A process that is killed where the test ends before it.
struct Killed(Child);

impl Killed {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_some()
    }

    fn answer(mut self) -> Output {
        assert!(wait_for(Duration::from_secs(50), || self.has_ended()), "no answer");
        let mut stdout = Vec::new();
        let mut pipe = self.0.stdout.take().expect("a pipe");
        std::io::Read::read_to_end(&mut pipe, &mut stdout).expect("text");
        Output { status: self.0.wait().expect("it ended"), stdout, stderr: Vec::new() }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("our own child");
        self.0.wait().expect("our own child");
    }
}

#[track_caller]
fn assert_answered(command: Killed) {
    let output = command.answer();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Nothing runs here, and the server says so.
    assert_eq!((output.status.code(), value["status"].as_str()), (Some(1), Some("degraded")));
}

#[test]
fn a_command_given_while_the_server_is_away_waits_for_it() {
    let host = Host::new();
    let file = fs::metadata(host.path("control.sock")).expect("the socket").ino();
    let mut early = host.command();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!early.has_ended(), "it does not wait");
    let server = host.start(&[]);
    assert_answered(early);
    // The server dies and comes back.
    drop(server);
    let between = host.command();
    let _server = host.start(&[]);
    assert_answered(between);
    assert!(host.log().contains(r#""from_systemd":true"#), "{}", host.log());
    let now = fs::metadata(host.path("control.sock")).expect("the socket").ino();
    assert_eq!(now, file, "the server made a socket of its own");
}

#[test]
fn no_command_fails_because_the_server_is_restarted() {
    let host = Host::new();
    let mut server = host.start(&[]);
    for _ in 0..5 {
        let commands: Vec<Killed> = (0..4).map(|_| host.command()).collect();
        let pid = rustix::process::Pid::from_child(&server.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
        assert!(wait_for(Duration::from_secs(40), || server.has_ended()), "{}", host.log());
        server = host.start(&[]);
        commands.into_iter().for_each(assert_answered);
    }
}

#[test]
fn the_kernels_word_on_the_caller_counts_on_a_socket_that_was_handed_over() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming somebody else needs root");
        return;
    }
    let host = Host::new();
    let _server = host.start(&[]);
    assert_answered(host.command());
    // A drop-in could open the socket's file to everybody; that lets nobody in.
    for (path, mode) in [(host.path(""), 0o755), (host.path("control.sock"), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
    }
    let curl = |who: &str| {
        Command::new("setpriv")
            .args(["--reuid", who, "--regid", who, "--clear-groups", "--"])
            .args(["curl", "-s", "-m", "20", "http://localhost/status", "--unix-socket"])
            .arg(host.path("control.sock"))
            .output()
            .expect("setpriv runs")
    };
    assert!(!curl("0").stdout.is_empty());
    assert!(curl("65534").stdout.is_empty());
    assert!(host.log().contains("a local caller that is not root was turned away"));
}

#[test]
fn what_is_not_the_socket_of_the_commands_is_refused() {
    let host = Host::new();
    let (code, log) = host.refusal(&[("LISTEN_FDNAMES", "deploy-server.socket")]);
    assert_eq!(code, Some(64));
    assert!(log.contains("FileDescriptorName=control"), "{log}");
    let (code, log) = host.refusal(&[("GH_DEPLOY_SOCKET", "/run/elsewhere.sock")]);
    assert_eq!(code, Some(64));
    assert!(log.contains("the commands look for GH_DEPLOY_SOCKET=/run/elsewhere.sock"), "{log}");
}

#[test]
fn a_socket_meant_for_another_process_is_not_taken() {
    let host = Host::new();
    let _server = host.start(&[("PID", "1")]);
    let own = || host.log().contains(r#""from_systemd":false"#);
    assert!(wait_for(Duration::from_secs(40), own), "{}", host.log());
    let mode = fs::metadata(host.path("control.sock")).expect("its own socket").mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_answered(host.command());
}
