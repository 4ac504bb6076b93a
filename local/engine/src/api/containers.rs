//! Containers: list, inspect, create, start, stop, restart, kill, wait, rename, update, logs,
//! remove.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::query::Query;
use super::{Answer, Refusal, already, done, ok, read, reply};
use crate::container::{Command, Policy, Record, Status};
use crate::image::Local;
use crate::log::{self, Log, Stream};
use crate::run;
use crate::state::{Shared, State};

/// Docker's grace when neither the call nor the container says one.
const DEFAULT_GRACE: i64 = 10;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The moment of what never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    #[serde(default)]
    image: String,
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    stop_timeout: Option<i64>,
    #[serde(default)]
    host_config: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicy {
    name: String,
    maximum_retry_count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    restart_policy: Option<RestartPolicy>,
}

pub(super) fn list(shared: &Shared, mut query: Query) -> Answer {
    let all = query.flag("all");
    query.end()?;
    let state = shared.lock();
    let shown = state.containers.iter().rev().filter(|record| all || record.status.is_up());
    ok(&shown.map(summary).collect())
}

pub(super) fn inspect(shared: &Shared, id: &str, mut query: Query) -> Answer {
    // Sizes of layers that do not exist: asked for or not, there are none.
    query.flag("size");
    query.end()?;
    ok(&detail(found(&shared.lock(), id)?))
}

pub(super) fn create(shared: &Shared, mut query: Query, body: &Bytes) -> Answer {
    let name = query.take("name").ok_or_else(|| Refusal::bad("a container needs a name here"))?;
    query.end()?;
    let name = name.trim_start_matches('/').to_owned();
    let wish: Create = read(body)?;
    let policy = wish.host_config.get("RestartPolicy").cloned().unwrap_or_default();
    let policy = match policy {
        Value::Null => Policy::No,
        value => parse_policy(
            serde_json::from_value(value)
                .map_err(|error| Refusal::bad(format!("invalid JSON: {error}")))?,
        )?,
    };
    let mut state = shared.lock();
    let local = state
        .images
        .find(&wish.image)
        .ok_or_else(|| Refusal::missing(format!("No such image: {}", with_tag(&wish.image))))?;
    check_name(&state, &name)?;
    let (command, source) = (command(local, &wish)?, Arc::clone(&local.image));
    let id = random_id()?;
    let record = Record {
        id: id.clone(),
        name,
        created: Timestamp::now(),
        image_id: local.id.clone(),
        image: wish.image,
        source,
        command,
        labels: wish.labels,
        stop_timeout: wish.stop_timeout,
        host_config: wish.host_config,
        policy,
        status: Status::Created,
        pid: None,
        exit_code: 0,
        error: String::new(),
        started: None,
        finished: None,
        restart_count: 0,
        stopped: false,
        turn: 0,
        log: Log::default(),
        changed: watch::Sender::new(()),
    };
    state.containers.push(record);
    Ok(reply(StatusCode::CREATED, &json!({ "Id": id, "Warnings": [] })))
}

pub(super) fn start(shared: &Arc<Shared>, id: &str, query: Query) -> Answer {
    query.end()?;
    let mut state = shared.lock();
    let id = found(&state, id)?.id.clone();
    if state.closing {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is shutting down"));
    }
    let Some(record) = state.by_id(&id) else { return Err(no_such(&id)) };
    if record.status.is_up() {
        return already();
    }
    run::start(shared, record).map_err(Refusal::bad)?;
    done()
}

pub(super) async fn stop(shared: &Arc<Shared>, id: &str, mut query: Query) -> Answer {
    let (id, grace) = grace(shared, id, &mut query)?;
    query.end()?;
    if run::stop(shared, &id, grace).await { done() } else { already() }
}

pub(super) async fn restart(shared: &Arc<Shared>, id: &str, mut query: Query) -> Answer {
    let (id, grace) = grace(shared, id, &mut query)?;
    query.end()?;
    run::stop(shared, &id, grace).await;
    let mut state = shared.lock();
    let Some(record) = state.by_id(&id) else { return Err(no_such(&id)) };
    // Somebody else may have been faster.
    if !record.status.is_up() {
        run::start(shared, record).map_err(Refusal::bad)?;
    }
    done()
}

pub(super) fn kill(shared: &Shared, id: &str, mut query: Query) -> Answer {
    let name = query.take("signal").unwrap_or_else(|| "KILL".to_owned());
    query.end()?;
    let signal = match name.trim_start_matches("SIG") {
        "KILL" | "9" => Signal::KILL,
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        _ => return Err(Refusal::bad(format!("invalid signal: {name}"))),
    };
    let full = match found(&shared.lock(), id) {
        Ok(record) => record.id.clone(),
        Err(_) => {
            let words = format!("Cannot kill container: {id}: No such container: {id}");
            return Err(Refusal::missing(words));
        }
    };
    match run::ask_to_end(shared, &full, signal) {
        Some(_) => done(),
        None => Err(Refusal::conflict(format!(
            "Cannot kill container: {id}: Container {full} is not running"
        ))),
    }
}

pub(super) async fn wait(shared: &Shared, id: &str, query: Query) -> Answer {
    query.end()?;
    let (id, mut changes) = {
        let state = shared.lock();
        let record = found(&state, id)?;
        (record.id.clone(), record.changed.subscribe())
    };
    run::until_down(shared, &id, &mut changes).await;
    let code = shared.lock().by_id(&id).map_or(0, |record| record.exit_code);
    ok(&json!({ "StatusCode": code }))
}

pub(super) fn rename(shared: &Shared, id: &str, mut query: Query) -> Answer {
    let name = query.take("name").unwrap_or_default().trim_start_matches('/').to_owned();
    query.end()?;
    let mut state = shared.lock();
    let record = found(&state, id)?;
    let id = record.id.clone();
    if name.is_empty() {
        return Err(Refusal::bad("Neither old nor new names may be empty"));
    }
    if record.name == name {
        return Err(Refusal::bad("Renaming a container with the same name as its current name"));
    }
    check_name(&state, &name)
        .map_err(|refusal| refusal.within("Error when allocating new name"))?;
    if let Some(record) = state.by_id(&id) {
        record.name = name;
    }
    done()
}

pub(super) fn update(shared: &Shared, id: &str, body: &Bytes) -> Answer {
    let wish: Update = read(body)?;
    let mut state = shared.lock();
    let id = found(&state, id)?.id.clone();
    if let (Some(policy), Some(record)) = (wish.restart_policy, state.by_id(&id)) {
        record.policy = parse_policy(policy)?;
    }
    ok(&json!({ "Warnings": null }))
}

pub(super) fn logs(shared: &Shared, id: &str, mut query: Query) -> Answer {
    let (out, err) = (query.flag("stdout"), query.flag("stderr"));
    let tail = query.take("tail").filter(|tail| tail != "all");
    query.end()?;
    let state = shared.lock();
    let record = found(&state, id)?;
    if !out && !err {
        return Err(Refusal::bad("Bad parameters: you must choose at least one stream"));
    }
    // What is no number means all, as in Docker.
    let tail = tail.and_then(|tail| tail.parse().ok());
    let lines = record.log.tail(tail, |stream| if stream == Stream::Out { out } else { err });
    let kind = [("content-type", "application/vnd.docker.multiplexed-stream")];
    let response: Response = (StatusCode::OK, kind, log::frames(&lines)).into_response();
    Ok(response)
}

pub(super) async fn remove(shared: &Shared, id: &str, mut query: Query) -> Answer {
    let force = query.flag("force");
    // There are no volumes to remove along.
    query.flag("v");
    query.end()?;
    let id = {
        let state = shared.lock();
        let record = found(&state, id)?;
        if record.status.is_up() && !force {
            let (word, id) = (record.status.word(), &record.id);
            return Err(Refusal::conflict(format!(
                "You cannot remove a {word} container {id}. Stop the container before attempting removal or force remove"
            )));
        }
        record.id.clone()
    };
    run::kill(shared, &id).await;
    shared.lock().containers.retain(|record| record.id != id);
    done()
}

fn grace(
    shared: &Shared,
    id: &str,
    query: &mut Query,
) -> Result<(String, Option<Duration>), Refusal> {
    let asked = query.take("t").map(|t| t.parse::<i64>());
    let asked = asked.transpose().map_err(|_| Refusal::bad("t is not a number of seconds"))?;
    let state = shared.lock();
    let record = found(&state, id)?;
    let seconds = asked.or(record.stop_timeout).unwrap_or(DEFAULT_GRACE);
    // A negative number means to wait without end.
    Ok((record.id.clone(), u64::try_from(seconds).ok().map(Duration::from_secs)))
}

fn found<'a>(state: &'a State, id: &str) -> Result<&'a Record, Refusal> {
    state.find(id).ok_or_else(|| no_such(id))
}

fn no_such(id: &str) -> Refusal {
    Refusal::missing(format!("No such container: {id}"))
}

fn check_name(state: &State, name: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins_well = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !begins_well || name.len() < 2 || !name.chars().all(legal) {
        return Err(Refusal::bad(format!(
            "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )));
    }
    match state.containers.iter().find(|record| record.name == name) {
        None => Ok(()),
        Some(other) => Err(Refusal::conflict(format!(
            "Conflict. The container name \"/{name}\" is already in use by container {:?}. You have to remove (or \
             rename) that container to be able to reuse that name.",
            other.id
        ))),
    }
}

fn parse_policy(policy: RestartPolicy) -> Result<Policy, Refusal> {
    Policy::parse(&policy.name, policy.maximum_retry_count)
        .ok_or_else(|| Refusal::bad(format!("invalid restart policy '{}'", policy.name)))
}

fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// What Docker would run: the entry point (an image here has none, and `[""]` means none) and the
/// command.
fn command(local: &Local, wish: &Create) -> Result<Command, Refusal> {
    let entry = wish.entrypoint.iter().flatten().filter(|word| !word.is_empty());
    let own = wish.cmd.as_ref().unwrap_or(&local.image.command);
    let words: Vec<String> = entry.chain(own).cloned().collect();
    let Some(first) = words.first() else {
        return Err(Refusal::bad("no command specified"));
    };
    let program = local.image.programs.get(first).cloned();
    let mut environment = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    environment.extend(local.image.environment.clone());
    for variable in wish.env.iter().flatten() {
        match variable.split_once('=') {
            Some((name, value)) => environment.insert(name.to_owned(), value.to_owned()),
            // A name alone takes the image's value away.
            None => environment.remove(variable),
        };
    }
    Ok(Command { words, program, environment })
}

/// 64 hexadecimal digits.
fn random_id() -> Result<String, Refusal> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("/dev/urandom: {error}"))
        })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn summary(record: &Record) -> Value {
    json!({
        "Id": record.id,
        "Names": [format!("/{}", record.name)],
        "Image": record.image,
        "ImageID": record.image_id,
        "Command": record.command.words.join(" "),
        "Created": record.created.as_second(),
        "Ports": [],
        "Labels": record.labels.clone().unwrap_or_default(),
        "State": record.status.word(),
        "Status": status_text(record),
        "HostConfig": { "NetworkMode": "host" },
        "NetworkSettings": { "Networks": {} },
        "Mounts": [],
    })
}

fn status_text(record: &Record) -> String {
    let ago = |at: Option<Timestamp>| {
        let seconds = at.map_or(0, |at| Timestamp::now().as_second() - at.as_second());
        if seconds < 60 {
            format!("{seconds} seconds")
        } else {
            format!("{} minutes", seconds / 60)
        }
    };
    match record.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", ago(record.started)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", record.exit_code, ago(record.finished))
        }
        Status::Exited => format!("Exited ({}) {} ago", record.exit_code, ago(record.finished)),
    }
}

fn detail(record: &Record) -> Value {
    let at =
        |moment: Option<Timestamp>| moment.map_or_else(|| NEVER.to_owned(), |at| at.to_string());
    let mut host_config = match &record.host_config {
        Value::Object(_) => record.host_config.clone(),
        _ => json!({}),
    };
    host_config["RestartPolicy"] =
        json!({ "Name": record.policy.name(), "MaximumRetryCount": record.policy.most() });
    let environment: Vec<String> =
        record.command.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "Id": record.id,
        "Created": record.created.to_string(),
        "Path": record.command.words.first(),
        "Args": record.command.words.get(1..).unwrap_or_default(),
        "State": {
            "Status": record.status.word(),
            "Running": record.status.is_up(),
            "Paused": false,
            "Restarting": record.status == Status::Restarting,
            "OOMKilled": false,
            "Dead": false,
            "Pid": record.pid.unwrap_or(0),
            "ExitCode": record.exit_code,
            "Error": record.error,
            "StartedAt": at(record.started),
            "FinishedAt": at(record.finished),
        },
        "Image": record.image_id,
        "Name": format!("/{}", record.name),
        "RestartCount": record.restart_count,
        "HostConfig": host_config,
        "Mounts": [],
        "Config": {
            "Hostname": record.short_id(),
            "Env": environment,
            "Cmd": record.command.words,
            "Image": record.image,
            "Labels": record.labels.clone().unwrap_or_default(),
            "StopTimeout": record.stop_timeout,
        },
    })
}
