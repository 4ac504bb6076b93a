//! The commands that a leaving instance was sent, as SSM lists them.

use super::policy::{COMMAND_SLACK_S, DELIVERY_S};
use super::report::closed_the_intake;
use super::{DrainOrder, DrainReport, Finding};
use crate::run_command::{self, InvocationStatus};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One of our commands on one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// SSM's id of the command.
    pub command: String,
    /// By AWS's clock.
    pub requested: UnixMs,
    pub status: InvocationStatus,
    /// `StatusDetails` as SSM spells it: `DeliveryTimedOut`, `Undeliverable`, …
    pub detail: String,
    /// What it was, by its comment.
    pub order: DrainOrder,
    pub output: Output,
}

/// What the command printed.
pub type Output = run_command::Output<DrainReport>;

impl Invocation {
    /// Whether it may still come to something at `now`. An agent that dies with a command in hand
    /// leaves it in progress for long.
    pub(super) fn is_awaited(&self, now: UnixMs) -> bool {
        self.status.is_live() && now < self.lost_at()
    }

    /// From when on the host should have done what it says; one that never reached its host has
    /// nothing to wait for.
    pub(super) fn due_at(&self) -> UnixMs {
        let takes_s = if self.status.never_ran() { 0 } else { self.order.window_s };
        self.requested.plus_seconds(takes_s)
    }

    /// When it counts as lost.
    pub(super) fn lost_at(&self) -> UnixMs {
        let takes = self.order.window_s.saturating_add(DELIVERY_S).saturating_add(COMMAND_SLACK_S);
        self.requested.plus_seconds(takes)
    }

    /// What the host found, where it said so.
    pub(super) fn finding(&self, instance: &InstanceId) -> Option<Finding> {
        match &self.output {
            Output::Report(report) => Some(Finding::of(report, instance)),
            Output::None | Output::Unreadable(_) => None,
        }
    }

    /// Whether the host said that the intake is closed: then it stays so for good, whatever the
    /// worker did since.
    pub(super) fn closed_the_intake(&self) -> bool {
        matches!(&self.output, Output::Report(report) if closed_the_intake(report))
    }
}
