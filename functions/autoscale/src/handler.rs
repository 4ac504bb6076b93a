//! What wakes the function: its schedule, or somebody who wants a tick now. Both make the same one.

use crate::app::App;
use crate::tick::{TickReport, tick, ticks_of_a_minute};
use fleet_lambda::{Access, Call, Event, Problem, Reply, Route, Scope, answer, is_schedule};
use serde::Serialize;
use serde_json::Value;

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

async fn api_tick(app: &App, call: &mut Call<'_>) -> Result<Reply, Problem> {
    let ticked = tick(app, Trigger::Api, call.request_id).await;
    if let TickReport::AlreadyRunning(_) = ticked {
        return Err(Problem::new(
            409,
            "Already Running",
            "another tick of this group is running and reads the same state",
        ));
    }
    call.outcome = Some("one tick was run".to_owned());
    Ok(Reply::json(200, &ticked.into_body()))
}
