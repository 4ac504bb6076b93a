//! `ghfleet doctor`: what is wrong with a fleet, and what mends it.
//!
//! It observes each source by itself, decides without any, and shows. It makes no call that changes
//! anything.

mod checks;
mod diagnosis;
mod facts;
mod observe;
mod show;

pub use diagnosis::{Diagnosis, State};

use crate::connection::ConnectionArgs;
use crate::finish::{Ending, Failure, Finished};
use crate::show::Screen;
use clap::Args;
use fleet_protocol::exit_code::ExitCode as Code;
use serde::Serialize;

/// Find out what is wrong with a fleet, and with what command to mend it.
///
/// It asks the fleet's API; AWS, with your own credentials; and the database,
/// with the address in the fleet's secret or in GHFLEET_DATABASE_URL. What a
/// source does not tell is "not checked", and the others are checked all the
/// same. It only reads: docs/policies/doctor.json lists every call of AWS, and
/// the values of secrets are neither shown nor kept.
///
/// Your credentials are the environment's (AWS_ACCESS_KEY_ID and so on), or
/// else what the AWS CLI has, SSO included.
///
/// Examples:
///   ghfleet doctor
///   ghfleet doctor --profile production --aws-profile production
///   ghfleet doctor --json | jq '.findings[] | select(.state == "fault")'
///
/// Exit codes: 0 nothing is wrong, 14 only warnings, 1 a fault, 69 no fault but
/// not everything could be checked.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DoctorArgs {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    names: NameArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Names that the API tells, or that stacks have by default.
#[derive(Debug, Args)]
#[command(next_help_heading = "Names, where they are not the stack's")]
struct NameArgs {
    /// The profile of the AWS CLI whose credentials are used.
    #[arg(long, value_name = "NAME")]
    aws_profile: Option<String>,
    /// The group's region; else the environment's or that profile's.
    #[arg(long)]
    region: Option<String>,
    /// The Auto Scaling group, where no API tells it.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The deployment, such as staging, where no API tells it.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The terminate hook of the drain function.
    #[arg(long, value_name = "NAME", default_value = "ghosthands-drain-hook")]
    hook: String,
    /// The SSM document that hosts understand.
    #[arg(long, value_name = "NAME", default_value = "GhostHands-Host")]
    document: String,
    /// The functions' secret; else ghosthands/ENVIRONMENT/fleet.
    #[arg(long, value_name = "NAME")]
    fleet_secret: Option<String>,
    /// The hosts' secret; else ghosthands/ENVIRONMENT.
    #[arg(long, value_name = "NAME")]
    host_secret: Option<String>,
    /// The schema of pg-boss.
    #[arg(long, value_name = "NAME", default_value = "pgboss")]
    schema: String,
    /// The queue that every worker takes jobs from.
    #[arg(long, value_name = "NAME", default_value = "gh_apply_job")]
    queue: String,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    /// The exit code.
    code: u8,
    findings: &'a [Diagnosis],
}

impl DoctorArgs {
    /// # Errors
    /// None: what cannot be asked is a finding.
    pub fn run(&self) -> Result<Finished, Failure> {
        let facts = observe::observe(&self.names, &self.connection)?;
        let findings = checks::findings(&facts);
        let ending = ending(&findings);
        let text = if self.json {
            let document = Document { code: ending.code(), findings: &findings };
            serde_json::to_string(&document).expect("plain data") + "\n"
        } else {
            show::render(&Screen::of_stdout(), &findings)
        };
        Ok(Finished::with(text, ending))
    }
}

/// The worst of them; a fault is worse than what nobody could tell, and that is worse than a
/// warning.
fn ending(findings: &[Diagnosis]) -> Ending {
    let has = |state| findings.iter().any(|finding| finding.state == state);
    if has(State::Fault) {
        Code::Failed.into()
    } else if has(State::NotChecked) {
        Code::Unavailable.into()
    } else if has(State::Warning) {
        Ending::Warnings
    } else {
        Code::Done.into()
    }
}
