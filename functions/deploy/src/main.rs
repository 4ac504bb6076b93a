//! Rolls versions out over the fleet. Requests begin a rollout, events make it fast, and one pass a
//! minute brings it to its end.

mod act;
mod api;
mod app;
mod handler;
mod pass;
mod record;
mod request;
mod survey;

use app::App;
use fleet_clients::config::DeployConfig;
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_lambda::run(DeployConfig::from_env, App::new, handler::handle)
}
