//! What a pass was, in numbers: what the alarms of `template.yaml` are made of.

use super::{CallResult, Decision, Inputs, Note, Reason, Verdict};
use crate::count::count;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// What one pass saw and did, in numbers. `None` is a number nobody knows; it is left out, because
/// 0 would be a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainMetrics {
    /// When the pass saw the group, by AWS's clock.
    pub at: UnixMs,
    /// Instances that the hook holds.
    pub waiting: Option<u32>,
    /// Instances whose hook ran out and that were kept.
    pub retained: Option<u32>,
    /// How long the longest-leaving instance has been leaving.
    pub oldest_wait_s: Option<u32>,
    /// The least time that is left before a worker is stopped, job or no job.
    pub limit_left_s: Option<u32>,
    /// Instances that this pass let go, and of these the ones without a proof.
    pub released: u32,
    pub gave_up: u32,
    /// Instances that a person has to be told of.
    pub paged: u32,
    /// What was left of the hook's time when the heartbeat came, at the least.
    pub heartbeat_margin_s: Option<u32>,
    pub commands_sent: u32,
    /// Jobs that workers which cannot close their intake took in their last instant.
    pub jobs_caught: u32,
    /// Jobs that ran when a worker was stopped because its time was up.
    pub jobs_interrupted: u32,
    /// Something is wrong with the hook; `None` where it was not looked at.
    pub hook_drift: Option<bool>,
    /// The group, the commands or the machines could not be read; `None` where there was no reason
    /// yet to ask again.
    pub source_down: Option<bool>,
    /// Instances in a state that is not supported, or not known: nobody looks after them.
    pub left_alone: Option<u32>,
    /// Calls that were to change something and failed.
    pub action_failed: u32,
}

impl DrainMetrics {
    /// Of everything that a pass has seen when it is over, and its last decision.
    #[must_use]
    pub fn of(inputs: &Inputs, decision: &Decision) -> DrainMetrics {
        let Inputs { seen, memory, .. } = inputs;
        let now = inputs.clock();
        let Decision { verdicts, notes, .. } = decision;
        let in_state = |which: fn(&LifecycleState) -> bool| {
            count(verdicts.iter().filter(|v| which(&v.lifecycle)))
        };
        let known = matches!(seen.group, Some(Reading::Known(_)));
        // A pass that does not let go says the same again: jobs are counted by the one that does.
        let let_go = |id: &InstanceId| verdicts.iter().any(|v| v.released && v.instance == *id);
        let failed = seen.instances.values().flat_map(|evidence| {
            let once = [&evidence.held, &evidence.sent, &evidence.replaced].into_iter().flatten();
            once.chain(&evidence.completions)
        });
        let hook = seen.hook.as_ref().and_then(Reading::known);
        let timeout = hook.map(|hook| hook.heartbeat_s);
        let margin = |instance: &InstanceId| {
            let waits =
                |v: &Verdict| v.instance == *instance && v.lifecycle.waits_on_terminate_hook();
            let held = memory.held.get(instance).filter(|_| verdicts.iter().any(waits))?;
            Some(i64::from(timeout?) - now.since(*held) / 1000)
        };
        let any = |is: fn(&Note) -> bool| notes.iter().any(is);
        let drifts = any(|n| matches!(n, Note::HookDrift { .. } | Note::HookUnknown { .. }));
        let down = !known
            || any(|n| matches!(n, Note::MachinesUnknown { .. }))
            || verdicts.iter().any(|v| matches!(v.because, Reason::CommandsUnknown { .. }));
        let just_held = |v: &Verdict| matches!(v.because, Reason::JustHeld { .. });
        let unasked = seen.machines.is_none() && verdicts.iter().any(just_held);
        let left_alone = |n: &&Note| matches!(n, Note::WarmPool { .. } | Note::UnknownState { .. });
        DrainMetrics {
            at: now,
            waiting: known.then(|| in_state(LifecycleState::waits_on_terminate_hook)),
            retained: known.then(|| in_state(LifecycleState::is_retained)),
            oldest_wait_s: verdicts.iter().filter_map(|verdict| verdict.waited_s).max(),
            limit_left_s: verdicts.iter().filter_map(|verdict| verdict.left_s).min(),
            released: count(verdicts.iter().filter(|verdict| verdict.released)),
            gave_up: count(
                verdicts
                    .iter()
                    .filter(|v| v.released && matches!(v.because, Reason::GaveUp { .. })),
            ),
            paged: count(verdicts.iter().filter(|verdict| verdict.because.pages())),
            heartbeat_margin_s: seen
                .instances
                .keys()
                .filter_map(margin)
                .min()
                .map(|margin| u32::try_from(margin.max(0)).unwrap_or(0)),
            commands_sent: count(
                seen.instances.values().filter(|e| e.sent == Some(CallResult::Done)),
            ),
            jobs_caught: notes
                .iter()
                .map(|note| match note {
                    Note::Caught { instance, jobs } if let_go(instance) => *jobs,
                    _ => 0,
                })
                .sum(),
            jobs_interrupted: notes
                .iter()
                .map(|note| match note {
                    Note::Interrupted { instance, jobs } if let_go(instance) => *jobs,
                    _ => 0,
                })
                .sum(),
            hook_drift: (drifts || known && seen.hook.is_some()).then_some(drifts),
            source_down: (down || !unasked).then_some(down),
            left_alone: known.then(|| count(notes.iter().filter(left_alone))),
            action_failed: count(failed.filter(|done| matches!(done, CallResult::Failed { .. }))),
        }
    }
}
