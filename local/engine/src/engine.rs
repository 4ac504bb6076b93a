//! The engine as its embedder holds it.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::api;
use crate::container::Container;
use crate::image::Registry;
use crate::run::{self, Observer};
use crate::runtime;
use crate::state::Shared;

/// The kernel takes no longer path for a socket.
const LONGEST_PATH: usize = 107;
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the socket's path {0:?} is longer than {LONGEST_PATH} bytes: use a shorter folder (TMPDIR)"
    )]
    LongPath(PathBuf),
    #[error("cannot listen on {}: {source}", socket.display())]
    Listen { socket: PathBuf, source: io::Error },
    #[error("cannot start the engines' thread: {0}")]
    Thread(io::Error),
}

/// A running engine. Dropping it ends its containers as a power cut does.
pub struct Engine {
    shared: Arc<Shared>,
    socket: PathBuf,
    handle: Handle,
    server: AbortHandle,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts an engine that listens on `socket` (which must not exist), pulls from `registry`, and
    /// tells `observer`.
    ///
    /// # Errors
    /// The socket's path is too long or taken, or the system has no thread to give.
    pub fn start(
        socket: &Path,
        registry: Registry,
        observer: Option<Observer>,
    ) -> Result<Self, Error> {
        if socket.as_os_str().len() > LONGEST_PATH {
            return Err(Error::LongPath(socket.to_owned()));
        }
        let failed = |source| Error::Listen { socket: socket.to_owned(), source };
        let listener = UnixListener::bind(socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let handle = runtime::handle().map_err(Error::Thread)?;
        let shared = Arc::new(Shared::new(registry, observer));
        let entered = handle.enter();
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        drop(entered);
        let app = api::router(Arc::clone(&shared));
        let server = handle.spawn(async move { axum::serve(listener, app).await }).abort_handle();
        Ok(Self { shared, socket: socket.to_owned(), handle, server })
    }

    /// Where it listens, for `DOCKER_SOCKET` or `docker -H unix://…`.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it pulls from.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Every container, oldest first.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        self.shared.lock().containers.iter().map(|record| record.view()).collect()
    }

    /// The container of that name or id.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<Container> {
        self.shared.lock().find(name).map(|record| record.view())
    }

    /// The last lines that a container printed; nothing for one that does not exist.
    #[must_use]
    pub fn log(&self, name: &str, lines: usize) -> Vec<String> {
        let state = self.shared.lock();
        let Some(record) = state.find(name) else { return Vec::new() };
        let lines = record.log.tail(Some(lines), |_| true);
        lines.iter().map(|(_, line)| String::from_utf8_lossy(line).trim_end().to_owned()).collect()
    }

    /// Ends every container as a machine that shuts down does: SIGTERM, and SIGKILL after `grace`.
    /// Nothing can be started afterwards.
    pub fn shut_down(&self, grace: Duration) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let up = shared.lock().up();
            shared.lock().close();
            let stops = up.into_iter().map(|id| {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { run::stop(&shared, &id, Some(grace)).await })
            });
            for stop in stops.collect::<Vec<_>>() {
                // A stop that panicked is made up for by the drop.
                stop.await.ok();
            }
        };
        runtime::run(&self.handle, work);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
        let pids = {
            let mut state = self.shared.lock();
            state.close();
            state.pids()
        };
        for pid in pids {
            run::signal_group(pid, Signal::KILL);
        }
        let began = Instant::now();
        while !self.shared.lock().pids().is_empty() && began.elapsed() < GONE_WITHIN {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It is in a folder that its owner removes; an error means that this has happened.
        std::fs::remove_file(&self.socket).ok();
    }
}
