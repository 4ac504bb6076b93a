//! Commands and invocations as SSM lists them, in the words that a decision needs.

use super::{ActionReport, OrderId, RolloutOrder};
use crate::run_command::{self, CommandStatus, InvocationStatus};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One of our commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub id: CommandId,
    /// By AWS's clock.
    pub requested: UnixMs,
    /// What it was, by its comment.
    pub order: RolloutOrder,
    pub image_tag: Option<ImageTag>,
    pub force: bool,
    /// What its hosts call it.
    pub host_order: Option<OrderId>,
    pub status: CommandStatus,
    /// The hosts that it named; none where it was for the whole group.
    pub targets: Vec<InstanceId>,
}

/// One command on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    pub instance: InstanceId,
    pub status: InvocationStatus,
    /// `StatusDetails` as SSM spells it.
    pub detail: String,
    pub exit: Option<i32>,
    pub output: Output,
}

/// What the command printed.
pub type Output = run_command::Output<ActionReport>;
