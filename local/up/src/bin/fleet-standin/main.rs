//! The two services of a host, small: what runs in a local host's containers where no job of a real
//! queue is wanted.
//!
//! `fleet-standin api` answers `/health`. `fleet-standin worker` answers as
//! `local/worker/worker.mjs --no-queue` does: jobs come by `POST /standin/job`, and what happens is
//! printed as one JSON object per line. Ports and names come from the environment that a
//! deploy-server gives its containers; `IMAGE_TAG` is what the image says about itself. A `--fault`
//! makes it a broken version of itself.

mod api;
mod worker;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What a broken version dies with.
const CRASHED: u8 = 7;

#[derive(Debug, Parser)]
#[command(about = "A stand-in for the API or the worker of a host")]
struct Options {
    role: Role,
    /// Which worker: the old one goes on taking jobs while it says that it drains
    #[arg(long, value_enum, default_value = "full")]
    contract: Contract,
    /// Be broken in this way
    #[arg(long, value_parser = fault)]
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Api,
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contract {
    Old,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It ends at once.
    Crash,
    /// It answers 500.
    Sick,
    /// It is well for so long, and then dies.
    Dies(Duration),
}

fn fault(text: &str) -> Result<Fault, String> {
    let seconds = |text: &str| text.parse::<f64>().ok().map(Duration::try_from_secs_f64);
    match text {
        "crash" => Ok(Fault::Crash),
        "sick" => Ok(Fault::Sick),
        _ => match text.strip_prefix("dies=").and_then(seconds) {
            Some(Ok(life)) => Ok(Fault::Dies(life)),
            _ => Err("it is crash, sick or dies=SECONDS".to_owned()),
        },
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<ExitCode, String> {
    if options.fault == Some(Fault::Crash) {
        complain("this version crashes at its start");
        return Ok(ExitCode::from(CRASHED));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let worker = worker::Worker::new(options.contract == Contract::Full);
    let (name, app) = match options.role {
        Role::Api => ("GH_API_PORT", api::router()),
        Role::Worker => ("GH_WORKER_PORT", worker::router(worker.clone())),
    };
    let app = if options.fault == Some(Fault::Sick) { sick() } else { app };
    let port = variable(name).and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| format!("{name} must be a TCP port"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    say("listening", json!({ "port": port }));
    // It goes on answering while it finishes its job.
    let ending = async {
        terminate.recv().await;
        worker.finish().await;
    };
    let life = async {
        match options.fault {
            Some(Fault::Dies(life)) => tokio::time::sleep(life).await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).into_future() => {
            served.map_err(|error| error.to_string())?;
        }
        () = ending => {}
        () = life => {
            complain("this version dies");
            return Ok(ExitCode::from(CRASHED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A version that is up and not well.
fn sick() -> Router {
    Router::new().fallback(|| async { answer(500, json!({ "status": "sick" })) })
}

fn answer(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

/// What the image and the deploy-server say about this container, in every answer about its health.
fn identity() -> Value {
    json!({ "image_tag": variable("IMAGE_TAG"), "deploy_id": variable("GHOSTHANDS_DEPLOY_ID") })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Prints what happened, for whoever reads the container's log.
fn say(event: &str, mut fields: Value) {
    fields["event"] = Value::from(event);
    // A reader that went away does not change what was done.
    writeln!(std::io::stdout(), "{fields}").ok();
}

fn complain(text: &str) {
    writeln!(std::io::stderr(), "fleet-standin: {text}").ok();
}

/// One object with the fields of both.
fn joined(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
