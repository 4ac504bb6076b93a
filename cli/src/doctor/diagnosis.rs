//! What a check found.

use fleet_protocol::reading::{Unknown, UnknownCause};
use serde::Serialize;

/// How it is, from best to worst but for the last, which nobody could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works, and will not for long or not as it should.
    Warning,
    /// It does not work.
    Fault,
    /// Its source said nothing.
    NotChecked,
}

impl State {
    pub const ALL: [State; 4] = [State::Ok, State::Warning, State::Fault, State::NotChecked];

    /// As the table has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Fault => "FAULT",
            State::NotChecked => "not checked",
        }
    }
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    pub area: &'static str,
    pub check: &'static str,
    /// Which calls, rows or answers it was found in.
    pub looked_at: String,
    pub state: State,
    pub finding: String,
    /// A command that mends it, or shows more where only a person can decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// A check that has not found anything yet.
#[derive(Clone, Debug)]
pub(super) struct Check {
    area: &'static str,
    name: &'static str,
    looked_at: String,
}

impl Check {
    pub(super) fn new(
        area: &'static str,
        name: &'static str,
        looked_at: impl Into<String>,
    ) -> Check {
        Check { area, name, looked_at: looked_at.into() }
    }

    pub(super) fn ok(self, finding: impl Into<String>) -> Diagnosis {
        self.found(State::Ok, finding.into(), None)
    }

    pub(super) fn warning(self, finding: impl Into<String>, fix: impl Into<String>) -> Diagnosis {
        self.found(State::Warning, finding.into(), Some(fix.into()))
    }

    pub(super) fn fault(self, finding: impl Into<String>, fix: impl Into<String>) -> Diagnosis {
        self.found(State::Fault, finding.into(), Some(fix.into()))
    }

    /// What AWS or the database said in place of an answer. What does not exist is a fault; what
    /// did not answer is not checked.
    pub(super) fn unknown(self, why: &Unknown, fix: impl Into<String>) -> Diagnosis {
        match why.cause {
            UnknownCause::Missing => self.fault(&why.detail, fix),
            _ => self.not_checked(&why.detail),
        }
    }

    pub(super) fn not_checked(self, why: impl Into<String>) -> Diagnosis {
        let why = why.into();
        let denied = ["AccessDenied", "UnauthorizedOperation", "AuthorizationError"];
        let policy = "aws iam put-role-policy --role-name YOUR_ROLE --policy-name ghfleet-doctor \
                      --policy-document file://docs/policies/doctor.json";
        let fix = denied.iter().any(|code| why.contains(code)).then(|| policy.to_owned());
        self.found(State::NotChecked, why, fix)
    }

    fn found(self, state: State, finding: String, fix: Option<String>) -> Diagnosis {
        let Check { area, name, looked_at } = self;
        Diagnosis { area, check: name, looked_at, state, finding, fix }
    }
}
