//! SSM's commands and invocations without what the fleet does not use, read once for all who look
//! at them.

use aws_sdk_ssm::types;
use fleet_core::run_command::{CommandStatus, InvocationStatus};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::time::UnixMs;

/// Status details are kept up to this length.
const DETAIL_CHARS: usize = 64;

/// A command as `ListCommands` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) id: CommandId,
    pub(crate) requested: UnixMs,
    pub(crate) comment: String,
    pub(crate) status: CommandStatus,
    /// The instances that it named; none where it was for a tag.
    pub(crate) targets: Vec<InstanceId>,
}

/// One command on one instance as `ListCommandInvocations` shows it with details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) id: CommandId,
    pub(crate) instance: InstanceId,
    pub(crate) requested: UnixMs,
    pub(crate) comment: String,
    pub(crate) status: InvocationStatus,
    /// `StatusDetails` as SSM spells them, for a person.
    pub(crate) detail: String,
    /// `None` where no step ended on the instance.
    pub(crate) exit: Option<i32>,
    /// Whether a step began on the instance.
    pub(crate) began: bool,
    /// When the last step ended on the instance.
    pub(crate) ended: Option<UnixMs>,
    /// What the first step that printed anything printed. `None` before the end of the invocation:
    /// until then it may be half a line.
    pub(crate) printed: Option<String>,
}

/// Reads a command.
///
/// # Errors
/// Which field it lacks.
pub(crate) fn command(command: types::Command) -> Result<Command, String> {
    let lacks = |what| lacks("ListCommands", "a command", what);
    let requested = command.requested_date_time.and_then(|at| at.to_millis().ok());
    Ok(Command {
        id: CommandId::new(command.command_id.ok_or_else(|| lacks("id"))?),
        requested: UnixMs(requested.ok_or_else(|| lacks("date"))?),
        comment: command.comment.unwrap_or_default(),
        status: CommandStatus::read(command.status.ok_or_else(|| lacks("status"))?.as_str()),
        targets: command.instance_ids.into_iter().flatten().map(InstanceId::new).collect(),
    })
}

/// Reads an invocation.
///
/// # Errors
/// Which field it lacks.
pub(crate) fn invocation(invocation: types::CommandInvocation) -> Result<Invocation, String> {
    let lacks = |what| lacks("ListCommandInvocations", "an invocation", what);
    let requested = invocation.requested_date_time.and_then(|at| at.to_millis().ok());
    let word = invocation.status.ok_or_else(|| lacks("status"))?;
    let detail = invocation.status_details.unwrap_or_default();
    let status = InvocationStatus::read(word.as_str(), &detail);
    let steps = invocation.command_plugins.unwrap_or_default();
    let ended = steps.iter().filter_map(|step| step.response_finish_date_time).next_back();
    let began = steps.iter().any(|step| step.response_start_date_time.is_some());
    let exit = steps.first().map(|step| step.response_code).filter(|code| *code >= 0);
    let mut printed = steps.into_iter().filter_map(|step| step.output);
    Ok(Invocation {
        id: CommandId::new(invocation.command_id.ok_or_else(|| lacks("command id"))?),
        instance: InstanceId::new(invocation.instance_id.ok_or_else(|| lacks("instance"))?),
        requested: UnixMs(requested.ok_or_else(|| lacks("date"))?),
        comment: invocation.comment.unwrap_or_default(),
        status,
        detail: detail.chars().take(DETAIL_CHARS).collect(),
        exit,
        began,
        ended: ended.and_then(|at| at.to_millis().ok()).map(UnixMs),
        printed: printed.find(|output| !status.is_live() && !output.trim().is_empty()),
    })
}

fn lacks(call: &str, thing: &str, what: &str) -> String {
    format!("{call} gave {thing} without its {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ssm::types::{CommandInvocation, CommandInvocationStatus, CommandPlugin};
    use aws_smithy_types::DateTime;

    fn listed(status: &str, details: &str, output: &str) -> CommandInvocation {
        let step = CommandPlugin::builder()
            .response_code(0)
            .output(output)
            .response_start_date_time(DateTime::from_secs(20))
            .response_finish_date_time(DateTime::from_secs(30))
            .build();
        CommandInvocation::builder()
            .command_id("c")
            .instance_id("i-1")
            .requested_date_time(DateTime::from_secs(10))
            .status(CommandInvocationStatus::from(status))
            .status_details(details)
            .command_plugins(step)
            .build()
    }

    #[test]
    fn both_spellings_of_a_status_are_the_same_invocation() {
        for (status, one, other) in [
            ("TimedOut", "DeliveryTimedOut", "Delivery Timed Out"),
            ("TimedOut", "ExecutionTimedOut", "Execution Timed Out"),
            ("InProgress", "InProgress", "In Progress"),
        ] {
            let read = |details| invocation(listed(status, details, "{}")).unwrap();
            let spaced = read(other);
            assert_eq!(Invocation { detail: spaced.detail.clone(), ..read(one) }, spaced);
        }
    }

    #[test]
    fn what_is_printed_before_the_end_is_not_read() {
        let printed = |status| invocation(listed(status, status, "{}\n")).unwrap().printed;
        assert_eq!(printed("Success").as_deref(), Some("{}\n"));
        assert_eq!(printed("Cancelled").as_deref(), Some("{}\n"));
        for status in ["InProgress", "Cancelling", "Rebooting"] {
            assert_eq!(printed(status), None, "{status}");
        }
    }

    #[test]
    fn what_an_invocation_lacks_is_named() {
        let listed = CommandInvocation::builder().command_id("c").instance_id("i-1").build();
        let lacks = "ListCommandInvocations gave an invocation without its status";
        assert_eq!(invocation(listed), Err(lacks.to_owned()));
    }
}
