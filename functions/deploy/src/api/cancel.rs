//! Takes a deployment back as far as it has not begun.

use super::{no_such_yet, unavailable};
use crate::act::perform;
use crate::app::App;
use fleet_core::rollout::{Answer, Call, CallResult, Evidence, Record, Seen};
use fleet_lambda::Problem;
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use serde_json::{Value, json};

/// Hosts whose turn has not come get no order; what a host has begun it finishes, or undoes by
/// itself.
pub(super) async fn cancel(app: &App, id: &CommandId) -> Result<Value, Problem> {
    let mut seen = Seen::default();
    let calls = vec![Call::ReadStored, Call::ReadCommand { id: id.clone() }];
    perform(app, calls).await.into_iter().for_each(|answer| seen.take(answer));
    let stored = match &seen.stored {
        Some(Reading::Known(stored)) => stored,
        Some(Reading::Unknown(source)) => return Err(unavailable(&source.detail)),
        None => return Err(unavailable("what is stored was not read")),
    };
    let evidence = match seen.commands.get(id) {
        Some(Reading::Known(Some(evidence))) if evidence.command.order.key().is_some() => evidence,
        Some(Reading::Unknown(source)) => return Err(unavailable(&source.detail)),
        // SSM lists a command some seconds after it took it.
        _ => match stored.record().filter(|record| record.id() == Some(id)) {
            Some(record) => return cancel_rollout(app, record, id).await,
            None => return Err(no_such_yet(id)),
        },
    };
    match stored.record().filter(|record| is_of(record, evidence)) {
        Some(record) => cancel_rollout(app, record, id).await,
        None if evidence.command.status.is_live() => {
            take_back(app, id).await?;
            Ok(accepted(id))
        }
        None => Err(Problem::new(409, "Conflict", "it is over; there is nothing left to cancel")),
    }
}

fn is_of(record: &Record, root: &Evidence) -> bool {
    root.command.order.key() == Some(&record.key)
}

/// Written down first: whoever drives the rollout cancels what this call does not reach.
async fn cancel_rollout(app: &App, record: &Record, id: &CommandId) -> Result<Value, Problem> {
    for answer in perform(app, vec![Call::RequestCancel { id: id.clone() }]).await {
        if let Answer::CancelRequested(CallResult::Failed { detail }) = answer {
            return Err(unavailable(&detail));
        }
    }
    let last = record.commands.iter().rev().find_map(|sent| sent.id.as_ref());
    // The next pass asks again where this fails.
    drop(
        perform(app, vec![Call::Cancel { id: last.unwrap_or(id).clone(), instances: Vec::new() }])
            .await,
    );
    Ok(accepted(id))
}

async fn take_back(app: &App, id: &CommandId) -> Result<(), Problem> {
    for answer in perform(app, vec![Call::Cancel { id: id.clone(), instances: Vec::new() }]).await {
        if let Answer::Cancelled(_, CallResult::Failed { detail }) = answer {
            return Err(unavailable(&detail));
        }
    }
    Ok(())
}

fn accepted(id: &CommandId) -> Value {
    json!({
        "id": id, "state": "in_progress", "status_url": format!("/api/v1/admin/deployments/{id}"),
        "note": "no host gets a new order, and those that wait for a job take others again; what a host swaps it finishes, or undoes by itself",
    })
}
