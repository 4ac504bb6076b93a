//! `deploy-server clean-files`: the process that does the work on files.
//!
//! It has the privileges that other people's files need, so that the server needs none of them. Its
//! standard input is a socket whose other end the server holds: one request comes in, one answer
//! goes out, and when the other end closes, the work stops. Where it works is in its own
//! environment.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fleet_protocol::exit_code::ExitCode;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::sweep::{self, Course};
use super::wire::{Answer, LONGEST_REQUEST, Request};
use super::{FILE_TARGETS, Folders, Target, files, journal, logs, open_files};
use super::{LOG_COMPRESS_AGE_MS, LOG_DELETE_AGE_MS, TMP_AGE_MS};
use crate::clock::now_ms;
use crate::config::Strings;
use crate::secrets;

/// Where the kernel shows which files are open.
const PROC: &str = "/proc";

/// Why nothing was done, or nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "clean-files is started by the server or by ghosthands-files.socket: its standard input is no socket ({0})"
    )]
    NoSocket(io::Error),
    #[error("clean-files works for this user alone, and user {0} asked")]
    Stranger(u32),
    #[error("the request was refused: {0}")]
    Refused(String),
    #[error("the server cannot be spoken to: {0}")]
    Conversation(#[from] io::Error),
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoSocket(_) | Self::Stranger(_) | Self::Refused(_) => ExitCode::Usage,
            Self::Conversation(_) => ExitCode::Failed,
        }
    }
}

/// Answers the one request on standard input.
///
/// # Errors
/// [`Error`].
pub async fn clean_files(env: &Strings) -> Result<(), Error> {
    let (said, mut answering) = server()?.into_split();
    let mut said = BufReader::new(said);
    let mut line = String::new();
    (&mut said).take(LONGEST_REQUEST).read_line(&mut line).await?;
    let (answer, refused) = match Request::parse(&line) {
        Ok(request) => (work(request, &Folders::from_env(&secrets::own(env)), said).await, None),
        Err(reason) => (Answer::Refused(reason.clone()), Some(reason)),
    };
    answering.write_all(&serde_json::to_vec(&answer).map_err(io::Error::from)?).await?;
    answering.shutdown().await?;
    refused.map_or(Ok(()), |reason| Err(Error::Refused(reason)))
}

/// The other end of standard input. A socket's file that got another mode is no way in: the
/// kernel's word on who connected counts.
fn server() -> Result<UnixStream, Error> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let peer = rustix::net::sockopt::socket_peercred(&socket)
        .map_err(|errno| Error::NoSocket(errno.into()))?;
    if peer.uid != rustix::process::geteuid() {
        return Err(Error::Stranger(peer.uid.as_raw()));
    }
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(UnixStream::from_std(socket)?)
}

async fn work(
    request: Request,
    folders: &Folders,
    mut said: BufReader<tokio::net::unix::OwnedReadHalf>,
) -> Answer {
    let dry_run = request.dry_run;
    let mut course = Course { places: request.places.clone(), ..Course::default() };
    let stop = Arc::clone(&course.stop);
    // Nothing more is to come but the end.
    let mut ended = tokio::spawn(async move {
        // An end by failure is an end.
        drop(said.fill_buf().await);
        stop.store(true, Ordering::Relaxed);
    });
    let on_files = folders.clone();
    let done = tokio::task::spawn_blocking(move || {
        let targets = file_targets(&request, &on_files, &mut course);
        (targets, course.places)
    });
    let (mut targets, places) = done.await.unwrap_or_else(|_| {
        let failed = |target| Target::failed(target, "the cleanup of files panicked");
        (FILE_TARGETS.map(failed).to_vec(), Default::default())
    });
    targets.push(tokio::select! {
        biased;
        _ = &mut ended => Target::failed(journal::NAME, "given up: the server ends"),
        done = journal::vacuum(&folders.journalctl, dry_run) => done,
    });
    Answer::Done { targets, places }
}

fn file_targets(request: &Request, folders: &Folders, course: &mut Course) -> Vec<Target> {
    let open = match open_files::OpenFiles::scan(Path::new(PROC)) {
        Ok(open) => open,
        // Which files are open is unknown, so none is known to be closed.
        Err(error) => {
            return FILE_TARGETS.map(|target| Target::failed(target, error.as_str())).to_vec();
        }
    };
    let now_ms = now_ms();
    let mut clean = |target, root, age_ms, plan, act| {
        let rule = files::AgeRule { now_ms, age_ms };
        let work = sweep::Work { rule, open: &open, plan, act };
        sweep::clean(target, root, request.dry_run, request.within(), course, &work)
    };
    let remove: sweep::Act = |folder, entry, _| files::remove(folder, entry);
    let [tmp, deleted, compressed] = FILE_TARGETS;
    vec![
        clean(tmp, &folders.tmp, TMP_AGE_MS, files::plan, remove),
        clean(deleted, &folders.logs, LOG_DELETE_AGE_MS, files::plan, remove),
        clean(compressed, &folders.logs, LOG_COMPRESS_AGE_MS, logs::plan, logs::compress),
    ]
}
