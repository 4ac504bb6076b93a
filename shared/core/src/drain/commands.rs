//! The commands that a leaving instance was sent, as SSM lists them.

use super::policy::{COMMAND_SLACK_S, DELIVERY_S};
use super::{Finding, HostReport, Order};
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
    pub status: Status,
    /// `StatusDetails` as SSM spells it: `DeliveryTimedOut`, `Undeliverable`, …
    pub detail: String,
    /// What it was, by its comment.
    pub order: Order,
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On its way or at work.
    Live,
    /// The host ran it to its end; whether with success says nothing about the worker.
    Ended,
    /// It never ran or was broken off.
    Broken,
    /// A word that this version does not know.
    Other,
}

/// What the command printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Nothing yet, or nothing ever.
    None,
    Report(HostReport),
    /// Something else, in words.
    Unreadable(String),
}

impl Status {
    /// `Status` and `StatusDetails` of an invocation as SSM spells them. A command that never
    /// reached its host is `Failed` too, and only the details tell.
    pub fn read(word: &str, detail: &str) -> Status {
        match word {
            "Pending" | "InProgress" | "Delayed" | "Cancelling" => Status::Live,
            "Failed" if !matches!(detail, "" | "Failed") => Status::Broken,
            "Success" | "Failed" => Status::Ended,
            "Cancelled" | "TimedOut" => Status::Broken,
            _ => Status::Other,
        }
    }
}

impl Invocation {
    /// Whether it may still come to something at `now`. An agent that dies with a command in hand
    /// leaves it in progress for long.
    pub(super) fn is_awaited(&self, now: UnixMs) -> bool {
        matches!(self.status, Status::Live | Status::Other) && now < self.lost_at()
    }

    /// From when on the host should have done what it says; one that never reached its host has
    /// nothing to wait for.
    pub(super) fn due_at(&self) -> UnixMs {
        let undelivered = matches!(self.detail.as_str(), "DeliveryTimedOut" | "Undeliverable");
        self.requested.plus_seconds(if undelivered { 0 } else { self.order.window_s })
    }

    /// When it counts as lost.
    pub(super) fn lost_at(&self) -> UnixMs {
        let takes = self.order.window_s.saturating_add(DELIVERY_S).saturating_add(COMMAND_SLACK_S);
        self.requested.plus_seconds(takes)
    }

    /// What the host found, where it said so.
    pub(super) fn finding(&self, instance: &InstanceId) -> Option<Finding> {
        match &self.output {
            Output::Report(report) => Some(report.finding(instance)),
            Output::None | Output::Unreadable(_) => None,
        }
    }

    /// Whether the host said that the intake is closed: then it stays so for good, whatever the
    /// worker did since.
    pub(super) fn closed_the_intake(&self) -> bool {
        matches!(&self.output, Output::Report(report) if report.closed_the_intake())
    }
}
