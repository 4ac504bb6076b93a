//! What happened: every AWS call, and every step in an instance's life.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::asg::Transition;

/// One call of an AWS API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// 1, 2, 3, … in the order in which the calls were answered.
    pub seq: u64,
    /// When it was answered, by the double's clock.
    pub at: Timestamp,
    /// `autoscaling`, `ssm`, `secretsmanager`, `ec2`, `sts`, `monitoring`, `sns` or `lambda`.
    pub service: String,
    /// The action's name.
    pub action: String,
    /// Parameters as they came, secret values left out.
    pub params: Value,
    /// HTTP status; 0 when the connection was closed without an answer.
    pub status: u16,
    /// The error code of a refused call.
    pub code: Option<String>,
}

impl Call {
    /// True unless the action only reads, or is an invocation, whose own calls count.
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        !["Describe", "Get", "List", "Invoke"].iter().any(|prefix| self.action.starts_with(prefix))
    }
}

/// The calls so far.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<(u64, Vec<Call>)>);

impl Journal {
    /// Adds a call and numbers it.
    pub(crate) fn record(&self, mut call: Call) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0 += 1;
        call.seq = guard.0;
        guard.1.push(call);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Forgets the calls; the numbers go on.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}

/// The transitions so far and a signal for more.
#[derive(Debug)]
pub(crate) struct TransitionLog {
    entries: Mutex<Vec<Transition>>,
    grown: watch::Sender<usize>,
}

impl TransitionLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), grown: watch::Sender::new(0) })
    }

    pub(crate) fn append(&self, transitions: &[Transition]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.extend_from_slice(transitions);
        self.grown.send_replace(entries.len());
    }

    /// The transitions numbered above `since`.
    pub(crate) fn since(&self, since: u64) -> Vec<Transition> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|t| t.seq > since).cloned().collect()
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> TransitionStream {
        TransitionStream { grown: self.grown.subscribe(), log: Arc::clone(self), read: 0 }
    }
}

/// Every transition from the first on, in order, none lost.
#[derive(Debug)]
pub struct TransitionStream {
    log: Arc<TransitionLog>,
    grown: watch::Receiver<usize>,
    read: usize,
}

impl TransitionStream {
    /// Waits for the next transition. Cancel-safe.
    pub async fn next(&mut self) -> Transition {
        loop {
            self.grown.borrow_and_update();
            let next = {
                let entries = self.log.entries.lock().unwrap_or_else(PoisonError::into_inner);
                entries.get(self.read).cloned()
            };
            if let Some(transition) = next {
                self.read += 1;
                return transition;
            }
            if self.grown.changed().await.is_err() {
                // The log lives as long as this stream holds it, so its signal does too.
                std::future::pending::<()>().await;
            }
        }
    }
}
