//! Clocks against AWS's.

use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

const AREA: &str = "clocks";
/// Heartbeats are fresh for 90 s, and the way to here takes some of it.
const NOTICED_S: u64 = 120;
/// AWS refuses signatures that are further off.
const REFUSED_S: u64 = 300;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let here = Check::new(AREA, "this machine", "Date of AWS's answer");
    let control = Check::new(AREA, "control plane", "at of the status, against AWS's clock");
    let database = Check::new(AREA, "database", "now() of the database, against AWS's clock");
    let Some(ahead) = facts.aws.ahead_s(facts.now) else {
        let nobody = "AWS gave no time to compare with";
        return [here, control, database].map(|check| check.not_checked(nobody)).to_vec();
    };
    let against = |at: UnixMs| at.since(facts.aws_now()) / 1000;
    let told = facts.told("/at").ok().and_then(|at| at.as_str()?.parse::<jiff::Timestamp>().ok());
    vec![
        judge(here, -ahead),
        match told {
            Some(at) => judge(control, against(UnixMs(at.as_millisecond()))),
            None => control.not_checked("the API told no time"),
        },
        match &facts.database.view {
            Reading::Known(view) => judge(database, against(view.snapshot.db_now)),
            Reading::Unknown(_) => database.not_checked("the database was not read"),
        },
    ]
}

fn judge(check: Check, ahead_s: i64) -> Diagnosis {
    let off = ahead_s.unsigned_abs();
    let way = if ahead_s < 0 { "behind AWS" } else { "ahead of AWS" };
    let (finding, fix) = (format!("it is {off} s {way}"), "timedatectl status");
    match off {
        0..=NOTICED_S => check.ok(format!("less than {NOTICED_S} s from AWS's")),
        off if off > REFUSED_S => check.fault(finding, fix),
        _ => check.warning(finding, fix),
    }
}
