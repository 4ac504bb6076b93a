//! Holds a rollout where it is, and lets it go on.

use super::{no_such_yet, unavailable};
use crate::act::perform;
use crate::app::App;
use fleet_core::rollout::{Answer, Call, CallResult, Seen};
use fleet_lambda::{Problem, now};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use serde_json::{Value, json};

/// Written down beside the rollout: whoever drives it sends no new order while that is so. Hosts
/// finish what they hold.
pub(super) async fn pause(app: &App, id: &CommandId, paused: bool) -> Result<Value, Problem> {
    let mut seen = Seen::default();
    perform(app, vec![Call::ReadStored]).await.into_iter().for_each(|answer| seen.take(answer));
    let stored = match &seen.stored {
        Some(Reading::Known(stored)) => stored,
        Some(Reading::Unknown(source)) => return Err(unavailable(&source.detail)),
        None => return Err(unavailable("the rollout's record was not read")),
    };
    let now = now();
    let Some(record) = stored.record().filter(|record| record.id() == Some(id)) else {
        let ended = stored.stable.as_ref().and_then(|stable| stable.ended(id));
        return Err(match ended {
            Some(_) => Problem::new(409, "Conflict", "the rollout has ended"),
            None => no_such_yet(id),
        });
    };
    // Only its own pause is taken back, and only a decision that is asked for is taken.
    let decides = stored.needs_decision(record, &app.config.limits, now);
    if !paused && !decides && stored.paused.as_ref() != Some(id) {
        return Err(Problem::new(409, "Conflict", "the rollout is not paused"));
    }
    let wish = match paused {
        true => Call::RequestPause { id: id.clone() },
        false => Call::RequestContinue { id: id.clone(), at: now },
    };
    for answer in perform(app, vec![wish]).await {
        if let Answer::PauseRequested(CallResult::Failed { detail }) = answer {
            return Err(unavailable(&detail));
        }
    }
    let note = if paused {
        "no host gets a new order; hosts finish those that they hold"
    } else {
        "the rollout goes on with its next pass, within a minute"
    };
    Ok(json!({
        "id": id, "state": "in_progress", "status_url": format!("/api/v1/admin/deployments/{id}"),
        "note": note,
    }))
}
