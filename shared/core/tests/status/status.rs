//! The status that is made of readings: unknown stays unknown, and nothing is counted twice.

use fleet_core::scaling::{
    ActiveCounts, DecisionSummary, Group, Instance, Memory, Omitted, QueueCounts, QueueSnapshot,
    Sample, Schema, State, Tag, TargetedQueue, UnreadableRows, WorkerRow, WorkerStatus,
};
use fleet_core::status::*;
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// 2026-11-24T00:00:00Z
pub(crate) const NOW: UnixMs = UnixMs(1_795_478_400_000);
const LIFE_S: u32 = 1_920;

pub(crate) fn unknown<T>(detail: &str) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::TimedOut, detail: detail.to_owned() })
}

fn counts(ready: u32, live: u32) -> QueueCounts {
    QueueCounts {
        ready,
        due_soon: 1,
        deferred: Some(2),
        oldest_wait_ms: i64::from(ready) * 1500,
        active: Reading::Known(ActiveCounts { live, expired: 1, newest_start: None }),
    }
}

pub(crate) fn instance(n: u32, lifecycle: &str) -> Instance {
    Instance {
        id: InstanceId::new(format!("i-{n}")),
        lifecycle: lifecycle.into(),
        healthy: true,
        protected: false,
    }
}

pub(crate) fn row(n: u32, status: WorkerStatus, has_job: bool, age_s: i64) -> WorkerRow {
    WorkerRow {
        worker: WorkerId::new(format!("i-{n}")),
        target: None,
        instance: Some(InstanceId::new(format!("i-{n}"))),
        status,
        has_job,
        jobs: None,
        accepting: None,
        idle_since: None,
        last_heartbeat: UnixMs(NOW.0 - age_s * 1000),
    }
}

fn proof(tag: &str) -> Proof {
    Proof { at: UnixMs(NOW.0 - 60_000), runs: Runs::Version(tag.to_owned()) }
}

/// Three machines in service, one booting, one leaving; two of them proved their version.
pub(crate) fn readings() -> Inputs {
    let states = ["InService", "InService", "InService", "Pending", "Terminating:Wait"];
    let group = Group {
        name: GroupName::new("asg"),
        min: 0,
        max: 8,
        desired: 4,
        instances: (1..).zip(states).map(|(n, state)| instance(n, state)).collect(),
        suspended: vec![],
        tags: vec![],
        not_instances: None,
        stopped: vec![],
    };
    let queue = QueueSnapshot {
        db_now: NOW,
        schema: Schema { version: 30, tested: true },
        general: counts(4, 2),
        held_by_key: 0,
        jobs_elsewhere: 0,
        omitted: Omitted::default(),
        unreadable: UnreadableRows::default(),
        targeted: vec![TargetedQueue { worker: WorkerId::new("i-2"), counts: counts(1, 1) }],
        workers: Reading::Known(vec![
            row(1, WorkerStatus::Active, true, 5),
            row(2, WorkerStatus::Active, false, 5),
            row(3, WorkerStatus::Active, true, 91),
            row(5, WorkerStatus::Draining, true, 5),
            row(9, WorkerStatus::Offline, false, 500),
        ]),
    };
    let newest = DecisionSummary {
        at: NOW,
        from: Some(3),
        to: Some(4),
        rule: "need".to_owned(),
        words: "4 jobs need 4 workers".to_owned(),
        failed: false,
    };
    let older = DecisionSummary { at: UnixMs(NOW.0 - 60_000), ..newest.clone() };
    let sample = |minute, ready| Sample {
        minute,
        ready,
        active: None,
        desired: Some(4),
        in_service: Some(3),
    };
    let state = State {
        decisions: vec![older, newest],
        ring: vec![sample(29_924_638, Some(1)), sample(29_924_639, None)],
        ..State::default()
    };
    Inputs {
        now: NOW,
        site: Site {
            environment: "test".to_owned(),
            group: GroupName::new("asg"),
            enabled: true,
            dry_run: false,
            min: 1,
            max: 10,
            prices: Prices::default(),
            wait_target_s: 180,
            proof_life_s: LIFE_S,
        },
        group: Reading::Known(group),
        queue: Reading::Known(queue),
        details: BTreeMap::from([(
            WorkerId::new("i-1"),
            WorkerDetail { job: Some("job-1".to_owned()), registered: Some(UnixMs(0)) },
        )]),
        memory: Reading::Known(Memory::Kept(state)),
        proofs: Reading::Known(BTreeMap::from([
            (InstanceId::new("i-1"), proof("v2")),
            (InstanceId::new("i-2"), proof("v1")),
            (InstanceId::new("i-3"), Proof { at: NOW, runs: Runs::Unsaid }),
        ])),
        stable: Reading::Known(Some(StablePointer {
            image_tag: ImageTag::parse("v2").expect("a tag"),
            digest: None,
            deployment_id: None,
            at: None,
            before: None,
        })),
        last_rollout: None,
    }
}

pub(crate) fn group_of(readings: &mut Inputs) -> &mut Group {
    match &mut readings.group {
        Reading::Known(group) => group,
        Reading::Unknown(_) => panic!("the group is known"),
    }
}

pub(crate) fn queue_of(readings: &mut Inputs) -> &mut QueueSnapshot {
    match &mut readings.queue {
        Reading::Known(queue) => queue,
        Reading::Unknown(_) => panic!("the queue is known"),
    }
}

fn sources(status: &Status) -> Vec<Source> {
    status.unavailable.iter().map(|one| one.source).collect()
}

#[test]
fn everything_known_is_told_once() {
    let status = assemble(&readings());
    assert_eq!(status.unavailable, []);
    assert_eq!((status.current_capacity, status.queue_depth), (Some(4), Some(5)));
    assert_eq!((status.active_workers, status.idle_workers), (Some(2), Some(1)));
    let queue = status.queue.unwrap();
    assert_eq!((queue.ready, queue.due_soon, queue.deferred), (5, 2, Some(4)));
    assert_eq!((queue.active, queue.expired, queue.oldest_wait_s), (Some(3), Some(2), 6));
    let capacity = status.capacity.unwrap();
    assert_eq!((capacity.min, capacity.max), (Some(1), Some(8)), "the group's own maximum binds");
    assert_eq!(
        (capacity.in_service, capacity.pending, capacity.draining, capacity.other),
        (3, 1, 1, 0)
    );
    assert_eq!(status.cost.unwrap().instances, 5, "those that boot and leave are paid for too");
    let decisions: Vec<String> =
        status.decisions.unwrap().into_iter().map(|told| told.at).collect();
    assert_eq!(decisions, ["2026-11-24T00:00:00Z", "2026-11-23T23:59:00Z"], "newest first");
    let series = status.series.unwrap();
    assert_eq!(series.at, [1_795_478_280, 1_795_478_340]);
    assert_eq!(series.ready, [Some(1), None], "what was unknown is no 0");
}

#[test]
fn a_worker_that_is_silent_is_neither_idle_nor_busy() {
    let status = assemble(&readings());
    let workers = status.workers.unwrap();
    let states: Vec<WorkerState> = workers.iter().map(|worker| worker.state).collect();
    use WorkerState::{Busy, Draining, Idle, Silent};
    assert_eq!(states, [Busy, Idle, Silent, Draining], "who ended is left out");
    assert_eq!(workers[0].job_id.as_deref(), Some("job-1"));
    assert_eq!(workers[0].registered_at.as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(workers[1].registered_at, None);
}

#[test]
fn a_host_without_proof_is_never_taken_for_current() {
    let status = assemble(&readings());
    let hosts = status.instances.unwrap();
    let told: Vec<_> = hosts.iter().map(|host| (host.version.as_deref(), host.drift)).collect();
    let none = (None, None);
    assert_eq!(told, [(Some("v2"), Some(false)), (Some("v1"), Some(true)), none, none, none]);
    assert!(hosts[2].proven_at.is_none(), "a word that cannot be read proves nothing");
    assert_eq!((status.versions.drifted, status.versions.unknown), (Some(1), Some(3)));

    let mut readings = readings();
    readings.stable = Reading::Known(None);
    let status = assemble(&readings);
    assert_eq!(status.versions.drifted, Some(0), "before the first deployment nobody drifts");
    assert!(status.instances.unwrap().iter().all(|host| host.drift.is_none()));
    assert_eq!(status.unavailable, []);
}

#[test]
fn a_version_that_was_said_too_long_ago_is_proven_no_more() {
    let said = |age_s: i64, runs: Runs| {
        let mut readings = readings();
        let at = UnixMs(NOW.0 - age_s * 1000);
        let word = BTreeMap::from([(InstanceId::new("i-1"), Proof { at, runs })]);
        readings.proofs = Reading::Known(word);
        let host = assemble(&readings).instances.unwrap().swap_remove(0);
        (host.version, host.drift, host.proven_at.is_some(), host.unproven)
    };
    let life = i64::from(LIFE_S);
    let v1 = || Runs::Version("v1".to_owned());
    assert_eq!(said(life, v1()), (Some("v1".to_owned()), Some(true), true, None));
    // A clock of ours that is behind AWS's makes nothing old.
    assert_eq!(said(-30, v1()).0.as_deref(), Some("v1"));
    let (version, drift, at, why) = said(life + 1, v1());
    assert_eq!((version, drift, at), (None, None, false), "nobody knows what it runs by now");
    let expected =
        "it last said that it runs v1 at 2026-11-23T23:27:59Z, which is more than 32 minutes ago";
    assert_eq!(why.as_deref(), Some(expected));
    for (age_s, runs, why) in [
        (60, Runs::Unsaid, "at 2026-11-23T23:59:00Z it did not say what it runs"),
        (60, Runs::Nothing, "at 2026-11-23T23:59:00Z it said that nothing runs"),
        (
            life + 1,
            Runs::Unsaid,
            "it was last heard of at 2026-11-23T23:27:59Z, which is more than 32 minutes ago",
        ),
    ] {
        assert_eq!(said(age_s, runs), (None, None, false, Some(why.to_owned())));
    }
    let mut readings = readings();
    let why = |readings: &Inputs| assemble(readings).instances.unwrap()[3].unproven.clone();
    assert_eq!(why(&readings).as_deref(), Some("it has not said which version it runs"));
    readings.proofs = unknown("versions");
    assert_eq!(why(&readings), None, "the source says why");
}

#[test]
fn a_hosts_clock_makes_no_word_older_or_newer_than_its_command() {
    let at = |ended: Option<i64>| {
        let ended = ended.map(|s| UnixMs(NOW.0 + s * 1000));
        Proof::new(NOW, ended, Runs::Unsaid).at.since(NOW) / 1000
    };
    assert_eq!([at(None), at(Some(40)), at(Some(-7_200)), at(Some(86_400))], [0, 40, 0, 960]);
}

#[test]
fn older_commands_are_read_until_they_can_change_nothing() {
    let hosts = BTreeSet::from([InstanceId::new("i-1"), InstanceId::new("i-2")]);
    let said = |ages: &[i64]| -> BTreeMap<InstanceId, Proof> {
        let at = |s: i64| Proof { at: UnixMs(NOW.0 - s * 1000), runs: Runs::Unsaid };
        (1..).zip(ages).map(|(n, s)| (InstanceId::new(format!("i-{n}")), at(*s))).collect()
    };
    let oldest = |s: i64| UnixMs(NOW.0 - s * 1000);
    // An order may take as long as this until its host says what it came to.
    assert!(settled(&hosts, &said(&[10, 20]), oldest(981)));
    assert!(!settled(&hosts, &said(&[10, 20]), oldest(980)));
    assert!(!settled(&hosts, &said(&[10]), oldest(981)), "one has said nothing");
    assert!(settled(&BTreeSet::new(), &said(&[]), NOW));
}

#[test]
fn running_jobs_that_were_not_counted_are_named() {
    let mut readings = readings();
    queue_of(&mut readings).targeted[0].counts.active = unknown("too many");
    let status = assemble(&readings);
    assert_eq!(sources(&status), [Source::ActiveJobs]);
    let queue = status.queue.unwrap();
    assert_eq!((queue.ready, queue.active, queue.expired), (5, None, None));
}

#[test]
fn overrides_are_told_until_they_end() {
    let mut readings = readings();
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    group_of(&mut readings).tags = vec![
        tag("ghosthands:floor", "3@2026-11-24T00:00:01Z"),
        tag("ghosthands:paused", "true@2026-11-24T00:00:00Z"),
        tag("ghosthands:flor", "3@2026-11-24T00:00:01Z"),
    ];
    let capacity = assemble(&readings).capacity.unwrap();
    assert_eq!(
        capacity.floor,
        Some(Floor { workers: 3, until: "2026-11-24T00:00:01Z".to_owned() })
    );
    assert_eq!((capacity.min, capacity.paused), (Some(3), None));
    assert!(capacity.problems[0].contains("ghosthands:flor"), "{:?}", capacity.problems);
}

#[test]
fn bounds_without_a_common_number_are_told_as_none() {
    let mut readings = readings();
    group_of(&mut readings).max = 0;
    let capacity = assemble(&readings).capacity.unwrap();
    assert_eq!((capacity.min, capacity.max), (None, None));
    assert_eq!(capacity.configured, MinMax { min: 1, max: 10 });
}

proptest! {
    /// Whichever sources are down: each is named, its fields are null, and the fields of the others
    /// are as they were.
    #[test]
    fn a_source_that_is_down_costs_its_own_fields_only(
        group in any::<bool>(), queue in any::<bool>(), registry in any::<bool>(),
        memory in any::<bool>(), proofs in any::<bool>(), stable in any::<bool>(),
    ) {
        let mut readings = readings();
        let whole = assemble(&readings);
        if !registry { queue_of(&mut readings).workers = unknown("registry"); }
        if !group { readings.group = unknown("group"); }
        if !queue { readings.queue = unknown("queue"); }
        if !memory { readings.memory = unknown("memory"); }
        if !proofs { readings.proofs = unknown("proofs"); }
        if !stable { readings.stable = unknown("stable"); }
        let status = assemble(&readings);
        let down: Vec<Source> = [
            (Source::Group, group), (Source::Queue, queue), (Source::Workers, registry || !queue),
            (Source::Memory, memory), (Source::Versions, proofs), (Source::Stable, stable),
        ].into_iter().filter(|(_, up)| !up).map(|(source, _)| source).collect();
        prop_assert_eq!(sources(&status), down);
        prop_assert_eq!(status.current_capacity, group.then_some(4));
        prop_assert_eq!(status.capacity.as_ref(), whole.capacity.as_ref().filter(|_| group));
        prop_assert_eq!(status.cost, whole.cost.filter(|_| group));
        prop_assert_eq!(status.queue.as_ref(), whole.queue.as_ref().filter(|_| queue));
        prop_assert_eq!(status.queue_depth, queue.then_some(5));
        let workers = whole.workers.as_ref().filter(|_| queue && registry);
        prop_assert_eq!(status.workers.as_ref(), workers);
        prop_assert_eq!(status.idle_workers, (queue && registry).then_some(1));
        prop_assert_eq!(status.decisions.as_ref(), whole.decisions.as_ref().filter(|_| memory));
        prop_assert_eq!(status.series.as_ref(), whole.series.as_ref().filter(|_| memory));
        let known = whole.versions.stable.as_ref().filter(|_| stable);
        prop_assert_eq!(status.versions.stable.as_ref(), known);
        let unproven = if proofs { 3 } else { 5 };
        prop_assert_eq!(status.versions.unknown, group.then_some(unproven));
        for host in status.instances.iter().flatten() {
            prop_assert!(host.drift.is_none() || (proofs && stable && host.version.is_some()));
        }
    }
}

#[test]
fn a_status_is_below_a_megabyte_whatever_the_database_holds() {
    // The longest in JSON: each of them is written with six characters.
    let long = |n: u32| format!("{n}{}", "\u{1}".repeat(5_000));
    let mut readings = readings();
    let Reading::Known(group) = &mut readings.group else { panic!("the group is known") };
    group.instances = (0..3_000).map(|n| instance(n, "Pending:Wait")).collect();
    group.suspended = (0..200).map(long).collect();
    let Reading::Known(queue) = &mut readings.queue else { panic!("the queue is known") };
    queue.targeted = (0..20_000)
        .map(|n| TargetedQueue { worker: WorkerId::new(long(n)), counts: counts(n % 7, 0) })
        .collect();
    let rows = (0..20_000).map(|n| WorkerRow {
        worker: WorkerId::new(long(n)),
        instance: Some(InstanceId::new(if n < 19_900 { long(n) } else { format!("i-{n}") })),
        ..row(n, WorkerStatus::Active, n % 2 == 0, 5)
    });
    let mut rows: Vec<WorkerRow> = rows.collect();
    rows.push(row(1, WorkerStatus::Active, true, 60));
    queue.workers = Reading::Known(rows);
    readings.proofs = unknown(&long(1));
    let status = assemble(&readings);
    let bytes = serde_json::to_string(&status).unwrap().len();
    assert!(bytes < 1_000_000, "{bytes} bytes");
    // What is left out is a number, and the numbers are of all.
    assert_eq!((status.instances_omitted, status.workers_omitted), (2_000, 19_701));
    assert_eq!(status.active_workers, Some(20_001));
    let queue = status.queue.unwrap();
    assert_eq!((queue.targeted.len(), queue.targeted_omitted), (50, 19_950));
    assert!(queue.targeted.iter().all(|targeted| targeted.ready == 6), "the fullest ones stay");
    let workers = status.workers.unwrap();
    assert_eq!(workers[0].worker_id.as_str(), "i-1", "the group's own come first");
    assert!(status.capacity.unwrap().suspended.contains(&"and 190 more".to_owned()));
}
