//! What a passport cannot say, and why.

use super::LogsQuery;
use fleet_protocol::reading::UnknownCause;
use serde::Serialize;

/// A part of the passport that is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub part: MissingPart,
    pub reason: MissingReason,
    /// For a person: what is not known, and where it may still be found.
    pub detail: String,
    /// Where it can be looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<LogsQuery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPart {
    /// When it was enqueued.
    Enqueued,
    /// When it was due first.
    Due,
    /// When it ended.
    End,
    /// Whether it is past its expiry.
    Expiry,
    Retries,
    /// When earlier attempts began and ended, and what they cost.
    EarlierAttempts,
    /// The application's word of how it went.
    Application,
    /// Who took it.
    Worker,
    /// The machine it ran on.
    Instance,
    /// When that machine was launched.
    Launch,
    /// When the worker registered.
    Registration,
    /// When its worker became free for it.
    JobBefore,
    /// The version that ran it.
    Version,
    /// The tick that counted it first, and what was decided.
    Decision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The source keeps the newest value only.
    Overwritten,
    /// The source has it no more, or never had it.
    NotKept,
    /// The database's role may not read it.
    NotReadable,
    /// It is in a source that this function does not ask.
    NotLookedUp,
    /// The source was asked and did not answer.
    SourceDown,
}

impl Missing {
    pub(super) fn new(part: MissingPart, reason: MissingReason, detail: impl Into<String>) -> Self {
        Missing { part, reason, detail: detail.into(), query: None }
    }

    /// For a source that gave no answer.
    pub(super) fn of(part: MissingPart, unknown: &fleet_protocol::reading::Unknown) -> Self {
        let reason = match unknown.cause {
            UnknownCause::Missing => MissingReason::NotKept,
            UnknownCause::NotAsked => MissingReason::NotLookedUp,
            UnknownCause::Unreachable
            | UnknownCause::TimedOut
            | UnknownCause::Failed
            | UnknownCause::Unreadable => MissingReason::SourceDown,
        };
        Missing::new(part, reason, &*unknown.detail)
    }
}
