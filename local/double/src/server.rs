//! A listener that serves a router until it is dropped, and can hang up without an answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

/// Marks a response that must not be sent.
#[derive(Debug, Clone, Copy)]
struct HangUp;

/// A response that closes the connection instead of being sent.
pub(crate) fn hang_up() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
}

/// A server on 127.0.0.1. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `port`, 0 for a free one.
    pub(crate) async fn bind(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Serves `router` on a bound listener.
    pub(crate) fn start(listener: TcpListener, address: SocketAddr, router: Router) -> Self {
        Self { address, task: tokio::spawn(accept(listener, router)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, router: Router) {
    // The connections die with this set, and the set with this task.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: give connections time to close.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        // Without it a reply waits for the client's delayed acknowledgement.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let router = router.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let router = router.clone();
                async move {
                    match router.oneshot(request.map(Body::new)).await {
                        Ok(response) if response.extensions().get::<HangUp>().is_some() => {
                            Err(io::Error::from(io::ErrorKind::ConnectionAborted))
                        }
                        Ok(response) => Ok(response),
                        Err(never) => match never {},
                    }
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A connection that breaks is the client's affair, or a hang-up that was asked for.
            drop(connection.await);
        });
    }
}
