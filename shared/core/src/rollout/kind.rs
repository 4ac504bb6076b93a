//! What is done to hosts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Brings a version to every host.
    Deploy,
    /// The same, with an earlier version.
    Rollback,
    Cleanup,
    RefreshSecrets,
    /// Named hosts take no more work, until somebody lets them.
    Drain,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Deploy, Kind::Rollback, Kind::Cleanup, Kind::RefreshSecrets, Kind::Drain];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Deploy => "deploy",
            Kind::Rollback => "rollback",
            Kind::Cleanup => "cleanup",
            Kind::RefreshSecrets => "refresh-secrets",
            Kind::Drain => "drain",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The `Action` of the hosts' document. A rollback names its version like any deploy: what each
    /// host had before may differ.
    pub fn action(self) -> &'static str {
        match self {
            Kind::Deploy | Kind::Rollback => "deploy",
            other => other.as_str(),
        }
    }

    /// It changes which version is in service, so there is one at a time and it has to be proven.
    pub fn is_rollout(self) -> bool {
        matches!(self, Kind::Deploy | Kind::Rollback)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
