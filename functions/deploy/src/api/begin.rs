//! The requests that begin something: a rollout, the way back, an action on hosts.

use super::{Accepted, body, no_such, no_such_yet, unavailable};
use crate::act::perform;
use crate::app::App;
use fleet_core::rollout::{
    Answer, Build, Call, Kind, Record, Seen, Start, Started, State, Strategy, explain, start,
    version_to_go_back_to,
};
use fleet_lambda::{Call as Request, Caller, Problem, now};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::reading::Reading;
use serde_json::json;

/// More rounds of calls than any beginning needs.
const ROUNDS: usize = 12;

pub(super) async fn deploy(app: &App, asked: &mut Request<'_>) -> Result<Accepted, Problem> {
    let key = body::key(idempotency_key(asked)?)?;
    let wish: body::Deploy = body::read(asked.body)?;
    let build = wish.build()?;
    let why = body::reason(wish.reason.as_deref())?;
    asked.asked = json!(wish);
    let wish = Start {
        key,
        attempt: body::hashed(asked.request_id),
        kind: Kind::Deploy,
        image_tag: Some(wish.image_tag.0),
        strategy: wish.strategy.0,
        force: wish.force,
        by: asked.caller.as_ref().map(Caller::fingerprint),
        why,
        build,
        hosts: None,
    };
    begin(app, wish, Seen::default()).await
}

/// Back to the version before, where the named rollout is what is stable now; else to what is
/// stable.
pub(super) async fn roll_back(
    app: &App,
    asked: &mut Request<'_>,
    id: &CommandId,
) -> Result<Accepted, Problem> {
    let key = body::key_or(idempotency_key(asked)?, asked.request_id)?;
    let wish: body::RollBack = body::read(asked.body)?;
    let why = body::reason(wish.reason.as_deref())?;
    asked.asked = json!(wish);
    let calls = vec![Call::ReadStored, Call::ReadCommand { id: id.clone() }];
    let mut seen = Seen::default();
    perform(app, calls).await.into_iter().for_each(|answer| seen.take(answer));
    let stored = match seen.stored.clone() {
        Some(Reading::Known(stored)) => stored,
        Some(Reading::Unknown(source)) => return Err(unavailable(&source.detail)),
        None => return Err(unavailable("what is stored was not read")),
    };
    match seen.commands.get(id) {
        Some(Reading::Known(Some(evidence)))
            if evidence.command.order.key().is_some()
                && evidence.command.order.kind.is_rollout() => {}
        Some(Reading::Unknown(source)) => return Err(unavailable(&source.detail)),
        Some(Reading::Known(Some(_))) => return Err(no_such(id.as_str())),
        Some(Reading::Known(None)) | None => return Err(no_such_yet(id)),
    }
    let running = stored.record().filter(|record| record.key != key);
    // A proven one only waits for instances that boot, and the next one brings those along.
    let settles = |record: &&Record| {
        let ended = record.id().and_then(|id| stored.stable.as_ref()?.ended(id));
        ended.is_none_or(|ended| ended.state != State::Succeeded)
    };
    if let Some(record) = running.filter(settles) {
        return Err(conflict(record.id().or(Some(id)), "; cancel it first, or wait for its end"));
    }
    // The first request with this key may be over, and its command has the version.
    let first = stored.stable.as_ref().and_then(|stable| stable.ended_with(&key));
    if let Some(first) = first {
        let answers = perform(app, vec![Call::ReadCommand { id: first.id.clone() }]).await;
        answers.into_iter().for_each(|answer| seen.take(answer));
    }
    let first = first.and_then(|first| seen.commands.get(&first.id));
    let first = first.and_then(Reading::known).and_then(Option::as_ref);
    let image_tag = version_to_go_back_to(&stored, id, &key, first.map(|first| &first.command))
        .map_err(|nothing| Problem::new(409, "Conflict", nothing.to_string()))?;
    let wish = Start {
        key,
        attempt: body::hashed(asked.request_id),
        kind: Kind::Rollback,
        image_tag,
        strategy: wish.strategy.0,
        force: wish.force,
        by: asked.caller.as_ref().map(Caller::fingerprint),
        why,
        build: Build::default(),
        hosts: None,
    };
    begin(app, wish, seen).await
}

/// Cleanup and refreshed secrets for every host, drain for named ones. All at a time: none of them
/// interrupts a job.
pub(super) async fn act(
    app: &App,
    asked: &mut Request<'_>,
    kind: Kind,
) -> Result<Accepted, Problem> {
    let key = body::key_or(idempotency_key(asked)?, asked.request_id)?;
    let (hosts, why) = if kind == Kind::Drain {
        let named: body::Named = body::read(asked.body)?;
        let hosts = body::hosts(&named.instance_ids)?;
        let why = body::reason(named.reason.as_deref())?;
        asked.asked = json!(named);
        (Some(hosts), why)
    } else {
        let all: body::All = body::read(asked.body)?;
        let why = body::reason(all.reason.as_deref())?;
        asked.asked = json!(all);
        (None, why)
    };
    let wish = Start {
        key,
        attempt: body::hashed(asked.request_id),
        kind,
        image_tag: None,
        strategy: Strategy::AllAtOnce,
        force: false,
        by: asked.caller.as_ref().map(Caller::fingerprint),
        why,
        build: Build::default(),
        hosts,
    };
    begin(app, wish, Seen::default()).await
}

fn idempotency_key<'a>(asked: &Request<'a>) -> Result<Option<&'a str>, Problem> {
    asked.request.header("idempotency-key")
}

async fn begin(app: &App, wish: Start, mut seen: Seen) -> Result<Accepted, Problem> {
    let now = now();
    for _ in 0..ROUNDS {
        let calls = match start(&wish, now, &seen) {
            Ok(calls) => calls,
            Err(started) => return answer(app, &wish, &seen, started),
        };
        let answers: Vec<Answer> = perform(app, calls).await;
        answers.into_iter().for_each(|answer| seen.take(answer));
    }
    Err(unavailable(&format!(
        "the rollout was not begun within {ROUNDS} rounds of calls; send the same request with the same Idempotency-Key again"
    )))
}

fn answer(app: &App, wish: &Start, seen: &Seen, started: Started) -> Result<Accepted, Problem> {
    match started {
        Started::Accepted { id, hosts, image_tag } => {
            let stable = seen.stored().and_then(|stored| stored.stable.as_ref());
            let ended = stable.and_then(|stable| stable.ended(&id));
            let rollout = wish.kind.is_rollout();
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            Ok(Accepted {
                status_url: format!("/api/v1/admin/deployments/{id}"),
                id,
                kind: wish.kind,
                image_tag: image_tag.map(|tag| tag.to_string()),
                strategy: rollout.then(|| wish.strategy.as_str()),
                state: ended.map_or(State::InProgress, |ended| ended.state),
                note: (rollout && count > 0 && ended.is_none())
                    .then(|| explain(wish.strategy, count, app.config.limits.share)),
                targets: hosts.iter().map(ToString::to_string).collect(),
            })
        }
        Started::Conflict { running } => Err(conflict(running.as_ref(), "")),
        Started::KeyReused { id } => {
            let problem = Problem::new(
                422,
                "Unprocessable Content",
                "this Idempotency-Key was used for another request; send a new one",
            );
            Err(match id {
                Some(id) => problem.with("id", id.as_str()),
                None => problem,
            })
        }
        Started::NoHosts { missing } if missing.is_empty() => Err(Problem::new(
            409,
            "Conflict",
            "no host is in service with its SSM agent online, so nothing could be proven; nothing was begun",
        )),
        Started::NoHosts { missing } => Err(Problem::new(
            409,
            "Conflict",
            format!(
                "instance_ids: {} not in service or not online in SSM; nothing was begun",
                missing.iter().map(InstanceId::as_str).collect::<Vec<_>>().join(", ")
            ),
        )),
        Started::Unsure { retry_s, detail } => Err(Problem::new(
            503,
            "Service Unavailable",
            format!("{detail}; send the same request with the same Idempotency-Key again"),
        )
        .with("retry_after_seconds", retry_s)),
        Started::Unavailable { detail } => {
            Err(unavailable(&format!("nothing was begun: {detail}")))
        }
    }
}

fn conflict(running: Option<&CommandId>, more: &str) -> Problem {
    let problem = Problem::new(409, "Conflict", format!("another rollout is in progress{more}"));
    match running {
        Some(id) => problem.with("running", id.as_str()),
        // Its first command is being sent this very moment.
        None => problem.with("retry_after_seconds", 5),
    }
}
