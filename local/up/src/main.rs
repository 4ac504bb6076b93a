//! `fleet-local`: the fleet on one machine, from the command line.

mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The fleet on one machine.
#[derive(Debug, Parser)]
#[command(name = "fleet-local")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, enqueue jobs, and tell what happens.
    Up(up::Options),
}

/// As in sysexits.h: the command was used wrongly.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { command: Command::Up(options) }) => up::main(&options),
        Err(problem) => {
            let asked_for_help = !problem.use_stderr();
            // A closed terminal is no reason for another exit code.
            problem.print().ok();
            if asked_for_help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
        }
    }
}
