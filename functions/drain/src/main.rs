//! Lets instances leave their group without taking a job with them. Events make it fast, and one
//! pass a minute makes it right.

mod act;
mod app;
mod handler;
mod pass;
mod record;
mod request;

use app::App;
use fleet_clients::config::DrainConfig;
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_lambda::run(DrainConfig::from_env, App::new, handler::handle)
}
