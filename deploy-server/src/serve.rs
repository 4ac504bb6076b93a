//! The server's life: start, recover, serve, end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::config::Strings;
use crate::control_socket;
use crate::deploy;
use crate::http::listen;
use crate::notice;
use crate::orders;
use crate::reconciler;
use crate::server::{Server, StartError};

/// A deploy in progress gets this long to end before the process does; what is left is recovered at
/// the next start.
const LAST_WORK: Duration = Duration::from_secs(20);

/// Why the server ended or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot listen on {at}: {source}")]
    Listen { at: SocketAddr, source: io::Error },
    #[error(transparent)]
    ControlSocket(#[from] control_socket::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

impl ServeError {
    /// True when a person must change the configuration first.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Start(start) => matches!(
                start,
                StartError::Config(_) | StartError::Registry(_) | StartError::Aws(_)
            ),
            Self::ControlSocket(socket) => socket.is_configuration(),
            Self::Listen { .. } | Self::Signals(_) => false,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start.
pub async fn serve(process: Strings) -> Result<(), ServeError> {
    let inherited = control_socket::inherited(&process)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    // Lives as long as the process; tasks hold it without counting.
    let server: &'static Server = Box::leak(Box::new(Server::new(process).await?));

    let at = server.config.listen;
    let failed = |source| ServeError::Listen { at, source };
    let tcp = TcpListener::bind(at).await.map_err(failed)?;
    let path = &server.config.control_socket;
    let from_systemd = inherited.is_some();
    let unix = control_socket::open(path, inherited)?;

    let bound = tcp.local_addr().map_err(failed)?;
    tracing::info!(address = %bound, socket = %path.display(), from_systemd, "the server takes requests");
    // Before any request is heard: no deploy shall build on another machine's container.
    let looked = deploy::foreign::stop(server).await;
    // Recovery takes the lock before the first request can: it has no await before that.
    let recovery = tokio::spawn(deploy::recover(server));
    tokio::task::yield_now().await;
    let (no_more_callers, stopped) = oneshot::channel();
    listen::in_a_thread(server, tcp, stopped).map_err(failed)?;
    // Nothing is sent: it closes when the last conversation has ended.
    let (open, mut conversations) = mpsc::channel(1);
    let commands = tokio::spawn(listen::unix(server, unix, open));
    tokio::spawn(async move {
        // A failed recovery is logged where it happens.
        drop(recovery.await);
        // An order that an earlier process held goes on once its deploy is finished or undone.
        tokio::spawn(orders::watch(server));
        reconciler::keep(server, looked).await;
    });
    tokio::spawn(notice::watch(server));
    tell_systemd("READY=1");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tell_systemd("STOPPING=1");
    // Commands given from here on wait in systemd's socket for the next server; this one could only
    // break them off.
    commands.abort();
    // Nobody in the network is let in either: work taken up now would not be done.
    drop(no_more_callers);
    // A cleanup frees nothing that is worth waiting for: the next one goes on.
    server.cleanup.stop();
    tracing::info!("the server was told to end, and ends its work in progress first");
    let last_work = async {
        conversations.recv().await;
        let unanswered = || server.unanswered.load(Ordering::Relaxed) > 0;
        while server.ops.running().is_some() || unanswered() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(LAST_WORK, last_work).await.is_err() {
        tracing::warn!("the server ends with work in progress, which its next start takes up");
    }
    Ok(())
}

/// Tells the service manager, if there is one.
fn tell_systemd(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(state.as_bytes(), path));
    if let Err(error) = told {
        tracing::debug!(error = %error, "the service manager was not told");
    }
}
