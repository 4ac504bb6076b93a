//! What `ghfleet` is asked, and how it ends.

use crate::cost::CostArgs;
use crate::doctor::DoctorArgs;
use crate::explain::ExplainArgs;
use crate::finish::{Failure, Finished};
use crate::instance::{MachineArgs, ShellArgs};
use crate::job::JobArgs;
use crate::manual::{CompletionsArgs, ManArgs};
use crate::rollout::{
    CancelArgs, CleanupArgs, ContinueArgs, DeployArgs, DrainArgs, PauseArgs, RefreshSecretsArgs,
    RollbackArgs, RolloutsArgs,
};
use crate::scale::ScaleArgs;
use crate::status::StatusArgs;
use crate::trials::{Replay, Simulate, Tune};
use clap::{CommandFactory, Parser, Subcommand};
use fleet_protocol::exit_code::ExitCode as Code;
use std::io::Write;
use std::process::ExitCode;

/// Operate a GhostHands fleet, and try its scaling on your own history.
#[derive(Debug, Parser)]
#[command(name = "ghfleet", version, max_term_width = 80, after_long_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Connection:
  ~/.config/ghfleet/config.toml, or the file that GHFLEET_CONFIG names:
    default = \"staging\"
    [profile.staging]
    url = \"https://abc123.execute-api.us-east-1.amazonaws.com\"
    token_file = \"~/.config/ghfleet/staging.token\"
    [profile.production]
    url = \"https://def456.execute-api.us-east-1.amazonaws.com\"
    token_command = [\"pass\", \"show\", \"ghfleet/production\"]
  or GHFLEET_URL with GHFLEET_TOKEN or GHFLEET_TOKEN_FILE. A token is never an
  argument, and goes only to the address that it was written beside.

Exit codes:
   0  done; of a rollout: it succeeded; of a job: it completed
   1  failed, or ended otherwise; doctor found a fault
  10  the rollout failed, and every host runs the version before
  11  the rollout failed, and on a host nothing runs or it could not be undone
  12  the API refused
  14  doctor found warnings, and no fault
  64  wrong usage or configuration
  69  the API does not answer, or not as expected; doctor found no fault, and
      could not check everything
  75  not ended yet, or a job still runs; ask again";

#[derive(Debug, Subcommand)]
enum Command {
    Status(StatusArgs),
    Explain(ExplainArgs),
    Scale(ScaleArgs),
    Deploy(DeployArgs),
    Rollback(RollbackArgs),
    Rollouts(RolloutsArgs),
    Cancel(CancelArgs),
    Pause(PauseArgs),
    Continue(ContinueArgs),
    Drain(DrainArgs),
    Cleanup(CleanupArgs),
    RefreshSecrets(RefreshSecretsArgs),
    Cost(CostArgs),
    Doctor(DoctorArgs),
    Job(JobArgs),
    Machine(MachineArgs),
    Shell(ShellArgs),
    Simulate(Simulate),
    Tune(Tune),
    Replay(Replay),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Reads the arguments and does what they ask for.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Help and version come this way too, and are no error.
            error.print().ok();
            let code = if error.use_stderr() { Code::Usage } else { Code::Done };
            ExitCode::from(code.code())
        }
    }
}

impl Cli {
    fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Status(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Scale(args) => args.run(),
            Command::Deploy(args) => args.run(),
            Command::Rollback(args) => args.run(),
            Command::Rollouts(args) => args.run(),
            Command::Cancel(args) => args.run(),
            Command::Pause(args) => args.run(),
            Command::Continue(args) => args.run(),
            Command::Drain(args) => args.run(),
            Command::Cleanup(args) => args.run(),
            Command::RefreshSecrets(args) => args.run(),
            Command::Cost(args) => args.run(),
            Command::Doctor(args) => args.run(),
            Command::Job(args) => args.run(),
            Command::Machine(args) => args.run(),
            Command::Shell(args) => args.run(),
            Command::Simulate(args) => finished(args.run()),
            Command::Tune(args) => finished(args.run()),
            Command::Replay(args) => finished(args.run()),
            Command::Completions(args) => args.run(Cli::command()),
            Command::Man(args) => args.run(Cli::command()),
        };
        match result {
            Ok(Finished { text, ending }) => {
                // A reader that went away, such as `head`, is no failure.
                std::io::stdout().write_all(text.as_bytes()).ok();
                ExitCode::from(ending.code())
            }
            Err(Failure { code, message }) => {
                writeln!(std::io::stderr(), "ghfleet: {message}").ok();
                ExitCode::from(code.code())
            }
        }
    }
}

fn finished(result: Result<String, String>) -> Result<Finished, Failure> {
    result.map(Finished::done).map_err(Failure::usage)
}
