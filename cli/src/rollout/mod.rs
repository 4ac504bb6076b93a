//! Rollouts and the other orders to hosts: beginning them, following them to their end, and what
//! that end means.

mod begin;
mod commands;
mod follow;
mod list;
mod orders;
mod words;

pub use commands::{CancelArgs, ContinueArgs, DeployArgs, PauseArgs, RollbackArgs};
pub use follow::WaitArgs;
pub use list::RolloutsArgs;
pub use orders::{CleanupArgs, DrainArgs, RefreshSecretsArgs};

use crate::api::{Answer, Api, ApiError};
use crate::finish::Failure;
use serde_json::Value;

const PATH: &str = "/api/v1/admin/deployments";

/// One of them, host by host.
fn read(api: &Api, id: &str) -> Result<Answer, ApiError> {
    let path = format!("{PATH}/{id}");
    let answer = api.get(&path)?;
    if answer.body["state"].is_string() && answer.body["hosts"].is_array() {
        return Ok(answer);
    }
    Err(ApiError::Unexpected(format!(
        "{path} answered with something that is no rollout: the control plane there is not of \
         this ghfleet's version"
    )))
}

/// The newest of them, newest first.
fn newest(api: &Api, limit: u32) -> Result<Answer, ApiError> {
    let path = format!("{PATH}?limit={limit}");
    let answer = api.get(&path)?;
    if answer.body["deployments"].is_array() {
        return Ok(answer);
    }
    Err(ApiError::Unexpected(format!(
        "{path} answered with something that is no list of rollouts: the control plane there is \
         not of this ghfleet's version"
    )))
}

/// The newest one that is as wanted; without any, what to do.
fn find(api: &Api, wanted: impl Fn(&Value) -> bool, none: &str) -> Result<String, Failure> {
    let list = newest(api, 50)?.body;
    let all = list["deployments"].as_array().into_iter().flatten();
    let found = all.filter(|one| wanted(one)).find_map(|one| one["id"].as_str());
    found.map(str::to_owned).ok_or_else(|| Failure::refused(none))
}

fn is_rollout(one: &Value) -> bool {
    one["kind"] == "deploy" || one["kind"] == "rollback"
}

fn is_open(one: &Value) -> bool {
    one["state"] == "in_progress"
}
