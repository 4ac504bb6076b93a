//! What holds for every job, whatever was read of it.

use crate::scene::*;
use fleet_core::passport::*;
use fleet_core::status::{Proof, Runs};
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn moment() -> impl Strategy<Value = UnixMs> {
    (-400_000_i64..2_000_000).prop_map(|offset| UnixMs(DUE + offset))
}

fn reading<T: Clone + std::fmt::Debug + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Reading<T>> {
    let causes =
        select(vec![UnknownCause::TimedOut, UnknownCause::Missing, UnknownCause::NotAsked]);
    prop_oneof![5 => known.prop_map(Reading::Known), 1 => causes.prop_map(|it| unknown(it, "no"))]
}

fn any_job() -> impl Strategy<Value = QueueJob> {
    let states = select(vec![
        JobState::Created,
        JobState::Retry,
        JobState::Active,
        JobState::Completed,
        JobState::Expired,
        JobState::Cancelled,
        JobState::Failed,
        JobState::Other,
    ]);
    let often = || option::weighted(0.9, moment());
    let moments = (often(), often(), often(), often());
    (states, moments, option::of(0..3_u32), option::of(0..900_u32), any::<bool>()).prop_map(
        |(state, (created, start_after, started, completed), retry_count, expire_s, blocked)| {
            let job = facts().job;
            let moments = QueueJob { created, start_after, started, completed, ..job };
            QueueJob { state, retry_count, expire_s, blocked, ..moments }
        },
    )
}

fn any_facts() -> impl Strategy<Value = JobFacts> {
    let registered = option::weighted(0.9, option::of(moment()));
    let launch = option::weighted(0.8, (moment(), option::weighted(0.8, moment())));
    let word = option::of((moment(), any::<bool>()));
    let sources =
        (reading(registered), reading(option::of(moment())), reading(launch), reading(word));
    (any_job(), moment(), any::<bool>(), sources).prop_map(
        |(job, now, named, (registered, job_before, launch, word))| {
            let whole = facts();
            let worker = match registered {
                Reading::Known(row) => Reading::Known(row.and_then(|registered| {
                    let row = whole.worker.known()?.clone()?;
                    Some(RegisteredWorker { registered, ..row })
                })),
                Reading::Unknown(why) => Reading::Unknown(why),
            };
            let launch = match launch {
                Reading::Known(row) => Reading::Known(row.and_then(|(launched, requested)| {
                    let row = whole.launch.known()?.clone()?;
                    let cause = requested.map(cause).unwrap_or_default();
                    Some(MachineLaunch { launched, cause, ..row })
                })),
                Reading::Unknown(why) => Reading::Unknown(why),
            };
            let word = match word {
                Reading::Known(word) => Reading::Known(word.map(|(at, said)| Proof {
                    at,
                    runs: if said { Runs::Version("v2".to_owned()) } else { Runs::Unsaid },
                })),
                Reading::Unknown(why) => Reading::Unknown(why),
            };
            let application = if named { whole.application.clone() } else { Reading::Known(None) };
            JobFacts { now, job, application, worker, job_before, launch, word, ..whole }
        },
    )
}

fn read(moment: &str) -> i64 {
    moment.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_parts_of_a_wait_follow_each_other_and_are_the_wait(facts in any_facts()) {
        let passport = job_passport(&facts);
        let Some(wait) = &passport.wait else {
            // Nobody knows since when, or until when, and it is said.
            prop_assert!(!passport.missing.is_empty());
            return Ok(());
        };
        let mut at = read(&wait.from);
        for segment in &wait.segments {
            prop_assert!(segment.ms > 0);
            prop_assert_eq!(read(&segment.from), at);
            at += i64::try_from(segment.ms).expect("not that long");
        }
        prop_assert_eq!(at, read(&wait.until));
        prop_assert_eq!(wait.ms, wait.segments.iter().map(|it| it.ms).sum::<u64>());
    }

    #[test]
    fn what_is_null_and_could_be_known_is_named(facts in any_facts()) {
        let passport = job_passport(&facts);
        let named = |part| passport.missing.iter().any(|missing| missing.part == part);
        let ran = passport.claimed_at.is_some();
        prop_assert_eq!(passport.application.is_none(), named(MissingPart::Application));
        prop_assert_eq!(passport.enqueued_at.is_none(), named(MissingPart::Enqueued));
        prop_assert_eq!(passport.due_at.is_none(), named(MissingPart::Due));
        prop_assert_eq!(passport.expired.is_none(), named(MissingPart::Expiry));
        prop_assert_eq!(ran && passport.worker_id.is_none(), named(MissingPart::Worker));
        let machine = passport.machine.is_some();
        prop_assert_eq!(machine && passport.version.is_none(), named(MissingPart::Version));
        let segments = passport.wait.iter().flat_map(|wait| &wait.segments);
        let unsplit = segments.clone().any(|it| it.kind == SegmentKind::Unsplit);
        prop_assert!(!unsplit || named(MissingPart::Decision));
    }
}
