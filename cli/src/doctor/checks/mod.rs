//! The checks: facts in, findings out, and no call in between.

mod access;
mod alarms;
mod bill;
mod clocks;
mod database;
mod group;
mod hosts;
mod instances;
mod jobs;
mod scaling;
mod secrets;
mod versions;
mod workers;

use super::diagnosis::Diagnosis;
use super::facts::Facts;

/// Every finding, in the order in which one would look.
#[must_use]
pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let areas: [fn(&Facts) -> Vec<Diagnosis>; 13] = [
        access::findings,
        group::findings,
        instances::findings,
        hosts::findings,
        secrets::findings,
        database::findings,
        workers::findings,
        jobs::findings,
        scaling::findings,
        versions::findings,
        alarms::findings,
        clocks::findings,
        bill::findings,
    ];
    areas.iter().flat_map(|area| area(facts)).collect()
}

/// Names in a sentence, the first few of them.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const MOST: usize = 5;
    let named = names.iter().take(MOST).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::diagnosis::State;
    use crate::doctor::facts::{AwsFacts, Caller, DatabaseFacts, Names, ProbeFailure, not_asked};
    use crate::finish::Failure;
    use fleet_clients::checkup::{CheckedGroup, Hook, Identity};
    use fleet_core::scaling::Group;
    use fleet_protocol::ids::GroupName;
    use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
    use fleet_protocol::time::UnixMs;

    const NOW: UnixMs = UnixMs(1_764_000_000_000);

    /// No source told anything.
    fn nothing() -> Facts {
        let down = Unknown { cause: UnknownCause::Unreachable, detail: "no answer".to_owned() };
        let names = Names {
            group: None,
            environment: None,
            hook: "ghosthands-drain-hook".to_owned(),
            document: "GhostHands-Host".to_owned(),
            fleet_secret: None,
            host_secret: None,
        };
        Facts {
            now: NOW,
            names,
            api: Err(Failure::unavailable("no answer")),
            aws: AwsFacts::none(None, Caller::Unknown("no answer".to_owned()), "no answer"),
            database: DatabaseFacts {
                from: "nowhere".to_owned(),
                probe: Err(ProbeFailure { answered: false, why: down }),
                view: not_asked("no answer"),
            },
        }
    }

    fn one(facts: &Facts, area: &str, check: &str) -> Diagnosis {
        let mut found = findings(facts).into_iter();
        found.find(|it| (it.area, it.check) == (area, check)).expect("such a check")
    }

    #[test]
    fn what_nobody_told_is_neither_good_nor_bad() {
        let found = findings(&nothing());
        assert!(found.len() >= 30, "{}", found.len());
        let other: Vec<_> = found.iter().filter(|it| it.state != State::NotChecked).collect();
        assert!(other.is_empty(), "{other:#?}");
        assert!(found.iter().all(|it| !it.finding.is_empty() && !it.looked_at.is_empty()));
    }

    #[test]
    fn a_group_that_does_not_exist_is_a_fault_and_its_parts_are_not_looked_for() {
        let mut facts = nothing();
        let detail = "there is no Auto Scaling group g".to_owned();
        facts.aws.group = Reading::Unknown(Unknown { cause: UnknownCause::Missing, detail });
        assert_eq!(one(&facts, "group", "group").state, State::Fault);
        assert_eq!(findings(&facts).iter().filter(|it| it.area == "group").count(), 1);
    }

    #[test]
    fn a_hook_of_launches_by_our_name_holds_nobody_who_leaves() {
        let mut facts = nothing();
        let group = Group {
            name: GroupName::new("g"),
            min: 0,
            max: 1,
            desired: 0,
            instances: Vec::new(),
            suspended: Vec::new(),
            tags: Vec::new(),
            not_instances: None,
            stopped: Vec::new(),
        };
        facts.aws.group = Reading::Known(CheckedGroup { group, retains: true, template: None });
        let hook = Hook {
            name: facts.names.hook.clone(),
            transition: "autoscaling:EC2_INSTANCE_LAUNCHING".to_owned(),
            heartbeat_s: 300,
            default_result: "ABANDON".to_owned(),
        };
        facts.aws.hooks = Reading::Known(vec![hook]);
        let found = one(&facts, "group", "drain hook");
        assert_eq!(found.state, State::Fault);
        assert!(found.finding.contains("nothing holds a leaving instance"), "{}", found.finding);
    }

    #[test]
    fn a_clock_is_judged_by_awss_both_ways() {
        let mut facts = nothing();
        for (ahead_s, state) in [
            (0, State::Ok),
            (120, State::Ok),
            (121, State::Warning),
            (-300, State::Warning),
            (301, State::Fault),
            (-3_600, State::Fault),
        ] {
            let at = Some(UnixMs(NOW.0 + ahead_s * 1000));
            facts.aws.caller = Caller::Known(Identity { at, ..Identity::default() });
            assert_eq!(one(&facts, "clocks", "this machine").state, state, "{ahead_s}");
        }
    }
}
