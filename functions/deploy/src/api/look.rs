//! How deployments stand: SSM's own list, the parameters and the group, put together anew for
//! every question.

use super::{no_such, no_such_yet, unavailable};
use crate::act::members;
use crate::app::App;
use fleet_clients::rollouts::Page;
use fleet_core::rollout::{Command, Detail, Evidence, Part, Standing, State, StoredState, Summary};
use fleet_lambda::{Problem, now};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

const LIMIT: usize = 20;
const MOST: usize = 50;
/// Drains and the questions of rollouts share the document, so a list has to look behind them.
const PAGES: usize = 20;
/// A rollout's later commands come within this time.
const LATER_MS: i64 = 6 * 3600 * 1000;
/// So many of its newest commands tell how it stands.
const NEWEST: usize = 20;
const AT_A_TIME: usize = 8;

/// Everything about one deployment.
pub(super) async fn one(app: &App, id: &CommandId) -> Result<Value, Problem> {
    let (stored, root, members) =
        tokio::join!(app.rollouts.stored(), app.rollouts.evidence(id), members(app));
    let stored = known(stored)?;
    let Some(root) = known(root)? else { return listed_soon(&stored, id) };
    if root.command.order.key().is_none() {
        return Err(no_such(id.as_str()));
    }
    let later = later(app, &stored, &root.command).await?;
    let members = match &members {
        Reading::Known(members) => Ok(members),
        Reading::Unknown(source) => Err(source.detail.as_str()),
    };
    let limits = &app.config.limits;
    Ok(json!(Detail::of(&stored, &root, &later, members, limits, now())))
}

/// The later commands of a rollout, oldest first.
async fn later(app: &App, stored: &StoredState, root: &Command) -> Result<Vec<Evidence>, Problem> {
    if !root.order.kind.is_rollout() {
        return Ok(Vec::new());
    }
    let ids = match Standing::of(stored, root).later(&root.id) {
        Some(ids) => ids,
        None => {
            let page = Page { since: Some(root.requested), pages: PAGES };
            let mut found = known(app.rollouts.list(page).await)?;
            found.retain(|command| {
                let of = matches!(&command.order.part, Part::Later { of, .. } if *of == root.id);
                of && command.requested.since(root.requested) < LATER_MS
            });
            found.truncate(NEWEST);
            found.reverse();
            found.into_iter().map(|command| command.id).collect()
        }
    };
    let evidence: Vec<_> = stream::iter(ids)
        .map(|id| async move { app.rollouts.evidence(&id).await })
        .buffered(AT_A_TIME)
        .collect()
        .await;
    let mut commands = Vec::new();
    for reading in evidence {
        commands.extend(known(reading)?);
    }
    Ok(commands)
}

/// SSM lists a command some seconds after it took it.
fn listed_soon(stored: &StoredState, id: &CommandId) -> Result<Value, Problem> {
    let record = stored.record().filter(|record| record.id() == Some(id));
    let Some(record) = record else { return Err(no_such_yet(id)) };
    let hosts: Vec<Value> = record
        .expected
        .iter()
        .map(|host| json!({ "instance_id": host, "state": "pending" }))
        .collect();
    Ok(json!({
        "id": id, "kind": record.kind, "image_tag": record.image_tag, "strategy": record.strategy,
        "state": State::InProgress, "requested_at": record.at.to_string(), "requested_by": "operator",
        "counts": { "pending": hosts.len() }, "hosts": hosts, "note": "SSM has taken it and does not list it yet",
    }))
}

/// The newest deployments, newest first.
pub(super) async fn list(app: &App, limit: Option<&str>) -> Result<Value, Problem> {
    let limit = match limit.map(str::parse::<usize>) {
        None => LIMIT,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => {
            let detail = format!("limit: use a whole number from 1 to {MOST}");
            return Err(Problem::new(400, "Bad Request", detail));
        }
    };
    let page = Page { since: None, pages: PAGES };
    let (stored, commands) = tokio::join!(app.rollouts.stored(), app.rollouts.list(page));
    let stored = known(stored)?;
    let mut roots = known(commands)?;
    roots.retain(|command| command.order.key().is_some());
    roots.truncate(limit);
    let summaries: Vec<Result<Value, Problem>> = stream::iter(&roots)
        .map(|root| summarize(app, &stored, root))
        .buffered(AT_A_TIME)
        .collect()
        .await;
    let deployments: Vec<Value> = summaries.into_iter().collect::<Result<_, _>>()?;
    Ok(json!({ "deployments": deployments, "at": now().to_string() }))
}

/// A summary; SSM's own word for success proves nothing, so what nobody remembers is looked at
/// again.
async fn summarize(app: &App, stored: &StoredState, root: &Command) -> Result<Value, Problem> {
    let remembered = Standing::of(stored, root).later(&root.id).is_some();
    let ended = !root.status.is_live();
    let evidence = if ended && !remembered && !root.order.kind.is_rollout() {
        known(app.rollouts.evidence(&root.id).await)?
    } else {
        None
    };
    Ok(json!(Summary::of(stored, root, evidence.as_ref())))
}

fn known<T>(reading: Reading<T>) -> Result<T, Problem> {
    match reading {
        Reading::Known(value) => Ok(value),
        Reading::Unknown(source) => Err(unavailable(&source.detail)),
    }
}
