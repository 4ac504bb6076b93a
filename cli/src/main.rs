//! `ghfleet`: what an operator of GhostHands Fleet types.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    ghfleet::args::Cli::parse().run()
}
