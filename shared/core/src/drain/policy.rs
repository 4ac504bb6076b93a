//! What the site wants, and how long things take.

use serde::{Deserialize, Serialize};

/// The host waits at most this long for a job before it answers. Each command's end is a fresh
/// reading, and an agent that died with a command in hand is found out after one.
pub(super) const WINDOW_S: u32 = 240;
/// How often a pass is made at least, while nothing is wrong.
pub(super) const TICK_S: u32 = 60;
/// SSM's own window for handing a command to the agent, the shortest it takes.
pub const DELIVERY_S: u32 = 30;
/// What a command may take beyond its window before it counts as lost.
pub(super) const COMMAND_SLACK_S: u32 = 60;
/// No instance is sent two commands within this time, whatever the first one came to.
pub(super) const RESEND_AFTER_S: u32 = 20;
/// A command that was sent may be missing from the list for this long.
pub(super) const UNLISTED_S: u32 = 60;
/// A proof counts when its command was sent at most this long ago: one window, its delivery, and
/// one tick to read it.
pub(super) const PROOF_MAX_AGE_S: u32 = WINDOW_S + DELIVERY_S + 60;
/// An instance that this environment held by a heartbeat this recently is left to the next pass,
/// unless an event names it.
pub(super) const HOLD_EVERY_S: u32 = 30;
/// How often an environment looks at a hook with which nothing is wrong, while nobody leaves.
pub(super) const HOOK_EVERY_S: u32 = 3600;
/// Time for AWS to take a machine back after the notice.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>
pub(super) const SPOT_NOTICE_S: u32 = 120;
/// A notice that is older says nothing any more about a machine that still runs.
pub(super) const NOTICE_COUNTS_S: u32 = 300;
/// The worker is stopped this long before its machine is taken back, so that it can release its
/// job.
pub(super) const SPOT_MARGIN_S: u32 = 60;
/// After the order to stop: three ticks to send it, to send it again and to read its answer.
const STOP_SLACK_S: u32 = 180;
/// Auto Scaling may show an instance as waiting some seconds before it takes a completion. While an
/// action is this young, it is asked again.
pub(super) const YOUNG_ACTION_S: u32 = 120;
/// How often, and how far apart, a completion is asked for within one pass.
pub(super) const COMPLETIONS: usize = 6;
pub(super) const BETWEEN_COMPLETIONS_S: u32 = 5;
/// After this time without a single command that could be sent, a person is told.
pub(super) const NOT_TOLD_PAGES_S: i64 = 900;
/// The hook has to outlast this many lost ticks.
pub(super) const HEARTBEAT_AT_LEAST_S: u32 = 240;

/// Settings of the drain policy; the configuration layer has validated them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `DRAIN_JOB_LIMIT_SECONDS`: the longest time that a job may take.
    pub job_limit_s: u32,
    /// `DRAIN_WORKER_GRACE_SECONDS`: what the worker gets between SIGTERM and SIGKILL to release
    /// its job.
    pub worker_grace_s: u32,
    /// `DRAIN_REBALANCE_EVERY_SECONDS`: how old an instance has to be, and how long ago the group's
    /// last ending, before a rebalance recommendation is followed; 0 follows none.
    pub rebalance_every_s: u32,
}

impl Policy {
    /// How long after the order to stop an instance goes without any proof.
    #[must_use]
    pub fn give_up_after_s(&self) -> u32 {
        self.worker_grace_s.saturating_add(STOP_SLACK_S)
    }
}
