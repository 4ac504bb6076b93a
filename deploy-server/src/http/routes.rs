//! One request, one answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::json;

use super::body::{
    self, BootstrapBody, CleanupBody, DeployBody, DrainBody, RollbackBody, is_image_tag,
};
use super::reply::{Reply, deploy_result, not_found, refusal};
use super::{Caller, openapi, secret};
use crate::cleanup::{self, KeepSet};
use crate::deploy::model::{Kind, Outcome};
use crate::deploy::{self, Refusal, Target, Wish};
use crate::host_drain::{self, DrainVerdict, DrainWish, HTTP_WAIT};
use crate::ops::{Running, What};
use crate::server::Server;
use crate::views;

/// Longer than a job may run; a caller that waits longer is gone.
const LONGEST_DRAIN: f64 = 6.0 * 3600.0;

type Request0 = Request<Incoming>;

/// Answers a request. Never fails: an error is an answer.
///
/// # Errors
/// Never.
pub async fn answer(
    server: &'static Server,
    caller: Caller,
    request: Request0,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reading = request.method() == Method::GET;
    let reply = route(server, caller, request).await.unwrap_or_else(|reply| reply);
    let mut response = Response::from(reply);
    if !reading {
        // Nothing may follow a request that changes something on the same connection.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn route(server: &'static Server, caller: Caller, request: Request0) -> Result<Reply, Reply> {
    let path = request.uri().path().to_owned();
    match (request.method().as_str(), path.as_str()) {
        ("GET", "/health") => Ok(Reply::new(200, &views::health(server).await)),
        ("GET", "/metrics") => Ok(Reply::new(200, &server.sampler.read())),
        ("GET", "/version") => Ok(Reply::new(200, &views::version(server).await)),
        ("GET", "/workers") => Ok(Reply::new(200, &views::workers(server).await)),
        ("GET", "/containers") => containers(server).await,
        ("GET", "/deploys") => deploys(server),
        ("GET", "/status") if caller != Caller::Remote => status(server).await,
        ("GET", "/openapi.json") => Ok(Reply { status: 200, body: openapi::document() }),
        ("GET", path) if path.starts_with("/deploys/") => one_deploy(server, &path[9..]),
        ("POST", "/deploy") => {
            let words = "Unauthorized: invalid or missing X-Deploy-Secret";
            authorize(server, caller, &request, words)?;
            let wish = deploy_wish(caller, &body::read::<DeployBody>(request).await?)?;
            begin(server, wish.0, wish.1).await
        }
        ("POST", "/rollback") => {
            authorize(server, caller, &request, "Unauthorized")?;
            let body: RollbackBody = body::read(request).await?;
            let wish = deploy::rollback_wish(server, body.force, caller.actor());
            begin(server, wish.map_err(|refusal| refused(&refusal))?, body.wait).await
        }
        ("POST", "/drain") => {
            authorize(server, caller, &request, "Unauthorized")?;
            drain(server, caller, body::read(request).await?).await
        }
        ("DELETE", "/drain") => {
            authorize(server, caller, &request, "Unauthorized")?;
            resume(server).await
        }
        ("POST", "/cleanup") => {
            authorize(server, caller, &request, "Unauthorized")?;
            cleanup(server, body::read(request).await?).await
        }
        ("POST", "/admin/refresh-secrets") => {
            authorize(server, caller, &request, "Unauthorized")?;
            body::read::<NoFields>(request).await?;
            Ok(refresh(server).await)
        }
        ("POST", "/bootstrap") if caller != Caller::Remote => {
            let body: BootstrapBody = body::read(request).await?;
            let mut wish = wish(caller, Kind::Bootstrap, &body.image_tag)?;
            wish.force = false;
            begin(server, wish, true).await
        }
        _ => Err(not_found()),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

fn authorize(
    server: &Server,
    caller: Caller,
    request: &Request0,
    words: &str,
) -> Result<(), Reply> {
    let trusted = match caller {
        Caller::Local { .. } => true,
        Caller::Remote => secret::is_shown(server, request.headers()),
    };
    if trusted { Ok(()) } else { Err(refusal(401, words)) }
}

async fn containers(server: &Server) -> Result<Reply, Reply> {
    match views::containers(server).await {
        Ok(containers) => Ok(Reply::new(200, &containers)),
        Err(reason) => Err(Reply { status: 503, body: json!({ "error": reason }) }),
    }
}

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
        "instanceId": server.config.instance_id,
    });
    Ok(Reply { status: 200, body })
}

fn deploys(server: &Server) -> Result<Reply, Reply> {
    let mut entries = server.state.history().map_err(|error| internal(&error))?;
    entries.reverse();
    let running = server.ops.running().and_then(|running| running_deploy(&running));
    Ok(Reply { status: 200, body: json!({ "running": running, "deploys": entries }) })
}

fn one_deploy(server: &Server, id: &str) -> Result<Reply, Reply> {
    if let Some(running) = server.ops.running()
        && matches!(&running.what, What::Deploy { id: of, .. } if of == id)
    {
        return Ok(Reply::new(200, &running_deploy(&running)));
    }
    let entries = server.state.history().map_err(|error| internal(&error))?;
    match entries.into_iter().find(|entry| entry.id == id) {
        Some(entry) => Ok(Reply::new(200, &entry)),
        None => Err(Reply { status: 404, body: json!({ "error": "Deploy record not found" }) }),
    }
}

fn running_deploy(running: &Running) -> Option<serde_json::Value> {
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
    if !is_image_tag(tag) {
        return Err(refusal(400, "Invalid image_tag format"));
    }
    let target = Target::Tag(tag.to_owned());
    Ok(Wish { kind, image_tag: tag.to_owned(), target, force: false, actor: caller.actor() })
}

async fn begin(server: &'static Server, wish: Wish, wait: bool) -> Result<Reply, Reply> {
    let tag = wish.image_tag.clone();
    let running: Arc<Running> = deploy::start(server, wish).map_err(|refusal| refused(&refusal))?;
    if !wait {
        let mut body = running_deploy(&running).unwrap_or_else(|| json!({}));
        body["success"] = json!(true);
        body["message"] = json!(format!("Deploy started: {tag}"));
        body["deployId"] = body["id"].take();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("id");
        }
        return Ok(Reply { status: 202, body });
    }
    match running.result().await {
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
    if body.terminating && caller == Caller::Remote {
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
    // A caller that goes away does not stop the drain.
    let reply = tokio::spawn(host_drain::drain_host(server, wish)).await;
    let reply = reply.map_err(|_| refusal(500, "The drain ended without a result"))?;
    let status = match reply.verdict {
        DrainVerdict::Drained => 200,
        DrainVerdict::Busy => 409,
        DrainVerdict::Unknown => 503,
    };
    Ok(Reply::new(status, &reply))
}

async fn resume(server: &'static Server) -> Result<Reply, Reply> {
    let resumed = tokio::spawn(host_drain::resume_host(server)).await;
    match resumed.unwrap_or_else(|_| Err("The work ended without a result".to_owned())) {
        Ok(message) => {
            Ok(Reply { status: 200, body: json!({ "success": true, "message": message }) })
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

fn internal(error: &dyn std::error::Error) -> Reply {
    tracing::error!(error = %error, "a request failed");
    refusal(500, "The host server cannot read its own state; see its log")
}
