//! The open documents: what anybody may read, made and serialised at most once a moment however
//! many ask.
//!
//! They are made on the main runtime, where the host's probes are, and handed out by the thread of
//! the network's callers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_protocol::exposition::Exposition;
use hyper::HeaderMap;
use serde_json::json;

use super::reply::{Encoded, Reply, internal};
use super::routes::running_deploy;
use super::{accept, openapi};
use crate::exposition;
use crate::ops::Running;
use crate::server::Server;
use crate::state::Entry;
use crate::views;

/// As long as one look at the services counts as fresh.
const FRESH_FOR: Duration = views::FRESH_FOR;

/// A document that is shown without a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Health,
    Metrics,
    /// The metrics as Prometheus reads them, and beside them what the other documents have in
    /// numbers.
    Exposition,
    Version,
    Workers,
    Containers,
    Deploys,
    Drain,
    OpenApi,
}

/// What was handed out last, by document.
#[derive(Debug, Default)]
pub struct Documents {
    held: [tokio::sync::Mutex<Option<Held>>; 9],
    history: Mutex<Option<History>>,
}

#[derive(Debug)]
struct Held {
    seen: Moment,
    encoded: Encoded,
}

#[derive(Debug)]
struct History {
    seen: Moment,
    entries: Arc<Vec<Entry>>,
}

/// When something was seen, and what the host was doing then: what changes since makes it stale
/// before its time.
#[derive(Debug)]
struct Moment {
    at: Instant,
    changes: u64,
    doing: Option<(Instant, &'static str)>,
}

impl Moment {
    fn now(server: &Server) -> Self {
        Self { at: Instant::now(), changes: server.readings.changes(), doing: doing(server) }
    }

    fn is_fresh(&self, server: &Server) -> bool {
        self.at.elapsed() < FRESH_FOR
            && self.changes == server.readings.changes()
            && self.doing == doing(server)
    }
}

fn doing(server: &Server) -> Option<(Instant, &'static str)> {
    server.ops.running().map(|running: Arc<Running>| (running.began, running.current_step()))
}

impl Document {
    /// The document of a path, in the form that the caller asks for.
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Option<Self> {
        Some(match path {
            "/health" => Self::Health,
            "/metrics" if accept::asks_for_text(headers) => Self::Exposition,
            "/metrics" => Self::Metrics,
            "/version" => Self::Version,
            "/workers" => Self::Workers,
            "/containers" => Self::Containers,
            "/deploys" => Self::Deploys,
            "/drain" => Self::Drain,
            "/openapi.json" => Self::OpenApi,
            _ => return None,
        })
    }
}

impl Documents {
    /// The document as it was at most a moment ago. Callers who come while it is made wait for it.
    pub(super) async fn get(server: &'static Server, document: Document) -> Encoded {
        let mut held = server.documents.held[document as usize].lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.seen.is_fresh(server)) {
            return held.encoded.clone();
        }
        let made = server.main.spawn(async move {
            let mut seen = Moment::now(server);
            let (encoded, at) = make(server, document).await;
            // A document of readings is as old as they are.
            seen.at = at.unwrap_or(seen.at);
            Held { seen, encoded }
        });
        match made.await {
            Ok(made) => held.insert(made).encoded.clone(),
            Err(error) => Encoded::from(internal(&error)),
        }
    }

    /// The deploys that ended, oldest first, as they were at most a moment ago.
    ///
    /// # Errors
    /// The reply to send where they cannot be read.
    pub(super) fn history(server: &Server) -> Result<Arc<Vec<Entry>>, Reply> {
        let mut held = server.documents.history.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.seen.is_fresh(server)) {
            return Ok(Arc::clone(&held.entries));
        }
        let seen = Moment::now(server);
        let entries = server.state.history().map_err(|error| internal(&error))?;
        let entries = Arc::new(entries);
        *held = Some(History { seen, entries: Arc::clone(&entries) });
        Ok(entries)
    }
}

async fn make(server: &'static Server, document: Document) -> (Encoded, Option<Instant>) {
    let look = match document {
        Document::Health
        | Document::Exposition
        | Document::Version
        | Document::Workers
        | Document::Containers
        | Document::Drain => Some(server.readings.look(server).await.at()),
        Document::Metrics | Document::Deploys | Document::OpenApi => None,
    };
    let reply = match document {
        Document::Health => Reply::new(200, &views::health(server).await),
        Document::Metrics => Reply::new(200, &server.sampler.read()),
        Document::Exposition => return (Encoded::exposition(exposition(server).await), look),
        Document::Version => Reply::new(200, &views::version(server).await),
        Document::Workers => Reply::new(200, &views::workers(server).await),
        Document::Containers => match views::containers(server).await {
            Ok(containers) => Reply::new(200, &containers),
            Err(reason) => Reply { status: 503, body: json!({ "error": reason }) },
        },
        Document::Deploys => deploys(server, false).unwrap_or_else(|reply| reply),
        Document::Drain => Reply { status: 200, body: views::drain(server).await },
        Document::OpenApi => Reply { status: 200, body: openapi::document() },
    };
    (Encoded::from(reply), look)
}

async fn exposition(server: &Server) -> Exposition {
    let [worker] = views::workers(server).await;
    let history = Documents::history(server).ok();
    exposition::render(&exposition::Facts {
        environment: &server.config.environment,
        instance_id: server.config.instance_id.as_deref(),
        health: &views::health(server).await,
        worker: &worker,
        metrics: &server.sampler.read(),
        last_deploy: history.as_ref().and_then(|entries| entries.last()),
    })
}

/// `GET /deploys`: newest first. What containers printed and why deploys failed is shown to whoever
/// shows the secret.
///
/// # Errors
/// The reply to send where the history cannot be read.
pub(super) fn deploys(server: &Server, trusted: bool) -> Result<Reply, Reply> {
    let entries = Documents::history(server)?;
    let shown: Vec<_> = entries.iter().rev().map(|entry| shown(entry, trusted)).collect();
    let running = server.ops.running().and_then(|running| running_deploy(&running));
    Ok(Reply { status: 200, body: json!({ "running": running, "deploys": shown }) })
}

/// One deploy that ended; see [`deploys`].
pub(super) fn shown(entry: &Entry, trusted: bool) -> serde_json::Value {
    let mut shown = serde_json::to_value(entry).expect("entries are plain data");
    if !trusted {
        if entry.error.is_some() {
            shown["error"] = json!("shown only with X-Deploy-Secret");
        }
        shown["log"] = json!([]);
        shown["notes"] = json!([]);
    }
    shown
}
