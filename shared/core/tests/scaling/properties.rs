//! What holds for every input, not only for the ones somebody thought of.

use crate::fleet::*;
use crate::near::near_scale_in;
use fleet_core::scaling::*;
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn reading<T: Clone + std::fmt::Debug + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Reading<T>> {
    let causes =
        select(vec![UnknownCause::TimedOut, UnknownCause::Missing, UnknownCause::NotAsked]);
    prop_oneof![9 => known.prop_map(Reading::Known), 1 => causes.prop_map(unknown)]
}

pub(crate) fn moment() -> impl Strategy<Value = UnixMs> {
    (-200_000_i64..40_000).prop_map(|offset| UnixMs(NOW.0 + offset))
}

fn long_ago() -> impl Strategy<Value = UnixMs> {
    (-20_000_000_i64..40_000).prop_map(|offset| UnixMs(NOW.0 + offset))
}

fn any_unable() -> impl Strategy<Value = Unable> {
    let all =
        [Unable::NoRow, Unable::Silent, Unable::Draining, Unable::NotAccepting, Unable::Stuck];
    select(all.to_vec())
}

pub(crate) fn any_counts() -> impl Strategy<Value = QueueCounts> {
    let active = (0..15_u32, 0..3_u32, proptest::option::of(moment()))
        .prop_map(|(live, expired, newest_start)| ActiveCounts { live, expired, newest_start });
    (0..15_u32, 0..5_u32, 0..5_u32, reading(active)).prop_map(
        |(ready, due_soon, deferred, active)| QueueCounts {
            ready,
            due_soon,
            deferred: Some(deferred),
            oldest_wait_ms: 0,
            active,
        },
    )
}

pub(crate) fn any_row() -> impl Strategy<Value = WorkerRow> {
    let status = select(vec![
        WorkerStatus::Active,
        WorkerStatus::Active,
        WorkerStatus::Active,
        WorkerStatus::Draining,
        WorkerStatus::Offline,
        WorkerStatus::Other,
    ]);
    let word = select(vec![None, None, Some(true), Some(true), Some(false)]);
    (0..14_u32, status, any::<bool>(), moment(), word).prop_map(
        |(n, status, has_job, last_heartbeat, accepting)| WorkerRow {
            status,
            last_heartbeat,
            accepting,
            ..row(n, has_job)
        },
    )
}

prop_compose! {
    fn any_queue()(
        general in any_counts(),
        pins in proptest::collection::vec((0..14_u32, any_counts()), 0..3),
        rows in reading(proptest::collection::vec(any_row(), 0..16)),
        tested in proptest::bool::weighted(0.9),
        skew in prop_oneof![8 => 0..1_000_i64, 1 => -90_000..90_000_i64],
    ) -> QueueSnapshot {
        let targeted = pins
            .into_iter()
            .map(|(n, counts)| {
                TargetedQueue { worker: WorkerId::new(instance(n).as_str()), counts }
            })
            .collect();
        let schema = Schema { version: 46, tested };
        QueueSnapshot {
            db_now: UnixMs(NOW.0 + skew),
            schema,
            general,
            targeted,
            workers: rows,
            ..queue(0, 0, 0)
        }
    }
}

prop_compose! {
    fn any_group()(
        (min, max) in (0..4_u32, 4..20_u32),
        instances in proptest::collection::vec(
            (select(vec!["InService", "InService", "InService", "Pending", "Terminating:Wait", "Standby"]),
             proptest::bool::weighted(0.95), proptest::bool::weighted(0.05)), 0..14),
        missing in 0..3_u32,
        suspended in proptest::sample::subsequence(vec!["Terminate".to_owned(), "Launch".to_owned()], 0..2),
        tags in proptest::sample::subsequence(vec![
            Tag { key: "ghosthands:floor".into(), value: "7@2026-01-01T00:00:00Z".into() },
            Tag { key: "ghosthands:paused".into(), value: "true@2026-01-01T00:00:00Z".into() },
            Tag { key: "ghosthands:floor".into(), value: "rubbish".into() },
        ], 0..2),
    ) -> Group {
        let instances: Vec<Instance> = instances
            .into_iter()
            .enumerate()
            .map(|(n, (lifecycle, healthy, protected))| Instance {
                id: instance(u32::try_from(n).expect("few")),
                lifecycle: lifecycle.into(),
                healthy,
                protected,
            })
            .collect();
        let counted = instances.iter().filter(|i| ["InService", "Pending"].contains(&i.lifecycle.as_str()));
        let desired = u32::try_from(counted.count()).expect("few") + missing;
        Group { min, max, instances, suspended, tags, ..group(desired) }
    }
}

prop_compose! {
    fn any_state()(
        desired in proptest::option::of(0..16_u32),
        touches in proptest::collection::vec((0..16_u32, moment()), 0..4),
        idle in proptest::collection::vec((0..14_u32, moment()), 0..6),
        unable in proptest::collection::vec((0..14_u32, long_ago(), any_unable()), 0..4),
        short_since in proptest::option::of(long_ago()),
        not_told in proptest::option::weighted(0.1, (0..14_u32, long_ago())),
        replaced_at in proptest::option::of(long_ago()),
        needs in proptest::collection::vec(0..16_u32, 0..40),
        at in moment(),
    ) -> State {
        let mut state = State { at, desired, short_since, replaced_at, ..State::default() };
        state.not_told = not_told.map(|(n, since)| (instance(n), since));
        let unable_worker = |(n, since, why)| UnableWorker { instance: instance(n), since, why };
        state.unable = unable.into_iter().map(unable_worker).collect();
        for (tick, need) in (1..).zip(needs.into_iter().rev()) {
            state.spare.observe(need, 30, UnixMs(NOW.0 - 600_000 + tick * 10_000));
        }
        for (level, at) in touches {
            state.hold.touch(level, at);
        }
        state.idle = idle_since(idle.into_iter().map(|(n, since)| (instance(n), since)));
        state
    }
}

prop_compose! {
    pub(crate) fn any_inputs()(
        (min, max) in (0..4_u32, 4..16_u32),
        jobs_per_worker in 1..4_u32,
        wait_value in prop_oneof![Just(0_u32), Just(5)],
        state in any_state(),
        lost in proptest::bool::weighted(0.1),
        queue in reading(any_queue()),
        group in reading(any_group()),
        refresh in proptest::option::of(reading(select(vec![
            RefreshStatus::None,
            RefreshStatus::None,
            RefreshStatus::InProgress,
        ]))),
        hook in proptest::option::of(reading(select(vec![
            HookStatus::Ours,
            HookStatus::Ours,
            HookStatus::Missing,
        ]))),
    ) -> Inputs {
        let jobs_per_worker = jobs_per_worker.try_into().expect("not zero");
        let policy = Policy { min, max, jobs_per_worker, wait_value, ..policy() };
        let memory = if lost {
            Memory::Lost { cause: LossCause::Corrupt, detail: "rubbish".into() }
        } else {
            Memory::Kept(state)
        };
        let observation = Observation { now: NOW, queue, group, refresh, hook, launches: None };
        Inputs { policy, memory, observation }
    }
}

/// For what is to hold when somebody goes.
fn any_or_near() -> impl Strategy<Value = Inputs> {
    prop_oneof![1 => any_inputs(), 3 => near_scale_in()]
}

/// The properties of scaling in say something: many of their cases end somebody, and many do not.
#[test]
fn near_scale_in_ends_somebody_often_and_not_always() {
    let mut runner = TestRunner::deterministic();
    let gone = (0..1_000).filter(|_| {
        let case = near_scale_in().new_tree(&mut runner).expect("a case");
        !victims(&decide(&case.current()).decision).is_empty()
    });
    let gone = gone.count();
    assert!((200..800).contains(&gone), "{gone} of 1,000 end somebody");
}

fn known_group(inputs: &Inputs) -> Option<&Group> {
    inputs.observation.group.known()
}

/// The instances that go because they are idle.
fn victims(decision: &Decision) -> Vec<&InstanceId> {
    match &decision.because {
        Reason::Idle { .. } => decision.action.terminated().collect(),
        _ => Vec::new(),
    }
}

/// The instance that goes because its worker cannot take a job.
fn replaced(decision: &Decision) -> Option<&InstanceId> {
    match (&decision.because, &decision.action) {
        (Reason::Replace { .. }, ScalingAction::Replace { instance }) => Some(instance),
        (Reason::Replace { .. }, action) => action.terminated().next(),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// The record is enough to decide again, to the bit, also after a trip through its JSON line.
    #[test]
    fn a_decision_replays_bit_for_bit(inputs in any_inputs()) {
        let outcome = decide(&inputs);
        let line = serde_json::to_string(&inputs).expect("encodes");
        let read: Inputs = serde_json::from_str(&line).expect("decodes");
        prop_assert_eq!(&read, &inputs);
        prop_assert_eq!(
            serde_json::to_string(&decide(&read)).expect("encodes"),
            serde_json::to_string(&outcome).expect("encodes")
        );
        let outcome_line = serde_json::to_string(&outcome).expect("encodes");
        prop_assert_eq!(serde_json::from_str::<TickResult>(&outcome_line).expect("decodes"), outcome);
    }

    /// More ready jobs never mean fewer workers.
    #[test]
    fn monotone_in_ready(inputs in any_inputs(), more in 1..20_u32) {
        let mut with_more = inputs.clone();
        let Reading::Known(queue) = &mut with_more.observation.queue else { return Ok(()) };
        queue.general.ready += more;
        prop_assert!(decide(&with_more).decision.desired >= decide(&inputs).decision.desired);
    }

    /// Capacity is never set outside the bounds, nor lowered other than by named workers and by
    /// what was never launched.
    #[test]
    fn inside_bounds(inputs in any_or_near()) {
        let decision = decide(&inputs).decision;
        let Some(group) = known_group(&inputs) else {
            prop_assert_eq!(decision.action, ScalingAction::Nothing);
            return Ok(());
        };
        let least = inputs.policy.min.max(group.min);
        match &decision.action {
            ScalingAction::SetDesired { desired } => {
                prop_assert!(*desired > group.desired);
                prop_assert!(*desired <= inputs.policy.max.min(group.max));
            }
            ScalingAction::Terminate { also, .. } => {
                let gone = 1 + u32::try_from(also.len()).expect("few");
                prop_assert_eq!(decision.desired, Some(group.desired - gone));
                prop_assert!(decision.desired >= Some(least));
                let mut named: Vec<_> = decision.action.terminated().collect();
                named.sort();
                named.dedup();
                prop_assert_eq!(named.len(), usize::try_from(gone).expect("few"));
            }
            ScalingAction::GiveBack { desired } => {
                prop_assert!(*desired < group.desired && *desired >= least);
                let there = |i: &&Instance| i.lifecycle.is_capacity() || i.lifecycle.is_booting();
                let there = group.instances.iter().filter(there).count();
                prop_assert!(*desired >= u32::try_from(there).expect("few"));
                let bounds = decision.bounds.expect("known");
                prop_assert!(*desired >= bounds.clamp(decision.need.expect("known")));
            }
            ScalingAction::Nothing
            | ScalingAction::LookForRefresh
            | ScalingAction::Replace { .. }
            | ScalingAction::EndStopped { .. } => {
                prop_assert_eq!(decision.desired, Some(group.desired));
            }
            ScalingAction::Stop { .. } => prop_assert!(false, "the stopped tier is off"),
        }
    }

    /// What is left in service after scaling in is what is needed, and has room for every job that
    /// runs on a machine that stays.
    #[test]
    fn never_below_live_active(inputs in any_or_near()) {
        let decision = decide(&inputs).decision;
        let gone = victims(&decision).len();
        if gone > 0 {
            let target = decision.bounds.expect("known").clamp(decision.need.expect("known"));
            let in_service = known_group(&inputs).expect("known").instances.iter();
            let in_service = in_service.filter(|i| i.lifecycle.is_capacity() && i.healthy);
            prop_assert!(in_service.count() >= usize::try_from(target).expect("few") + gone);
            let demand = decision.demand.expect("nobody goes without a known demand");
            prop_assert!(demand.exact);
            let running = demand.running - demand.draining;
            let room = decision.desired.expect("known") * inputs.policy.jobs_per_worker.get();
            let bound = inputs.policy.max.min(known_group(&inputs).expect("known").max);
            prop_assert!(room >= running || decision.desired.expect("known") >= bound);
        }
    }

    /// Any unknown input forbids taking anything away.
    #[test]
    fn never_in_on_unknown(inputs in any_or_near()) {
        let decision = decide(&inputs).decision;
        if decision.action.takes_away() {
            let queue = inputs.observation.queue.known().expect("the queue is known");
            prop_assert!(queue.schema.tested);
            prop_assert!(queue.workers.known().is_some());
            prop_assert!(queue.general.active.known().is_some());
            prop_assert!(queue.targeted.iter().all(|pin| pin.counts.active.known().is_some()));
            let none = Some(Reading::Known(RefreshStatus::None));
            prop_assert_eq!(&inputs.observation.refresh, &none);
            prop_assert!(queue.db_now.since(NOW).abs() <= 30_000);
            let suspended = &known_group(&inputs).expect("known").suspended;
            prop_assert!(!suspended.contains(&"Terminate".to_owned()));
        }
    }

    /// Whoever goes is in service, said it has no job, and is wanted by no job. Who said so before
    /// the last start of a job keeps the contract, and the terminate hook is in place.
    #[test]
    fn only_idle_ones_go(inputs in any_or_near()) {
        let decision = decide(&inputs).decision;
        for victim in victims(&decision) {
            let group = known_group(&inputs).expect("known");
            let queue = inputs.observation.queue.known().expect("known");
            let rows = queue.workers.known().expect("known");
            let mut instances = group.instances.iter();
            prop_assert!(instances.any(|i| &i.id == victim && i.lifecycle.is_capacity()));
            let own = rows.iter().filter(|row| row.instance.as_ref() == Some(victim));
            let own: Vec<_> = own.filter(|row| row.status != WorkerStatus::Offline).collect();
            let fresh = own.iter().filter(|row| queue.db_now.since(row.last_heartbeat) <= 90_000);
            prop_assert!(fresh.clone().any(|row| row.status == WorkerStatus::Active));
            prop_assert!(own.iter().all(|row| !row.has_job));
            prop_assert!(queue.targeted.iter().all(|pin| pin.worker.as_str() != victim.as_str()));
            let start = queue.general.active.known().and_then(|active| active.newest_start);
            let proven = fresh.clone().all(|row| {
                start.is_none_or(|start| row.last_heartbeat.since(start) >= 5_000)
            });
            let hook = inputs.observation.hook == Some(Reading::Known(HookStatus::Ours));
            prop_assert!(proven || (hook && fresh.clone().all(|r| r.accepting == Some(true))));
        }
    }

    /// Whoever is replaced was seen unable to take a job for the whole grace, and leaves with the
    /// drain behind it.
    #[test]
    fn only_who_cannot_take_a_job_is_replaced(inputs in any_or_near()) {
        let decision = decide(&inputs).decision;
        if let Some(gone) = replaced(&decision) {
            let Memory::Kept(state) = &inputs.memory else { panic!("it was never seen before") };
            let before = state.unable.iter().filter(|one| &one.instance == gone);
            prop_assert!(before.clone().any(|one| NOW.since(one.since) >= 190_000));
            let hook = Some(Reading::Known(HookStatus::Ours));
            prop_assert_eq!(&inputs.observation.hook, &hook);
        }
    }

    /// Carried out and looked at again in the same moment, growing asks for nothing more.
    #[test]
    fn idempotent(inputs in any_inputs()) {
        let first = decide(&inputs);
        let ScalingAction::SetDesired { desired } = first.decision.action else { return Ok(()) };
        let mut again = inputs.clone();
        let Reading::Known(group) = &mut again.observation.group else { unreachable!() };
        group.desired = desired;
        again.memory = Memory::Kept(first.state);
        let second = decide(&again).decision.action;
        let grows = matches!(second, ScalingAction::SetDesired { .. });
        prop_assert!(!grows);
    }

    /// The same tick twice in one moment, as two triggers would make it, ends nobody twice.
    #[test]
    fn a_doubled_tick_ends_nobody_more(inputs in any_or_near()) {
        let first = decide(&inputs);
        let victims: Vec<_> = first.decision.action.terminated().cloned().collect();
        if victims.is_empty() {
            return Ok(());
        }
        let mut again = inputs.clone();
        let Reading::Known(group) = &mut again.observation.group else { unreachable!() };
        group.desired = first.decision.desired.expect("known");
        for gone in group.instances.iter_mut().filter(|i| victims.contains(&i.id)) {
            gone.lifecycle = "Terminating:Wait".into();
        }
        again.memory = Memory::Kept(first.state);
        let second = decide(&again).decision.action;
        prop_assert!(second.terminated().all(|instance| !victims.contains(instance)));
    }

    /// The memory survives its parameter: what is encoded is read back, and losing it never takes a
    /// held worker away at once.
    #[test]
    fn losing_the_memory_is_safe(inputs in any_inputs()) {
        let outcome = decide(&inputs);
        let Memory::Kept(state) = Memory::decode(&outcome.state.encode()) else {
            return Err(TestCaseError::fail("it does not read its own memory"));
        };
        prop_assert_eq!(state, outcome.state);
        let lost = Memory::Lost { cause: LossCause::Absent, detail: String::new() };
        let decision = decide(&Inputs { memory: lost, ..inputs }).decision;
        prop_assert!(!decision.action.takes_away());
    }
}
