//! What Systems Manager Run Command says of commands, in the one reading that drains, rollouts and
//! the status page share.
//!
//! AWS documents the details of a status in two spellings, "Delivery Timed Out" and
//! `DeliveryTimedOut`; both are read. A word that this version does not know is never a success.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html>

use serde::{Deserialize, Serialize};

/// A command as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// On its way, at work, or being cancelled.
    Live,
    Cancelled,
    /// Over; with what success its invocations tell.
    Ended,
    /// A word that this version does not know: it may still run.
    Unknown,
}

/// One command on one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvocationStatus {
    /// Not handed to the instance yet.
    Pending,
    Running,
    Success,
    /// It ran to its end and did not succeed.
    Failed,
    /// It never reached the instance: `DeliveryTimedOut`, `Undeliverable`.
    Unreached,
    /// It was broken off because it took too long.
    TimedOut,
    Cancelled,
    /// `Terminated`: other instances' failures stopped it before its turn.
    NotStarted,
    /// SSM would not run it there: `AccessDenied`, `InvalidPlatform`.
    Refused,
    /// Over, with details that this version does not know: no success.
    EndedOtherwise,
    /// A word that this version does not know: it may still run.
    Unknown,
}

/// What a command printed on one instance, read as a report `R`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output<R> {
    /// Nothing yet, or nothing ever.
    None,
    Report(R),
    /// Something else, in words.
    Unreadable(String),
}

impl CommandStatus {
    /// Reads a command's `Status`.
    #[must_use]
    pub fn read(status: &str) -> CommandStatus {
        match without_spaces(status).as_str() {
            "Pending" | "InProgress" | "Cancelling" => CommandStatus::Live,
            "Success" | "Failed" | "TimedOut" => CommandStatus::Ended,
            "Cancelled" => CommandStatus::Cancelled,
            _ => CommandStatus::Unknown,
        }
    }

    /// Whether it may still do something.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, CommandStatus::Live | CommandStatus::Unknown)
    }
}

impl InvocationStatus {
    /// Reads an invocation's `Status` and `StatusDetails`; the details are the finer ones: what
    /// never reached its instance is `Failed` or `TimedOut` too.
    #[must_use]
    pub fn read(status: &str, details: &str) -> InvocationStatus {
        use InvocationStatus::{
            Cancelled, EndedOtherwise, Failed, NotStarted, Pending, Refused, Running, Success,
            TimedOut, Unknown, Unreached,
        };
        let (status, details) = (without_spaces(status), without_spaces(details));
        match (status.as_str(), details.as_str()) {
            ("Pending" | "Delayed", _) | ("InProgress", "Pending" | "Delayed") => Pending,
            ("InProgress" | "Cancelling", _) => Running,
            ("Success", "" | "Success") => Success,
            ("Failed", "" | "Failed") => Failed,
            ("Success" | "Failed" | "TimedOut" | "Cancelled", known) => match known {
                "DeliveryTimedOut" | "Undeliverable" => Unreached,
                "ExecutionTimedOut" => TimedOut,
                "Terminated" | "RateExceeded" | "Incomplete" => NotStarted,
                "AccessDenied" | "InvalidPlatform" => Refused,
                _ if status == "TimedOut" => TimedOut,
                _ if status == "Cancelled" => Cancelled,
                _ => EndedOtherwise,
            },
            _ => Unknown,
        }
    }

    /// Whether it may still do something on the instance.
    #[must_use]
    pub fn is_live(self) -> bool {
        use InvocationStatus::{Pending, Running, Unknown};
        matches!(self, Pending | Running | Unknown)
    }

    /// Whether the instance ran it to its end. With what success says nothing about the worker.
    #[must_use]
    pub fn ran_to_its_end(self) -> bool {
        matches!(self, InvocationStatus::Success | InvocationStatus::Failed)
    }

    /// Whether it certainly never ran on the instance.
    #[must_use]
    pub fn never_ran(self) -> bool {
        use InvocationStatus::{NotStarted, Refused, Unreached};
        matches!(self, Unreached | NotStarted | Refused)
    }
}

fn without_spaces(word: &str) -> String {
    word.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::{CommandStatus, InvocationStatus as S};

    #[test]
    fn the_details_tell_what_the_status_hides_in_both_spellings() {
        for (status, details, read) in [
            ("Pending", "Pending", S::Pending),
            ("Delayed", "Delayed", S::Pending),
            ("InProgress", "InProgress", S::Running),
            ("InProgress", "In Progress", S::Running),
            ("In Progress", "In Progress", S::Running),
            ("Cancelling", "Cancelling", S::Running),
            ("Success", "Success", S::Success),
            ("Success", "", S::Success),
            ("Failed", "Failed", S::Failed),
            ("Failed", "Undeliverable", S::Unreached),
            ("Failed", "Delivery Timed Out", S::Unreached),
            ("TimedOut", "DeliveryTimedOut", S::Unreached),
            ("Timed Out", "Delivery Timed Out", S::Unreached),
            ("TimedOut", "ExecutionTimedOut", S::TimedOut),
            ("TimedOut", "Execution Timed Out", S::TimedOut),
            ("TimedOut", "", S::TimedOut),
            ("Failed", "Terminated", S::NotStarted),
            ("Cancelled", "Terminated", S::NotStarted),
            ("Failed", "Rate Exceeded", S::NotStarted),
            ("Failed", "Access Denied", S::Refused),
            ("Failed", "InvalidPlatform", S::Refused),
            ("Cancelled", "Cancelled", S::Cancelled),
        ] {
            assert_eq!(S::read(status, details), read, "{status} {details}");
        }
    }

    #[test]
    fn a_word_of_a_later_aws_is_never_a_success() {
        for (status, details, read) in [
            ("Rebooting", "", S::Unknown),
            ("Succeeded", "Success", S::Unknown),
            ("success", "success", S::Unknown),
            ("", "", S::Unknown),
            ("Success", "Partly", S::EndedOtherwise),
            ("Success", "In Progress", S::EndedOtherwise),
            ("Failed", "Throttled", S::EndedOtherwise),
        ] {
            assert_eq!(S::read(status, details), read, "{status} {details}");
        }
        assert!(S::Unknown.is_live() && !S::EndedOtherwise.is_live());
        assert!(!S::EndedOtherwise.ran_to_its_end() && !S::EndedOtherwise.never_ran());
        assert_eq!(CommandStatus::read("Paused"), CommandStatus::Unknown);
        assert!(CommandStatus::Unknown.is_live());
        assert_eq!(CommandStatus::read("Timed Out"), CommandStatus::Ended);
    }
}
