//! One tick: observe, decide, act, store the memory, print the record.

use crate::act::{ActionResult, act};
use crate::app::App;
use crate::handler::Trigger;
use crate::outcomes::count_outcomes;
use crate::record::{
    self, Ages, AlreadyRunning, DecisionRecord, Disabled, TickEffects, TickRequest,
};
use fleet_clients::queue::{TickLock, lock_key};
use fleet_clients::telemetry::emit_line;
use fleet_core::scaling::{
    Inputs, LossCause, Memory, Observation, ScalingAction, State, TickResult, decide,
};
use fleet_lambda::now;
use fleet_protocol::reading::{Reading, Unknown};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What became of a tick. Its record is on stdout already.
pub(crate) enum TickReport {
    Decided(Box<DecisionRecord>),
    /// Another tick holds the lock. It sees the same world, so there is nothing to add.
    AlreadyRunning(AlreadyRunning),
    /// `AUTOSCALE_ASG_ENABLED` is false: nothing was looked at.
    Disabled(Disabled),
}

impl TickReport {
    /// The record without its inputs: what a caller wants to see.
    pub(crate) fn into_body(self) -> Value {
        match self {
            TickReport::Decided(record) => record.into_summary(),
            TickReport::AlreadyRunning(line) => record::to_value(&line),
            TickReport::Disabled(line) => record::to_value(&line),
        }
    }
}

/// Makes the ticks from one scheduled event to the next, which comes within a minute: one at once,
/// and further ones `AUTOSCALE_TICK_SECONDS` apart. Returns the last one's report.
pub(crate) async fn ticks_of_a_minute(app: &App, request_id: &str) -> TickReport {
    let began = Instant::now();
    let mut report = tick(app, Trigger::Schedule, request_id).await;
    let interval = app.config.tick_s.max(1);
    for number in 1..60 / interval {
        if let TickReport::Disabled(_) = report {
            break;
        }
        let due = Duration::from_secs(u64::from(number * interval));
        // A tick that took longer than the interval is followed at once.
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        report = tick(app, Trigger::Schedule, request_id).await;
    }
    report
}

/// Makes one tick.
pub(crate) async fn tick(app: &App, trigger: Trigger, request_id: &str) -> TickReport {
    let began = Instant::now();
    let now = now();
    if !app.config.enabled {
        let line = Disabled::new(now, trigger);
        emit_line(&line);
        return TickReport::Disabled(line);
    }
    let mut queue = app.queue.lock().await;
    let policy = &app.config.policy;
    let useful = policy.max.saturating_mul(policy.jobs_per_worker.get());
    let read_queue = async {
        let source = queue.source(app.queue_failed.load(Ordering::Relaxed)).await?;
        let lock = lock_key(&app.config.group, &app.config.aws.region);
        let begun = source.begin(lock, policy.boot_s, useful).await;
        begun.map(|begun| (begun, Instant::now()))
    };
    let read_group = async {
        let group = app.auto_scaling.describe(&app.config.group).await;
        let at = Instant::now();
        let launches = match &group {
            Reading::Known(group) if group.has_missing_instances() => {
                Some(app.launches.last(&app.config.group).await)
            }
            _ => None,
        };
        (group, launches, at)
    };
    let read_memory = app.parameters.get(&app.config.state_parameter);
    let (begun, (group, launches, mut group_at), stored) =
        tokio::join!(read_queue, read_group, read_memory);
    // The database's transaction, and with it the lock against a second tick, stays open until this
    // tick is done.
    let (running, snapshot, queue_at) = match begun {
        Ok((TickLock::HeldElsewhere, _)) => {
            let line = AlreadyRunning::new(now, trigger);
            emit_line(&line);
            return TickReport::AlreadyRunning(line);
        }
        Ok((TickLock::Acquired(tick), at)) => {
            let snapshot = tick.snapshot().clone();
            (Some(tick), Reading::Known(snapshot), at)
        }
        Err(unknown) => {
            app.queue_failed.store(true, Ordering::Relaxed);
            (None, Reading::Unknown(unknown), Instant::now())
        }
    };
    if running.is_some() {
        app.queue_failed.store(false, Ordering::Relaxed);
    }
    let mut inputs = Inputs {
        policy: app.config.policy.clone(),
        memory: remembered(app, stored).await,
        observation: Observation {
            now,
            queue: snapshot,
            group,
            refresh: None,
            hook: None,
            launches,
        },
    };
    let mut outcome = decide(&inputs);
    if outcome.decision.action != ScalingAction::Nothing {
        look_again(app, &mut inputs, outcome.decision.action == ScalingAction::LookForRefresh)
            .await;
        group_at = Instant::now();
        outcome = decide(&inputs);
    }
    let ages = Ages::of(&inputs, queue_at.elapsed(), group_at.elapsed());
    let decision_ms = record::millis(began.elapsed());
    let TickResult { decision, mut state } = outcome;
    let dry_run = app.config.dry_run;
    let action = act(&app.auto_scaling, &app.config.group, &decision.action, dry_run).await;
    state.after_calls(&decision, action.for_memory(decision.action.calls()));
    let memory_write = remember(app, &state).await;
    if let Some(tick) = running {
        tick.finish().await;
        count_outcomes(app, &mut queue, &inputs.observation.group).await;
    }
    inputs.observation = inputs.observation.without_strangers();
    let record = DecisionRecord::new(
        TickRequest { trigger, request_id: request_id.to_owned(), dry_run },
        &app.config,
        inputs,
        decision,
        TickEffects {
            action,
            memory_write,
            ages,
            decision_ms,
            duration_ms: record::millis(began.elapsed()),
        },
    );
    record.emit();
    record.emit_metrics();
    TickReport::Decided(Box::new(record))
}

/// Looks once more at what was read before the lock was held, and by now may be seconds old:
/// another tick or a person may have changed it in between. `leave`: whether to look for what an
/// instance may not leave without, or not leave beside, too.
async fn look_again(app: &App, inputs: &mut Inputs, leave: bool) {
    let group = &app.config.group;
    let read_refresh = async {
        match leave {
            true => {
                let refresh = app.auto_scaling.refresh_status(group);
                let hook = app.auto_scaling.hook_status(group, &app.config.hook);
                let (refresh, hook) = tokio::join!(refresh, hook);
                (Some(refresh), Some(hook))
            }
            false => (None, None),
        }
    };
    let read_group = app.auto_scaling.describe(group);
    let read_memory = app.parameters.get(&app.config.state_parameter);
    let ((refresh, hook), group, stored) = tokio::join!(read_refresh, read_group, read_memory);
    if stored.known().is_some() {
        inputs.memory = remembered(app, stored).await;
    }
    inputs.observation.group = group;
    inputs.observation.refresh = refresh;
    inputs.observation.hook = hook;
}

/// What earlier ticks left. Where the parameter cannot be read, this environment's own memory
/// serves; a dry run has nothing else.
async fn remembered(app: &App, stored: Reading<Option<String>>) -> Memory {
    let warm = app.warm.lock().await.clone();
    let lost = |cause, detail: &str| Memory::Lost { cause, detail: detail.to_owned() };
    match (warm, stored) {
        (Some(state), _) if app.config.dry_run => Memory::Kept(state),
        (_, Reading::Known(Some(text))) => Memory::decode(&text),
        (_, Reading::Known(None)) => lost(LossCause::Absent, "there is none yet"),
        (Some(state), Reading::Unknown(_)) => Memory::Kept(state),
        (None, Reading::Unknown(Unknown { detail, .. })) => lost(LossCause::Unreachable, &detail),
    }
}

/// A failed write costs a hold at worst, so it never stops scaling.
async fn remember(app: &App, state: &State) -> ActionResult {
    *app.warm.lock().await = Some(state.clone());
    if app.config.dry_run {
        return ActionResult::DryRun;
    }
    app.parameters.put(&app.config.state_parameter, &state.encode()).await.into()
}
