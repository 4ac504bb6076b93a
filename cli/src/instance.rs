//! `ghfleet machine` and `ghfleet shell`: one instance.

use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{fact, word};
use crate::status;
use clap::Args;
use fleet_core::text::cut;
use fleet_protocol::exit_code::ExitCode as Code;
use fleet_protocol::ids::InstanceId;
use serde_json::Value;
use std::process::Command;

/// Show what the fleet's status knows of one instance and its worker.
///
/// Examples:
///   ghfleet machine i-0a1b2c3d4e5f60718
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct MachineArgs {
    #[arg(value_name = "INSTANCE", value_parser = instance_id)]
    instance: InstanceId,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Print the command that opens a shell on a host by SSM, or run it.
///
/// There are no ssh keys and no open port 22. It takes the AWS CLI with its
/// Session Manager plugin, and your own right to ssm:StartSession.
///
/// Examples:
///   ghfleet shell i-0a1b2c3d4e5f60718
///   ghfleet shell i-0a1b2c3d4e5f60718 --region us-east-1 --run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ShellArgs {
    #[arg(value_name = "INSTANCE", value_parser = instance_id)]
    instance: InstanceId,
    /// The instance's region; the AWS CLI's own where none is named.
    #[arg(long)]
    region: Option<String>,
    /// Run it.
    #[arg(long)]
    run: bool,
}

/// Reads an instance's id, as EC2 gives them.
///
/// # Errors
/// What one looks like.
pub(crate) fn instance_id(text: &str) -> Result<InstanceId, String> {
    let digits = text.strip_prefix("i-").unwrap_or_default();
    let fits = (8..=17).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    if fits {
        Ok(InstanceId::new(text))
    } else {
        Err(format!("{:?} is no instance id such as i-0a1b2c3d4e5f60718", cut(text, 60)))
    }
}

impl MachineArgs {
    /// # Errors
    /// The status could not be read, or has no such instance.
    pub fn run(&self) -> Result<Finished, Failure> {
        let status = status::read(&self.connection.api()?)?.body;
        match status::member(&status, self.instance.as_str()) {
            Some(instance) => Ok(Finished::done(machine(&status, instance))),
            None => Err(self.not_found(&status)),
        }
    }

    fn not_found(&self, status: &Value) -> Failure {
        let id = &self.instance;
        if !status["instances"].is_array() {
            let why = status::unknown_sources(status).join("; ");
            return Failure::unavailable(format!("the group's instances are not known now: {why}"));
        }
        match status["instances_omitted"].as_u64() {
            Some(omitted) if omitted > 0 => Failure::failed(format!(
                "{id} is not among those that the status lists, and {omitted} are not listed; ask \
                 with aws autoscaling describe-auto-scaling-instances --instance-ids {id}"
            )),
            _ => Failure::failed(format!("{id} is not in the group: see it with ghfleet status")),
        }
    }
}

fn machine(status: &Value, instance: &Value) -> String {
    let text = |of: &Value, at: &str| word(of, at).unwrap_or_else(|| "unknown".to_owned());
    let mut shown = fact("instance", &text(instance, "/instance_id"));
    let health = if instance["healthy"] == false { ", unhealthy" } else { "" };
    let protected = if instance["protected"] == true { ", protected from scale-in" } else { "" };
    shown += &fact("lifecycle", &format!("{}{health}{protected}", text(instance, "/lifecycle")));
    let version = match word(instance, "/version") {
        Some(tag) => format!("{tag}, proven at {}", text(instance, "/proven_at")),
        None => match word(instance, "/unproven") {
            Some(why) => format!("unknown: {why}"),
            None => "unknown: this host has proven none".to_owned(),
        },
    };
    let drift = match word(status, "/versions/stable/image_tag") {
        Some(stable) if instance["drift"] == true => format!("; {stable} is stable"),
        _ => String::new(),
    };
    shown += &fact("version", &(version + &drift));
    let Some(worker) = status::worker_of(status, instance) else {
        let none = if status["workers"].is_array() { "none reports from it" } else { "unknown" };
        return shown + &fact("worker", none);
    };
    let heartbeat = text(worker, "/heartbeat_at");
    shown +=
        &fact("worker", &format!("{}, {}", text(worker, "/worker_id"), text(worker, "/state")));
    shown += &fact("heartbeat", &heartbeat);
    shown + &fact("job", &word(worker, "/job_id").unwrap_or_else(|| "none".to_owned()))
}

impl ShellArgs {
    /// # Errors
    /// The AWS CLI cannot be run.
    pub fn run(&self) -> Result<Finished, Failure> {
        let mut words = vec!["ssm", "start-session", "--target", self.instance.as_str()];
        if let Some(region) = &self.region {
            words.extend(["--region", region]);
        }
        if !self.run {
            return Ok(Finished::done(format!("aws {}\n", words.join(" "))));
        }
        let ended = Command::new("aws").args(&words).status().map_err(|error| {
            Failure::unavailable(format!("aws cannot be run ({error}): install the AWS CLI"))
        })?;
        let code = if ended.success() { Code::Done } else { Code::Failed };
        Ok(Finished::with("", code))
    }
}
