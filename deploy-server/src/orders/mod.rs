//! Orders of a rollout: accepted at once, kept on the disk, carried out when the running job ends.
//!
//! An order is a deploy that waits for the worker's job as long as a job may take, with the intake
//! closed, and that neither a restart of this server nor a reboot forgets. The rollout asks what
//! became of it. There is one at a time: a later one takes the place of one that still waits.

mod held;

pub use held::Held;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_protocol::action_report::{ActionResult, DRAIN_STEP};
use fleet_protocol::host_order::{HostOrder, OrderEnd, OrderId, OrderState};
use tokio::sync::Notify;

use crate::clock::now_ms;
use crate::deploy::model::{Kind, Outcome};
use crate::deploy::{self, Refusal, Target, Wish};
use crate::ops::What;
use crate::server::{Server, rfc3339};
use crate::state::{Entry, StateDir, StateError};

/// The pauses before the second, third and fourth try of what failed before anything was touched.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(20), Duration::from_secs(30)];
/// Between two looks at whatever holds the host's lock.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How a deploy's record names the order that it carries out.
const ACTOR: &str = "order ";

/// The order that this host holds.
#[derive(Debug, Default)]
pub struct Orders {
    held: Mutex<Option<Held>>,
    changed: Notify,
}

// === impl Orders ===

impl Orders {
    /// What an earlier process held.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        Ok(Self { held: Mutex::new(state.order()?), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest order, which may have ended.
    #[must_use]
    pub fn newest(&self) -> Option<Held> {
        self.lock().clone()
    }

    fn open(&self) -> Option<Held> {
        self.newest().filter(|held| held.ended.is_none())
    }

    /// Writes down how the order ended, if it is still the one that is held and has not ended.
    fn end(&self, server: &Server, id: &OrderId, ended: OrderEnd) {
        let mut held = self.lock();
        let Some(open) = held.as_mut().filter(|held| held.id == *id && held.ended.is_none()) else {
            return;
        };
        open.ended = Some(ended);
        // A disk that refuses lets the order be carried out again after a restart, which finds that
        // there is nothing to do.
        if let Err(error) = server.state.hold_order(open) {
            tracing::error!(error = %error, order = %id, "the end of a rollout's order cannot be recorded on disk: after a restart of this server it is carried out again");
        }
        self.changed.notify_waiters();
    }
}

/// What a running job may take where the order does not say it, in seconds.
#[must_use]
pub fn usual_job_limit_s() -> u32 {
    4 * 3600
}

/// Accepts an order. The same one again changes nothing.
///
/// # Errors
/// When the host leaves its group, or the disk refuses: an order that is not on the disk is not
/// accepted.
pub fn accept(server: &Server, new: Held) -> Result<(), Refusal> {
    if server.is_terminating() {
        return Err(Refusal::Terminating);
    }
    let mut held = server.orders.lock();
    if held.as_ref().is_some_and(|held| held.id == new.id) {
        return Ok(());
    }
    server.state.hold_order(&new).map_err(|error| Refusal::State(error.to_string()))?;
    tracing::info!(order = %new.id, image_tag = %new.image_tag, "an order of a rollout was accepted: this host takes the version when its running job has ended");
    *held = Some(new);
    server.orders.changed.notify_waiters();
    Ok(())
}

/// Takes the order back if it has stopped nothing yet: the deploy gives way and opens the intake
/// again. False where there is nothing to take back.
pub fn take_back(server: &Server) -> bool {
    let Some(held) = server.orders.open() else { return false };
    if state(server, &held) == OrderState::Swapping {
        return false;
    }
    server.orders.end(server, &held.id, OrderEnd::new(ActionResult::TakenBack));
    true
}

/// The newest order as a rollout is told of it.
#[must_use]
pub fn view(server: &Server) -> Option<HostOrder> {
    let held = server.orders.newest()?;
    Some(HostOrder {
        state: state(server, &held),
        accepted_at: rfc3339(held.accepted_ms),
        limit_at: Some(rfc3339(
            held.accepted_ms.saturating_add(i64::from(held.job_limit_s) * 1000),
        )),
        result: held.ended.as_ref().map(|ended| ended.result),
        id: held.id,
        image_tag: held.image_tag,
    })
}

fn state(server: &Server, held: &Held) -> OrderState {
    if held.ended.is_some() {
        return OrderState::Ended;
    }
    let tag = held.image_tag.as_str();
    let running = server.ops.running().filter(
        |running| matches!(&running.what, What::Deploy { image_tag, .. } if image_tag == tag),
    );
    match running.map(|running| running.current_step()) {
        None | Some("initializing" | "pull-image" | "create-containers") => OrderState::Preparing,
        Some(step) if step == DRAIN_STEP => OrderState::Waiting,
        Some(_) => OrderState::Swapping,
    }
}

fn actor(id: &OrderId) -> String {
    format!("{ACTOR}{id}")
}

/// How long the deploy of this actor waits for the running job; `None` where it is not an order's.
#[must_use]
pub fn patience(server: &Server, by: &str) -> Option<Duration> {
    let held = server.orders.open().filter(|held| actor(&held.id) == by)?;
    Some(held.job_limit().saturating_sub(waited(&held)))
}

fn waited(held: &Held) -> Duration {
    // A clock that was set back makes the wait longer and never shorter than none.
    Duration::from_millis(u64::try_from(now_ms() - held.accepted_ms).unwrap_or(0))
}

/// Returns once the deploy of this actor has lost its order: it was taken back, or another came.
/// The deploy of somebody else never does.
pub async fn until_lost(server: &Server, by: &str) {
    if !by.starts_with(ACTOR) {
        std::future::pending::<()>().await;
    }
    while server.orders.open().is_some_and(|held| actor(&held.id) == by) {
        drop(tokio::time::timeout(BETWEEN_LOOKS, server.orders.changed.notified()).await);
    }
}

/// Carries orders out until the process ends.
pub async fn watch(server: &'static Server) {
    let mut failures = 0;
    let mut last: Option<OrderId> = None;
    loop {
        let Some(held) = server.orders.open() else {
            drop(tokio::time::timeout(BETWEEN_LOOKS, server.orders.changed.notified()).await);
            continue;
        };
        if last.as_ref() != Some(&held.id) {
            (last, failures) = (Some(held.id.clone()), 0);
        }
        let wish = Wish {
            kind: Kind::Deploy,
            image_tag: held.image_tag.to_string(),
            target: Target::Tag(held.image_tag.to_string()),
            force: held.force,
            actor: actor(&held.id),
        };
        let entry = match deploy::start(server, wish) {
            Ok(running) => running.result().await,
            Err(Refusal::Terminating) => {
                server.orders.end(server, &held.id, OrderEnd::new(ActionResult::Leaving));
                continue;
            }
            Err(_) => None,
        };
        let verdict = entry.as_ref().map(|entry| judge(server, &held, entry));
        match (verdict, entry) {
            (Some(OrderOutcome::Ended(result)), Some(entry)) => {
                server.orders.end(server, &held.id, held::end_of(result, &entry));
            }
            (Some(OrderOutcome::Untouched), Some(entry)) => match PAUSES.get(failures) {
                Some(pause) => {
                    failures += 1;
                    tokio::time::sleep(*pause).await;
                }
                None => {
                    let ended = held::end_of(ActionResult::Failed, &entry);
                    server.orders.end(server, &held.id, ended);
                }
            },
            // Something else holds the lock, or the order was lost.
            _ => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
}

/// What a deploy's end means for the order.
#[derive(Debug, PartialEq, Eq)]
enum OrderOutcome {
    Ended(ActionResult),
    /// It failed before anything was touched, which may be otherwise in a moment.
    Untouched,
    /// It was not this order's, or it gave way.
    Again,
}

fn judge(server: &Server, held: &Held, entry: &Entry) -> OrderOutcome {
    let same = |entry: &Entry| {
        let before = entry.previous.as_ref().map(|version| version.image_id.as_str());
        entry.image_id.is_some() && before == entry.image_id.as_deref()
    };
    let ours = entry.actor == actor(&held.id);
    let drained = entry.failed_step.as_deref() != Some(DRAIN_STEP);
    match entry.status {
        Outcome::Deployed if same(entry) => OrderOutcome::Ended(ActionResult::AlreadyCurrent),
        Outcome::Deployed => OrderOutcome::Ended(ActionResult::Deployed),
        Outcome::RolledBack => OrderOutcome::Ended(ActionResult::RolledBack),
        Outcome::Down => OrderOutcome::Ended(ActionResult::Down),
        Outcome::Failed if !ours => OrderOutcome::Again,
        Outcome::Failed if drained => OrderOutcome::Untouched,
        Outcome::Failed if server.is_terminating() => OrderOutcome::Ended(ActionResult::Leaving),
        Outcome::Failed if waited(held) >= held.job_limit() => {
            OrderOutcome::Ended(ActionResult::AtLimit)
        }
        Outcome::Failed => OrderOutcome::Again,
    }
}
