//! Accepting connections: with a deadline for everything a caller may be slow at, and a bound on
//! how many there are.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

use super::pace::{Pace, of_one_caller};
use super::{Caller, answer, secret};
use crate::server::Server;

/// A head that is not complete by then closes the connection; so does an idle one.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// A caller that takes nothing of what it is sent for this long is disconnected by the kernel.
const TAKEN_WITHIN_MS: u32 = 20_000;
const MOST_HEADERS: usize = 64;
const LONGEST_HEAD: usize = 16 * 1024;
/// From the network altogether. The unix socket is not counted: local commands always get through.
const MOST_CONNECTIONS: usize = 256;
/// One address cannot take them all.
const MOST_PER_ADDRESS: usize = 64;

/// Serves callers from the network, in a thread of their own: whatever they ask for and however
/// often, the commands' socket, the probes and the deploys of this host are not kept waiting.
///
/// Nobody new is let in once `stopped` resolves; those inside are served until the process ends.
///
/// # Errors
/// When the thread cannot be started.
pub fn in_a_thread(
    server: &'static Server,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let serve = async move {
        tokio::select! {
            () = tcp(server, listener) => {}
            _ = stopped => {}
        }
        std::future::pending::<()>().await;
    };
    let thread = std::thread::Builder::new().name("network".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map(drop)
}

async fn tcp(server: &'static Server, listener: TcpListener) {
    let crowd = Arc::new(Crowd::default());
    let pace = Arc::new(Pace::default());
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give some time to close.
                tracing::warn!(error = %error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, TAKEN_WITHIN_MS) {
            tracing::warn!(error = %error, "the time limit of a connection cannot be set: a caller that does not read may hold it");
        }
        // Refused at once rather than kept waiting behind whoever fills the house.
        let Some(place) = Crowd::enter(&crowd, of_one_caller(peer.ip())) else { continue };
        let pace = Arc::clone(&pace);
        tokio::spawn(async move {
            let _place = place;
            let peer = peer.ip().to_canonical();
            converse(server, Caller::Remote { peer }, stream, &pace).await;
        });
    }
}

/// Serves local callers. The socket file is root's alone, and the kernel's word on the peer is
/// checked as well. Every conversation holds a clone of `open`.
pub async fn unix(server: &'static Server, listener: UnixListener, open: mpsc::Sender<Infallible>) {
    let own = rustix::process::geteuid().as_raw();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok((stream, _)) => {
                let peer = stream.peer_cred();
                (stream, peer)
            }
            Err(error) => {
                tracing::warn!(error = %error, "a local connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match peer.map(|peer| peer.uid()) {
            Ok(uid) if uid == 0 || uid == own => {
                let open = open.clone();
                tokio::spawn(async move {
                    let _open = open;
                    converse(server, Caller::Local { uid }, stream, &Pace::default()).await;
                });
            }
            Ok(uid) => tracing::warn!(uid, "a local caller that is not root was turned away"),
            Err(error) => {
                tracing::warn!(error = %error, "a local caller without credentials was turned away")
            }
        }
    }
}

async fn converse<S>(server: &'static Server, caller: Caller, stream: S, pace: &Pace)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answered = &Answered::default();
    let service = service_fn(move |request: Request<Incoming>| async move {
        if let Caller::Remote { peer } = caller {
            pace.turn(peer).await;
            answered.wait_for(server, &request);
        }
        answer(server, caller, request).await
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// Whether the end of the process waits until this connection is done: somebody who may change
/// things asked for it, and is told what came of it.
#[derive(Default)]
struct Answered(OnceLock<&'static AtomicUsize>);

impl Answered {
    fn wait_for(&self, server: &'static Server, request: &Request<Incoming>) {
        if request.method() != Method::GET && secret::is_shown(server, request.headers()) {
            self.0.get_or_init(|| {
                server.unanswered.fetch_add(1, Ordering::Relaxed);
                &server.unanswered
            });
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(unanswered) = self.0.get() {
            unanswered.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Who is connected, by address.
#[derive(Debug, Default)]
struct Crowd {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; dropping it makes room.
struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    fn enter(crowd: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut present = crowd.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = present.values().sum();
        let same = present.get(&address).copied().unwrap_or(0);
        if all >= MOST_CONNECTIONS || same >= MOST_PER_ADDRESS {
            return None;
        }
        present.insert(address, same + 1);
        Some(Place { crowd: Arc::clone(crowd), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.crowd.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = present.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.address);
            }
        }
    }
}
