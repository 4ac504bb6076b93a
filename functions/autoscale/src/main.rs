//! Decides how many workers exist. One tick a minute by schedule, one more whenever an operator
//! asks for it.

mod act;
mod app;
mod handler;
mod record;
mod request;
mod tick;

use app::App;
use fleet_clients::config::{AutoscaleConfig, Environment};
use fleet_clients::telemetry;
use lambda_runtime::{LambdaEvent, run, service_fn};
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.h: nothing but the configuration has to be corrected.
const BAD_CONFIGURATION: u8 = 78;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init(&Environment);
    let config = match AutoscaleConfig::from_env(&Environment) {
        Ok(config) => config,
        Err(report) => {
            tracing::error!(%report, "invalid configuration");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    // At the first event: the SDK's clients take longer to build than all the rest of the start.
    let app = std::sync::LazyLock::new(|| App::new(config));
    let handler = service_fn(|event: LambdaEvent<serde_json::Value>| handler::handle(&app, event));
    match run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                error = telemetry::error_chain(&*error),
                "the Lambda runtime ended with an error"
            );
            ExitCode::FAILURE
        }
    }
}
