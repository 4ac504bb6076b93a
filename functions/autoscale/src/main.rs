//! Decides how many workers exist. One tick a minute by schedule, one more whenever an operator
//! asks for it.

mod act;
mod app;
mod handler;
mod record;
mod tick;

use app::App;
use fleet_clients::config::AutoscaleConfig;
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_lambda::run(AutoscaleConfig::from_env, App::new, handler::handle)
}
