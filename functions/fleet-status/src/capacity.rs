//! `PUT /api/v1/admin/capacity`: a floor and a pause, as tags on the group, where the scaling
//! function and the console see them.

use crate::app::App;
use crate::read;
use fleet_core::scaling::Overrides;
use fleet_core::status::CapacityWish;
use fleet_lambda::{Call, Problem, Reply, now};
use fleet_protocol::reading::Reading;
use serde_json::{Value, json};

/// Carries the wish out and answers with the overrides in force.
pub(crate) async fn set(app: &App, call: &mut Call<'_>) -> Result<Reply, Problem> {
    let wish = CapacityWish::parse(call.body).map_err(|error| {
        Problem::bad_request(format!(
            "the body cannot be used: {error}; send for example {{\"floor\": {{\"workers\": 5, \"for_minutes\": 60}}}}"
        ))
    })?;
    // It holds nothing but the fields of a wish.
    call.asked = serde_json::from_slice(call.body).unwrap_or_default();
    if app.config.site.dry_run {
        return Err(Problem::observes_only());
    }
    let group = match read::describe(app).await {
        Reading::Known(group) => group,
        Reading::Unknown(unknown) => {
            return Err(Problem::new(
                503,
                "Service Unavailable",
                format!("nothing was changed, because the group is unknown: {}", unknown.detail),
            ));
        }
    };
    let now = now();
    let max = app.config.site.max.min(group.max);
    let changes = wish.check(max, now).map_err(|problem| {
        Problem::bad_request(problem.to_string()).with("field", problem.field)
    })?;
    let (write, remove) = changes.tags();
    let name = &app.config.site.group;
    // First what ends, so that a failure in between leaves less overridden and not more.
    if !remove.is_empty() {
        let removed = app.tags.remove(name, &remove).await;
        removed.map_err(|error| failed("nothing was changed", &error.detail))?;
    }
    if !write.is_empty() {
        let written = app.tags.write(name, &write).await;
        let so_far = if remove.is_empty() {
            "nothing was changed".to_owned()
        } else {
            format!("{} was removed and the rest was not set", remove.join(", "))
        };
        written.map_err(|error| failed(&so_far, &error.detail))?;
    }
    let in_force = view(&changes.applied(&Overrides::read(&group.tags, now)));
    call.outcome = Some(format!("in force now: {in_force}"));
    Ok(Reply::json(200, &in_force))
}

fn failed(so_far: &str, detail: &str) -> Problem {
    Problem::new(502, "Bad Gateway", format!("{so_far}: {detail}; send the same again"))
}

fn view(overrides: &Overrides) -> Value {
    json!({
        "floor": overrides.floor.map(|floor| json!({
            "workers": floor.value, "until": floor.until.to_string()
        })),
        "paused": overrides.paused_until().map(|until| json!({ "until": until.to_string() })),
    })
}
