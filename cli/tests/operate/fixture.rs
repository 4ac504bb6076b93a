//! Answers of the API, made of its own types, so that they are what it really sends.

use fleet_core::passport::{
    ApplicationJob, JobFacts, JobPassport, JobState, MachineLaunch, PassportSite, QueueJob,
    RegisteredWorker, job_passport,
};
use fleet_core::rollout::{Detail, Host, Kind, State, Strategy, Summary};
use fleet_core::status::{
    Capacity, Cost, DecisionView, Floor, InstanceView, MinMax, Paused, Prices, Proof, Queue, Runs,
    Source, Status, Unavailable, Versions, WorkerState, WorkerView,
};
use fleet_protocol::ids::{CommandId, GroupName, InstanceId, WorkerId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const ONE: &str = "i-0a1b2c3d4e5f60711";
pub(crate) const TWO: &str = "i-0a1b2c3d4e5f60722";
pub(crate) const JOB: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
pub(crate) const ROLLOUT: &str = "12345678-1234-1234-1234-1234567890ab";

fn text(text: &str) -> String {
    text.to_owned()
}

fn instance(id: &str, lifecycle: &str, version: Option<&str>, drift: Option<bool>) -> InstanceView {
    InstanceView {
        instance_id: InstanceId::new(id),
        lifecycle: LifecycleState::from(lifecycle),
        healthy: true,
        protected: false,
        version: version.map(text),
        proven_at: version.map(|_| text("2026-11-25T07:30:00Z")),
        unproven: version.is_none().then(|| text("it has not said which version it runs")),
        drift,
    }
}

fn worker(id: &str, instance: Option<&str>, state: WorkerState, job: Option<&str>) -> WorkerView {
    WorkerView {
        worker_id: WorkerId::new(id),
        instance_id: instance.map(InstanceId::new),
        state,
        job_id: job.map(text),
        heartbeat_at: text("2026-11-25T07:59:55Z"),
        registered_at: Some(text("2026-11-25T07:00:00Z")),
    }
}

fn decision(at: &str, from: u32, to: u32, rule: &str, because: &str) -> DecisionView {
    DecisionView {
        at: text(at),
        from: Some(from),
        to: Some(to),
        rule: text(rule),
        because: text(because),
        failed: false,
    }
}

/// A fleet of which everything is known.
pub(crate) fn whole() -> Status {
    let stable = json!({
        "image_tag": "v2", "deployment_id": ROLLOUT, "at": "2026-11-25T07:30:00Z", "before": "v1",
    });
    let stable = StablePointer::parse(&stable.to_string()).expect("a pointer");
    Status {
        enabled: true,
        group: GroupName::new("ghosthands-worker-asg"),
        current_capacity: Some(3),
        queue_depth: Some(4),
        active_workers: Some(2),
        idle_workers: Some(1),
        at: text("2026-11-25T08:00:00Z"),
        environment: text("staging"),
        dry_run: false,
        queue: Some(Queue {
            ready: 4,
            due_soon: 1,
            deferred: Some(7),
            active: Some(1),
            expired: Some(0),
            oldest_wait_s: 75,
            targeted: vec![],
            targeted_omitted: 0,
            schema_version: 26,
            schema_tested: true,
        }),
        capacity: Some(Capacity {
            min: Some(1),
            max: Some(10),
            configured: MinMax { min: 1, max: 10 },
            own: MinMax { min: 0, max: 20 },
            desired: 3,
            in_service: 2,
            pending: 1,
            draining: 1,
            other: 0,
            floor: Some(Floor { workers: 3, until: text("2026-11-25T20:00:00Z") }),
            paused: Some(Paused { until: text("2026-11-25T09:00:00Z") }),
            problems: vec![],
            suspended: vec![text("AZRebalance")],
        }),
        instances: Some(vec![
            instance(ONE, "InService", Some("v2"), Some(false)),
            instance(TWO, "InService", Some("v1"), Some(true)),
            instance("i-0a1b2c3d4e5f60733", "Terminating:Wait", None, None),
        ]),
        instances_omitted: 0,
        workers: Some(vec![
            worker("w-one", Some(ONE), WorkerState::Busy, Some("job-17")),
            worker("w-two", Some(TWO), WorkerState::Idle, None),
            worker("w-else", None, WorkerState::Silent, None),
        ]),
        workers_omitted: 0,
        versions: Versions { stable: Some(stable), drifted: Some(1), unknown: Some(1) },
        decisions: Some(vec![
            decision("2026-11-25T07:59:00Z", 2, 3, "need", "5 jobs need 5 workers"),
            decision(
                "2026-11-25T07:50:00Z",
                2,
                2,
                "held",
                "instance 2 of the group has not been needed for 60 s and is kept for 300 s",
            ),
        ]),
        series: None,
        cost: Some(Cost {
            currency: "USD",
            instances: 4,
            hour_micros: 354_712,
            month_micros: 258_940_000,
            month_at_min_micros: 67_136_000,
            month_at_max_micros: 642_560_000,
        }),
        unavailable: vec![],
    }
}

/// The same with the queue and the registry down.
pub(crate) fn partial() -> Status {
    let down = |source, reason: &str| Unavailable {
        source,
        cause: UnknownCause::Unreachable,
        reason: text(reason),
    };
    Status {
        queue: None,
        queue_depth: None,
        active_workers: None,
        idle_workers: None,
        workers: None,
        unavailable: vec![
            down(
                Source::Queue,
                "connection refused by db.internal:5432; check the host and the port, that the server runs",
            ),
            down(Source::Workers, "connection refused by db.internal:5432"),
        ],
        ..whole()
    }
}

/// What the control plane before this one told.
pub(crate) fn old() -> Value {
    json!({
        "enabled": true, "asgName": "ghosthands-worker-asg", "currentCapacity": 3, "queueDepth": 4,
        "activeWorkers": 2, "idleWorkers": 1,
    })
}

/// A rollout of v2 to two hosts, as `GET /api/v1/admin/deployments/{id}` tells it.
pub(crate) fn rollout(kind: Kind, state: State, hosts: Value) -> Value {
    let hosts: Vec<Host> = serde_json::from_value(hosts).expect("hosts");
    let mut counts = BTreeMap::new();
    for host in &hosts {
        *counts.entry(host.state).or_insert(0) += 1;
    }
    let is_rollout = kind.is_rollout();
    let tag = ImageTag::parse("v2").expect("a tag");
    json!(Detail {
        summary: Summary {
            id: CommandId::new(ROLLOUT),
            kind,
            image_tag: is_rollout.then_some(tag),
            strategy: is_rollout.then_some(Strategy::Canary),
            state,
            requested_at: text("2026-11-25T08:00:00Z"),
            requested_by: text("operator:1a2b3c4d"),
            reason: Some(text("new browser")),
            ended_at: None,
        },
        counts,
        hosts_left: None,
        last_limit_at: None,
        paused: None,
        needs_decision: None,
        outcomes: None,
        alarm: None,
        hosts,
        note: None,
    })
}

/// What a request that begins something is answered.
pub(crate) fn accepted(kind: &str) -> Value {
    json!({
        "id": ROLLOUT, "kind": kind, "image_tag": "v2", "strategy": "canary",
        "state": "in_progress", "targets": [ONE, TWO],
        "status_url": format!("/api/v1/admin/deployments/{ROLLOUT}"),
        "note": "one host of 2 first and alone, then 2, 4, …, at most 1 at a time",
    })
}

/// A job that waited for a new machine and ended.
pub(crate) fn passport() -> JobPassport {
    job_passport(&job_facts())
}

/// A job that nobody has taken, and an application whose table may not be read.
pub(crate) fn waiting_passport() -> JobPassport {
    let not_asked = |detail: &str| Unknown { cause: UnknownCause::NotAsked, detail: text(detail) };
    let whole = job_facts();
    let job = QueueJob {
        target: Some(WorkerId::new("w-one")),
        queue: text("gh_apply_job/w-one"),
        state: JobState::Created,
        started: None,
        completed: None,
        ..whole.job
    };
    let denied = "the role may not read its id and status; grant them as docs/sql/role.sql does";
    job_passport(&JobFacts {
        job,
        application: Reading::Unknown(not_asked(denied)),
        worker: Reading::Unknown(not_asked("no worker is named")),
        job_before: Reading::Unknown(not_asked("no worker is named")),
        launch: Reading::Unknown(not_asked("no machine is named")),
        word: Reading::Unknown(not_asked("no machine is named")),
        ..whole
    })
}

fn job_facts() -> JobFacts {
    // 2026-11-25T08:00:00Z
    let at = |seconds: i64| UnixMs(1_795_593_600_000 + seconds * 1000);
    let cause = "At 2026-11-25T08:00:12Z a user request explicitly set group desired capacity \
                 changing the desired capacity from 1 to 2.  At 2026-11-25T08:00:15Z an instance \
                 was started in response to a difference between desired and actual capacity, \
                 increasing the capacity from 1 to 2.";
    JobFacts {
        now: at(900),
        site: PassportSite {
            environment: text("staging"),
            group: GroupName::new("ghosthands-worker-asg"),
            tick_s: 20,
            prices: Prices::default(),
            proof_life_s: 1_920,
        },
        job: QueueJob {
            id: text(JOB),
            queue: text("gh_apply_job"),
            target: None,
            state: JobState::Completed,
            created: Some(at(0)),
            start_after: Some(at(0)),
            started: Some(UnixMs(at(82).0 + 250)),
            completed: Some(at(682)),
            retry_count: Some(0),
            retry_limit: Some(2),
            retry_delay_s: Some(0),
            retry_backoff: Some(false),
            expire_s: Some(14_400),
            blocked: false,
            archived: false,
            unreadable: vec![],
        },
        application: Reading::Known(Some(ApplicationJob {
            id: text("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            status: text("completed"),
            worker: Some(WorkerId::new("w-one")),
            created: Some(at(0)),
            started: Some(at(83)),
            completed: Some(at(681)),
        })),
        worker: Reading::Known(Some(RegisteredWorker {
            worker: WorkerId::new("w-one"),
            instance: Some(InstanceId::new(ONE)),
            registered: Some(at(80)),
        })),
        job_before: Reading::Known(None),
        launch: Reading::Known(Some(MachineLaunch {
            instance: InstanceId::new(ONE),
            launched: at(15),
            in_service: Some(at(60)),
            cause: text(cause),
        })),
        word: Reading::Known(Some(Proof { at: at(70), runs: Runs::Version(text("v2")) })),
    }
}
