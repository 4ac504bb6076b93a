//! What a host can be asked to do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The `Action` of the hosts' SSM document, which is the command of the host binary too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Drain,
    Deploy,
    Rollback,
    Cleanup,
    RefreshSecrets,
    Status,
    /// Takes an order back that waits for a job.
    TakeBack,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Action {
    /// Those that the document takes, in its order.
    pub const ALL: [Action; 7] = [
        Action::Drain,
        Action::Deploy,
        Action::Rollback,
        Action::Cleanup,
        Action::RefreshSecrets,
        Action::Status,
        Action::TakeBack,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Drain => "drain",
            Action::Deploy => "deploy",
            Action::Rollback => "rollback",
            Action::Cleanup => "cleanup",
            Action::RefreshSecrets => "refresh-secrets",
            Action::Status => "status",
            Action::TakeBack => "take-back",
            Action::Unknown => "unknown",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Action> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_in_json_are_the_same() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{action}\""));
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        assert_eq!(serde_json::from_str::<Action>("\"teleport\"").unwrap(), Action::Unknown);
        assert_eq!(Action::parse("unknown"), None);
    }
}
