//! The orders that are not about a version: `drain`, `cleanup`, `refresh-secrets`. Each host's
//! result is told.

use super::WaitArgs;
use super::begin::begin;
use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::instance::instance_id;
use clap::Args;
use fleet_protocol::ids::InstanceId;
use serde_json::{Value, json};

/// Let hosts take no more jobs, and wait until their running ones have ended.
///
/// No job is interrupted. A host stays drained until somebody resumes it on the
/// host (deploy-server resume), or its instance is replaced. Ends with 75 where
/// a job still runs when the hosts stop waiting: ask again.
///
/// Examples:
///   ghfleet drain i-0a1b2c3d4e5f60718
///   ghfleet drain i-0a1b2c3d4e5f60718 i-0a1b2c3d4e5f60719 --reason "disk"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DrainArgs {
    /// The hosts, at most 50.
    #[arg(value_name = "INSTANCE", required = true, value_parser = instance_id)]
    instances: Vec<InstanceId>,
    #[command(flatten)]
    order: Order,
}

/// Free disk space on every host, and tell each one's result.
///
/// Images that run, ran before or are stable are kept; no job is interrupted.
/// Hosts do the same every day at 03:00 UTC by themselves.
///
/// Examples:
///   ghfleet cleanup
///   ghfleet cleanup --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CleanupArgs {
    #[command(flatten)]
    order: Order,
}

/// Let every host read its secrets again, and tell each one's result.
///
/// Values are never shown. Containers get the new ones when they are next
/// created: deploy a version, or the same one with --force.
///
/// Examples:
///   ghfleet refresh-secrets
///   ghfleet refresh-secrets --reason "rotated DATABASE_URL"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RefreshSecretsArgs {
    #[command(flatten)]
    order: Order,
}

#[derive(Debug, Args)]
struct Order {
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DrainArgs {
    /// # Errors
    /// It was refused, or could not be followed.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.order.give("/api/v1/admin/drain", json!({ "instance_ids": self.instances }))
    }
}

impl CleanupArgs {
    /// # Errors
    /// It was refused, or could not be followed.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.order.give("/api/v1/admin/cleanup", json!({}))
    }
}

impl RefreshSecretsArgs {
    /// # Errors
    /// It was refused, or could not be followed.
    pub fn run(&self) -> Result<Finished, Failure> {
        self.order.give("/api/v1/admin/refresh-secrets", json!({}))
    }
}

impl Order {
    fn give(&self, path: &str, mut body: Value) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        body["reason"] = json!(self.reason);
        let begun = begin(&api, path, &body)?;
        self.wait.finish(&api, begun)
    }
}
