//! The one lock of a host: deploy, rollback, cleanup and drain never overlap.
//!
//! It is taken in one step, before anything is awaited (the predecessor looked, waited for the
//! body, and then set it: two deploys ran at once). Whoever comes late learns what runs, and a
//! caller who wants the same deploy waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::state::Entry;

/// What holds the lock.
#[derive(Debug)]
pub struct Running {
    pub what: What,
    pub began: Instant,
    step: Mutex<&'static str>,
    finished: watch::Sender<Option<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Deploy {
        id: String,
        image_tag: String,
        force: bool,
    },
    Drain,
    Resume,
    Cleanup,
    /// A deploy of before the restart is being finished or undone.
    Recovery,
}

#[derive(Debug, Default)]
pub struct Ops {
    slot: Mutex<Option<Arc<Running>>>,
}

/// Proof of holding the lock; dropping it lets go, also when the holder panics.
#[derive(Debug)]
pub struct Ticket<'a> {
    ops: &'a Ops,
    running: Arc<Running>,
}

impl What {
    /// Every word of [`What::name`].
    pub const NAMES: [&str; 5] = ["deploy", "drain", "resume", "cleanup", "recovery"];

    /// One word, for replies.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Drain => "drain",
            Self::Resume => "resume",
            Self::Cleanup => "cleanup",
            Self::Recovery => "recovery",
        }
    }
}

// === impl Ops ===

impl Ops {
    /// Takes the lock.
    ///
    /// # Errors
    /// Returns whoever has it.
    pub fn admit(&self, what: What) -> Result<Ticket<'_>, Arc<Running>> {
        let mut slot = self.slot();
        if let Some(running) = &*slot {
            return Err(Arc::clone(running));
        }
        let (finished, _) = watch::channel(None);
        let began = Instant::now();
        let running = Arc::new(Running { what, began, step: Mutex::new("initializing"), finished });
        *slot = Some(Arc::clone(&running));
        Ok(Ticket { ops: self, running })
    }

    /// Who has the lock now.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Running>> {
        self.slot().clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ticket ===

impl Ticket<'_> {
    #[must_use]
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Says how far the work is.
    pub fn step(&self, step: &'static str) {
        *self.running.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// Hands the result to everybody who joined.
    pub fn finish(&self, entry: Entry) {
        self.running.finished.send_replace(Some(entry));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        *self.ops.slot() = None;
    }
}

// === impl Running ===

impl Running {
    #[must_use]
    pub fn current_step(&self) -> &'static str {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the result; `None` when the work ended without one.
    pub async fn result(&self) -> Option<Entry> {
        let mut finished = self.finished.subscribe();
        finished.wait_for(Option::is_some).await.ok().and_then(|entry| entry.clone())
    }

    /// In words, for a refusal.
    #[must_use]
    pub fn describe(&self) -> String {
        let seconds = self.began.elapsed().as_secs();
        match &self.what {
            // The predecessor's words; its clients look for them.
            What::Deploy { image_tag, .. } => {
                format!("Deploy already in progress: {image_tag} (started {seconds}s ago)")
            }
            What::Drain => format!("A drain is in progress (started {seconds}s ago)"),
            What::Resume => "The worker is being put back to work".to_owned(),
            What::Cleanup => format!("A cleanup is in progress (started {seconds}s ago)"),
            What::Recovery => format!(
                "The host server is finishing a deploy that was interrupted (since {seconds}s)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ops, What};

    #[test]
    fn one_at_a_time_and_always_let_go() {
        let ops = Ops::default();
        let ticket = ops.admit(What::Drain).unwrap();
        let holder = ops.admit(What::Cleanup).unwrap_err();
        assert_eq!(holder.what, What::Drain);
        drop(ticket);
        assert!(ops.running().is_none());
        let panicking = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _ticket = ops.admit(What::Cleanup).unwrap();
                    panic!("the work fails");
                })
                .join()
        });
        assert!(panicking.is_err());
        assert!(ops.admit(What::Drain).is_ok());
    }
}
