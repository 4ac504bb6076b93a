//! SSM's commands in the words of a decision.

use aws_sdk_ssm::types;
use fleet_core::rollout::{
    Command, CommandStatus, HostReport, Invocation, InvocationStatus, Order, Output,
};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::time::UnixMs;

/// `None` for a command that is not one of ours.
pub(super) fn command(command: &types::Command) -> Option<Command> {
    let order = command.comment.as_deref().and_then(Order::read)?;
    let parameter = |name: &str| command.parameters.as_ref()?.get(name)?.first();
    Some(Command {
        id: CommandId::new(command.command_id.as_deref()?),
        requested: UnixMs(command.requested_date_time.and_then(|at| at.to_millis().ok())?),
        order,
        image_tag: parameter("ImageTag").and_then(|tag| ImageTag::parse(tag).ok()),
        force: parameter("Force").is_some_and(|force| force == "true"),
        status: CommandStatus::read(command.status.as_ref()?.as_str()),
        targets: command.instance_ids.iter().flatten().map(InstanceId::new).collect(),
    })
}

/// One command on one host.
pub(super) fn invocation(invocation: types::CommandInvocation) -> Result<Invocation, String> {
    let (Some(instance), Some(word)) = (invocation.instance_id, invocation.status) else {
        return Err(
            "ListCommandInvocations gave an invocation without its host or status".to_owned()
        );
    };
    let detail = invocation.status_details.unwrap_or_default();
    let status = InvocationStatus::read(word.as_str(), &detail);
    let plugins = invocation.command_plugins.unwrap_or_default();
    let exit = plugins.first().map(|plugin| plugin.response_code).filter(|code| *code >= 0);
    let ended = matches!(status, InvocationStatus::Success | InvocationStatus::Failed);
    let mut printed = plugins.into_iter().filter_map(|plugin| plugin.output);
    // What a command printed before its end may be half a line.
    let printed = printed.find(|output| ended && !output.trim().is_empty());
    let output = match printed.map(|text| HostReport::find(&text)) {
        None => Output::None,
        Some(Ok(report)) => Output::Report(report),
        Some(Err(what)) => Output::Unreadable(what),
    };
    Ok(Invocation { instance: InstanceId::new(instance), status, detail, exit, output })
}
