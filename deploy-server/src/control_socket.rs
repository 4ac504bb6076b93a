//! The socket of the local commands: systemd's, or one made here where the server was started
//! without systemd.
//!
//! systemd's stays open while the server restarts, so that a command given then waits in it instead
//! of failing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as Inherited;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::UnixListener;

use crate::config::Strings;

/// `FileDescriptorName=` in `host/deploy-server.socket`.
const NAME: &str = "control";

/// Why the server has no socket for the local commands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "systemd hands over sockets named {names:?}: deploy-server.socket must have one ListenStream= and FileDescriptorName={NAME}"
    )]
    Names { names: String },
    #[error(
        "systemd listens on {}, the commands look for GH_DEPLOY_SOCKET={}: unset it, or give ListenStream= of deploy-server.socket the same path",
        theirs.display(),
        ours.display()
    )]
    Path { theirs: PathBuf, ours: PathBuf },
    #[error("the socket that systemd hands over cannot be used: {0}")]
    Inherited(io::Error),
    #[error("cannot listen on {}: {source}", at.display())]
    Bind { at: PathBuf, source: io::Error },
}

impl Error {
    /// True when a person must change the configuration first.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Names { .. } | Self::Path { .. })
    }
}

/// The socket that systemd handed to this process, if it did. To be called while there is one
/// thread: it takes `LISTEN_FDS` and `LISTEN_PID` out of the process's environment.
///
/// # Errors
/// When something else was handed over.
pub fn inherited(env: &Strings) -> Result<Option<Inherited>, Error> {
    // What was meant for another process, of which this one only has the environment, is not ours
    // to take.
    let for_us = env.get("LISTEN_PID") == Some(&std::process::id().to_string());
    if !for_us || !env.contains_key("LISTEN_FDS") {
        return Ok(None);
    }
    let names = env.get("LISTEN_FDNAMES").cloned().unwrap_or_default();
    if names != NAME {
        return Err(Error::Names { names });
    }
    ListenFd::from_env().take_unix_listener(0).map_err(Error::Inherited)
}

/// Makes the inherited socket, or without one a new socket for root alone at `path`, ready to
/// accept.
///
/// # Errors
/// When the inherited one is not at `path`, where the commands look for it, or a new one cannot be
/// made.
pub fn open(path: &Path, inherited: Option<Inherited>) -> Result<UnixListener, Error> {
    let Some(listener) = inherited else {
        return bind(path).map_err(|source| Error::Bind { at: path.to_owned(), source });
    };
    let address = listener.local_addr().map_err(Error::Inherited)?;
    let theirs = address.as_pathname().unwrap_or_else(|| Path::new("no path"));
    if theirs != path {
        return Err(Error::Path { theirs: theirs.to_owned(), ours: path.to_owned() });
    }
    listener.set_nonblocking(true).map_err(Error::Inherited)?;
    UnixListener::from_std(listener).map_err(Error::Inherited)
}

/// A file left by a dead server is replaced: the state directory's lock already proves that no
/// other server lives.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
