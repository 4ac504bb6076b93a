//! `PUT /api/v1/admin/capacity`: a floor and a pause, as tags on the group, where the scaling
//! function and the console see them.

use crate::app::{App, clock};
use crate::read;
use fleet_clients::reply::Problem;
use fleet_core::scaling::Overrides;
use fleet_core::status::CapacityWish;
use fleet_protocol::reading::Reading;
use serde_json::{Value, json};

/// Carries the wish out and returns the overrides in force. `asked` becomes the wish as soon as it
/// is known to be one.
pub(crate) async fn set(
    app: &App,
    body: Option<&[u8]>,
    asked: &mut Value,
) -> Result<Value, Problem> {
    let bad = |detail: String| Problem::new(400, "Bad Request", detail);
    let body = body.ok_or_else(|| bad("the body is no base64 although it says so".to_owned()))?;
    let wish = CapacityWish::parse(body).map_err(|error| {
        bad(format!(
            "the body cannot be used: {error}; send for example {{\"floor\": {{\"workers\": 5, \"for_minutes\": 60}}}}"
        ))
    })?;
    // It holds nothing but the fields of a wish.
    *asked = serde_json::from_slice(body).unwrap_or_default();
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
    let now = clock();
    let max = app.config.site.max.min(group.max);
    let changes = wish
        .check(max, now)
        .map_err(|problem| bad(problem.to_string()).with("field", problem.field))?;
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
    Ok(view(&changes.applied(&Overrides::read(&group.tags, now))))
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
