//! The failure matrix: commands, agents, hosts and workers.

use crate::scene::*;
use fleet_core::drain::*;
use fleet_core::run_command::InvocationStatus as Status;
use fleet_protocol::reading::Reading;

fn unreadable(text: &str) -> Output {
    Output::Unreadable(DrainReport::find(text).expect_err("no report"))
}

#[test]
fn row_15_an_agent_that_is_offline_is_never_an_idle_worker() {
    let pending = command(100, Status::Running, Output::None);
    assert!(Scene::waiting(vec![pending]).is_left_alone());
    let undelivered = Scene::waiting(vec![command(100, Status::Unreached, Output::None)]);
    undelivered.sent();
    let last = LastAnswer::Broken { detail: "DeliveryTimedOut".into() };
    assert_eq!(undelivered.because(), Reason::Ask { last });
    let unknown = Scene::waiting(vec![]).then(Answer::Sent(id(0), CallResult::NotManaged));
    assert!(unknown.calls().iter().all(|call| !call.acts()), "refused is not idle either");
}

#[test]
fn row_16_a_command_that_its_agent_took_into_the_grave_is_sent_again() {
    let at = |asked_s| Scene::waiting(vec![command(asked_s, Status::Running, Output::None)]);
    assert!(at(179).is_left_alone());
    at(329).sent();
    assert_eq!(at(329).because(), Reason::Ask { last: LastAnswer::Awaited { asked_s: 329 } });
    at(330).sent();
    assert_eq!(at(330).because(), Reason::Ask { last: LastAnswer::Lost { after_s: 330 } });
}

#[test]
fn row_16_the_next_command_begins_before_the_last_one_ends() {
    // So a job that ends between two of them is heard of at the next tick, and not at the one after
    // it.
    let at = |asked_s| Scene::waiting(vec![command(asked_s, Status::Running, Output::None)]);
    assert!(at(179).is_left_alone());
    assert_eq!(at(180).sent(), DrainOrder { chain: at(180).sent().chain, ..order() });
    assert_eq!(at(180).because(), Reason::Ask { last: LastAnswer::Awaited { asked_s: 180 } });
    let renewed = [180, 5].map(|asked_s| command(asked_s, Status::Running, Output::None));
    assert!(Scene::waiting(renewed.to_vec()).is_left_alone());
}

#[test]
fn row_16_a_command_with_a_deadline_is_not_renewed() {
    let mut stop = command(40, Status::Running, Output::None);
    stop.order = DrainOrder { window_s: 60, stop: true, ..order() };
    stop.order.chain.until = Some(ago(-20));
    assert!(Scene::waiting(vec![stop]).is_left_alone());
}

#[test]
fn row_17_a_doubled_command_changes_nothing() {
    let live = |asked_s| command(asked_s, Status::Running, Output::None);
    assert!(Scene::waiting(vec![live(60), live(61)]).is_left_alone());
    assert!(Scene::waiting(vec![live(30), answered(31, drained())]).is_completed());
}

#[test]
fn row_18_a_command_that_is_not_listed_yet_is_not_sent_again() {
    let mut scene = Scene::waiting(vec![]);
    scene.inputs.memory.sent.insert(id(0), ago(3));
    assert!(scene.is_left_alone());
    assert_eq!(scene.because(), Reason::NotListed { sent_s: 3 });
    scene.inputs.memory.sent.insert(id(0), ago(61));
    scene.sent();
}

#[test]
fn row_19_success_without_a_proof_is_nothing() {
    let lies = [
        Output::None,
        unreadable(""),
        unreadable("Drain complete"),
        unreadable("404 page not found"),
        unreadable("{\"success\":true}"),
        unreadable("{\"drained\":true,\"activeJobs\":0,\"accept"),
        Output::Report(DrainReport { active_jobs: Some(1), ..drained() }),
        Output::Report(DrainReport { active_jobs: None, ..drained() }),
        Output::Report(DrainReport { accepting: Some(true), ..drained() }),
        Output::Report(DrainReport { accepting: None, ..drained() }),
        Output::Report(DrainReport { terminating: false, ..drained() }),
        Output::Report(DrainReport { instance_id: Some(id(9)), ..drained() }),
        Output::Report(DrainReport { v: Some(2), ..drained() }),
        Output::Report(DrainReport { drained: false, ..drained() }),
    ];
    for lie in lies {
        let scene = Scene::waiting(vec![command(30, Status::Success, lie.clone())]);
        assert!(!scene.is_completed(), "{lie:?}");
        scene.sent();
    }
}

#[test]
fn row_19_a_host_that_lies_at_once_is_not_asked_in_a_circle() {
    let scene = Scene::waiting(vec![command(3, Status::Success, Output::None)]);
    assert!(scene.is_left_alone());
    assert_eq!(scene.because(), Reason::TooSoon { last: LastAnswer::Silent, wait_s: 17 });
}

#[test]
fn row_19_the_limit_does_not_count_from_a_lie() {
    // An outage of ours follows, longer than any job may take: the worker never heard of its end.
    let lie = |report| Scene::waiting(vec![answered(i64::from(LIMIT_S) + 60, report)]);
    assert!(lie(busy(1)).sent().stop);
    assert!(!lie(DrainReport { active_jobs: None, ..drained() }).sent().stop);
    assert!(!lie(DrainReport { accepting: Some(true), ..drained() }).sent().stop);
    assert!(!lie(DrainReport { terminating: false, ..busy(1) }).sent().stop);
}

/// A report that contradicts itself may come from a worker that still takes jobs.
#[test]
fn a_lying_answer_does_not_close_the_intake() {
    let lies = [
        DrainReport { accepting: Some(true), ..drained() },
        DrainReport { active_jobs: Some(1), ..drained() },
        DrainReport { active_jobs: None, ..drained() },
        DrainReport { accepting: None, ..drained() },
        DrainReport { terminating: false, ..drained() },
        DrainReport { accepting: Some(true), ..busy(1) },
    ];
    for lie in lies {
        let closed = |report| Age::of(&[answered(300, report)], None, NOW).chain.closed;
        assert_eq!(closed(lie.clone()), None, "{lie:?}");
        assert_eq!(closed(busy(1)), Some(ago(300)));
        assert_eq!(closed(drained()), Some(ago(300)));
    }
}

#[test]
fn row_19_a_failed_command_with_a_proof_is_a_proof() {
    // Success or not is about the script; what counts is what the host saw.
    assert!(Scene::waiting(vec![answered(10, drained())]).is_completed());
    let failed = command(10, Status::Failed, Output::Report(drained()));
    assert!(Scene::waiting(vec![failed]).is_completed());
}

#[test]
fn row_20_a_worker_that_cannot_be_reached_is_not_idle() {
    let silent = DrainReport { active_jobs: None, accepting: None, ..busy(0) };
    let scene = Scene::waiting(vec![answered(250, silent)]);
    scene.sent();
    assert!(matches!(scene.because(), Reason::Ask { last: LastAnswer::Unsure { .. } }));
}

#[test]
fn row_21_idle_with_an_open_intake_is_not_drained() {
    let open = DrainReport { drained: false, accepting: Some(true), ..drained() };
    Scene::waiting(vec![answered(60, open)]).sent();
}

#[test]
fn row_22_a_worker_that_came_back_to_life_undoes_an_older_proof() {
    let scene = Scene::waiting(vec![answered(200, drained()), answered(60, busy(1))]);
    assert!(!scene.is_completed());
    scene.sent();
}

#[test]
fn row_23_a_host_without_a_worker_is_drained() {
    let stopped = DrainReport { worker_stopped: true, ..drained() };
    let scene = Scene::waiting(vec![answered(10, stopped)]);
    assert!(scene.is_completed());
    assert_eq!(scene.because(), Reason::Drained { stopped: true });
}

#[test]
fn row_24_a_host_whose_server_is_down_is_asked_again() {
    let down = unreadable("{\"success\":false,\"message\":\"the deploy-server does not answer\"}");
    let scene = Scene::waiting(vec![command(60, Status::Success, down)]);
    scene.sent();
    assert!(matches!(scene.because(), Reason::Ask { last: LastAnswer::Unreadable { .. } }));
}

#[test]
fn row_25_a_deploy_that_still_runs_on_the_host_is_waited_for() {
    let deploying = DrainReport {
        active_jobs: None,
        accepting: None,
        message: "a deploy of v2 is in progress".into(),
        ..busy(0)
    };
    Scene::waiting(vec![answered(245, deploying)]).sent();
}

#[test]
fn row_26_a_drain_that_can_be_undone_proves_nothing() {
    let pause = DrainReport { terminating: false, ..drained() };
    let scene = Scene::waiting(vec![answered(30, pause)]);
    assert!(!scene.is_completed());
    assert!(matches!(scene.because(), Reason::Ask { last: LastAnswer::NoProof { .. } }));
}

#[test]
fn row_27_the_database_has_no_part_in_it() {
    // The proof is the host's; there is nothing in the inputs that a database could be missing
    // from.
    assert!(Scene::waiting(vec![answered(10, drained())]).is_completed());
}

#[test]
fn row_28_the_worker_counts_what_it_has_not_saved_yet() {
    // The contract has `active_jobs` include it, so one job is one job.
    assert!(!Scene::waiting(vec![answered(30, busy(1))]).is_completed());
}

#[test]
fn row_29_a_job_that_hangs_is_stopped_past_the_limit_and_the_instance_goes() {
    let limit = i64::from(LIMIT_S);
    let at =
        |asked_s: i64| Scene::waiting(vec![answered(asked_s, busy(1)), answered(100, busy(1))]);
    assert!(matches!(at(limit - 1).because(), Reason::Ask { .. }));
    assert_eq!(at(limit - 1).sent().window_s, 1, "no window reaches past the limit");
    let past = at(limit);
    assert!(past.because().pages());
    let order = past.sent();
    assert!(order.stop && order.window_s == 0);
    // The order to stop was sent and never answered.
    let stopping = |asked_s: i64, status| {
        let mut stop = command(asked_s, status, Output::None);
        stop.order.stop = true;
        stop.order.window_s = 0;
        Scene::waiting(vec![answered(limit + asked_s, busy(1)), stop])
    };
    assert_eq!(stopping(50, Status::Running).because(), Reason::Stopping { asked_s: 50 });
    stopping(100, Status::Unreached).sent();
    assert!(!stopping(239, Status::Unreached).is_completed());
    assert!(stopping(240, Status::Unreached).is_completed());
    assert_eq!(stopping(240, Status::Running).because(), Reason::GaveUp { silent_s: 240 });
}

#[test]
fn row_29_a_stopped_worker_is_a_proof_and_its_jobs_are_counted() {
    let stopped = DrainReport { worker_stopped: true, stopped_jobs: Some(1), ..drained() };
    let limit = i64::from(LIMIT_S);
    let scene = Scene::waiting(vec![answered(limit + 60, busy(1)), answered(30, stopped)]);
    assert!(scene.is_completed());
    let notes = scene.decide().notes;
    assert_eq!(notes, [Note::Interrupted { instance: id(0), jobs: 1 }]);
    let line = r#"{"drained":true,"activeJobs":0,"accepting":false,"terminating":true,"workerStopped":true,"stoppedJobs":null}"#;
    let mut unasked = answered(30, DrainReport::find(line).expect("readable"));
    unasked.order.stop = true;
    let notes = Scene::waiting(vec![unasked]).decide().notes;
    assert_eq!(notes, [Note::StoppedUnasked { instance: id(0) }]);
}

#[test]
fn row_38_a_machine_that_never_booted_goes_when_no_job_could_still_run() {
    let refused = Scene::waiting(vec![]).then(Answer::Sent(id(0), CallResult::NotManaged));
    assert_eq!(refused.calls(), [Call::DescribeActivities]);
    let since = |seconds: i64| {
        let activities = ending(seconds);
        let scene = Scene::waiting(vec![]).then(Answer::Activities(Reading::Known(activities)));
        scene.then(Answer::Sent(id(0), CallResult::NotManaged))
    };
    let limit = i64::from(LIMIT_S);
    assert!(since(600).is_left_alone(), "nothing proves that no worker runs there");
    assert!(since(limit + 239).is_left_alone());
    assert!(since(limit + 239).because().pages());
    assert!(since(limit + 240).is_completed());
    assert!(refused.then(Answer::Activities(unknown())).is_left_alone());
}

#[test]
fn a_drain_whose_commands_are_refused_counts_from_the_scaling_activity_and_pages() {
    let denied = || CallResult::Failed { detail: "SendCommand was refused: AccessDenied".into() };
    let asked = Scene::waiting(vec![]).then(Answer::Sent(id(0), denied()));
    assert_eq!(asked.calls(), [Call::DescribeActivities]);
    let since = |seconds| {
        let scene =
            Scene::waiting(vec![]).then(Answer::Activities(Reading::Known(ending(seconds))));
        scene.then(Answer::Sent(id(0), denied()))
    };
    let young = since(899);
    assert!(young.is_left_alone() && !young.because().pages(), "{}", young.because());
    for waited in [900, i64::from(LIMIT_S) + 60, i64::from(LIMIT_S) * 10] {
        let scene = since(waited);
        let because = scene.because().to_string();
        assert!(scene.is_left_alone(), "nothing proves that no worker runs there: {because}");
        assert!(scene.because().pages(), "{because}");
        assert!(because.contains(&format!("{waited} s")) && because.contains("AccessDenied"));
        assert_eq!(scene.decide().verdicts[0].waited_s, u32::try_from(waited).ok());
    }
}

#[test]
fn row_45_a_command_holds_no_secret_and_no_free_text() {
    let full = DrainOrder {
        window_s: 240,
        stop: true,
        chain: Chain { asked: Some(NOW), closed: Some(NOW), until: Some(NOW) },
    };
    let comment = full.comment();
    assert!(comment.len() <= 100);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " =".contains(c);
    assert!(comment.chars().all(plain), "{comment}");
}

#[test]
fn row_47_another_version_of_the_function_or_the_host_is_understood_or_not_believed() {
    let newer =
        DrainOrder::read("ghosthands leave w=240 asked=1795478400000 shard=7").expect("ours");
    assert_eq!(newer.chain.asked, Some(NOW));
    let line = r#"{"v":2,"drained":true,"activeJobs":0,"accepting":false,"terminating":true}"#;
    let report = DrainReport::find(line).expect("readable");
    assert!(matches!(Finding::of(&report, &id(0)), Finding::NoProof { .. }));
    let line = r#"{"drained":true,"activeJobs":0,"accepting":false,"terminating":true,"new":[1]}"#;
    assert_eq!(Finding::of(&DrainReport::find(line).expect("readable"), &id(0)), Finding::Drained);
}

#[test]
fn row_47_a_word_of_ssm_that_this_version_does_not_know_is_no_end() {
    assert!(Scene::waiting(vec![command(100, Status::Unknown, Output::None)]).is_left_alone());
}

#[test]
fn an_old_workers_caught_jobs_are_told() {
    let caught = DrainReport { worker_stopped: true, caught_jobs: 1, ..drained() };
    let scene = Scene::waiting(vec![answered(10, caught)]);
    assert!(scene.is_completed());
    assert_eq!(scene.decide().notes, [Note::Caught { instance: id(0), jobs: 1 }]);
}

#[test]
fn what_a_host_could_not_do_beside_its_drain_is_told_once_and_stops_nothing() {
    let note = "the restart policy of the drained worker cannot be changed".to_owned();
    let report = DrainReport { notes: vec![note.clone()], ..drained() };
    let scene = Scene::waiting(vec![answered(10, report.clone()), answered(20, report)]);
    assert!(scene.is_completed());
    assert_eq!(scene.decide().notes, [Note::SaidBeside { instance: id(0), note }]);
}

#[test]
fn a_proof_gets_stale() {
    assert!(Scene::waiting(vec![answered(330, drained())]).is_completed());
    let scene = Scene::waiting(vec![answered(331, drained())]);
    scene.sent();
    assert_eq!(scene.because(), Reason::Ask { last: LastAnswer::Stale { age_s: 331 } });
}

#[test]
fn the_limit_counts_from_the_first_answer_and_not_from_the_first_try() {
    let limit = i64::from(LIMIT_S);
    let tries = vec![command(limit + 600, Status::Unreached, Output::None), answered(600, busy(1))];
    let scene = Scene::waiting(tries);
    let order = scene.sent();
    assert!(!order.stop, "the worker was told ten minutes ago, whatever happened before");
    assert_eq!(order.chain.closed, Some(ago(600)));
}

#[test]
fn the_limit_does_not_count_from_an_answer_that_closed_nothing() {
    let silent = DrainReport { active_jobs: None, accepting: None, ..busy(1) };
    let open = DrainReport { accepting: Some(true), ..busy(1) };
    for closed_nothing in [silent, open] {
        let first = || answered(i64::from(LIMIT_S) + 600, closed_nothing.clone());
        let order = Scene::waiting(vec![first(), answered(600, busy(1))]).sent();
        assert!(!order.stop, "a job may have begun ten minutes ago");
        assert_eq!(order.chain.closed, Some(ago(600)));
        assert_eq!(Scene::waiting(vec![first()]).sent().chain.closed, None);
    }
    // A worker that cannot say whether it takes more was told all the same, and so was one that is
    // stopped.
    let old = DrainReport { accepting: None, ..busy(1) };
    for closed in [old, DrainReport { worker_stopped: true, ..drained() }] {
        let scene = Scene::waiting(vec![answered(600, closed)]);
        assert_eq!(scene.sent().chain.closed, Some(ago(600)));
    }
}
