//! A job of which everything is known.

use fleet_core::passport::*;
use fleet_core::status::{Prices, Proof, Runs};
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;

/// 2026-11-24T00:00:00Z
pub(crate) const DUE: i64 = 1_795_478_400_000;
pub(crate) const INSTANCE: &str = "i-0a1b2c3d4e5f60711";

pub(crate) fn at(seconds: i64) -> UnixMs {
    UnixMs(DUE + seconds * 1000)
}

pub(crate) fn unknown<T>(cause: UnknownCause, detail: &str) -> Reading<T> {
    Reading::Unknown(Unknown { cause, detail: detail.to_owned() })
}

pub(crate) fn cause(requested: UnixMs) -> String {
    format!(
        "At {} a user request explicitly set group desired capacity changing the desired capacity from 1 to 2.  \
         At {} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 1 to 2.",
        requested.whole_seconds(),
        requested.plus_seconds(5).whole_seconds(),
    )
}

/// Due at 0 s; its machine was asked for at 12 s, launched at 15 s, ready at 80 s, and took the job
/// at 82 s, which ended at 682 s.
pub(crate) fn facts() -> JobFacts {
    JobFacts {
        now: at(1000),
        site: PassportSite {
            environment: "staging".to_owned(),
            group: GroupName::new("asg"),
            tick_s: 20,
            prices: Prices { instance_hour: 60_000, volume_month: 0, fixed_month: 1_000_000 },
            proof_life_s: 1_920,
        },
        job: QueueJob {
            id: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
            queue: "gh_apply_job".to_owned(),
            target: None,
            state: JobState::Completed,
            created: Some(at(0)),
            start_after: Some(at(0)),
            started: Some(at(82)),
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
            id: "7c9e6679-7425-40de-944b-e07fc1f90ae7".to_owned(),
            status: "completed".to_owned(),
            worker: Some(WorkerId::new("w-one")),
            created: Some(at(0)),
            started: Some(at(83)),
            completed: Some(at(681)),
        })),
        worker: Reading::Known(Some(RegisteredWorker {
            worker: WorkerId::new("w-one"),
            instance: Some(InstanceId::new(INSTANCE)),
            registered: Some(at(80)),
        })),
        job_before: Reading::Known(None),
        launch: Reading::Known(Some(MachineLaunch {
            instance: InstanceId::new(INSTANCE),
            launched: at(15),
            in_service: Some(at(60)),
            cause: cause(at(12)),
        })),
        word: Reading::Known(Some(Proof { at: at(70), runs: Runs::Version("v2".to_owned()) })),
    }
}

/// The parts of the wait in words: kind and seconds.
pub(crate) fn parts(passport: &JobPassport) -> Vec<(SegmentKind, u64)> {
    let segments = passport.wait.as_ref().map(|wait| &wait.segments);
    segments.into_iter().flatten().map(|it| (it.kind, it.ms / 1000)).collect()
}

/// What the passport says is unknown.
pub(crate) fn missing(passport: &JobPassport) -> Vec<(MissingPart, MissingReason)> {
    passport.missing.iter().map(|it| (it.part, it.reason)).collect()
}
