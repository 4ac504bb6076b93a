//! An order of a rollout: the server accepts it and answers for it later, so this returns as soon
//! as a running job is waited for. Only a swap that begins at once is watched to its end.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_protocol::action_report::ActionResult;
use fleet_protocol::exit_code::ExitCode;
use fleet_protocol::host_order::OrderState;
use fleet_protocol::host_reply::HostReply;

use super::{Command, fleet};

/// SSM's own time for the command is longer, and a swap is over by then.
const FOLLOW_FOR: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Hands the order to the server and reports how it stands.
pub(super) async fn carry_out(command: &Command, socket: &Path) -> (ExitCode, String) {
    let Command::Order { id, .. } = command else { unreachable!("not an order") };
    let (code, answer) = fleet::ask_typed(command, socket).await;
    let began = Instant::now();
    let mut status = fleet::ask_typed(&Command::Status, socket).await.1;
    let end = |code, result, status: &HostReply| {
        (code, fleet::report(command, result, &answer, status).line())
    };
    if code != ExitCode::Done {
        let leaving = status.health.as_ref().is_some_and(|health| health.terminating);
        return match code {
            ExitCode::Refused if leaving => end(ExitCode::Done, ActionResult::Leaving, &status),
            ExitCode::Refused => end(ExitCode::Done, ActionResult::Refused, &status),
            ExitCode::Unavailable => end(code, ActionResult::Unknown, &status),
            code => end(code, ActionResult::Failed, &status),
        };
    }
    loop {
        let order = status.order.as_ref().filter(|order| order.id.to_string() == *id);
        let state = order.map(|order| order.state);
        if state == Some(OrderState::Ended) {
            let result = order.and_then(|order| order.result).unwrap_or(ActionResult::Unknown);
            return end(exit_code(result), result, &status);
        }
        let jobs = status.health.as_ref().and_then(|health| health.active_workers);
        let waits = state == Some(OrderState::Waiting) && jobs.is_some_and(|jobs| jobs > 0);
        if waits || began.elapsed() >= FOLLOW_FOR {
            return end(ExitCode::Done, ActionResult::Accepted, &status);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        status = fleet::ask_typed(&Command::Status, socket).await.1;
    }
}

fn exit_code(result: ActionResult) -> ExitCode {
    match result {
        ActionResult::RolledBack => ExitCode::RolledBack,
        ActionResult::Down => ExitCode::Down,
        ActionResult::Failed => ExitCode::Untouched,
        _ => ExitCode::Done,
    }
}
