//! Images: pull, inspect, list, remove, and what all of them take on disk.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::query::Query;
use super::{Answer, Refusal, ok};
use crate::container::Record;
use crate::image::{Local, Pull};
use crate::state::{Shared, State};

/// The answer is a stream of messages behind a 200; an image that the registry does not have is
/// refused before it.
pub(super) fn pull(shared: &Shared, mut query: Query) -> Answer {
    let from = query.take("fromImage").ok_or_else(|| {
        Refusal::bad("fromImage is missing: this engine makes images of nothing else")
    })?;
    let tag = query.take("tag");
    query.end()?;
    let (repository, tag) = match tag {
        Some(tag) => (from, tag),
        None => split(&from),
    };
    let by_digest = tag.starts_with("sha256:");
    let reference = format!("{repository}{}{tag}", if by_digest { '@' } else { ':' });
    let Some(image) = shared.registry.find(&repository, &tag) else {
        return Err(Refusal::missing(format!(
            "manifest for {reference} not found: manifest unknown: manifest unknown"
        )));
    };
    let name = repository.split_once('/').map_or(repository.as_str(), |(_, name)| name);
    let mut messages = vec![json!({ "status": format!("Pulling from {name}"), "id": tag })];
    match &image.pull {
        Pull::Breaks(words) => {
            messages.push(json!({ "errorDetail": { "message": words }, "error": words }));
        }
        Pull::Works => {
            let digest = image.digest();
            let mut state = shared.lock();
            let known = state.images.find(&digest).is_some();
            state.images.add(&image, by_digest);
            let news = if known { "Image is up to date" } else { "Downloaded newer image" };
            messages.push(json!({ "status": format!("Digest: {digest}") }));
            messages.push(json!({ "status": format!("Status: {news} for {reference}") }));
        }
    }
    let body: String = messages.iter().map(|message| format!("{message}\r\n")).collect();
    Ok((StatusCode::OK, [("content-type", "application/json")], body).into_response())
}

pub(super) fn inspect(shared: &Shared, name: &str) -> Answer {
    let state = shared.lock();
    let local =
        found(&state, name).map_err(|refusal| refusal.within(&format!("no such image: {name}")))?;
    let environment: Vec<String> =
        local.image.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    ok(&json!({
        "Id": local.id,
        "RepoTags": local.tags,
        "RepoDigests": digests(local),
        "Created": local.created.to_string(),
        "Size": local.image.size,
        "Architecture": std::env::consts::ARCH,
        "Os": std::env::consts::OS,
        "Config": { "Env": environment, "Cmd": local.image.command },
        "Metadata": { "LastTagTime": local.tagged.to_string() },
    }))
}

pub(super) fn list(shared: &Shared, query: Query) -> Answer {
    query.end()?;
    let state = shared.lock();
    ok(&state.images.0.iter().map(|local| row(local, -1)).collect())
}

pub(super) fn remove(shared: &Shared, name: &str, mut query: Query) -> Answer {
    let force = query.flag("force");
    query.end()?;
    if force {
        return Err(Refusal::bad("this engine does not model the removal of an image by force"));
    }
    let mut state = shared.lock();
    let local = found(&state, name)?;
    let (id, by_tag) = (local.id.clone(), local.tags.iter().any(|tag| tag == name));
    if by_tag && local.tags.len() > 1 {
        if let Some(place) = state.images.position(&id) {
            state.images.0[place].tags.retain(|tag| tag != name);
        }
        return ok(&json!([{ "Untagged": name }]));
    }
    if !by_tag && local.tags.len() > 1 {
        return Err(Refusal::conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            short(&id)
        )));
    }
    if let Some(user) = state.containers.iter().find(|record| record.image_id == id) {
        return Err(in_use(name, &id, by_tag, user));
    }
    let mut gone: Vec<Value> = local.tags.iter().map(|tag| json!({ "Untagged": tag })).collect();
    gone.push(json!({ "Deleted": id }));
    state.images.0.retain(|local| local.id != id);
    ok(&Value::Array(gone))
}

fn in_use(name: &str, id: &str, by_tag: bool, user: &Record) -> Refusal {
    let (image, container) = (short(id), user.short_id());
    let running = if user.status.is_up() { "running" } else { "stopped" };
    Refusal::conflict(if by_tag {
        format!(
            "conflict: unable to remove repository reference {name:?} (must force) - container {container} is using its referenced image {image}"
        )
    } else if user.status.is_up() {
        format!(
            "conflict: unable to delete {image} (cannot be forced) - image is being used by {running} container {container}"
        )
    } else {
        format!(
            "conflict: unable to delete {image} (must be forced) - image is being used by {running} container {container}"
        )
    })
}

/// `GET /system/df`
pub(super) fn usage(shared: &Shared) -> Value {
    let state = shared.lock();
    let users = |local: &Local| {
        let users = state.containers.iter().filter(|record| record.image_id == local.id);
        i64::try_from(users.count()).unwrap_or(i64::MAX)
    };
    let images: Vec<Value> = state.images.0.iter().map(|local| row(local, users(local))).collect();
    let containers: Vec<Value> = state
        .containers
        .iter()
        .map(|record| {
            json!({
                "Id": record.id,
                "Names": [format!("/{}", record.name)],
                "Image": record.image,
                "ImageID": record.image_id,
                "State": record.status.word(),
                "Mounts": [],
            })
        })
        .collect();
    let size: u64 = state.images.0.iter().map(|local| local.image.size).sum();
    json!({
        "LayersSize": size,
        "Images": images,
        "Containers": containers,
        "Volumes": [],
        "BuildCache": [],
    })
}

fn row(local: &Local, containers: i64) -> Value {
    json!({
        "Id": local.id,
        "ParentId": "",
        "RepoTags": local.tags,
        "RepoDigests": digests(local),
        "Created": local.created.as_second(),
        "Size": local.image.size,
        "SharedSize": if containers < 0 { -1 } else { 0 },
        "Labels": null,
        "Containers": containers,
    })
}

fn digests(local: &Local) -> Vec<String> {
    vec![format!("{}@{}", local.image.repository, local.id)]
}

fn found<'a>(state: &'a State, name: &str) -> Result<&'a Local, Refusal> {
    state.images.find(name).ok_or_else(|| Refusal::missing(format!("No such image: {name}")))
}

fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// `name:tag`, `name@digest`, or `name` for its `latest`; a port in the registry's name is no tag.
fn split(reference: &str) -> (String, String) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name.to_owned(), digest.to_owned());
    }
    match reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name.to_owned(), tag.to_owned()),
        None => (reference.to_owned(), "latest".to_owned()),
    }
}
