//! What a source answered, or why it gave no answer: a failure is never the same value as an empty
//! answer.

use serde::{Deserialize, Serialize};

/// A source's answer, or why there is none. There is no default on purpose: a failure cannot turn
/// into a zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    Known(T),
    Unknown(Unknown),
}

impl<T> Reading<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Reading::Known(value) => Some(value),
            Reading::Unknown(_) => None,
        }
    }
}

/// Why a source gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    pub cause: UnknownCause,
    /// For a person: what was tried and what came back. Never holds a secret.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCause {
    /// It could not be reached, refused the connection or its certificate did not prove who it is.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// It answered with an error.
    Failed,
    /// What was asked for does not exist: a missing queue, schema or group. A configuration error,
    /// never a zero.
    Missing,
    /// It answered with something this version cannot read.
    Unreadable,
    /// It was not asked, because asking would have cost too much or another source already failed.
    NotAsked,
}
