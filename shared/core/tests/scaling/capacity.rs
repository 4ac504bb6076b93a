//! Capacity is what can take a job, and a group that does not follow says why.

use crate::fleet::*;
use fleet_core::scaling::*;
use fleet_protocol::ids::WorkerId;
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;

fn ago(seconds: i64) -> UnixMs {
    UnixMs(NOW.0 - seconds * 1000)
}

fn decided(inputs: &Inputs) -> Decision {
    decide(inputs).decision
}

/// `state` in which this worker has been unable to take a job for so long.
fn unable(mut state: State, n: u32, seconds: i64, why: Unable) -> State {
    state.unable.push(UnableWorker { instance: instance(n), since: ago(seconds), why });
    state
}

fn rows(queue: &mut QueueSnapshot) -> &mut Vec<WorkerRow> {
    let Reading::Known(rows) = &mut queue.workers else { panic!("known") };
    rows
}

fn named(decision: &Decision) -> Vec<(String, Unable)> {
    let workers = decision.notes.iter().find_map(|note| match note {
        Note::UnableWorkers { workers } => Some(workers),
        _ => None,
    });
    let name = |one: &UnableWorker| (one.instance.to_string(), one.why);
    workers.into_iter().flatten().map(name).collect()
}

/// A worker that hangs on a job which pg-boss has given up: its machine is taken.
#[test]
fn a_busy_row_occupies_its_machine_whatever_pg_boss_says_of_the_job() {
    let mut swept = queue(1, 1, 1);
    swept.general = counts(1, 0);
    let decision = decided(&inputs(released(1), swept.clone(), group(1)));
    assert_eq!(decision.need, Some(2));
    assert_eq!(decision.action, ScalingAction::SetDesired { desired: 2 });
    // Past its expiry is the same.
    let expired = ActiveCounts { live: 0, expired: 1, newest_start: None };
    swept.general.active = Reading::Known(expired);
    assert_eq!(decided(&inputs(released(1), swept, group(1))).desired, Some(2));
}

/// Every way in which the only worker cannot take the ready job, while its machine is in service.
#[test]
fn a_machine_whose_worker_cannot_take_a_job_is_no_capacity_after_the_grace() {
    type Change = fn(&mut Vec<WorkerRow>);
    let cases: [(Unable, Change); 5] = [
        (Unable::NoRow, Vec::clear),
        (Unable::Silent, |rows| rows[0].last_heartbeat = ago(91)),
        // A clock set back: the row is of the future and proves nothing.
        (Unable::Silent, |rows| rows[0].last_heartbeat = ago(-60)),
        (Unable::Draining, |rows| rows[0].status = WorkerStatus::Draining),
        (Unable::NotAccepting, |rows| rows[0].accepting = Some(false)),
    ];
    for (why, change) in cases {
        let mut queue = queue(1, 0, 1);
        change(rows(&mut queue));
        let grace = unable(released(1), 0, 189, why);
        let booting = decided(&inputs(grace, queue.clone(), group(1)));
        assert_eq!(booting.action, ScalingAction::Nothing, "{why:?}: it may still boot");
        assert_eq!(named(&booting), [], "{why:?}");
        let state = unable(released(1), 0, 190, why);
        let decision = decided(&inputs(state, queue, group(1)));
        assert_eq!(decision.action, ScalingAction::SetDesired { desired: 2 }, "{why:?}");
        assert_eq!(named(&decision), [(instance(0).to_string(), why)]);
        assert_eq!(decision.need, Some(1));
    }
}

#[test]
fn a_worker_that_cannot_take_a_job_is_noted_at_once_and_forgotten_when_it_can() {
    let mut silent = queue(0, 0, 2);
    rows(&mut silent)[1].last_heartbeat = ago(91);
    let first = decide(&inputs(released(2), silent.clone(), group(2)));
    let expected = UnableWorker { instance: instance(1), since: NOW, why: Unable::Silent };
    assert_eq!(first.state.unable, std::slice::from_ref(&expected));
    let mut second = inputs(first.state, silent, group(2));
    second.observation.now = UnixMs(NOW.0 + 60_000);
    assert_eq!(decide(&second).state.unable, [expected], "since the first reading");
    second.observation.queue = Reading::Known(queue(0, 0, 2));
    assert_eq!(decide(&second).state.unable, []);
    second.observation.queue = unknown(UnknownCause::TimedOut);
    assert_eq!(decide(&second).state.unable, [], "nobody is accused by a reading that failed");
}

/// One that is needed is replaced, the longest unable first, and one at a time.
#[test]
fn who_cannot_take_a_job_goes_through_the_drain_one_at_a_time() {
    let silent = |queue: &mut QueueSnapshot| {
        for row in &mut rows(queue)[..2] {
            row.last_heartbeat = ago(1_000);
        }
    };
    let mut two = queue(0, 0, 4);
    silent(&mut two);
    rows(&mut two)[2].has_job = true;
    rows(&mut two)[3].has_job = true;
    two.general = counts(0, 2);
    let state = unable(unable(released(4), 1, 900, Unable::Silent), 0, 800, Unable::Silent);
    // Two that work are needed, and two others are there in the place of the lost ones.
    let first = decide(&inputs(state.clone(), two.clone(), group(4)));
    assert_eq!(first.decision.action, terminate([1]), "{}", first.decision.because);
    let because = Reason::Replace { instance: instance(1), unable: Unable::Silent, unable_s: 900 };
    assert_eq!(first.decision.because, because);
    let mut full = group(4);
    full.max = 4;
    two.general = counts(1, 2);
    let replaced = decide(&inputs(state, two.clone(), full.clone()));
    let in_place = ScalingAction::Replace { instance: instance(1) };
    assert_eq!(replaced.decision.action, in_place, "{}", replaced.decision.because);
    assert_eq!(replaced.decision.desired, Some(4), "the group launches another");
    // The next one has to wait until this one's successor can be there.
    full.instances[1].lifecycle = "Terminating:Wait".into();
    let mut next = inputs(replaced.state, two, full);
    next.observation.now = UnixMs(NOW.0 + 60_000);
    assert_eq!(decided(&next).action, ScalingAction::Nothing);
    next.observation.now = UnixMs(NOW.0 + 120_000);
    next.observation.queue = Reading::Known(QueueSnapshot {
        db_now: UnixMs(NOW.0 + 120_000),
        ..next.observation.queue.known().cloned().expect("known")
    });
    if let Memory::Kept(state) = &mut next.memory {
        state.replaced_at = Some(ago(70));
        state.at = UnixMs(NOW.0 + 60_000);
    }
    rows_of(&mut next)[2].last_heartbeat = UnixMs(NOW.0 + 110_000);
    rows_of(&mut next)[3].last_heartbeat = UnixMs(NOW.0 + 110_000);
    // The first one's successor is on its way, so this one needs none.
    assert_eq!(decided(&next).action, terminate([0]));
}

fn rows_of(inputs: &mut Inputs) -> &mut Vec<WorkerRow> {
    let Reading::Known(queue) = &mut inputs.observation.queue else { panic!("known") };
    rows(queue)
}

#[test]
fn nobody_is_replaced_without_the_drain_behind_it_or_on_an_unknown() {
    let fixture = || {
        let mut one = queue(0, 1, 2);
        rows(&mut one)[1].last_heartbeat = ago(1_000);
        inputs(unable(released(2), 1, 900, Unable::Silent), one, group(2))
    };
    assert_eq!(decided(&fixture()).action, terminate([1]));
    type Change = fn(&mut Inputs);
    let cases: [(&str, Change); 7] = [
        ("no hook", |i| i.observation.hook = Some(Reading::Known(HookStatus::Missing))),
        ("an unknown hook", |i| i.observation.hook = Some(unknown(UnknownCause::Failed))),
        ("a refresh", |i| {
            i.observation.refresh = Some(Reading::Known(RefreshStatus::InProgress));
        }),
        ("protection", |i| {
            let Reading::Known(group) = &mut i.observation.group else { panic!("known") };
            group.instances[1].protected = true;
        }),
        ("a suspended Terminate process", |i| {
            let Reading::Known(group) = &mut i.observation.group else { panic!("known") };
            group.suspended = vec!["Terminate".into()];
        }),
        ("uncounted jobs", |i| {
            let Reading::Known(queue) = &mut i.observation.queue else { panic!("known") };
            queue.general.active = unknown(UnknownCause::NotAsked);
        }),
        ("lost memory", |i| {
            i.memory = Memory::Lost { cause: LossCause::Absent, detail: "gone".into() };
        }),
    ];
    for (name, change) in cases {
        let mut inputs = fixture();
        change(&mut inputs);
        let decision = decided(&inputs);
        assert!(!decision.action.takes_away(), "{name}: {:?}", decision.action);
    }
    let mut unlooked = fixture();
    (unlooked.observation.refresh, unlooked.observation.hook) = (None, None);
    assert_eq!(decided(&unlooked).action, ScalingAction::LookForRefresh);
}

/// A worker that has been busy for longer than any job may take, beyond what pg-boss has.
#[test]
fn a_worker_stuck_in_a_job_that_pg_boss_gave_up_is_replaced_after_the_job_limit() {
    let mut stuck = queue(0, 2, 2);
    stuck.general = counts(0, 1);
    let first = decide(&inputs(released(2), stuck.clone(), group(2)));
    assert_eq!(first.state.unable.len(), 2, "it may be either");
    assert_eq!(named(&first.decision), [], "no job has been at it for long");
    let state = unable(released(2), 1, 14_399, Unable::Stuck);
    assert_eq!(decided(&inputs(state, stuck.clone(), group(2))).action, ScalingAction::Nothing);
    let state = unable(released(2), 1, 14_400, Unable::Stuck);
    let decision = decided(&inputs(state.clone(), stuck, group(2)));
    assert_eq!(decision.action, terminate([1]), "{}", decision.because);
    // With every job known to pg-boss it is a long job, and nobody is suspected.
    let long = decide(&inputs(state, queue(0, 2, 2), group(2)));
    assert_eq!((long.decision.action, long.state.unable), (ScalingAction::Nothing, vec![]));
}

/// A bad image gives machines without workers: they buy one machine more, not one each.
#[test]
fn machines_that_never_work_are_made_up_for_by_no_more_than_there_are_others() {
    let mut none = queue(3, 0, 0);
    rows(&mut none).clear();
    let lost = (0..3).fold(released(3), |state, n| unable(state, n, 900, Unable::NoRow));
    let decision = decided(&inputs(lost, none, group(3)));
    assert_eq!(decision.action, ScalingAction::SetDesired { desired: 4 });
    assert_eq!(named(&decision).len(), 3);
}

/// Jobs of another group, another region, or of a worker started by hand.
#[test]
fn jobs_that_run_elsewhere_neither_buy_machines_nor_hold_them() {
    let mut strange = queue(1, 0, 1);
    strange.general = counts(1, 5);
    for n in 100..105 {
        rows(&mut strange).push(row(n, true));
    }
    let decision = decided(&inputs(released(1), strange.clone(), group(1)));
    assert_eq!((decision.need, decision.action), (Some(1), ScalingAction::Nothing));
    // Without rows they were begun before our idle workers last spoke, so they are none of theirs.
    rows(&mut strange).truncate(1);
    let decision = decided(&inputs(released(1), strange.clone(), group(1)));
    assert_eq!((decision.need, decision.action), (Some(1), ScalingAction::Nothing));
    strange.general.ready = 0;
    rows(&mut strange).extend([row(1, false), row(2, false)]);
    let decision = decided(&inputs(released(3), strange, group(3)));
    assert_eq!(decision.need, Some(0));
    assert_eq!(decision.action, terminate([0, 1]), "{}", decision.because);
}

#[test]
fn a_job_just_taken_counts_before_its_worker_says_so() {
    let mut taken = queue(0, 0, 3);
    taken.general = counts(0, 1);
    if let Reading::Known(active) = &mut taken.general.active {
        active.newest_start = Some(ago(8));
    }
    let demand = decided(&inputs(released(3), taken, group(3))).demand.expect("known");
    assert_eq!((demand.running, demand.elsewhere, demand.jobs), (1, 0, 1));
}

/// A row lags behind the end of its job by up to a heartbeat: one more is no sign.
#[test]
fn a_busy_row_more_than_there_are_active_jobs_does_not_forbid_scaling_in() {
    let mut ended = queue(0, 3, 5);
    ended.general = counts(0, 2);
    assert_eq!(decided(&inputs(released(5), ended, group(5))).action, terminate([3, 4]));
}

#[test]
fn all_that_the_holds_let_go_leave_in_one_tick_and_no_more_than_the_share() {
    let idle = |percent| {
        let mut inputs = inputs(released(9), queue(0, 2, 9), group(9));
        inputs.policy.max_in_percent = percent;
        decided(&inputs)
    };
    assert_eq!(idle(100).action, terminate(2..9));
    assert_eq!(idle(50).action, terminate(2..6));
    assert_eq!(idle(1).action, terminate([2]), "one at least");
    assert_eq!(idle(100).desired, Some(2));
}

fn likely(workers: u32) -> QueueSnapshot {
    let mut queue = queue(0, 1, workers);
    let Reading::Known(active) = &mut queue.general.active else { panic!("known") };
    active.newest_start = Some(ago(2));
    *rows(&mut queue) = (0..workers).map(|n| contract_row(n, n == 0)).collect();
    queue
}

#[test]
fn a_worker_that_keeps_the_contract_may_be_asked_by_its_own_word_while_the_hook_is_there() {
    let ready = |hook| {
        let mut inputs = inputs(released(4), likely(4), group(4));
        inputs.observation.hook = hook;
        decided(&inputs)
    };
    let asked = ready(Some(Reading::Known(HookStatus::Ours)));
    assert_eq!(asked.action, terminate(1..4));
    assert!(matches!(asked.because, Reason::Idle { also: 2, likely: 3, .. }));
    assert_eq!(ready(None).action, ScalingAction::LookForRefresh, "looked at before the step");
    let missing = ready(Some(Reading::Known(HookStatus::Missing)));
    assert_eq!(missing.action, ScalingAction::Nothing);
    assert!(missing.notes.contains(&Note::HookMissing));
    let failed = ready(Some(unknown(UnknownCause::Failed)));
    assert_eq!(failed.action, ScalingAction::Nothing);
    assert!(failed.notes.iter().any(|note| matches!(note, Note::HookUnknown { .. })));
    // With the proof it needs no word.
    let mut proven = inputs(released(4), queue(0, 1, 4), group(4));
    proven.observation.hook = Some(Reading::Known(HookStatus::Missing));
    assert_eq!(decided(&proven).action, terminate(1..4));
}

#[test]
fn the_old_worker_is_never_asked_by_its_word() {
    let mut old = likely(4);
    for row in rows(&mut old) {
        (row.accepting, row.jobs) = (None, None);
    }
    let decision = decided(&inputs(released(4), old, group(4)));
    assert_eq!(decision.action, ScalingAction::Nothing);
    let Reason::NoneIdle { why } = decision.because else { panic!("{}", decision.because) };
    assert_eq!(why.get(&NotIdle::MayHaveTaken), Some(&3));
}

#[test]
fn proven_ones_go_first_and_then_the_longest_idle() {
    let mut queue = likely(5);
    // Worker 4 spoke after the last start, worker 2 has been idle for longer than 1 and 3.
    for (n, idle_s) in [(1, 50), (2, 90), (3, 70), (4, 10)] {
        rows(&mut queue)[n].idle_since = Some(ago(idle_s));
    }
    rows(&mut queue)[4].last_heartbeat = UnixMs(NOW.0 + 1_000);
    let Reading::Known(active) = &mut queue.general.active else { panic!("known") };
    active.newest_start = Some(ago(4));
    let mut inputs = inputs(released(5), queue, group(5));
    inputs.policy.max_in_percent = 60;
    assert_eq!(decided(&inputs).action, terminate([4, 2, 3]));
}

#[test]
fn while_drains_do_not_reach_their_workers_nobody_else_is_terminated() {
    let mut untold = group(4);
    untold.desired = 3;
    untold.instances[3].lifecycle = "Terminating:Wait".into();
    let first = decide(&inputs(released(3), queue(0, 0, 4), untold.clone()));
    assert_eq!(first.decision.action, terminate([0, 1]), "a drain takes its time");
    assert_eq!(first.state.not_told, Some((instance(3), NOW)));
    let mut state = released(3);
    state.not_told = Some((instance(3), ago(180)));
    let decision = decided(&inputs(state.clone(), queue(0, 0, 4), untold.clone()));
    assert_eq!(decision.action, ScalingAction::Nothing);
    assert_eq!(decision.because, Reason::DrainNotTold { instance: instance(3), waited_s: 180 });
    let mut told = queue(0, 0, 4);
    rows(&mut told)[3].status = WorkerStatus::Draining;
    let drained = decide(&inputs(state, told, untold));
    assert_eq!((drained.decision.action, drained.state.not_told), (terminate([0, 1]), None));
}

/// The group is to have five and has none.
fn empty(launches: Vec<Launch>) -> Inputs {
    let mut none = group(5);
    none.instances.clear();
    let mut inputs = inputs(released(5), queue(5, 0, 0), none);
    inputs.observation.launches = Some(Reading::Known(launches));
    inputs
}

#[test]
fn a_group_that_launches_nothing_says_why_at_the_first_reading() {
    let failed = |started, message: &str| Launch {
        started: ago(started),
        succeeded: Some(false),
        message: message.to_owned(),
    };
    let well = |started| Launch { succeeded: Some(true), ..failed(started, "") };
    let message = "We currently do not have sufficient t3.large capacity in us-east-1a.";
    let launches = vec![failed(10, message), well(600)];
    let mut short = empty(launches);
    short.observation.now = NOW;
    let first = decide(&short);
    let note = first.decision.notes.iter().find(|n| matches!(n, Note::LaunchFailed { .. }));
    let expected = Note::LaunchFailed {
        cause: LaunchFailure::Capacity,
        missing: 5,
        short_s: 0,
        message: message.to_owned(),
    };
    assert_eq!(note, Some(&expected));
    assert_eq!(first.state.short_since, Some(NOW));
    // A launch that went well since is no failure.
    let decision = decided(&empty(vec![well(5), failed(10, message)]));
    assert!(!decision.notes.iter().any(|note| matches!(note, Note::LaunchFailed { .. })));
    // Nor is one that boots: what is missing comes.
    let mut booting = empty(vec![failed(10, message)]);
    let Reading::Known(group) = &mut booting.observation.group else { panic!("known") };
    group.instances = crate::fleet::group(1).instances;
    group.instances[0].lifecycle = "Pending".into();
    assert_eq!(decide(&booting).state.short_since, None);
    let mut suspended = empty(vec![failed(10, message)]);
    let Reading::Known(group) = &mut suspended.observation.group else { panic!("known") };
    group.suspended = vec!["Launch".into()];
    assert!(decided(&suspended).notes.contains(&Note::LaunchSuspended));
}

#[test]
fn jobs_that_wait_beside_idle_workers_and_beyond_the_target_are_named() {
    let mut waiting = queue(2, 0, 1);
    waiting.general.oldest_wait_ms = 200_000;
    let decision = decided(&inputs(released(1), waiting.clone(), group(1)));
    let late = Note::WaitTargetMissed { waited_s: 200, target_s: 180 };
    let idle = Note::NotPolling { ready: 2, waited_s: 200, idle: 1 };
    assert!(decision.notes.contains(&late) && decision.notes.contains(&idle), "{decision:?}");
    waiting.general.oldest_wait_ms = 60_000;
    let decision = decided(&inputs(released(1), waiting, group(1)));
    assert!(!decision.notes.contains(&late) && !decision.notes.contains(&idle));
}

/// Fifty were wanted, five came, and five are needed.
#[test]
fn what_was_wanted_and_never_launched_is_given_back() {
    let fixture = |short_s: i64, hook| {
        let mut short = group(50);
        short.instances.truncate(5);
        let mut state = released(50);
        state.short_since = Some(ago(short_s));
        let mut inputs = inputs(state, queue(0, 5, 5), short);
        inputs.policy.max = 100;
        inputs.observation.hook = Some(Reading::Known(hook));
        inputs
    };
    let decision = decided(&fixture(120, HookStatus::Ours));
    assert_eq!(decision.action, ScalingAction::GiveBack { desired: 5 }, "{}", decision.because);
    assert_eq!(decision.desired, Some(5));
    assert_eq!(decided(&fixture(119, HookStatus::Ours)).action, ScalingAction::Nothing);
    let alone = decided(&fixture(500, HookStatus::Missing));
    assert_eq!(alone.action, ScalingAction::Nothing, "the group might end a busy one");
    let mut needed = fixture(500, HookStatus::Ours);
    let Reading::Known(queue) = &mut needed.observation.queue else { panic!("known") };
    queue.general.ready = 20;
    assert_eq!(decided(&needed).action, ScalingAction::GiveBack { desired: 25 });
}

#[test]
fn a_group_that_does_not_count_instances_is_refused() {
    let mut weighted = group(1);
    weighted.not_instances = Some("WeightedCapacity 4 of t3.xlarge".into());
    let decision = decided(&inputs(released(1), queue(9, 0, 1), weighted));
    assert_eq!(decision.action, ScalingAction::Nothing);
    assert!(decision.because.to_string().contains("WeightedCapacity 4 of t3.xlarge"));
}

#[test]
fn floor_windows_raise_the_minimum_one_boot_ahead_and_others_forbid_scaling_in() {
    // NOW is 2025-11-24T16:00:00Z, a Monday.
    let window = |cron| Window::parse(cron, "UTC").expect("a window");
    let floor = |cron| FloorWindow { window: window(cron), min: 4 };
    let mut fixture = inputs(released(2), queue(0, 0, 2), group(2));
    fixture.policy.floors = vec![floor("* 16 * * MON")];
    let raised = decided(&fixture);
    assert_eq!(raised.action, ScalingAction::SetDesired { desired: 4 });
    assert!(raised.notes.iter().any(|note| matches!(note, Note::FloorWindow { min: 4, .. })));
    fixture.policy.floors = vec![floor("1 16 * * *")];
    assert_eq!(decided(&fixture).desired, Some(4), "it is met when it begins");
    fixture.policy.floors = vec![floor("* 17 * * *")];
    assert_eq!(decided(&fixture).action, terminate([0]));
    fixture.policy.no_scale_in = vec![window("* 15-16 * * *")];
    let kept = decided(&fixture);
    assert_eq!(kept.action, ScalingAction::Nothing);
    assert!(matches!(kept.because, Reason::NoScaleIn { .. }));
}

#[test]
fn the_record_says_what_would_have_been_without_spare_and_without_holds() {
    let mut state = released(5);
    state.hold.touch(4, ago(10));
    for tick in 0..60 {
        let need = if tick % 4 < 2 { 3 } else { 1 };
        state.spare.observe(need, 95, UnixMs(NOW.0 - 1_200_000 + tick * 10_000));
    }
    let mut fixture = inputs(state, queue(0, 1, 5), group(5));
    fixture.policy.wait_value = 6;
    let levels = decided(&fixture).levels.expect("known");
    assert_eq!((levels.needed, levels.spare, levels.wanted, levels.kept), (1, 2, 3, 4));
    assert_eq!((levels.without_spare, levels.without_hold), (4, 3));
    assert_eq!(levels.without_stopped_tier, None);
}

/// The stopped tier is decided here and carried out nowhere yet.
#[test]
fn with_a_stopped_tier_idle_machines_stop_and_unneeded_stopped_ones_end() {
    let fixture = |stopped: std::ops::Range<u32>| {
        let mut group = group(4);
        group.stopped = stopped.map(instance).collect();
        let mut state = released(4);
        state.hold.touch(6, ago(5_000));
        let mut inputs = inputs(state, queue(0, 1, 4), group);
        inputs.policy.wait_value = 6;
        inputs.policy.stopped_tier = true;
        inputs
    };
    let decision = decided(&fixture(50..50));
    let instances = (1..4).map(instance).collect();
    assert_eq!(decision.action, ScalingAction::Stop { instances });
    assert_eq!(decision.desired, Some(1));
    let levels = decision.levels.expect("known");
    assert_eq!(levels.without_stopped_tier, Some(1));
    // Six were needed within the tier's hold: with four in service two stay stopped.
    let mut calm = fixture(50..55);
    let Reading::Known(queue) = &mut calm.observation.queue else { panic!("known") };
    *queue = crate::fleet::queue(0, 4, 4);
    let instances = (50..53).map(instance).collect();
    assert_eq!(decided(&calm).action, ScalingAction::EndStopped { instances });
}

/// Two groups that serve one queue are told apart by their instances.
#[test]
fn a_row_without_an_instance_is_nobodys_machine() {
    let mut by_hand = queue(0, 0, 1);
    by_hand.general = counts(0, 1);
    let worker = WorkerId::new("a-laptop");
    rows(&mut by_hand).push(WorkerRow { worker, instance: None, ..row(9, true) });
    let demand = decided(&inputs(released(1), by_hand, group(1))).demand.expect("known");
    assert_eq!((demand.active, demand.running, demand.elsewhere), (1, 0, 1));
}
