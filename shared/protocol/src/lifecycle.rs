//! The lifecycle state of an instance in its Auto Scaling group, and the questions that the fleet
//! asks of it.
//!
//! Each question is one method here, so that scaling, drains, rollouts and the status page cannot
//! disagree about a state.
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>

use serde::{Deserialize, Serialize};
use std::fmt;

/// A state that AWS adds later is kept up to this length.
const OTHER_CHARS: usize = 64;

macro_rules! states {
    ($($state:ident = $word:literal,)*) => {
        /// A lifecycle state. In JSON it is AWS's own word.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum LifecycleState {
            $(#[doc = concat!("`", $word, "`")] $state,)*
            /// A word that this version does not know.
            Other(String),
        }

        impl LifecycleState {
            /// Every state that this version knows.
            pub const KNOWN: &[LifecycleState] = &[$(LifecycleState::$state,)*];

            /// The state as AWS spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(LifecycleState::$state => $word,)*
                    LifecycleState::Other(word) => word,
                }
            }
        }

        impl From<&str> for LifecycleState {
            fn from(word: &str) -> Self {
                match word {
                    $($word => LifecycleState::$state,)*
                    other => LifecycleState::Other(other.chars().take(OTHER_CHARS).collect()),
                }
            }
        }
    };
}

// The values of `LifecycleState` in the Auto Scaling API's model of 2026.
states! {
    Pending = "Pending",
    PendingWait = "Pending:Wait",
    PendingProceed = "Pending:Proceed",
    InService = "InService",
    EnteringStandby = "EnteringStandby",
    Standby = "Standby",
    Quarantined = "Quarantined",
    ReplacingRootVolume = "ReplacingRootVolume",
    ReplacingRootVolumeWait = "ReplacingRootVolume:Wait",
    ReplacingRootVolumeProceed = "ReplacingRootVolume:Proceed",
    RootVolumeReplaced = "RootVolumeReplaced",
    Detaching = "Detaching",
    Detached = "Detached",
    Terminating = "Terminating",
    TerminatingWait = "Terminating:Wait",
    TerminatingProceed = "Terminating:Proceed",
    TerminatingRetained = "Terminating:Retained",
    Terminated = "Terminated",
    WarmedPending = "Warmed:Pending",
    WarmedPendingWait = "Warmed:Pending:Wait",
    WarmedPendingProceed = "Warmed:Pending:Proceed",
    WarmedPendingRetained = "Warmed:Pending:Retained",
    WarmedRunning = "Warmed:Running",
    WarmedStopped = "Warmed:Stopped",
    WarmedHibernated = "Warmed:Hibernated",
    WarmedTerminating = "Warmed:Terminating",
    WarmedTerminatingWait = "Warmed:Terminating:Wait",
    WarmedTerminatingProceed = "Warmed:Terminating:Proceed",
    WarmedTerminatingRetained = "Warmed:Terminating:Retained",
    WarmedTerminated = "Warmed:Terminated",
}

impl LifecycleState {
    /// Whether its worker is capacity now. `Standby` is not: a person took it out.
    #[must_use]
    pub fn is_capacity(&self) -> bool {
        *self == LifecycleState::InService
    }

    /// Whether it becomes capacity by itself: it boots, or its root volume is being replaced, after
    /// which it boots.
    #[must_use]
    pub fn is_booting(&self) -> bool {
        ["Pending", "ReplacingRootVolume", "RootVolumeReplaced"].contains(&self.family())
    }

    /// Whether it is on its way out of the group, or out already.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        ["Terminating", "Terminated", "Detaching", "Detached"].contains(&self.family())
    }

    /// Whether the terminate hook holds it, so that a heartbeat or a completion is for it.
    #[must_use]
    pub fn waits_on_terminate_hook(&self) -> bool {
        *self == LifecycleState::TerminatingWait
    }

    /// Whether its hook ran out and the group kept the machine running, at full price.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        *self == LifecycleState::TerminatingRetained
    }

    /// Whether it is in the group's warm pool, which the fleet does not support.
    #[must_use]
    pub fn is_in_warm_pool(&self) -> bool {
        self.family() == "Warmed"
    }

    /// Whether a rollout sends it commands and counts the version that it runs: it serves, or a
    /// person keeps it aside and may put it back.
    #[must_use]
    pub fn takes_rollouts(&self) -> bool {
        use LifecycleState::{EnteringStandby, InService, Standby};
        matches!(self, InService | EnteringStandby | Standby)
    }

    /// Whether a machine runs and is paid by the hour. One of an unknown state counts.
    #[must_use]
    pub fn has_running_machine(&self) -> bool {
        use LifecycleState::{Terminated, WarmedHibernated, WarmedStopped, WarmedTerminated};
        !matches!(self, Terminated | WarmedHibernated | WarmedStopped | WarmedTerminated)
    }

    /// Whether this version knows the word.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, LifecycleState::Other(_))
    }

    /// The word up to the first colon: AWS names the steps of a state `Terminating:Wait`, so a step
    /// that it adds later still tells where it belongs.
    fn family(&self) -> &str {
        self.as_str().split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for LifecycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for LifecycleState {
    fn from(word: String) -> Self {
        LifecycleState::from(word.as_str())
    }
}

impl From<LifecycleState> for String {
    fn from(state: LifecycleState) -> String {
        match state {
            LifecycleState::Other(word) => word,
            known => known.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers for one state: capacity, booting, leaving, waits on the hook, retained, warm
    /// pool, takes rollouts, running machine.
    fn answers(word: &str) -> String {
        let state = LifecycleState::from(word);
        [
            (state.is_capacity(), 'c'),
            (state.is_booting(), 'b'),
            (state.is_leaving(), 'l'),
            (state.waits_on_terminate_hook(), 'w'),
            (state.is_retained(), 'r'),
            (state.is_in_warm_pool(), 'p'),
            (state.takes_rollouts(), 'o'),
            (state.has_running_machine(), 'm'),
        ]
        .into_iter()
        .filter_map(|(yes, letter)| yes.then_some(letter))
        .collect()
    }

    #[test]
    fn every_question_is_decided_for_every_state() {
        let decided = [
            ("Pending", "bm"),
            ("Pending:Wait", "bm"),
            ("Pending:Proceed", "bm"),
            ("InService", "com"),
            ("EnteringStandby", "om"),
            ("Standby", "om"),
            ("Quarantined", "m"),
            ("ReplacingRootVolume", "bm"),
            ("ReplacingRootVolume:Wait", "bm"),
            ("ReplacingRootVolume:Proceed", "bm"),
            ("RootVolumeReplaced", "bm"),
            ("Detaching", "lm"),
            ("Detached", "lm"),
            ("Terminating", "lm"),
            ("Terminating:Wait", "lwm"),
            ("Terminating:Proceed", "lm"),
            ("Terminating:Retained", "lrm"),
            ("Terminated", "l"),
            ("Warmed:Pending", "pm"),
            ("Warmed:Pending:Wait", "pm"),
            ("Warmed:Pending:Proceed", "pm"),
            ("Warmed:Pending:Retained", "pm"),
            ("Warmed:Running", "pm"),
            ("Warmed:Stopped", "p"),
            ("Warmed:Hibernated", "p"),
            ("Warmed:Terminating", "pm"),
            ("Warmed:Terminating:Wait", "pm"),
            ("Warmed:Terminating:Proceed", "pm"),
            ("Warmed:Terminating:Retained", "pm"),
            ("Warmed:Terminated", "p"),
        ];
        for (word, expected) in decided {
            assert_eq!(answers(word), expected, "{word}");
        }
        let known: Vec<&str> = LifecycleState::KNOWN.iter().map(LifecycleState::as_str).collect();
        assert_eq!(known, decided.map(|(word, _)| word));
    }

    #[test]
    fn a_state_of_a_later_aws_is_no_capacity_and_nothing_is_held_or_sent_for_it() {
        for (word, expected) in [
            ("Pausing", "m"),
            ("Quarantined:New", "m"),
            ("Terminating:Later", "lm"),
            ("Pending:Later", "bm"),
            ("Warmed:Later", "pm"),
            ("inservice", "m"),
            ("", "m"),
        ] {
            assert_eq!(answers(word), expected, "{word}");
            assert!(!LifecycleState::from(word).is_known(), "{word}");
        }
    }

    #[test]
    fn records_keep_awss_own_words() {
        for word in ["Terminating:Wait", "Pausing"] {
            let json = format!("{word:?}");
            let state: LifecycleState = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
            assert_eq!(state.to_string(), word);
        }
        assert_eq!(LifecycleState::from("x".repeat(1000)).as_str().len(), OTHER_CHARS);
    }
}
