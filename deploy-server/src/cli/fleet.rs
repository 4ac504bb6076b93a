//! `--fleet`: one order of a rollout, as SSM runs it on every host.
//!
//! It tries again after 10, 20 and 30 seconds where that may help, looks what is in service after
//! all was done, and says so in one line of JSON that SSM's agent keeps all of. That line
//! is the proof that a rollout waits for. A host that only puts the order off, because a job runs
//! or because it leaves the group, ends with exit code 0: it says nothing against the version, and
//! stops no other host.

use std::path::Path;
use std::time::Duration;

use fleet_protocol::action::Action;
use fleet_protocol::action_report::{ActionReport, ActionResult, DRAIN_STEP, ServiceReport};
use fleet_protocol::exit_code::ExitCode;
use fleet_protocol::host_reply::{HostReply, ServiceStatus};
use fleet_protocol::ids::InstanceId;

use super::{Command, ask, order};
use crate::config::Strings;

/// The pauses before the second, third and fourth try.
const PAUSES: [u64; 3] = [10, 20, 30];
/// Other pauses, for tests: seconds, separated by commas.
const PAUSES_VARIABLE: &str = "GH_DEPLOY_RETRY_SECONDS";
/// What a rollout calls its order. A server of before there were orders does not know it.
const ORDER_VARIABLE: &str = "GH_ORDER";
/// How long that order waits for the running job, in seconds.
const JOB_LIMIT_VARIABLE: &str = "GH_ORDER_JOB_LIMIT_SECONDS";

/// Carries the order out, and returns the exit code and the line of its report.
pub(super) async fn carry_out(
    command: &Command,
    socket: &Path,
    env: &Strings,
) -> (ExitCode, String) {
    let id = env.get(ORDER_VARIABLE).filter(|id| !id.is_empty());
    if let (Command::Deploy { tag, force, .. }, Some(id)) = (command, id) {
        let job_limit_s = env.get(JOB_LIMIT_VARIABLE).and_then(|text| text.parse().ok());
        let (id, tag) = (id.clone(), tag.clone());
        let order = Command::Order { id, tag, force: *force, job_limit_s };
        return order::carry_out(&order, socket).await;
    }
    let pauses = pauses(env.get(PAUSES_VARIABLE).map(String::as_str));
    let mut pauses = pauses.into_iter();
    let (code, answer) = loop {
        let (code, answer) = ask_typed(command, socket).await;
        match pauses.next().filter(|_| may_help(command, code, &answer)) {
            Some(pause) => tokio::time::sleep(Duration::from_secs(pause)).await,
            None => break (code, answer),
        }
    };
    let status = match command {
        Command::Status => answer.clone(),
        _ => ask_typed(&Command::Status, socket).await.1,
    };
    let result = result(command, code, &answer, &status);
    let answered = result.is_put_off() || result == ActionResult::Done;
    let code = if answered { ExitCode::Done } else { code };
    (code, report(command, result, &answer, &status).line())
}

pub(super) async fn ask_typed(command: &Command, socket: &Path) -> (ExitCode, HostReply) {
    let (code, answer) = ask(command, socket).await;
    (code, HostReply::read(&answer))
}

fn pauses(text: Option<&str>) -> Vec<u64> {
    let given =
        text.and_then(|text| text.split(',').map(|part| part.trim().parse().ok()).collect());
    given.unwrap_or_else(|| PAUSES.to_vec())
}

/// Whether the same order may end differently in a moment: nothing was touched, or nobody answered.
/// A version that failed its proof is not tried twice, because each try interrupts the host.
fn may_help(command: &Command, code: ExitCode, answer: &HostReply) -> bool {
    use ExitCode::{Failed, Unavailable, Untouched};
    match command {
        Command::Deploy { .. } => {
            matches!(code, Failed | Untouched | Unavailable) && !is_busy(answer)
        }
        Command::RefreshSecrets => matches!(code, Failed | Unavailable),
        // A host that waits for its job is degraded, and a rollout asks again by itself.
        Command::Status => false,
        _ => code == Unavailable,
    }
}

fn is_busy(answer: &HostReply) -> bool {
    answer.failed_step.as_deref() == Some(DRAIN_STEP)
}

/// What became of the order.
fn result(
    command: &Command,
    code: ExitCode,
    answer: &HostReply,
    status: &HostReply,
) -> ActionResult {
    let deploys = matches!(command, Command::Deploy { .. } | Command::Rollback { .. });
    let before = answer.previous.as_ref().and_then(|previous| previous.image_id.as_ref());
    let same = before.is_some() && before == answer.image_id.as_ref();
    let leaving = status.health.as_ref().is_some_and(|health| health.terminating);
    match code {
        ExitCode::Done if deploys && same => ActionResult::AlreadyCurrent,
        ExitCode::Done if deploys => ActionResult::Deployed,
        ExitCode::Done => ActionResult::Done,
        // What it found degraded it has told all the same.
        ExitCode::Failed if matches!(command, Command::Status) => ActionResult::Done,
        ExitCode::RolledBack => ActionResult::RolledBack,
        ExitCode::Down => ActionResult::Down,
        ExitCode::Refused if leaving => ActionResult::Leaving,
        ExitCode::Refused => ActionResult::Refused,
        ExitCode::Untouched if is_busy(answer) => ActionResult::Busy,
        ExitCode::StillBusy => ActionResult::Busy,
        ExitCode::Unavailable => ActionResult::Unknown,
        ExitCode::Failed | ExitCode::Untouched | ExitCode::Usage => ActionResult::Failed,
    }
}

pub(super) fn report(
    command: &Command,
    result: ActionResult,
    answer: &HostReply,
    status: &HostReply,
) -> ActionReport {
    let action = match command {
        Command::Deploy { .. } | Command::Order { .. } => Action::Deploy,
        Command::TakeBack => Action::TakeBack,
        Command::Rollback { .. } => Action::Rollback,
        Command::Drain { .. } => Action::Drain,
        Command::Cleanup { .. } => Action::Cleanup,
        Command::RefreshSecrets => Action::RefreshSecrets,
        _ => Action::Status,
    };
    let listed = status.services.as_deref().unwrap_or_default();
    let tag = in_service(listed).map(str::to_owned);
    let in_service = |of: fn(&ServiceStatus) -> Option<&String>| {
        tag.as_ref().and_then(|_| common(listed, of)).cloned()
    };
    // What an order came to is told whenever the host is asked.
    let asks = matches!(command, Command::Status | Command::Order { .. });
    let ended = status.order_ended.as_ref().filter(|_| asks);
    let before = match ended {
        Some(ended) => ended.before.as_ref(),
        None => answer.previous.as_ref().and_then(|previous| previous.image_tag.as_ref()),
    };
    let said = ended.and_then(|ended| ended.message.as_deref());
    let notes = ended.map_or(&answer.notes, |ended| &ended.notes);
    // A host that does not know its own id is nobody in particular, and proves nothing.
    let instance = status.instance_id.as_deref().unwrap_or("unknown");
    ActionReport {
        digest: in_service(|service| service.digest.as_ref()),
        image_id: in_service(|service| service.image_id.as_ref()),
        before: before.cloned(),
        step: ended.map_or_else(|| answer.failed_step.clone(), |ended| ended.step.clone()),
        message: said.or_else(|| answer.reason()).map(str::to_owned),
        notes: notes.clone(),
        services: listed.iter().map(reported).collect(),
        log: ended.map_or(&answer.log, |ended| &ended.log).clone(),
        image_tag: tag,
        takes_orders: true,
        order: status.order.clone(),
        active_jobs: status.health.as_ref().and_then(|health| health.active_workers),
        ..ActionReport::new(InstanceId::new(instance), action, result)
    }
}

fn reported(service: &ServiceStatus) -> ServiceReport {
    let ServiceStatus { service, image_tag, state, .. } = service.clone();
    ServiceReport { service, image_tag, state }
}

/// What all services say, or nothing.
fn common(
    services: &[ServiceStatus],
    of: fn(&ServiceStatus) -> Option<&String>,
) -> Option<&String> {
    let first = of(services.first()?)?;
    services.iter().all(|service| of(service) == Some(first)).then_some(first)
}

/// The version that every service runs; `None` where they differ, or one does not run.
fn in_service(services: &[ServiceStatus]) -> Option<&str> {
    let running = services.iter().all(ServiceStatus::is_running);
    let tag = common(services, |service| service.image_tag.as_ref())?;
    (running && services.len() == crate::service::ServiceKind::ALL.len()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::line;
    use serde_json::{Value, json};

    fn read(answer: Value) -> HostReply {
        HostReply::read(&answer)
    }

    fn deploy() -> Command {
        Command::Deploy { tag: "v2".to_owned(), force: false, wait: true }
    }

    fn status(api: &str, worker: &str) -> Value {
        let service = |name: &str, tag: &str| json!({ "service": name, "imageTag": tag, "state": "running", "imageId": "sha256:x", "digest": "sha256:d" });
        json!({ "instanceId": "i-1", "services": [service("api", api), service("worker", worker)] })
    }

    #[test]
    fn the_line_says_what_is_in_service_and_fits() {
        let answer = json!({
            "imageTag": "v2", "imageId": "b", "digest": "sha256:d", "previous": { "imageTag": "v1", "imageId": "a" },
            "error": "x".repeat(5000), "log": vec!["ä".repeat(5000); 100], "failedStep": "start-services",
        });
        let line =
            report(&deploy(), ActionResult::Deployed, &read(answer), &read(status("v2", "v2")))
                .line();
        assert!(line.len() <= line::LIMIT, "{}", line.len());
        let report = ActionReport::find(&line).unwrap();
        let texts = [&report.image_tag, &report.digest, &report.image_id, &report.before];
        assert_eq!(
            texts.map(Option::as_deref),
            [Some("v2"), Some("sha256:d"), Some("sha256:x"), Some("v1")]
        );
        assert_eq!(report.instance_id.as_str(), "i-1");
        assert!(!report.log.is_empty());
    }

    #[test]
    fn half_a_deploy_is_no_version() {
        let tag = |status: Value| {
            let status = read(status);
            let report = report(&deploy(), ActionResult::Deployed, &read(json!({})), &status);
            (report.image_tag, report.digest)
        };
        assert_eq!(tag(status("v2", "v1")), (None, None));
        assert_eq!(tag(json!({ "services": [] })), (None, None));
        assert_eq!(tag(Value::Null), (None, None));
        let mut stopped = status("v2", "v2");
        stopped["services"][1]["state"] = json!("exited");
        assert_eq!(tag(stopped), (None, None));
    }

    #[test]
    fn only_what_may_end_differently_is_tried_again() {
        use ExitCode::{Done, Down, Refused, RolledBack, StillBusy, Unavailable, Untouched, Usage};
        let again = |code, answer: Value| may_help(&deploy(), code, &read(answer));
        assert!(again(Untouched, json!({ "failedStep": "pull-image" })));
        assert!(again(Unavailable, json!({})));
        assert!(
            !again(Untouched, json!({ "failedStep": "drain-worker" })),
            "a job runs: the rollout comes back"
        );
        for code in [Done, RolledBack, Down, Refused, Usage, StillBusy] {
            assert!(!again(code, json!({})), "{code:?}");
        }
        let degraded = read(json!({ "health": { "status": "degraded" } }));
        for code in [ExitCode::Failed, Unavailable] {
            assert!(!may_help(&Command::Status, code, &degraded), "a rollout asks again by itself");
        }
        assert_eq!(pauses(None), [10, 20, 30]);
        assert_eq!(pauses(Some("0, 1")), [0, 1]);
        assert_eq!(pauses(Some("soon")), [10, 20, 30]);
    }

    #[test]
    fn one_word_for_every_end() {
        let word = |code, answer: Value, status: Value| {
            result(&deploy(), code, &read(answer), &read(status))
        };
        let leaving = json!({ "health": { "terminating": true } });
        let ids = |now: &str, before: Value| json!({ "imageId": now, "previous": before });
        assert_eq!(
            word(ExitCode::Done, ids("a", json!({ "imageId": "a" })), json!({})),
            ActionResult::AlreadyCurrent
        );
        assert_eq!(
            word(ExitCode::Done, ids("a", json!({ "imageId": "b" })), json!({})),
            ActionResult::Deployed
        );
        assert_eq!(word(ExitCode::Done, ids("a", Value::Null), json!({})), ActionResult::Deployed);
        assert_eq!(word(ExitCode::Refused, json!({}), leaving), ActionResult::Leaving);
        assert_eq!(word(ExitCode::Refused, json!({}), json!({})), ActionResult::Refused);
        let at = |step: &str| json!({ "failedStep": step });
        assert_eq!(word(ExitCode::Untouched, at("drain-worker"), json!({})), ActionResult::Busy);
        assert_eq!(word(ExitCode::Untouched, at("pull-image"), json!({})), ActionResult::Failed);
        assert_eq!(word(ExitCode::Unavailable, json!({}), json!({})), ActionResult::Unknown);
        let found = {
            let nothing = HostReply::default();
            result(&Command::Status, ExitCode::Failed, &nothing, &nothing)
        };
        assert_eq!(found, ActionResult::Done);
    }
}
