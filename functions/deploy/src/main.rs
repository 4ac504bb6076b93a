//! Rolls versions out over the fleet. Requests begin a rollout, events make it fast, and one pass a
//! minute brings it to its end.

mod act;
mod api;
mod app;
mod handler;
mod pass;
mod record;
mod request;

use app::App;
use fleet_clients::config::{DeployConfig, Environment};
use fleet_clients::telemetry;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.h: nothing but the configuration has to be corrected.
const BAD_CONFIGURATION: u8 = 78;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init(&Environment);
    let app = match DeployConfig::from_env(&Environment) {
        Ok(config) => App::new(config),
        Err(report) => {
            tracing::error!(%report, "the configuration stops the start");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let handler = service_fn(|event: LambdaEvent<serde_json::Value>| handler::handle(&app, event));
    match run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = telemetry::error_chain(&*error), "the runtime ended");
            ExitCode::FAILURE
        }
    }
}
