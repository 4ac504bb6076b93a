//! SSM's commands in the words of a rollout's decision.

use crate::run_command::decode;
use aws_sdk_ssm::types;
use fleet_core::rollout::{ActionReport, Command, Invocation, Output, RolloutOrder};
use fleet_protocol::document::HostCommand;

/// `None` for a command that is not one of a rollout.
pub(super) fn command(listed: types::Command) -> Option<Command> {
    let order = listed.comment.as_deref().and_then(RolloutOrder::read)?;
    let parameter = |name: &str| Some(listed.parameters.as_ref()?.get(name)?.first()?.as_str());
    let HostCommand { image_tag, force, order: host_order, .. } = HostCommand::read(parameter)?;
    let decode::Command { id, requested, status, targets, .. } = decode::command(listed).ok()?;
    Some(Command { id, requested, order, image_tag, force, host_order, status, targets })
}

/// One command on one host.
pub(super) fn invocation(listed: types::CommandInvocation) -> Result<Invocation, String> {
    let listed = decode::invocation(listed)?;
    let output = match listed.printed.as_deref().map(ActionReport::find) {
        None => Output::None,
        Some(Ok(report)) => Output::Report(report),
        Some(Err(what)) => Output::Unreadable(what),
    };
    let decode::Invocation { instance, status, detail, exit, .. } = listed;
    Ok(Invocation { instance, status, detail, exit, output })
}
