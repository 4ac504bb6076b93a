//! Two rollouts through the fleet's API, as CI would order them: a second version, and one that
//! does not work.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_local::{Error, http};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Options;
use super::hosts::Tally;
use super::stage::{BROKEN_VERSION, OPERATOR_TOKEN, SECOND_VERSION, STABLE, Stage};
use super::tell::Narrator;

const DEPLOYMENTS: &str = "/api/v1/admin/deployments";
const CAPACITY: &str = "/api/v1/admin/capacity";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Enough hosts to see one go first.
const HOSTS: u32 = 3;

/// How a rollout ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rollout {
    image_tag: String,
    state: String,
}

/// Rolls both versions out over a few hosts and tells what happens to each host.
pub(super) async fn watch(
    options: &Options,
    stage: &Stage,
    tally: &watch::Receiver<Tally>,
    narrator: Narrator,
) -> Result<Vec<Rollout>, Error> {
    let hosts = HOSTS.clamp(options.min, options.max);
    let floor = json!({ "floor": { "workers": hosts, "for_minutes": 10 } });
    call(stage, "PUT", CAPACITY, "", &floor).await?;
    narrator.say("operator", &format!("sets a floor of {hosts} workers for ten minutes"));
    let enough = |tally: &Tally| tally.ready.len() >= hosts as usize;
    tally
        .clone()
        .wait_for(enough)
        .await
        .map_err(|_| Error::Failed("the hosts ended".to_owned()))?;
    let mut rollouts = Vec::new();
    for image_tag in [SECOND_VERSION, BROKEN_VERSION] {
        rollouts.push(one(stage, image_tag, narrator).await?);
    }
    call(stage, "PUT", CAPACITY, "", &json!({ "floor": null })).await?;
    narrator.say("operator", "takes the floor back");
    Ok(rollouts)
}

/// True when the good version came into service everywhere, and the other one nowhere.
pub(super) fn all_as_they_should(rollouts: &[Rollout], stage: &Stage) -> bool {
    let state = |tag: &str| {
        let of = rollouts.iter().find(|rollout| rollout.image_tag == tag);
        of.map(|rollout| rollout.state.as_str())
    };
    let pointer = stage.double.parameter(STABLE).unwrap_or_default();
    let pointer: Value = serde_json::from_str(&pointer).unwrap_or_default();
    state(SECOND_VERSION) == Some("succeeded")
        && matches!(state(BROKEN_VERSION), Some("failed" | "rolled_back"))
        && pointer["image_tag"] == SECOND_VERSION
}

async fn one(stage: &Stage, image_tag: &str, narrator: Narrator) -> Result<Rollout, Error> {
    let wish = json!({ "image_tag": image_tag, "reason": "shown by make up" });
    let begun = call(stage, "POST", DEPLOYMENTS, image_tag, &wish).await?;
    let id = begun["id"].as_str().unwrap_or_default().to_owned();
    narrator.say("deploy", &format!("rolls {image_tag} out, one host first"));
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let view = call(stage, "GET", &format!("{DEPLOYMENTS}/{id}"), "", &Value::Null).await?;
        for host in view["hosts"].as_array().into_iter().flatten() {
            let text = |field: &str| host[field].as_str().unwrap_or_default().to_owned();
            let (instance, state) = (text("instance_id"), text("state"));
            if told.get(&instance) != Some(&state) && state != "pending" {
                let words = [state.replace('_', " "), text("step"), text("message")];
                let words: Vec<&str> =
                    words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
                narrator.say(&instance, &format!("{image_tag}: {}", words.join(": ")));
            }
            told.insert(instance, state);
        }
        let state = view["state"].as_str().unwrap_or("unknown");
        if state != "in_progress" {
            narrator.say("deploy", &format!("{image_tag} {}", state.replace('_', " ")));
            return Ok(Rollout { image_tag: image_tag.to_owned(), state: state.to_owned() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A call of the fleet's API by the operator; anything but a success is an error in the API's own
/// words.
async fn call(
    stage: &Stage,
    method: &str,
    path: &str,
    key: &str,
    body: &Value,
) -> Result<Value, Error> {
    let token = format!("Bearer {OPERATOR_TOKEN}");
    let mut headers = vec![("Authorization", token.as_str()), ("Content-Type", "application/json")];
    if !key.is_empty() {
        headers.push(("Idempotency-Key", key));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let port = stage.api.port();
    match http::request(port, method, path, &headers, &body).await? {
        (200..=299, answer) => Ok(answer),
        (status, answer) => {
            Err(Error::Failed(format!("{method} {path} answered {status}: {answer}")))
        }
    }
}
