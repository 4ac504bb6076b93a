//! Tells how the fleet is and why and what happened to a job, serves the page that shows it, and
//! takes an operator's floor and pause.

mod app;
mod capacity;
mod handler;
mod job;
mod openapi;
mod page;
mod read;
mod routes;

use app::App;
use fleet_clients::config::StatusConfig;
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_lambda::run(StatusConfig::from_env, App::new, handler::handle)
}
