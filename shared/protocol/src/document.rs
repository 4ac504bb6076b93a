//! The parameters of the hosts' SSM document, `GhostHands-Host`, which template.yaml defines, and
//! the name of the document beside it that only asks.

use crate::action::Action;
use crate::host_order::OrderId;
use crate::image_tag::ImageTag;

pub const ACTION: &str = "Action";
pub const TIMEOUT_SECONDS: &str = "TimeoutSeconds";
pub const STOP: &str = "Stop";
pub const LEAVING: &str = "Leaving";
pub const IMAGE_TAG: &str = "ImageTag";
pub const FORCE: &str = "Force";
/// What a rollout calls an order.
pub const ORDER: &str = "Order";
pub const JOB_LIMIT_SECONDS: &str = "JobLimitSeconds";
pub const EXECUTION_SECONDS: &str = "ExecutionSeconds";

/// The document that asks a host what it runs, whoever changed it. It is one of its own, so that
/// its commands are in no list of orders and their ends wake no function.
#[must_use]
pub fn survey(document: &str) -> String {
    format!("{document}-Survey")
}

/// What one command asks of a host. What is `None` or false is left to the document's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCommand {
    pub action: Action,
    /// How long a drain waits for the running job before it answers.
    pub timeout_s: Option<u32>,
    /// End the worker by SIGTERM when a drain's time is up and a job still runs.
    pub stop: bool,
    /// A drain is for an instance that leaves its group and cannot be undone, which is the default.
    pub leaving: Option<bool>,
    pub image_tag: Option<ImageTag>,
    /// Deploy although a job runs, and replace what is up to date.
    pub force: bool,
    /// What a rollout calls this order: the host accepts it and carries it out when its job ends.
    pub order: Option<OrderId>,
    /// How long the order waits for the running job.
    pub job_limit_s: Option<u32>,
    /// After so long SSM gives the host up; its work goes on.
    pub execution_s: Option<u32>,
}

impl HostCommand {
    #[must_use]
    pub fn new(action: Action) -> HostCommand {
        HostCommand {
            action,
            timeout_s: None,
            stop: false,
            leaving: None,
            image_tag: None,
            force: false,
            order: None,
            job_limit_s: None,
            execution_s: None,
        }
    }

    /// The document's parameters.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let texts = [
            (ACTION, Some(self.action.to_string())),
            (TIMEOUT_SECONDS, self.timeout_s.map(|seconds| seconds.to_string())),
            (STOP, self.stop.then(|| "true".to_owned())),
            (LEAVING, self.leaving.map(|leaving| leaving.to_string())),
            (IMAGE_TAG, self.image_tag.as_ref().map(ToString::to_string)),
            (FORCE, self.force.then(|| "true".to_owned())),
            (ORDER, self.order.as_ref().map(ToString::to_string)),
            (JOB_LIMIT_SECONDS, self.job_limit_s.map(|seconds| seconds.to_string())),
            (EXECUTION_SECONDS, self.execution_s.map(|seconds| seconds.to_string())),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }

    /// Reads parameters as SSM lists them; `None` where they are no command of this document.
    pub fn read<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Option<HostCommand> {
        let given = |name: &str| parameter(name).filter(|text| !text.is_empty());
        Some(HostCommand {
            action: Action::parse(given(ACTION)?)?,
            timeout_s: given(TIMEOUT_SECONDS).and_then(|text| text.parse().ok()),
            stop: given(STOP) == Some("true"),
            leaving: given(LEAVING).map(|text| text == "true"),
            image_tag: given(IMAGE_TAG).and_then(|text| ImageTag::parse(text).ok()),
            force: given(FORCE) == Some("true"),
            order: given(ORDER).and_then(OrderId::parse),
            job_limit_s: given(JOB_LIMIT_SECONDS).and_then(|text| text.parse().ok()),
            execution_s: given(EXECUTION_SECONDS).and_then(|text| text.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_from_its_parameters() {
        let plain = HostCommand::new(Action::Cleanup);
        let full = HostCommand {
            action: Action::Deploy,
            timeout_s: Some(240),
            stop: true,
            leaving: Some(false),
            image_tag: ImageTag::parse("v2").ok(),
            force: true,
            order: OrderId::parse("abcdef012345.apply.1"),
            job_limit_s: Some(14_400),
            execution_s: Some(1200),
        };
        assert_eq!(plain.parameters(), [(ACTION, "cleanup".to_owned())]);
        for command in [plain, full] {
            let parameters = command.parameters();
            let find = |name: &str| {
                parameters.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
            };
            assert_eq!(HostCommand::read(find), Some(command));
        }
        assert_eq!(HostCommand::read(|_| None), None);
        assert_eq!(HostCommand::read(|_| Some("reboot")), None);
    }
}
