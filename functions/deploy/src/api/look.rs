//! How deployments stand: SSM's own list, the three parameters and the group, put together anew for
//! every question.

use super::{no_such, no_such_yet, unavailable};
use crate::act::members;
use crate::app::App;
use fleet_clients::rollouts::Page;
use fleet_core::rollout::{Command, Evidence, Known, Part, State, Step, StoredState, View};
use fleet_core::run_command::CommandStatus;
use fleet_lambda::{Problem, now};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value, json};

const LIMIT: usize = 20;
const MOST: usize = 50;
/// Drains share the document, so a list has to look behind them.
const PAGES: usize = 6;
/// A rollout's later commands come within this time.
const LATER_MS: i64 = 6 * 3600 * 1000;
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
    let mut commands = vec![(Step::Apply, &root)];
    commands.extend(later.iter().map(|evidence| (evidence.command.order.step(), evidence)));
    let standing = standing(&stored, &root.command);
    let over = standing.over;
    let view = View::of(&Known {
        kind: root.command.order.kind,
        image_tag: root.command.image_tag.as_ref(),
        before: before(&later),
        expected: &standing.expected,
        commands: &commands,
        members: members.known(),
        over,
    });
    let cancelled = root.command.status == CommandStatus::Cancelled;
    let live = commands.iter().any(|(_, e)| e.command.status.is_live());
    let state = standing
        .state
        .unwrap_or_else(|| if live { State::InProgress } else { view.verdict(cancelled) });
    let mut fields = summary(&root.command, state);
    if let Some(at) = standing.ended_at {
        fields.insert("ended_at".to_owned(), json!(at.to_string()));
    }
    let counts = view.counts().into_iter();
    let counts: Map<String, Value> = counts
        .filter_map(|(state, n)| Some((json!(state).as_str()?.to_owned(), json!(n))))
        .collect();
    fields.insert("counts".to_owned(), Value::Object(counts));
    if let Some(note) = note(&standing, &view, state, &commands, &members) {
        fields.insert("note".to_owned(), json!(note));
    }
    fields.insert("hosts".to_owned(), json!(view.hosts));
    Ok(Value::Object(fields))
}

/// What is known beside SSM.
struct Standing {
    state: Option<State>,
    ended_at: Option<UnixMs>,
    expected: Vec<InstanceId>,
    over: bool,
}

fn standing(stored: &StoredState, root: &Command) -> Standing {
    let stable = stored.stable.as_ref();
    let ended = stable.and_then(|stable| stable.ended(&root.id));
    let record = stored.record.as_ref().filter(|record| root.order.key() == Some(&record.key));
    match (record, ended) {
        (_, Some(ended)) => Standing {
            state: Some(ended.state),
            ended_at: Some(ended.at),
            // While the record is there, instances that were born meanwhile are brought along.
            expected: record
                .map_or_else(|| ended.unreached.clone(), |record| record.expected.clone()),
            over: record.is_none(),
        },
        (Some(record), None) => Standing {
            state: Some(State::InProgress),
            ended_at: None,
            expected: record.expected.clone(),
            over: false,
        },
        (None, None) => Standing { state: None, ended_at: None, expected: Vec::new(), over: true },
    }
}

/// The later commands of a rollout, oldest first.
async fn later(app: &App, stored: &StoredState, root: &Command) -> Result<Vec<Evidence>, Problem> {
    if !root.order.kind.is_rollout() {
        return Ok(Vec::new());
    }
    let ids = |sent: &[fleet_core::rollout::Sent]| -> Vec<CommandId> {
        sent.iter().filter_map(|sent| sent.id.clone()).filter(|id| *id != root.id).collect()
    };
    let record = stored.record.as_ref().filter(|record| root.order.key() == Some(&record.key));
    let ended = stored.stable.as_ref().and_then(|stable| stable.ended(&root.id));
    let ids: Vec<CommandId> = match (record, ended) {
        (Some(record), _) => ids(&record.commands),
        (None, Some(ended)) => ids(&ended.then),
        (None, None) => {
            let page = Page { since: Some(root.requested), pages: PAGES };
            let mut found = known(app.rollouts.list(page).await)?;
            found.retain(|command| {
                let of = matches!(&command.order.part, Part::Later { of, .. } if *of == root.id);
                of && command.requested.since(root.requested) < LATER_MS
            });
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

/// The version that the rollout went back to, if it did.
fn before(later: &[Evidence]) -> Option<&fleet_protocol::image_tag::ImageTag> {
    let undo = later.iter().find(|evidence| evidence.command.order.step() == Step::Undo);
    undo.and_then(|evidence| evidence.command.image_tag.as_ref())
}

/// SSM lists a command some seconds after it took it.
fn listed_soon(stored: &StoredState, id: &CommandId) -> Result<Value, Problem> {
    let record = stored.record.as_ref().filter(|record| record.id() == Some(id));
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

fn summary(root: &Command, state: State) -> Map<String, Value> {
    let mut fields = Map::new();
    let order = &root.order;
    fields.insert("id".to_owned(), json!(root.id));
    fields.insert("kind".to_owned(), json!(order.kind));
    if let Some(tag) = &root.image_tag {
        fields.insert("image_tag".to_owned(), json!(tag));
    }
    if order.kind.is_rollout() {
        fields.insert("strategy".to_owned(), json!(order.strategy));
    }
    fields.insert("state".to_owned(), json!(state));
    fields.insert("requested_at".to_owned(), json!(root.requested.to_string()));
    if let Part::Root { by, why, .. } = &order.part {
        let by = by.as_ref().map_or_else(|| "operator".to_owned(), |by| format!("operator:{by}"));
        fields.insert("requested_by".to_owned(), json!(by));
        if let Some(why) = why {
            fields.insert("reason".to_owned(), json!(why));
        }
    }
    fields
}

/// What the states alone do not tell.
fn note(
    standing: &Standing,
    view: &View,
    state: State,
    commands: &[(Step, &Evidence)],
    members: &Reading<fleet_core::rollout::Members>,
) -> Option<String> {
    let mut notes = Vec::new();
    if let Reading::Unknown(source) = members {
        notes.push(format!("who is in service is unknown now: {}", source.detail));
    }
    if state == State::Succeeded && !standing.over {
        notes.push(
            "the version is proven; instances that were born meanwhile are brought along"
                .to_owned(),
        );
    }
    if !view.digests.is_empty() {
        notes.push(format!("the tag names several images: {}", view.digests.join(", ")));
    }
    let sweeps = commands.iter().filter(|(step, _)| *step == Step::Sweep).count();
    if sweeps > 0 {
        notes.push(format!("hosts that lacked it were asked again {sweeps} times"));
    }
    if state == State::InProgress && commands.iter().any(|(step, _)| *step == Step::Undo) {
        notes.push("the version failed; the hosts that have it go back".to_owned());
    }
    if state == State::Partial {
        notes.push("some hosts run it and some do not; new instances boot to the stable version; deploy it again, or roll back".to_owned());
    }
    if state == State::Cancelled {
        notes.push(
            "hosts that had begun may run it; roll back to bring all of them to the stable version"
                .to_owned(),
        );
    }
    (!notes.is_empty()).then(|| notes.join("; "))
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
    let standing = standing(stored, root);
    let state = match (standing.state, root.status) {
        (Some(state), _) => state,
        (None, status) if status.is_live() => State::InProgress,
        (None, status) => {
            let Some(evidence) = known(app.rollouts.evidence(&root.id).await)? else {
                return Ok(Value::Object(summary(root, State::InProgress)));
            };
            let view = View::of(&Known {
                kind: root.order.kind,
                image_tag: root.image_tag.as_ref(),
                before: None,
                expected: &[],
                commands: &[(Step::Apply, &evidence)],
                members: None,
                over: true,
            });
            view.verdict(status == CommandStatus::Cancelled)
        }
    };
    let mut fields = summary(root, state);
    if let Some(at) = standing.ended_at {
        fields.insert("ended_at".to_owned(), json!(at.to_string()));
    }
    Ok(Value::Object(fields))
}

fn known<T>(reading: Reading<T>) -> Result<T, Problem> {
    match reading {
        Reading::Known(value) => Ok(value),
        Reading::Unknown(source) => Err(unavailable(&source.detail)),
    }
}
