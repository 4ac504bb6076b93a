//! How a function starts.

use crate::event::Event;
use fleet_clients::config::{ConfigError, Environment};
use fleet_clients::telemetry;
use fleet_core::text::cut;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use std::cell::LazyCell;
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.h: nothing but the configuration has to be corrected.
const BAD_CONFIGURATION: u8 = 78;
/// An error message may quote the event, which may be 6 MB long.
const MESSAGE_CHARS: usize = 500;

/// Runs a function until Lambda ends the process: reads the configuration once, builds the app at
/// the first event, and hands each event with its invocation's id to `handle`. What `handle`
/// returns is Lambda's response; its error says that the event is not for this function, and
/// reaches the caller as `UnreadableEvent`.
///
/// An invalid configuration is logged whole and ends the process with status 78.
pub fn run<C, A>(
    configuration: fn(&Environment) -> Result<C, ConfigError>,
    app: fn(C) -> A,
    handle: impl AsyncFn(&A, Event, &str) -> Result<Value, String>,
) -> ExitCode {
    telemetry::init(&Environment);
    let configuration = match configuration(&Environment) {
        Ok(configuration) => configuration,
        Err(report) => {
            tracing::error!(%report, "invalid configuration");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    // At the first event: the SDK's clients take longer to build than all the rest of the start.
    let app = LazyCell::new(|| app(configuration));
    let invoked = async |invocation: LambdaEvent<Value>| {
        let request_id = invocation.context.request_id;
        let answer = handle(&app, Event::read(invocation.payload), &request_id).await;
        answer.map_err(|message| Diagnostic {
            error_type: "UnreadableEvent".to_owned(),
            error_message: cut(&message, MESSAGE_CHARS),
        })
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the asynchronous runtime could not be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(lambda_runtime::run(service_fn(invoked))) {
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
