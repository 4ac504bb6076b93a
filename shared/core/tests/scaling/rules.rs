//! The rules of `docs/SEMANTICS.md`, one test each, on plain values.

use crate::fleet::*;
use fleet_core::scaling::*;
use fleet_protocol::ids::WorkerId;
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;

fn decided(inputs: &Inputs) -> Decision {
    decide(inputs).decision
}

#[test]
fn the_seeds_own_story_nobody_is_ended_while_their_jobs_run() {
    // Five jobs queued, five workers claim them, and the queue is empty.
    let all_busy = decided(&inputs(released(5), queue(0, 5, 5), group(5)));
    assert_eq!(all_busy.action, ScalingAction::Nothing);
    assert_eq!(all_busy.need, Some(5));
    // One job ends: its worker, and no other, may go.
    let mut one_done = queue(0, 4, 5);
    one_done.workers = Reading::Known((0..5).map(|n| row(n, n != 3)).collect());
    let decision = decided(&inputs(released(5), one_done, group(5)));
    assert_eq!(decision.action, terminate([3]));
    assert_eq!(decision.desired, Some(4));
}

#[test]
fn need_is_demand_over_jobs_per_worker_rounded_up() {
    let mut inputs = inputs(released(2), queue(10, 0, 2), group(2));
    inputs.policy.jobs_per_worker = 3.try_into().expect("not zero");
    let decision = decided(&inputs);
    assert_eq!(decision.need, Some(4));
    assert_eq!(decision.action, ScalingAction::SetDesired { desired: 4 });
    assert_eq!(decision.because, Reason::Need { jobs: 10, workers: 4 });
}

#[test]
fn jobs_due_within_a_boot_time_ask_for_workers_now_and_later_ones_do_not() {
    let mut queue = queue(0, 0, 1);
    queue.general.due_soon = 3;
    queue.general.deferred = Some(50);
    assert_eq!(decided(&inputs(released(1), queue, group(1))).need, Some(3));
}

#[test]
fn the_maximum_and_the_groups_own_maximum_bind() {
    let by_config = decided(&inputs(released(1), queue(50, 0, 1), group(1)));
    assert_eq!(by_config.action, ScalingAction::SetDesired { desired: 10 });
    assert_eq!(by_config.because, Reason::Max { need: 50, max: 10 });
    let mut narrow = group(1);
    narrow.max = 4;
    let by_group = decided(&inputs(released(1), queue(50, 0, 1), narrow));
    assert_eq!(by_group.action, ScalingAction::SetDesired { desired: 4 });
}

#[test]
fn bounds_without_a_common_number_change_nothing() {
    let mut group = group(1);
    (group.min, group.max) = (20, 30);
    let decision = decided(&inputs(released(1), queue(50, 0, 1), group));
    assert_eq!(decision.action, ScalingAction::Nothing);
    assert_eq!(decision.because, Reason::BoundsConflict { min: 20, max: 10 });
}

#[test]
fn an_unknown_queue_takes_nothing_away_and_still_raises_to_the_minimum() {
    let mut idle = inputs(released(5), queue(0, 0, 5), group(5));
    idle.observation.queue = unknown(UnknownCause::TimedOut);
    let outcome = decide(&idle);
    assert_eq!(outcome.decision.action, ScalingAction::Nothing);
    assert!(matches!(outcome.decision.because, Reason::QueueUnknown { .. }));
    assert!(outcome.state.idle.is_empty(), "an idle reading does not outlive an unknown one");
    idle.observation.group = Reading::Known(group(0));
    idle.memory = Memory::Kept(released(0));
    assert_eq!(decided(&idle).action, ScalingAction::SetDesired { desired: 1 });
}

#[test]
fn an_unknown_group_changes_nothing() {
    let mut inputs = inputs(released(5), queue(50, 0, 5), group(5));
    inputs.observation.group = unknown(UnknownCause::Missing);
    assert_eq!(decided(&inputs).action, ScalingAction::Nothing);
}

#[test]
fn unknown_running_jobs_allow_growing_on_what_is_known_and_forbid_shrinking() {
    let unknown_active = |ready, busy, workers| {
        let mut queue = queue(ready, busy, workers);
        queue.general.active = unknown(UnknownCause::NotAsked);
        queue
    };
    // Three workers say they are busy, and four jobs are ready.
    let out = decided(&inputs(released(3), unknown_active(4, 3, 3), group(3)));
    assert_eq!(out.action, ScalingAction::SetDesired { desired: 7 });
    let idle = decided(&inputs(released(3), unknown_active(0, 0, 3), group(3)));
    assert_eq!(idle.action, ScalingAction::Nothing);
    assert!(matches!(idle.because, Reason::ActiveUnknown { .. }));
}

#[test]
fn a_newer_schema_may_grow_the_fleet_and_not_shrink_it() {
    let mut newer = queue(0, 0, 3);
    newer.schema = Schema { version: 99, tested: false };
    let idle = decided(&inputs(released(3), newer.clone(), group(3)));
    assert_eq!(idle.because, Reason::SchemaUntested { version: 99 });
    newer.general.ready = 6;
    assert_eq!(
        decided(&inputs(released(3), newer, group(3))).action,
        ScalingAction::SetDesired { desired: 6 }
    );
}

/// Every way a worker can fail to be proven idle, while everything else would let it go.
#[test]
fn only_a_proven_idle_worker_goes() {
    type Change = fn(&mut QueueSnapshot, &mut Group);
    let cases: [(&str, Change); 12] = [
        ("a row with a job", |queue, _| set_row(queue, |row| row.has_job = true)),
        ("a stale row with a job", |queue, _| {
            set_row(queue, |row| {
                row.has_job = true;
                row.last_heartbeat = UnixMs(NOW.0 - 3_600_000);
            });
        }),
        ("a heartbeat of 91 s ago", |queue, _| {
            set_row(queue, |row| row.last_heartbeat = UnixMs(NOW.0 - 91_000));
        }),
        ("a row of a worker that drains", |queue, _| {
            set_row(queue, |row| row.status = WorkerStatus::Draining);
        }),
        ("a row with a status from the future", |queue, _| {
            set_row(queue, |row| row.status = WorkerStatus::Other);
        }),
        ("a row that went offline", |queue, _| {
            set_row(queue, |row| row.status = WorkerStatus::Offline);
        }),
        ("no row at all", |queue, _| queue.workers = Reading::Known(vec![row(0, true)])),
        ("an unknown registry", |queue, _| queue.workers = unknown(UnknownCause::Missing)),
        ("a job of its own waiting", |queue, _| pin(queue, counts(0, 0))),
        ("protection from scale-in", |_, group| group.instances[1].protected = true),
        ("being replaced", |_, group| group.instances[1].healthy = false),
        ("not being in service", |_, group| {
            group.instances[1].lifecycle = "Pending:Wait".into();
        }),
    ];
    for (name, change) in cases {
        // Worker 0 is busy, worker 1 the only one that could go.
        let (mut queue, mut group) = (queue(0, 1, 2), group(2));
        let unchanged = decided(&inputs(released(2), queue.clone(), group.clone()));
        assert_eq!(unchanged.action, terminate([1]));
        change(&mut queue, &mut group);
        let decision = decided(&inputs(released(2), queue, group));
        assert_eq!(decision.action, ScalingAction::Nothing, "{name}: {}", decision.because);
    }
}

fn set_row(queue: &mut QueueSnapshot, change: fn(&mut WorkerRow)) {
    if let Reading::Known(rows) = &mut queue.workers {
        change(&mut rows[1]);
    }
}

/// A targeted queue of worker 1.
fn pin(queue: &mut QueueSnapshot, counts: QueueCounts) {
    let worker = WorkerId::new(instance(1).as_str());
    queue.targeted.push(TargetedQueue { worker, counts });
}

#[test]
fn a_job_that_started_after_the_workers_last_word_may_be_its() {
    // The row says idle, ten seconds ago; a job started eight seconds ago and nobody has said it
    // has it.
    let mut queue = queue(0, 1, 2);
    if let Reading::Known(active) = &mut queue.general.active {
        active.newest_start = Some(UnixMs(NOW.0 - 8_000));
    }
    let decision = decided(&inputs(released(2), queue, group(2)));
    let Reason::NoneIdle { why } = &decision.because else { panic!("{}", decision.because) };
    assert_eq!(why.get(&NotIdle::MayHaveTaken), Some(&1));
}

#[test]
fn idle_is_confirmed_by_a_second_reading_some_time_later() {
    let first = decide(&inputs(
        State { idle: IdleMemory::default(), ..released(2) },
        queue(0, 1, 2),
        group(2),
    ));
    assert!(matches!(first.decision.because, Reason::IdleUnconfirmed { .. }));
    let mut second = inputs(first.state, queue(0, 1, 2), group(2));
    second.observation.now = UnixMs(NOW.0 + 19_999);
    assert_eq!(decided(&second).action, ScalingAction::Nothing);
    second.observation.now = UnixMs(NOW.0 + 20_000);
    assert_eq!(decided(&second).action, terminate([1]));
}

#[test]
fn an_idle_reading_from_before_a_gap_proves_nothing() {
    let mut state = released(2);
    state.at = UnixMs(NOW.0 - 181_000);
    state.idle = idle_since((0..2).map(|n| (instance(n), state.at)));
    let decision = decided(&inputs(state, queue(0, 1, 2), group(2)));
    assert!(matches!(decision.because, Reason::IdleUnconfirmed { idle_s: 0, .. }));
}

#[test]
fn the_group_forbids_what_the_group_would_not_do() {
    let mut suspended = group(3);
    suspended.suspended = vec!["Terminate".into()];
    assert_eq!(
        decided(&inputs(released(3), queue(0, 0, 3), suspended)).because,
        Reason::TerminateSuspended
    );
    let mut refresh = inputs(released(3), queue(0, 0, 3), group(3));
    refresh.observation.refresh = Some(Reading::Known(RefreshStatus::InProgress));
    assert_eq!(decided(&refresh).because, Reason::RefreshInProgress);
    refresh.observation.refresh = Some(unknown(UnknownCause::Failed));
    assert!(matches!(decided(&refresh).because, Reason::RefreshUnknown { .. }));
    refresh.observation.refresh = None;
    assert_eq!(
        decided(&refresh).action,
        ScalingAction::LookForRefresh,
        "looked at before a worker goes"
    );
}

#[test]
fn nobody_goes_while_jobs_are_ready() {
    let decision = decided(&inputs(released(3), queue(1, 0, 3), group(3)));
    assert_eq!(decision.action, ScalingAction::Nothing);
    assert_eq!(decision.because, Reason::JobsReady { ready: 1 });
}

/// Desired says more than there are: EC2 has no capacity, or they still boot.
#[test]
fn the_last_that_are_needed_stay_while_others_have_not_come() {
    let missing = |in_service: usize, pending: usize, desired| {
        let mut short = group(desired);
        short.instances.truncate(in_service + pending);
        for booting in &mut short.instances[in_service..] {
            booting.lifecycle = "Pending".into();
        }
        let workers = u32::try_from(in_service).expect("few");
        decided(&inputs(released(desired), queue(0, 0, workers), short))
    };
    for (pending, desired) in [(0, 10), (2, 3)] {
        let decision = missing(1, pending, desired);
        let because = Reason::Unfulfilled { in_service: 1, desired, needed: 1 };
        assert_eq!((decision.action, decision.because), (ScalingAction::Nothing, because));
    }
    assert_eq!(missing(2, 0, 10).action, terminate([0]));
    // One that its group is about to replace is no worker to rely on.
    let mut unhealthy = group(2);
    unhealthy.instances[1].healthy = false;
    let decision = decided(&inputs(released(2), queue(0, 0, 2), unhealthy));
    assert!(matches!(decision.because, Reason::Unfulfilled { in_service: 1, .. }));
}

#[test]
fn capacity_is_not_given_back_at_once() {
    let mut state = released(3);
    state.hold.touch(3, UnixMs(NOW.0 - 100_000));
    let decision = decided(&inputs(state, queue(0, 0, 3), group(3)));
    // Level 3 is the second above the one needed: half of 95 s * (1 + 5).
    assert_eq!(decision.because, Reason::Held { level: 3, unneeded_s: 100, hold_s: 285 });
}

#[test]
fn a_wait_value_of_zero_is_the_seeds_formula() {
    let mut state = released(3);
    state.hold.touch(3, NOW);
    let mut inputs = inputs(state, queue(0, 0, 3), group(3));
    inputs.policy.wait_value = 0;
    assert!(matches!(decided(&inputs).action, ScalingAction::Terminate { .. }));
}

#[test]
fn lost_memory_and_a_raise_by_hand_hold_everything() {
    let lost = |cause| {
        let mut inputs = inputs(released(5), queue(0, 0, 5), group(5));
        inputs.memory = Memory::Lost { cause, detail: "gone".into() };
        decide(&inputs)
    };
    for cause in [LossCause::Absent, LossCause::Corrupt, LossCause::NewerVersion] {
        let outcome = lost(cause);
        assert!(matches!(outcome.decision.because, Reason::Held { unneeded_s: 0, .. }));
        assert!(matches!(outcome.decision.notes[0], Note::MemoryLost { .. }));
    }
    let by_hand = decided(&inputs(released(2), queue(0, 0, 5), group(5)));
    assert!(matches!(by_hand.because, Reason::Held { level: 5, .. }));
    assert!(by_hand.notes.contains(&Note::ExternalChange { from: 2, to: 5 }));
}

/// The answer to a change was lost: it was made, or it was not, and nobody else had a part in it.
#[test]
fn a_change_without_an_answer_is_nobody_elses_whatever_became_of_it() {
    for (desired, others) in [(4, false), (3, false), (5, true)] {
        let mut state = released(3);
        let raise = decided(&inputs(released(3), queue(1, 3, 3), group(3)));
        assert_eq!((raise.desired_before, raise.desired), (Some(3), Some(4)));
        state.after_calls(&raise, CallResults { unanswered: 1, ..CallResults::default() });
        let Memory::Kept(state) = Memory::decode(&state.encode()) else { panic!("lost") };
        let outcome = decide(&inputs(state, queue(0, 3, desired), group(desired)));
        let changed = Note::ExternalChange { from: 3, to: desired };
        assert_eq!(outcome.decision.notes.contains(&changed), others, "{desired}");
        assert_eq!(outcome.state.unanswered, None, "it is seen by now");
    }
}

#[test]
fn overrides_set_a_floor_or_stop_everything_until_they_expire() {
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let with = |tag: Tag, ready| {
        let mut group = group(2);
        group.tags = vec![tag];
        decided(&inputs(released(2), queue(ready, 0, 2), group))
    };
    let soon = "2026-01-01T00:00:00Z";
    let past = "2025-01-01T00:00:00Z";
    assert_eq!(
        with(tag("ghosthands:floor", &format!("6@{soon}")), 0).action,
        ScalingAction::SetDesired { desired: 6 }
    );
    assert!(matches!(
        with(tag("ghosthands:floor", &format!("6@{past}")), 0).action,
        ScalingAction::Terminate { .. }
    ));
    let paused = with(tag("ghosthands:paused", &format!("true@{soon}")), 9);
    assert_eq!((paused.action, paused.need), (ScalingAction::Nothing, Some(9)));
    let garbage = with(tag("ghosthands:floor", "six"), 0);
    assert!(matches!(garbage.because, Reason::OverrideUnreadable { .. }));
    assert_eq!(
        with(tag("ghosthands:floor", "six"), 9).action,
        ScalingAction::SetDesired { desired: 9 }
    );
}

#[test]
fn clocks_apart_forbid_shrinking() {
    let mut inputs = inputs(released(3), queue(0, 0, 3), group(3));
    inputs.observation.now = UnixMs(NOW.0 - 31_000);
    assert_eq!(decided(&inputs).because, Reason::ClockSkew { seconds: 31 });
}

#[test]
fn a_targeted_job_keeps_its_worker_and_asks_for_no_other() {
    let mut queue = queue(0, 0, 2);
    pin(&mut queue, counts(5, 0));
    let decision = decided(&inputs(released(2), queue.clone(), group(2)));
    assert_eq!(decision.need, Some(1), "five jobs for one worker are one worker's work");
    assert_eq!(decision.action, terminate([0]));
    // The same jobs for a worker that is gone ask for nothing, and are told.
    queue.targeted[0].worker = WorkerId::new("i-gone");
    let orphaned = decided(&inputs(released(2), queue, group(2)));
    assert_eq!(orphaned.need, Some(0));
    assert!(orphaned.notes.iter().any(|note| matches!(note, Note::OrphanedPins { jobs: 5, .. })));
}

#[test]
fn a_worker_on_its_way_out_covers_its_own_job() {
    let mut leaving = group(2);
    leaving.desired = 1;
    leaving.instances[0].lifecycle = "Terminating:Wait".into();
    let decision = decided(&inputs(released(1), queue(0, 1, 2), leaving));
    let demand = decision.demand.expect("known");
    assert_eq!((demand.active, demand.draining, decision.need), (1, 1, Some(0)));
    assert_eq!(decision.action, ScalingAction::Nothing, "the other one is the minimum");
}

#[test]
fn a_worker_on_its_way_out_covers_no_other_workers_job() {
    // Three that stay run the three live jobs; the fourth leaves with one that is past its expiry
    // and occupies it, whatever pg-boss says of that job.
    let mut leaving = group(4);
    leaving.desired = 3;
    leaving.instances[3].lifecycle = "Terminating:Wait".into();
    let mut queue = queue(1, 3, 4);
    queue.workers = Reading::Known((0..4).map(|n| row(n, true)).collect());
    if let Reading::Known(active) = &mut queue.general.active {
        active.expired = 1;
    }
    let decision = decided(&inputs(released(3), queue, leaving));
    assert_eq!(decision.demand.map(|demand| demand.draining), Some(1));
    assert_eq!(decision.action, ScalingAction::SetDesired { desired: 4 });
}

#[test]
fn jobs_of_dead_workers_do_not_buy_machines() {
    let mut zombies = queue(1, 0, 1);
    zombies.general.active =
        Reading::Known(ActiveCounts { live: 9, expired: 4, newest_start: None });
    let decision = decided(&inputs(released(1), zombies, group(1)));
    assert_eq!(decision.need, Some(2), "one that one machine can run, and the ready one");
    assert!(decision.notes.contains(&Note::ZombieActive { active: 9, running: 1 }));
    assert!(decision.notes.contains(&Note::ExpiredActive { jobs: 4 }));
}

#[test]
fn a_group_above_the_maximum_gives_idle_workers_back_without_a_hold() {
    let mut state = released(12);
    state.hold.touch(12, NOW);
    let decision = decided(&inputs(state, queue(0, 0, 12), group(12)));
    assert!(matches!(decision.action, ScalingAction::Terminate { .. }), "{}", decision.because);
}
