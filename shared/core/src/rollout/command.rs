//! Commands and invocations as SSM lists them, in the words that a decision needs.

use super::{HostReport, Order};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One of our commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub id: CommandId,
    /// By AWS's clock.
    pub requested: UnixMs,
    /// What it was, by its comment.
    pub order: Order,
    pub image_tag: Option<ImageTag>,
    pub force: bool,
    pub status: CommandStatus,
    /// The hosts that it named; none where it was for the whole group.
    pub targets: Vec<InstanceId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    Live,
    Cancelled,
    /// Over; with what success its invocations tell.
    Ended,
}

impl CommandStatus {
    /// A command's `Status` as SSM spells it. A word that this version does not know may mean that
    /// it still runs.
    pub fn read(word: &str) -> CommandStatus {
        match word {
            "Success" | "Failed" | "TimedOut" => CommandStatus::Ended,
            "Cancelled" => CommandStatus::Cancelled,
            _ => CommandStatus::Live,
        }
    }
}

/// One command on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    pub instance: InstanceId,
    pub status: InvocationStatus,
    /// `StatusDetails` as SSM spells it.
    pub detail: String,
    pub exit: Option<i32>,
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvocationStatus {
    /// Not handed to the host yet.
    Pending,
    Running,
    Success,
    /// It ran to its end and did not succeed.
    Failed,
    /// It never reached the host: `DeliveryTimedOut`, `Undeliverable`.
    Unreached,
    /// It was broken off because it took too long.
    TimedOut,
    Cancelled,
    /// `Terminated`: other hosts' failures stopped it before its turn.
    NotStarted,
    /// SSM would not run it there: `AccessDenied`, `InvalidPlatform`.
    Refused,
}

/// What the command printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Nothing yet.
    None,
    Report(HostReport),
    /// Something else, in words.
    Unreadable(String),
}

impl InvocationStatus {
    /// `Status` and `StatusDetails` as SSM spells them; the details are the finer ones, with spaces
    /// or without.
    pub fn read(word: &str, detail: &str) -> InvocationStatus {
        let detail: String = detail.chars().filter(|c| !c.is_whitespace()).collect();
        match (word, detail.as_str()) {
            (_, "DeliveryTimedOut" | "Undeliverable") => InvocationStatus::Unreached,
            (_, "ExecutionTimedOut") => InvocationStatus::TimedOut,
            (_, "Terminated" | "RateExceeded" | "Incomplete") => InvocationStatus::NotStarted,
            (_, "AccessDenied" | "InvalidPlatform") => InvocationStatus::Refused,
            ("Success", _) => InvocationStatus::Success,
            ("Failed", _) => InvocationStatus::Failed,
            ("TimedOut", _) => InvocationStatus::TimedOut,
            ("Cancelled", _) => InvocationStatus::Cancelled,
            ("Pending" | "Delayed", _) => InvocationStatus::Pending,
            // InProgress, Cancelling, or a word that this version does not know: it may still run.
            _ => InvocationStatus::Running,
        }
    }

    pub(super) fn is_live(self) -> bool {
        matches!(self, InvocationStatus::Pending | InvocationStatus::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::InvocationStatus as S;

    #[test]
    fn the_details_tell_what_the_status_hides() {
        for (word, detail, read) in [
            ("Failed", "Undeliverable", S::Unreached),
            ("Failed", "Delivery Timed Out", S::Unreached),
            ("TimedOut", "DeliveryTimedOut", S::Unreached),
            ("TimedOut", "ExecutionTimedOut", S::TimedOut),
            ("Failed", "Terminated", S::NotStarted),
            ("Failed", "Failed", S::Failed),
            ("Failed", "AccessDenied", S::Refused),
            ("Delayed", "Delayed", S::Pending),
            ("Cancelling", "Cancelling", S::Running),
            ("Cancelled", "Cancelled", S::Cancelled),
            ("Success", "Success", S::Success),
            ("Rebooting", "", S::Running),
        ] {
            assert_eq!(S::read(word, detail), read, "{word} {detail}");
        }
    }
}
