//! `ghfleet`: what an operator of GhostHands Fleet types.

use std::process::ExitCode;

fn main() -> ExitCode {
    ghfleet::args::main()
}
