//! What wakes the function: its schedule, or somebody who wants a tick now. Both make the same one.

use crate::app::App;
use crate::gather::{GatheredTick, gathered_tick};
use crate::tick::ticks_of_a_minute;
use fleet_lambda::{Access, Call, Event, Problem, Reply, Route, Scope, answer, is_schedule};
use serde::Serialize;
use serde_json::{Value, json};

/// Who asked for a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    Schedule,
    Api,
}

/// The only thing to ask for.
struct Tick;

const ROUTES: [Route<Tick>; 1] = [Route {
    method: "POST",
    path: "/api/v1/admin/autoscale/tick",
    access: Access::Needs(Scope::Tick),
    audit: Some("autoscale.tick"),
    to: Tick,
}];

/// Answers one invocation. A scheduled tick answers with its record; a request is answered over
/// HTTP in any case.
///
/// # Errors
/// Only for an event that is not for this function.
pub(crate) async fn handle(app: &App, event: Event, request_id: &str) -> Result<Value, String> {
    match &event {
        Event::Bus(bus) if is_schedule(bus) => {
            Ok(ticks_of_a_minute(app, request_id).await.into_body())
        }
        Event::Http(request) => {
            let respond = async |_: &Tick, call: &mut Call<'_>| api_tick(app, call).await;
            Ok(answer(&ROUTES, &app.gate, request, request_id, respond).await)
        }
        Event::Bus(_) | Event::Authorize(_) | Event::Other { .. } => Err(event.unexpected()),
    }
}

/// What a caller learns of its tick who may not look at the fleet.
fn without_insight(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.retain(|name, _| ["type", "at", "request_id"].contains(&name.as_str()));
    }
    body
}

async fn api_tick(app: &App, call: &mut Call<'_>) -> Result<Reply, Problem> {
    match gathered_tick(app, call.request_id).await {
        GatheredTick::Ticked(report) => {
            call.outcome = Some("one tick was run".to_owned());
            let looks = call.caller.as_ref().is_some_and(|it| it.scopes().allow(Scope::Read));
            let body = report.into_body();
            Ok(Reply::json(200, &if looks { body } else { without_insight(body) }))
        }
        GatheredTick::Joined => {
            call.outcome = Some("joined a tick that had not begun".to_owned());
            let because = "a tick that begins after this call is made for it, too";
            Ok(Reply::json(202, &json!({ "type": "joined", "because": because })))
        }
        GatheredTick::StillRunning => Err(Problem::new(
            409,
            "Already Running",
            "another tick of this group has run for ten seconds; the schedule's next one reads what came since",
        )),
    }
}
