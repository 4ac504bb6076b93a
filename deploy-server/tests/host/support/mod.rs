//! Processes, folders and services that the tests start, and that end with them.

pub(crate) mod aws;
pub(crate) mod docker;
pub(crate) mod systemd;
// Both programs of tests take their ports from it.
#[path = "../../common/ports.rs"]
mod ports;

pub(crate) use ports::free_port;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deploy_server::secrets::document::Variables;
use secrecy::ExposeSecret as _;

/// A process that is told to end when the test does, and also when the test dies.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("setpriv of util-linux");
        Self(child)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let told = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = told.is_ok() && wait_for(Duration::from_secs(15), || self.has_ended());
        if !ended {
            self.0.kill().expect("our own child");
            self.0.wait().expect("our own child");
        }
    }
}

/// The program under test.
pub(crate) fn deploy_server() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_deploy-server"))
}

/// The program that a shell would find.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// The first of these programs that is installed.
pub(crate) fn program(candidates: &[&str]) -> Option<PathBuf> {
    candidates.iter().map(PathBuf::from).find(|path| path.exists())
}

/// Whether `condition` holds before `limit` is over.
pub(crate) fn wait_for(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

pub(crate) fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The value of a variable, for comparing.
pub(crate) fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|value| value.expose_secret())
}
