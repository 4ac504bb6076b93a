//! Decides how many workers exist. It ticks by schedule, and whenever somebody who enqueues jobs,
//! or an operator, asks for it.

mod act;
mod app;
mod gather;
mod handler;
mod outcomes;
mod record;
mod tick;

use app::App;
use fleet_clients::config::AutoscaleConfig;
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_lambda::run(AutoscaleConfig::from_env, App::new, handler::handle)
}
