//! The server's side of the work on files: it asks a process that may do it.
//!
//! Where systemd starts that process, in a unit of its own, the server connects to its socket;
//! elsewhere the server starts it and holds the other end of a pair of sockets. Everything else is
//! the same.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::wire::{Answer, LONGEST_ANSWER, Places, Request};
use super::{FILE_TARGETS, Options, Target, journal};

/// What the process may take beyond the limits it keeps itself: its start, the look at all open
/// files, a disk that is slow.
const BEYOND: Duration = Duration::from_secs(30);

/// Where the work on files stopped, and whether it has to. Clones share the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stop: watch::Sender<bool>,
    places: Mutex<Places>,
}

impl Progress {
    /// The server ends: whatever is being done to files stops at the next opportunity.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    async fn stopped(&self) {
        // The sender lives as long as `self`.
        drop(self.0.stop.subscribe().wait_for(|stop| *stop).await);
    }

    fn take(&self) -> Places {
        std::mem::take(&mut *self.0.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, places: Places) {
        *self.0.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}

/// What became of the targets of files and of the journal.
pub(super) async fn targets(options: &Options) -> Vec<Target> {
    let names = FILE_TARGETS.into_iter().chain([journal::NAME]);
    let within = options.files_within * 3 + journal::LONGEST + BEYOND;
    let reason = match tokio::time::timeout(within, converse(options)).await {
        Ok(Ok(Answer::Done { targets, places })) => {
            if targets.iter().map(|target| target.target.as_str()).eq(names.clone()) {
                options.progress.put(places);
                return targets;
            }
            "the process that cleans files answered for other targets".to_owned()
        }
        Ok(Ok(Answer::Refused(reason))) => {
            format!("the process that cleans files refused: {reason}")
        }
        Ok(Err(error)) => format!("the process that cleans files gave no answer: {error}"),
        Err(_) => {
            format!("the process that cleans files gave no answer within {} s", within.as_secs())
        }
    };
    names.map(|target| Target::failed(target, reason.as_str())).collect()
}

async fn converse(options: &Options) -> io::Result<Answer> {
    // A place that a process died at is not gone to again.
    let places = options.progress.take();
    let within_ms = u64::try_from(options.files_within.as_millis()).unwrap_or(u64::MAX);
    let request = Request { dry_run: options.dry_run, within_ms, places };
    let (socket, _ends_with_this) = reach(options).await?;
    let (said, mut asking) = socket.into_split();
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    asking.write_all(&line).await?;
    let mut answer = Vec::new();
    let mut said = said.take(LONGEST_ANSWER);
    {
        let mut reading = std::pin::pin!(said.read_to_end(&mut answer));
        tokio::select! {
            read = &mut reading => read?,
            // Half closed: the process stops, and still says how far it came.
            () = options.progress.stopped() => {
                asking.shutdown().await?;
                reading.await?
            }
        };
    }
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended early"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// A connection to the process, and the process where it is a child: it ends when that is dropped.
async fn reach(options: &Options) -> io::Result<(UnixStream, Option<Child>)> {
    if let Some(path) = &options.files_socket {
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        return Ok((UnixStream::connect(path).await.map_err(failed)?, None));
    }
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs.into_std()?);
    let child = Command::new(&options.program)
        .arg("clean-files")
        .env_clear()
        .envs(options.folders.variables())
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", options.program.display()))
        })?;
    Ok((ours, Some(child)))
}
