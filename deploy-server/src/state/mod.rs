//! What survives a restart: the journal of the deploy in progress, the history of those that ended,
//! and markers.
//!
//! Everything is written so that a kill at any instant leaves either the old file or the new one,
//! and a last journal line that is torn counts as not written. One server per directory: a lock
//! file says so.

mod history;
mod journal;
mod marker;

pub use history::{Entry, HISTORY_KEPT, parse_history, rollback_target};
pub use journal::{Journal, parse_journal};
pub use marker::{Cost, Terminating, UNDRAIN};

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The state directory, held by this process until it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The kernel gives the lock back when the process dies, however it dies.
    _lock: File,
}

/// What can go wrong with the state directory. The path says which file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("another deploy-server already uses {}", .0.display())]
    InUse(PathBuf),
}

impl StateError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl StateDir {
    /// Makes the directory if it is missing and takes its lock.
    ///
    /// # Errors
    /// When it cannot be made or written, or another server holds it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(StateError::at(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(StateError::at(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StateError::InUse(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces a file as a whole, durably.
    ///
    /// # Errors
    /// When the disk refuses; the old file is then still there.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let target = self.file(name);
        let fresh = self.file(&format!("{name}.new"));
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        });
        written.map_err(StateError::at(&fresh))?;
        fs::rename(&fresh, &target).map_err(StateError::at(&target))?;
        self.sync()
    }

    /// Removes a file; one that is gone is a success.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let target = self.file(name);
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { path: target, source: error })
            }
            _ => self.sync(),
        }
    }

    /// The file's bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let target = self.file(name);
        match fs::read(&target) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path: target, source }),
        }
    }

    /// Makes renames and removals durable.
    fn sync(&self) -> Result<(), StateError> {
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(StateError::at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::{StateDir, StateError};

    #[test]
    fn one_server_per_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::InUse(_))));
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn files_are_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.read("x").unwrap(), None);
        state.replace("x", b"1").unwrap();
        state.replace("x", b"2").unwrap();
        assert_eq!(state.read("x").unwrap(), Some(b"2".to_vec()));
        state.remove("x").unwrap();
        state.remove("x").unwrap();
        assert_eq!(state.read("x").unwrap(), None);
    }
}
