//! Stopping a version because a CloudWatch alarm fires.

use super::next::NextInputs;
use super::{Kind, Record};
use fleet_protocol::reading::{Reading, Unknown};
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A CloudWatch alarm in the state `ALARM`. Its texts are cut where they are long, as the record of
/// a rollout has little room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiredAlarm {
    pub name: String,
    /// When its state changed, by CloudWatch's clock.
    pub since: UnixMs,
    /// CloudWatch's own words.
    pub reason: String,
}

impl FiredAlarm {
    /// Bytes of a name that are kept.
    pub const NAME: usize = 100;
    /// Bytes of a reason that are kept.
    pub const REASON: usize = 120;
}

impl fmt::Display for FiredAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FiredAlarm { name, since, reason } = self;
        write!(f, "CloudWatch alarm {name} has been in ALARM since {}", since)?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

impl Record {
    /// Whether an alarm stops it: while a version goes out, and not while hosts go back, which is
    /// what an alarm asks for.
    #[must_use]
    pub fn heeds_alarms(&self) -> bool {
        self.kind == Kind::Deploy && !self.undo
    }
}

impl NextInputs<'_> {
    /// The alarm that stops the version. One that fired before the rollout began does not, as the
    /// version may be what ends it; Amazon ECS passes over such alarms likewise (its developer
    /// guide, "How CloudWatch alarms detect Amazon ECS deployment failures").
    pub(super) fn fired_alarm(&self) -> Option<&FiredAlarm> {
        let fired = self.alarms.and_then(Reading::known)?;
        fired.iter().find(|alarm| alarm.since >= self.record.at)
    }

    /// Why nobody knows whether an alarm fires.
    pub(super) fn alarms_unknown(&self) -> Option<&Unknown> {
        match self.alarms {
            Some(Reading::Unknown(source)) => Some(source),
            Some(Reading::Known(_)) | None => None,
        }
    }
}
