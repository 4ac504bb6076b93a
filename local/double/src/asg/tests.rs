//! The groups one rule at a time, on a clock that only the test moves.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    ActionKey, AutoScaling, GroupSpec, GroupUpdate, HookResult, HookSpec, LifecycleState,
    TransitionKind,
};

const BOOT: u64 = 60;
const SHUTDOWN: u64 = 5;

struct Fixture {
    asg: AutoScaling,
    start: Timestamp,
}

impl Fixture {
    /// A group `g` of 1 to 4 instances whose first instances are in service at second 60.
    fn new(desired: u32, hooks: Vec<HookSpec>) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let times = (Duration::from_secs(BOOT), Duration::from_secs(SHUTDOWN));
        let mut asg = AutoScaling::new("us-east-1", "000000000000", times, 7, start);
        let mut spec = GroupSpec::new("g", 1, 4).desired(desired);
        spec.hooks = hooks;
        asg.create_simple(spec).expect("a group");
        let mut fixture = Self { asg, start };
        fixture.at(BOOT);
        fixture
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.asg.advance(self.start + Duration::from_secs(seconds));
        self
    }

    fn ids(&self) -> Vec<String> {
        self.asg.group("g").expect("g").instances.iter().map(|i| i.id.clone()).collect()
    }

    fn states(&self) -> Vec<LifecycleState> {
        self.asg.group("g").expect("g").instances.iter().map(|i| i.state).collect()
    }

    fn kinds(&mut self) -> Vec<TransitionKind> {
        self.asg.take_transitions().iter().map(|t| t.kind).collect()
    }

    fn desired(&self) -> u32 {
        self.asg.group("g").expect("g").desired
    }
}

fn key(hook: &str, instance: &str) -> ActionKey {
    ActionKey { hook: hook.to_owned(), token: None, instance: Some(instance.to_owned()) }
}

use LifecycleState::{
    InService, Pending, PendingWait, Terminating, TerminatingProceed, TerminatingWait,
};

#[test]
fn an_instance_boots_for_its_time_and_not_a_moment_less() {
    let mut f = Fixture::new(1, vec![]);
    f.asg.set_desired("g", 2, false).expect("within bounds");
    f.asg.advance(f.start + Duration::from_millis(BOOT * 2000 - 1));
    assert_eq!(f.states(), [InService, Pending]);
    f.at(BOOT * 2);
    assert_eq!(f.states(), [InService, InService]);
}

#[test]
fn desired_capacity_stays_inside_the_bounds_and_says_so_in_aws_words() {
    let mut f = Fixture::new(1, vec![]);
    let error = f.asg.set_desired("g", 9, false).expect_err("above max");
    assert_eq!(error.code, "ValidationError");
    assert_eq!(
        error.message,
        "New SetDesiredCapacity value 9 is above max value 4 for the AutoScalingGroup."
    );
    let error = f.asg.set_desired("g", 0, false).expect_err("below min");
    assert!(error.message.contains("is below min value 1"), "{error}");
    assert!(f.asg.set_desired("ghost", 1, false).is_err());
    assert_eq!(f.desired(), 1);
}

#[test]
fn scale_in_takes_the_oldest_unprotected_whatever_it_does() {
    let mut f = Fixture::new(3, vec![]);
    let ids = f.ids();
    f.asg.set_protection("g", &ids[..1], true).expect("in service");
    f.asg.set_desired("g", 2, false).expect("within bounds");
    assert_eq!(f.states(), [InService, Terminating, InService]);
    f.at(BOOT + SHUTDOWN);
    assert_eq!(f.ids(), [ids[0].clone(), ids[2].clone()]);
}

#[test]
fn with_everybody_protected_desired_drops_and_the_group_waits() {
    let mut f = Fixture::new(2, vec![]);
    let ids = f.ids();
    f.asg.set_protection("g", &ids, true).expect("in service");
    f.asg.set_desired("g", 1, false).expect("within bounds");
    f.at(BOOT + 3600);
    assert_eq!((f.states(), f.desired()), (vec![InService, InService], 1));
    f.asg.set_protection("g", &ids[1..], false).expect("in service");
    f.at(BOOT + 3600 + SHUTDOWN);
    assert_eq!(f.ids(), ids[..1]);
}

#[test]
fn terminate_with_decrement_is_refused_at_the_minimum_and_for_strangers() {
    let mut f = Fixture::new(2, vec![]);
    let ids = f.ids();
    let (group, activity) = f.asg.terminate_instance(&ids[1], true).expect("above the minimum");
    assert_eq!((group.as_str(), activity.status, activity.progress), ("g", "InProgress", 0));
    assert!(activity.cause.contains("shrinking the capacity from 2 to 1"), "{}", activity.cause);
    let again = f.asg.terminate_instance(&ids[1], true).expect_err("on its way out");
    assert_eq!(again.code, "ScalingActivityInProgress");
    let error = f.asg.terminate_instance(&ids[0], true).expect_err("at the minimum");
    assert!(error.message.starts_with("Currently, desiredSize equals minSize (1)."), "{error}");
    let error = f.asg.terminate_instance("i-nobody", false).expect_err("unknown");
    assert!(error.message.contains("No managed instance found"), "{error}");
    assert_eq!(f.desired(), 1);
}

#[test]
fn terminate_without_decrement_launches_a_replacement() {
    let mut f = Fixture::new(1, vec![]);
    let ids = f.ids();
    f.asg.terminate_instance(&ids[0], false).expect("known");
    assert_eq!((f.states(), f.desired()), (vec![Terminating, Pending], 1));
}

#[test]
fn a_terminate_hook_holds_the_machine_until_it_is_completed() {
    let mut f = Fixture::new(2, vec![HookSpec::terminating("drain", 300)]);
    let id = f.ids()[0].clone();
    f.asg.terminate_instance(&id, true).expect("above the minimum");
    assert_eq!(f.states(), [TerminatingWait, InService]);
    for wrong in [key("other", &id), key("drain", "i-nobody")] {
        let error = f.asg.complete_action("g", &wrong, HookResult::Continue).expect_err("wrong");
        assert!(error.message.starts_with("No active Lifecycle Action found"), "{error}");
    }
    f.asg.complete_action("g", &key("drain", &id), HookResult::Continue).expect("waiting");
    assert_eq!(f.states(), [TerminatingProceed, InService]);
    assert!(f.asg.complete_action("g", &key("drain", &id), HookResult::Continue).is_err());
    f.kinds();
    f.at(BOOT + SHUTDOWN);
    assert_eq!(f.kinds(), [TransitionKind::Terminated]);
}

#[test]
fn heartbeats_restart_the_timeout_but_not_the_global_one() {
    let mut f = Fixture::new(2, vec![HookSpec::terminating("drain", 30)]);
    let id = f.ids()[0].clone();
    f.asg.terminate_instance(&id, true).expect("above the minimum");
    // 100 heartbeats of 30 s are the most a wait can last.
    for step in 1..=150_u64 {
        f.at(BOOT + step * 20);
        if f.asg.heartbeat("g", &key("drain", &id)).is_err() {
            assert_eq!(step * 20, 3000);
            assert_eq!(f.states(), [TerminatingProceed, InService]);
            return;
        }
    }
    panic!("the global timeout never struck");
}

#[test]
fn without_a_heartbeat_the_default_result_is_applied_on_time() {
    let mut f = Fixture::new(2, vec![HookSpec::terminating("drain", 300)]);
    let id = f.ids()[0].clone();
    f.asg.terminate_instance(&id, true).expect("above the minimum");
    f.at(BOOT + 299);
    assert_eq!(f.states(), [TerminatingWait, InService]);
    f.at(BOOT + 300);
    assert_eq!(f.states(), [TerminatingProceed, InService]);
}

#[test]
fn hooks_wait_side_by_side_and_abandon_skips_the_rest() {
    let hooks = vec![HookSpec::terminating("a", 300), HookSpec::terminating("b", 600)];
    let mut f = Fixture::new(3, hooks);
    let ids = f.ids();
    for id in &ids[..2] {
        f.asg.terminate_instance(id, true).expect("above the minimum");
    }
    f.asg.complete_action("g", &key("a", &ids[0]), HookResult::Continue).expect("waiting");
    f.asg.complete_action("g", &key("a", &ids[1]), HookResult::Abandon).expect("waiting");
    assert_eq!(f.states(), [TerminatingWait, TerminatingProceed, InService]);
    f.asg.complete_action("g", &key("b", &ids[0]), HookResult::Continue).expect("waiting");
    assert_eq!(f.states(), [TerminatingProceed, TerminatingProceed, InService]);
}

#[test]
fn an_abandoned_launch_is_terminated_and_replaced() {
    let hook =
        HookSpec { direction: super::Direction::Launching, ..HookSpec::terminating("ready", 300) };
    let mut f = Fixture::new(1, vec![hook]);
    assert_eq!(f.states(), [PendingWait]);
    let id = f.ids()[0].clone();
    f.asg.complete_action("g", &key("ready", &id), HookResult::Abandon).expect("waiting");
    assert_eq!(f.states(), [Terminating, Pending]);
    f.at(BOOT * 2);
    let id = f.ids()[0].clone();
    f.asg.complete_action("g", &key("ready", &id), HookResult::Continue).expect("waiting");
    assert_eq!(f.states(), [InService]);
}

#[test]
fn a_lost_machine_runs_through_the_hook_and_is_replaced() {
    let mut f = Fixture::new(1, vec![HookSpec::terminating("drain", 300)]);
    let id = f.ids()[0].clone();
    f.kinds();
    f.asg.lose_instance(&id).expect("known");
    assert_eq!(f.states(), [TerminatingWait, Pending]);
    assert_eq!(
        f.kinds(),
        [TransitionKind::Lost, TransitionKind::TerminatingWait, TransitionKind::Launching]
    );
}

#[test]
fn suspended_processes_hold_the_group_still() {
    let mut f = Fixture::new(2, vec![]);
    f.asg.suspend("g", &["Terminate".to_owned()]).expect("a process");
    f.asg.set_desired("g", 1, false).expect("within bounds");
    f.asg.set_health(&f.ids()[0], false, true).expect("known");
    f.at(BOOT * 10);
    assert_eq!(f.states(), [InService, InService]);
    f.asg.suspend("g", &["Launch".to_owned()]).expect("a process");
    f.asg.resume("g", &["Terminate".to_owned()]).expect("a process");
    assert_eq!(f.states(), [Terminating, InService]);
    f.asg.set_desired("g", 3, false).expect("within bounds");
    f.at(BOOT * 20);
    assert_eq!(f.states(), [InService], "nothing is launched");
    f.asg.resume("g", &[]).expect("all of them");
    assert_eq!(f.states(), [InService, Pending, Pending]);
    assert!(f.asg.suspend("g", &["Nap".to_owned()]).is_err());
}

#[test]
fn grace_holds_back_the_health_check_unless_told_not_to() {
    let mut f = Fixture::new(1, vec![]);
    let update = GroupUpdate { grace_seconds: Some(100), ..GroupUpdate::default() };
    f.asg.update_group("g", update).expect("legal");
    let id = f.ids()[0].clone();
    f.asg.set_health(&id, false, true).expect("known");
    assert_eq!(f.states(), [InService]);
    f.asg.set_health(&id, false, false).expect("known");
    assert_eq!(f.states(), [Terminating, Pending]);
}

#[test]
fn bounds_that_exclude_the_desired_capacity_move_it() {
    let mut f = Fixture::new(4, vec![]);
    let update = |min, max, desired| GroupUpdate { min, max, desired, ..GroupUpdate::default() };
    f.asg.update_group("g", update(None, Some(2), None)).expect("legal");
    assert_eq!(f.desired(), 2);
    f.asg.update_group("g", update(Some(3), Some(5), None)).expect("legal");
    assert_eq!(f.desired(), 3);
    assert!(f.asg.update_group("g", update(Some(6), None, None)).is_err());
    let error = f.asg.update_group("g", update(None, None, Some(9))).expect_err("outside");
    assert!(error.message.starts_with("Desired capacity:9 must be between"), "{error}");
}

#[test]
fn the_cooldown_blocks_only_those_who_honor_it() {
    let mut f = Fixture::new(1, vec![]);
    f.asg.set_desired("g", 2, false).expect("within bounds");
    let error = f.asg.set_desired("g", 3, true).expect_err("cooling down");
    assert_eq!(error.code, "ScalingActivityInProgress");
    f.asg.set_desired("g", 3, false).expect("not asked to honor it");
    f.at(BOOT + 300);
    f.asg.set_desired("g", 2, true).expect("cooled down");
}

#[test]
fn a_group_with_instances_goes_only_by_force_and_without_hooks() {
    let mut f = Fixture::new(2, vec![HookSpec::terminating("drain", 300)]);
    assert_eq!(f.asg.delete_group("g", false).expect_err("in use").code, "ResourceInUse");
    f.asg.terminate_instance(&f.ids()[0].clone(), true).expect("above the minimum");
    f.asg.delete_group("g", true).expect("by force");
    assert_eq!(f.states(), [TerminatingProceed, Terminating]);
    f.at(BOOT + SHUTDOWN);
    assert!(f.asg.group("g").is_err());
}

#[test]
fn one_refresh_at_a_time() {
    let mut f = Fixture::new(1, vec![]);
    let error = f.asg.cancel_refresh("g").expect_err("none runs");
    assert_eq!(error.code, "ActiveInstanceRefreshNotFound");
    let id = f.asg.start_refresh("g").expect("none runs");
    let error = f.asg.start_refresh("g").expect_err("one runs");
    assert_eq!(error.code, "InstanceRefreshInProgress");
    assert_eq!(f.asg.cancel_refresh("g"), Ok(id));
    assert_eq!(f.asg.group("g").expect("g").refreshes[0].status, "Cancelled");
}

#[test]
fn history_tells_why() {
    let mut f = Fixture::new(1, vec![]);
    f.asg.set_desired("g", 2, false).expect("within bounds");
    f.at(BOOT * 2);
    let activities = &f.asg.group("g").expect("g").activities;
    assert_eq!(
        activities[0].cause,
        "At 2026-01-01T00:01:00Z a user request explicitly set group desired capacity changing the desired capacity from 1 to 2.  \
         At 2026-01-01T00:01:00Z an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 1 to 2."
    );
    assert_eq!((activities[0].status, activities[0].progress), ("Successful", 100));
}
