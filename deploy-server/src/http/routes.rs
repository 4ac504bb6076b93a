//! One request, one answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::host_order::OrderId;
use fleet_protocol::image_tag::ImageTag;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::json;

use super::body::{self, BootstrapBody, CleanupBody, DeployBody, DrainBody, RollbackBody};
use super::documents::{self, Document, Documents};
use super::reply::{Encoded, Reply, deploy_result, internal, not_found, refusal};
use super::{Caller, secret};
use crate::cleanup::{self, KeepSet};
use crate::clock::now_ms;
use crate::deploy::model::{Kind, Outcome};
use crate::deploy::{self, Refusal, Target, Wish};
use crate::host_drain::{self, DrainResult, DrainWish, HTTP_WAIT};
use crate::ops::{Running, What};
use crate::orders::{self, Held};
use crate::server::Server;
use crate::views;

/// Longer than a job may run; a caller that waits longer is gone.
const LONGEST_DRAIN: f64 = 6.0 * 3600.0;

/// A caller who names no time is answered within this; VALET gives up after 30 s.
const DRAIN_ANSWER: Duration = Duration::from_secs(10);

type Request0 = Request<Incoming>;

/// Answers a request. Never fails: an error is an answer.
///
/// Callers from the network are spoken to in a thread of their own. What anybody may read comes
/// ready made; whoever shows the secret is served where the host's own work is done, and everybody
/// else is refused at once.
///
/// # Errors
/// Never.
pub async fn answer(
    server: &'static Server,
    caller: Caller,
    request: Request0,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reading = request.method() == Method::GET;
    let trusted = match caller {
        Caller::Local { .. } => true,
        Caller::Remote { .. } => secret::is_shown(server, request.headers()),
    };
    let document = Document::of(request.uri().path(), request.headers()).filter(|_| reading);
    let encoded = match (caller, document) {
        // The one document that shows more to whoever shows the secret.
        (_, Some(document)) if !(trusted && document == Document::Deploys) => {
            Documents::get(server, document).await
        }
        (Caller::Remote { .. }, _) if trusted => {
            let served = server.main.spawn(route(server, caller, trusted, request));
            let served = served.await.unwrap_or_else(|error| Err(internal(&error)));
            Encoded::from(served.unwrap_or_else(|reply| reply))
        }
        _ => {
            let served = route(server, caller, trusted, request).await;
            Encoded::from(served.unwrap_or_else(|reply| reply))
        }
    };
    let mut response = Response::from(encoded);
    if !reading {
        // Nothing may follow a request that changes something on the same connection.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn route(
    server: &'static Server,
    caller: Caller,
    trusted: bool,
    request: Request0,
) -> Result<Reply, Reply> {
    let path = request.uri().path().to_owned();
    let authorize = |words: &str| match caller {
        _ if trusted => Ok(()),
        Caller::Remote { peer } => {
            server.refusals.note(peer, &path);
            Err(refusal(401, words))
        }
        Caller::Local { .. } => Err(refusal(401, words)),
    };
    match (request.method().as_str(), path.as_str()) {
        ("GET", "/deploys") => documents::deploys(server, trusted),
        ("GET", "/status") if !caller.is_remote() => status(server).await,
        ("GET", path) if path.starts_with("/deploys/") => one_deploy(server, &path[9..], trusted),
        ("POST", "/deploy") => {
            authorize("Unauthorized: invalid or missing X-Deploy-Secret")?;
            let wish = deploy_wish(caller, &body::read::<DeployBody>(request).await?)?;
            begin(server, caller, wish.0, wish.1).await
        }
        ("POST", "/rollback") => {
            authorize("Unauthorized")?;
            let body: RollbackBody = body::read(request).await?;
            let wish = deploy::rollback_wish(server, body.force, caller.actor());
            begin(server, caller, wish.map_err(|refusal| refused(&refusal))?, body.wait).await
        }
        ("POST", "/drain") => {
            authorize("Unauthorized")?;
            drain(server, caller, body::read(request).await?).await
        }
        ("DELETE", "/drain") => {
            authorize("Unauthorized")?;
            resume(server).await
        }
        ("POST", "/cleanup") => {
            authorize("Unauthorized")?;
            cleanup(server, body::read(request).await?).await
        }
        ("POST", "/admin/refresh-secrets") => {
            authorize("Unauthorized")?;
            body::read::<NoFields>(request).await?;
            Ok(refresh(server).await)
        }
        ("POST", "/bootstrap") if !caller.is_remote() => {
            let body: BootstrapBody = body::read(request).await?;
            let mut wish = wish(caller, Kind::Bootstrap, &body.image_tag)?;
            wish.force = false;
            if let Some(digest) = body.digest {
                if ImageTag::parse(&digest).is_err() || !digest.starts_with("sha256:") {
                    return Err(refusal(400, "Invalid digest format"));
                }
                wish.target = Target::Proven { tag: body.image_tag, digest };
            }
            begin(server, caller, wish, true).await
        }
        ("POST", "/order") if !caller.is_remote() => {
            let body: OrderBody = body::read(request).await?;
            let order = Held {
                id: body.id,
                image_tag: body.image_tag,
                force: body.force,
                job_limit_s: body.job_limit_seconds,
                accepted_ms: now_ms(),
                ended: None,
            };
            orders::accept(server, order).map_err(|refusal| refused(&refusal))?;
            Ok(Reply::new(202, &orders::view(server)))
        }
        ("DELETE", "/order") if !caller.is_remote() => {
            let taken_back = orders::take_back(server);
            Ok(Reply { status: 200, body: json!({ "takenBack": taken_back }) })
        }
        _ => Err(not_found()),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    id: OrderId,
    image_tag: ImageTag,
    #[serde(default)]
    force: bool,
    #[serde(default = "orders::usual_job_limit_s")]
    job_limit_seconds: u32,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// What `deploy-server status` shows.
async fn status(server: &Server) -> Result<Reply, Reply> {
    let health = views::health(server).await;
    let version = views::version(server).await;
    let last = server.state.history().map_err(|error| internal(&error))?.pop();
    let body = json!({
        "status": health.status,
        "health": health,
        "version": version["version"],
        "services": version["services"],
        "lastDeploy": last,
        "order": orders::view(server),
        "orderEnded": server.orders.newest().and_then(|held| held.ended),
        "instanceId": server.config.instance_id,
    });
    Ok(Reply { status: 200, body })
}

fn one_deploy(server: &Server, id: &str, trusted: bool) -> Result<Reply, Reply> {
    if let Some(running) = server.ops.running()
        && matches!(&running.what, What::Deploy { id: of, .. } if of == id)
    {
        return Ok(Reply::new(200, &running_deploy(&running)));
    }
    let entries = Documents::history(server)?;
    match entries.iter().find(|entry| entry.id == id) {
        Some(entry) => Ok(Reply { status: 200, body: documents::shown(entry, trusted) }),
        None => Err(Reply { status: 404, body: json!({ "error": "Deploy record not found" }) }),
    }
}

pub(super) fn running_deploy(running: &Running) -> Option<serde_json::Value> {
    match &running.what {
        What::Deploy { id, image_tag, force } => Some(json!({
            "id": id,
            "imageTag": image_tag,
            "force": force,
            "status": "running",
            "step": running.current_step(),
            "elapsedMs": u64::try_from(running.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })),
        _ => None,
    }
}

fn deploy_wish(caller: Caller, body: &DeployBody) -> Result<(Wish, bool), Reply> {
    let mut wish = wish(caller, Kind::Deploy, &body.image_tag)?;
    wish.force = body.force;
    Ok((wish, body.wait))
}

fn wish(caller: Caller, kind: Kind, tag: &str) -> Result<Wish, Reply> {
    if ImageTag::parse(tag).is_err() {
        return Err(refusal(400, "Invalid image_tag format"));
    }
    let target = Target::Tag(tag.to_owned());
    Ok(Wish { kind, image_tag: tag.to_owned(), target, force: false, actor: caller.actor() })
}

/// Starts a deploy and, where `wait` says so, waits for its end. A caller from the network is
/// answered before it gives up (VALET does after 60 s): 202 then, and the deploy goes on.
async fn begin(
    server: &'static Server,
    caller: Caller,
    wish: Wish,
    wait: bool,
) -> Result<Reply, Reply> {
    let tag = wish.image_tag.clone();
    let running: Arc<Running> = deploy::start(server, wish).map_err(|refusal| refused(&refusal))?;
    let started = |message: String| {
        let mut body = running_deploy(&running).unwrap_or_else(|| json!({}));
        body["success"] = json!(true);
        body["message"] = json!(message);
        body["deployId"] = body["id"].take();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("id");
        }
        Reply { status: 202, body }
    };
    if !wait {
        return Ok(started(format!("Deploy started: {tag}")));
    }
    let result = match caller {
        Caller::Local { .. } => running.result().await,
        Caller::Remote { .. } => {
            let within = server.config.timing.answer_within;
            match tokio::time::timeout(within, running.result()).await {
                Ok(result) => result,
                Err(_) => {
                    let message = format!(
                        "Deploy still in progress: {tag}; GET /deploys/{{deployId}} tells how it ends"
                    );
                    return Ok(started(message));
                }
            }
        }
    };
    match result {
        Some(entry) => Ok(deploy_result(&entry)),
        None => Err(refusal(500, "The deploy ended without a result; see the host server's log")),
    }
}

fn refused(why: &Refusal) -> Reply {
    let status = match why {
        Refusal::Busy(_) | Refusal::Terminating | Refusal::NoTarget(_) => 409,
        Refusal::State(_) => 500,
    };
    refusal(status, &why.to_string())
}

async fn drain(server: &'static Server, caller: Caller, body: DrainBody) -> Result<Reply, Reply> {
    if body.terminating && caller.is_remote() {
        return Err(refusal(403, "A terminating drain can only be asked for on the host itself"));
    }
    if body.stop && !body.terminating {
        return Err(refusal(
            400,
            "stop needs terminating: a worker that stays is not ended at work",
        ));
    }
    let within = match body.timeout_seconds {
        None => HTTP_WAIT,
        Some(seconds) if (0.0..=LONGEST_DRAIN).contains(&seconds) => {
            Duration::from_secs_f64(seconds)
        }
        Some(_) => {
            return Err(refusal(400, "timeout_seconds must be between 0 and 21600"));
        }
    };
    let wish = DrainWish { within, terminating: body.terminating, stop: body.stop };
    // A caller that goes away does not stop the drain, nor does one that was answered.
    let mut work = tokio::spawn(host_drain::drain_host(server, wish));
    let patient = !caller.is_remote() || body.timeout_seconds.is_some();
    let answer_within = if patient { Duration::MAX } else { DRAIN_ANSWER };
    let Ok(end) = tokio::time::timeout(answer_within, &mut work).await else {
        let mut body = views::drain(server).await;
        body["success"] = json!(true);
        body["status"] = json!("draining");
        body["message"] =
            json!("Draining: the worker takes no new job; GET /drain tells when it is done");
        return Ok(Reply { status: 202, body });
    };
    let end = end.map_err(|_| refusal(500, "The drain ended without a result"))?;
    let status = match end.result {
        DrainResult::Drained => 200,
        DrainResult::Busy => 409,
        DrainResult::Unknown => 503,
    };
    let mut answer = Reply::new(status, &end.report);
    answer.body["drainedWorkers"] = json!(u8::from(end.report.drained));
    Ok(answer)
}

async fn resume(server: &'static Server) -> Result<Reply, Reply> {
    let resumed = tokio::spawn(host_drain::resume_host(server)).await;
    match resumed.unwrap_or_else(|_| Err("The work ended without a result".to_owned())) {
        Ok(resumed) => {
            let body =
                json!({ "success": true, "message": resumed.message, "notes": resumed.notes });
            Ok(Reply { status: 200, body })
        }
        Err(reason) => Err(refusal(409, &reason)),
    }
}

async fn cleanup(server: &'static Server, body: CleanupBody) -> Result<Reply, Reply> {
    let ticket = server.ops.admit(What::Cleanup);
    let ticket = ticket.map_err(|running| refusal(409, &running.describe()))?;
    let work = tokio::spawn(async move {
        let held = ticket;
        let keep = keep_set(server).await?;
        let mut options = cleanup::Options::from_env(&server.secrets.host_environment());
        options.dry_run = body.dry_run;
        options.progress = server.cleanup.clone();
        held.step("cleanup");
        Ok::<_, String>(cleanup::run(&server.engine, &options, &keep).await)
    });
    let report = work.await.map_err(|_| refusal(500, "The cleanup ended without a result"))?;
    let report = report.map_err(|reason| refusal(500, &format!("Cleanup failed: {reason}")))?;
    let failed = report.failed();
    let mut reply = Reply::new(if failed { 500 } else { 200 }, &report);
    reply.body["success"] = json!(!failed);
    reply.body["notes"] = json!(report.unfinished());
    reply.body["message"] = json!(match (failed, body.dry_run) {
        (true, _) => "Cleanup failed in part",
        (false, true) => "Cleanup planned, nothing was changed",
        (false, false) => "Cleanup completed",
    });
    // The predecessor's field, as text for people.
    reply.body["output"] = json!(report.text());
    Ok(reply)
}

/// What no cleanup may remove: what runs, what ran before, and where a rollback would go.
async fn keep_set(server: &Server) -> Result<KeepSet, String> {
    let mut keep = KeepSet::default();
    let history = server.state.history().map_err(|error| error.to_string())?;
    // Without an engine there is nothing to keep, and its targets fail by themselves.
    let containers = server.engine.list_containers(true).await.unwrap_or_default();
    for container in &containers {
        keep.insert(container.image_id.clone(), format!("container {}", container.name()));
    }
    let deployed: Vec<_> =
        history.iter().rev().filter(|entry| entry.status == Outcome::Deployed).take(2).collect();
    let names = ["current", "previous"];
    for (entry, why) in deployed.iter().zip(names) {
        let versions = [entry.version(), entry.previous.clone()];
        for version in versions.into_iter().flatten() {
            keep.insert(version.image_id, why);
        }
    }
    let current = deployed.first().and_then(|entry| entry.image_id.as_deref());
    if let Some(version) = crate::state::rollback_target(&history, current) {
        keep.insert(version.image_id, "previous");
    }
    Ok(keep)
}

async fn refresh(server: &'static Server) -> Reply {
    match server.secrets.refresh().await {
        Ok(report) => {
            let mut reply = Reply::new(200, &report);
            reply.body["success"] = json!(true);
            reply.body["message"] = json!("Secrets refreshed from AWS SM");
            reply
        }
        Err(error) => {
            let status = if error.is_upstream() { 502 } else { 500 };
            refusal(status, &format!("Secrets were not refreshed: {error}"))
        }
    }
}
