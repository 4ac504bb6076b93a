//! What a passport says of one job, case by case.

use crate::scene::*;
use fleet_core::passport::SegmentKind::{Boot, Claim, Launch, Queue, Retry, Tick, Unsplit};
use fleet_core::passport::*;
use fleet_core::status::{Proof, Runs};
use fleet_protocol::ids::WorkerId;
use fleet_protocol::reading::{Reading, UnknownCause};

const LOG: (MissingPart, MissingReason) = (MissingPart::Decision, MissingReason::NotLookedUp);

#[test]
fn a_job_that_waited_for_a_new_machine_is_told_whole() {
    let passport = job_passport(&facts());
    assert_eq!(parts(&passport), [(Tick, 12), (Launch, 3), (Boot, 65), (Claim, 2)]);
    let wait = passport.wait.as_ref().expect("it waited");
    assert!(wait.segments.iter().all(|segment| segment.exact));
    assert_eq!((wait.from_is, wait.until_is, wait.ms), (WaitFrom::Due, WaitUntil::Claim, 82_000));
    let machine = passport.machine.as_ref().expect("a machine");
    assert_eq!(machine.requested_at.as_deref(), Some("2026-11-24T00:00:12Z"));
    assert_eq!(machine.instance_id.as_str(), INSTANCE);
    let version = passport.version.as_ref().expect("a version");
    assert_eq!((&*version.image_tag, &*version.proven_at), ("v2", "2026-11-24T00:01:10Z"));
    // Ten minutes at six cents an hour.
    let cost = passport.cost.as_ref().expect("a cost");
    assert_eq!((cost.ms, cost.micros), (600_000, 10_000));
    assert_eq!(missing(&passport), [LOG]);
    let query = passport.missing[0].query.as_ref().expect("a query");
    assert_eq!(query.log_group, "/aws/lambda/ghosthands-staging-autoscale");
    assert_eq!((&*query.from, &*query.to), ("2026-11-24T00:00:00Z", "2026-11-24T00:02:12Z"));
    assert!(passport.missing[0].detail.ends_with(&format!("run {}", query.query)));
}

#[test]
fn a_job_that_waited_for_a_worker_that_was_there_waited_behind_others() {
    let mut facts = facts();
    facts.worker = match facts.worker {
        Reading::Known(Some(row)) => {
            Reading::Known(Some(RegisteredWorker { registered: Some(at(-600)), ..row }))
        }
        other => other,
    };
    facts.launch = Reading::Known(None);
    facts.job_before = Reading::Known(Some(at(80)));
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Queue, 80), (Claim, 2)]);
    assert_eq!(missing(&passport), [(MissingPart::Launch, MissingReason::NotKept), LOG]);
    // A worker without a job before was free.
    facts.job_before = Reading::Known(None);
    assert_eq!(parts(&job_passport(&facts)), [(Claim, 82)]);
    // Whether it was, nobody knows.
    facts.job_before = unknown(UnknownCause::TimedOut, "the table took too long");
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Unsplit, 82)]);
    assert!(missing(&passport).contains(&(MissingPart::JobBefore, MissingReason::SourceDown)));
}

#[test]
fn a_machine_that_was_asked_for_later_than_the_next_tick_was_waited_for_behind_others() {
    let mut facts = facts();
    if let Reading::Known(Some(launch)) = &mut facts.launch {
        (launch.launched, launch.cause) = (at(65), cause(at(60)));
    }
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Tick, 20), (Queue, 40), (Launch, 5), (Boot, 15), (Claim, 2)]);
    let wait = passport.wait.expect("it waited");
    let exact: Vec<bool> = wait.segments.iter().map(|segment| segment.exact).collect();
    assert_eq!(exact, [false, false, true, true, true], "the tick itself is in the log");
    // A replacement is asked for by nobody.
    if let Reading::Known(Some(launch)) = &mut facts.launch {
        launch.cause = "an instance was launched in response to an unhealthy instance".to_owned();
    }
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Tick, 20), (Unsplit, 45), (Boot, 15), (Claim, 2)]);
}

#[test]
fn a_machine_that_booted_already_was_waited_for_until_it_was_ready() {
    let mut facts = facts();
    if let Reading::Known(Some(launch)) = &mut facts.launch {
        (launch.launched, launch.cause) = (at(-20), cause(at(-25)));
    }
    assert_eq!(parts(&job_passport(&facts)), [(Boot, 80), (Claim, 2)]);
}

#[test]
fn what_sources_do_not_tell_is_not_split() {
    let mut facts = facts();
    facts.launch = unknown(UnknownCause::Failed, "AccessDenied");
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Unsplit, 80), (Claim, 2)]);
    assert_eq!(missing(&passport), [(MissingPart::Launch, MissingReason::SourceDown), LOG]);
    // A registry without the row.
    facts.worker = Reading::Known(None);
    facts.job_before = Reading::Known(Some(at(40)));
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Unsplit, 82)]);
    assert!(missing(&passport).contains(&(MissingPart::Registration, MissingReason::NotKept)));
    assert_eq!(passport.machine, None, "w-one is no instance");
    assert!(missing(&passport).contains(&(MissingPart::Instance, MissingReason::NotKept)));
    // No row of the application's, so nobody is named.
    facts.application = Reading::Known(None);
    let passport = job_passport(&facts);
    assert_eq!((passport.worker_id.as_ref(), parts(&passport)), (None, vec![(Unsplit, 82)]));
    for part in [MissingPart::Application, MissingPart::Worker] {
        assert!(missing(&passport).contains(&(part, MissingReason::NotKept)), "{part:?}");
    }
    assert_eq!(passport.cost.map(|cost| cost.ms), Some(600_000), "pg-boss knows its times");
}

#[test]
fn the_moment_of_an_earlier_machine_says_nothing_of_this_one() {
    let mut facts = facts();
    if let Reading::Known(Some(row)) = &mut facts.worker {
        row.registered = Some(at(-86_400));
    }
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Tick, 12), (Launch, 3), (Unsplit, 67)]);
    assert!(missing(&passport).contains(&(MissingPart::Registration, MissingReason::NotKept)));
    assert_eq!(passport.machine.and_then(|machine| machine.registered_at), None);
}

#[test]
fn a_targeted_job_is_its_workers_whatever_the_application_says() {
    let mut facts = facts();
    facts.application = unknown(UnknownCause::NotAsked, "the role may not read it");
    facts.job.target = Some(WorkerId::new(INSTANCE));
    facts.worker = Reading::Known(None);
    let passport = job_passport(&facts);
    assert_eq!(passport.worker_id.as_ref().map(WorkerId::as_str), Some(INSTANCE));
    // The old worker has its instance's name.
    assert_eq!(passport.machine.map(|it| it.instance_id.to_string()), Some(INSTANCE.to_owned()));
}

#[test]
fn a_retried_job_waits_from_when_it_was_enqueued_and_says_that_its_due_moment_is_gone() {
    let mut facts = facts();
    facts.job.retry_count = Some(1);
    facts.job.start_after = Some(at(30));
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Retry, 30), (Boot, 50), (Claim, 2)]);
    let wait = passport.wait.as_ref().expect("it waited");
    assert_eq!((wait.from_is, wait.ms), (WaitFrom::Enqueued, 82_000));
    assert_eq!((passport.due_at.as_ref(), passport.retries.made), (None, Some(1)));
    let gone = MissingReason::Overwritten;
    let expected = [(MissingPart::Due, gone), (MissingPart::EarlierAttempts, gone), LOG];
    assert_eq!(missing(&passport), expected);
}

#[test]
fn a_job_whose_retry_is_due_later_waits_on_and_was_not_claimed() {
    let mut facts = facts();
    facts.job.state = JobState::Retry;
    facts.job.completed = None;
    facts.job.start_after = Some(at(1300));
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Retry, 1000)]);
    assert_eq!((passport.claimed_at, passport.cost), (None, None));
    // Put back by hand: the row keeps the end of the attempt before.
    facts.job.start_after = Some(at(0));
    facts.job.completed = Some(at(682));
    let passport = job_passport(&facts);
    assert_eq!((passport.ended_at.as_ref(), passport.claimed_at.as_ref()), (None, None));
    assert_eq!(passport.wait.map(|wait| wait.until_is), Some(WaitUntil::Now));
    // Cancelled before it was taken again.
    facts.job.state = JobState::Cancelled;
    facts.job.start_after = Some(at(90));
    let passport = job_passport(&facts);
    assert_eq!(passport.claimed_at, None);
    assert_eq!(passport.wait.map(|wait| (wait.until_is, wait.ms)), Some((WaitUntil::End, 682_000)));
}

#[test]
fn a_waiting_job_waits_for_a_tick_and_then_for_nobody_knows_whom() {
    let mut facts = facts();
    facts.job.state = JobState::Created;
    (facts.job.started, facts.job.completed) = (None, None);
    facts.application = Reading::Known(None);
    facts.now = at(95);
    let passport = job_passport(&facts);
    assert_eq!(parts(&passport), [(Tick, 20), (Unsplit, 75)]);
    assert_eq!((passport.worker_id, passport.machine, passport.version), (None, None, None));
    facts.job.blocked = true;
    assert_eq!(parts(&job_passport(&facts)), [(Queue, 95)]);
    // It is not due yet.
    facts.now = at(-5);
    let passport = job_passport(&facts);
    let wait = passport.wait.as_ref().expect("a wait");
    assert_eq!((wait.ms, wait.segments.len()), (0, 0));
    assert!(!missing(&passport).contains(&LOG), "no tick had anything to count");
    // Sent with a moment that was past.
    (facts.now, facts.job.blocked) = (at(5), false);
    facts.job.start_after = Some(at(-3600));
    assert_eq!(parts(&job_passport(&facts)), [(Tick, 5)]);
}

#[test]
fn a_job_that_failed_past_its_time_is_said_to_have_expired() {
    let mut facts = facts();
    facts.job.state = JobState::Failed;
    facts.job.expire_s = Some(600);
    facts.job.completed = Some(at(690));
    assert_eq!(job_passport(&facts).expired, Some(true));
    facts.job.completed = Some(at(680));
    assert_eq!(job_passport(&facts).expired, Some(false));
    facts.job.expire_s = None;
    let passport = job_passport(&facts);
    assert_eq!(passport.expired, None);
    assert!(missing(&passport).contains(&(MissingPart::Expiry, MissingReason::NotKept)));
    // Nobody has swept it yet.
    (facts.job.state, facts.job.expire_s) = (JobState::Active, Some(600));
    let passport = job_passport(&facts);
    assert_eq!((passport.expired, passport.ended_at), (Some(true), None));
    assert_eq!(passport.cost.map(|cost| cost.ms), Some(918_000), "so far");
}

#[test]
fn columns_that_may_not_be_read_are_named_with_their_grant() {
    let mut facts = facts();
    facts.job.created = None;
    facts.job.completed = None;
    facts.job.unreadable = vec!["created_on".to_owned(), "completed_on".to_owned()];
    let passport = job_passport(&facts);
    for part in [MissingPart::Enqueued, MissingPart::End] {
        assert!(missing(&passport).contains(&(part, MissingReason::NotReadable)), "{part:?}");
    }
    let detail = &passport.missing[0].detail;
    assert!(detail.contains("created_on, completed_on") && detail.contains("role.sql"), "{detail}");
    assert_eq!(parts(&passport), [(Tick, 12), (Launch, 3), (Boot, 65), (Claim, 2)]);
    assert_eq!(passport.cost, None);
}

#[test]
fn a_version_counts_that_its_host_said_before_the_end_and_not_too_long_before_the_job() {
    let mut facts = facts();
    let said = |seconds, runs| Reading::Known(Some(Proof { at: at(seconds), runs }));
    facts.word = said(82 - 1_920, Runs::Version("v1".to_owned()));
    let version = job_passport(&facts).version.expect("a version");
    assert_eq!(version.image_tag, "v1");
    for word in [
        said(81 - 1_920, Runs::Version("v1".to_owned())),
        said(70, Runs::Unsaid),
        said(70, Runs::Nothing),
        Reading::Known(None),
    ] {
        facts.word = word;
        let passport = job_passport(&facts);
        assert_eq!(passport.version, None);
        assert!(missing(&passport).contains(&(MissingPart::Version, MissingReason::NotKept)));
    }
}
