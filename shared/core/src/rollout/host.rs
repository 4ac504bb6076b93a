//! How it stands with one host, by one command.

use super::report::objection;
use super::{ActionReport, ActionResult, Invocation, Output};
use crate::run_command::InvocationStatus;
use fleet_protocol::action::Action;
use fleet_protocol::exit_code::ExitCode;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use serde::{Deserialize, Serialize};

/// What a client is told of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub instance_id: InstanceId,
    pub state: HostState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_after: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    #[serde(skip)]
    pub(super) standing: Standing,
    /// The digest of a proven version.
    #[serde(skip)]
    pub(super) digest: Option<String>,
    /// It is in service, so the rollout's success depends on it.
    #[serde(skip)]
    pub(super) live: bool,
    /// A command was sent to it.
    #[serde(skip)]
    pub(super) ordered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    Pending,
    InProgress,
    Succeeded,
    AlreadyCurrent,
    RolledBack,
    FailedDown,
    Refused,
    Busy,
    TimedOut,
    Unreachable,
    NotStarted,
    Cancelled,
    Terminated,
}

/// What a host's state means for the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its order has not ended.
    #[default]
    Open,
    /// It proved what was asked for.
    Proven,
    /// It lacks the version for a reason that is not the version.
    Lacks,
    /// The same, and it may run the version all the same.
    Unsure,
    /// The version failed on it and it runs the one before.
    Failed,
    /// The version failed on it, and nothing runs there or the version itself.
    Down,
    /// It was brought back to the version before.
    Undone,
    /// It was to be brought back and was not.
    NotUndone,
}

/// What a command wanted from its hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) action: Action,
    /// `None` for an order that is not about a version.
    pub(super) tag: Option<&'a ImageTag>,
}

impl Host {
    pub(super) fn new(instance: &InstanceId, state: HostState, standing: Standing) -> Host {
        Host {
            instance_id: instance.clone(),
            state,
            step: None,
            message: None,
            version_before: None,
            version_after: None,
            log: Vec::new(),
            standing,
            digest: None,
            live: true,
            ordered: true,
        }
    }

    pub(super) fn saying(self, message: impl Into<String>) -> Host {
        Host { message: Some(message.into()), ..self }
    }

    /// Reads one invocation. SSM's own word for success proves nothing; what the host reports does.
    pub(super) fn judge(invocation: &Invocation, wanted: Wanted<'_>) -> Host {
        use InvocationStatus as S;
        let Invocation { instance, status, detail, exit, output } = invocation;
        let host = |state, standing| Host::new(instance, state, standing);
        match status {
            S::Pending => host(HostState::Pending, Standing::Open),
            S::Running | S::Unknown => host(HostState::InProgress, Standing::Open),
            S::Unreached => host(HostState::Unreachable, Standing::Lacks)
                .saying(format!("SSM could not hand it the order ({detail})")),
            S::NotStarted => host(HostState::NotStarted, Standing::Lacks)
                .saying("failures on other hosts stopped the rollout before its turn"),
            S::Refused => host(HostState::Refused, Standing::Lacks)
                .saying(format!("SSM would not run the order there ({detail})")),
            S::TimedOut => host(HostState::TimedOut, Standing::Unsure)
                .saying(format!("it did not answer in time ({detail}); its work may go on")),
            S::Cancelled => host(HostState::Cancelled, Standing::Unsure)
                .saying("the order was cancelled; what the host had begun it finishes or undoes"),
            S::Success | S::Failed | S::EndedOtherwise => {
                let objection = match output {
                    Output::Report(report) => match objection(report, instance, wanted.action) {
                        None => return Host::read(instance, *status == S::Success, report, wanted),
                        Some(objection) => objection,
                    },
                    Output::None => "it printed nothing".to_owned(),
                    Output::Unreadable(what) => what.clone(),
                };
                Host::unproven(instance, *status == S::Success, *exit, &objection)
            }
        }
    }

    /// An order that ended without a report.
    fn unproven(instance: &InstanceId, success: bool, exit: Option<i32>, why: &str) -> Host {
        let host = |state, standing| Host::new(instance, state, standing);
        let code = exit.map_or_else(
            || "without an exit code".to_owned(),
            |code| format!("with exit code {code}"),
        );
        let known = exit.and_then(ExitCode::read);
        match known {
            _ if success => host(HostState::Refused, Standing::Unsure)
                .saying(format!("it ended well and proved nothing: {why}")),
            Some(ExitCode::RolledBack) => host(HostState::RolledBack, Standing::Failed).saying(why),
            Some(ExitCode::Down) => host(HostState::FailedDown, Standing::Down).saying(why),
            Some(ExitCode::Untouched) => host(HostState::Refused, Standing::Failed).saying(why),
            Some(ExitCode::Refused) => host(HostState::Refused, Standing::Lacks).saying(why),
            Some(ExitCode::StillBusy) => host(HostState::Busy, Standing::Lacks).saying(why),
            Some(ExitCode::Unavailable) => host(HostState::Unreachable, Standing::Unsure)
                .saying(format!("its deploy-server does not answer: {why}")),
            _ => {
                host(HostState::Refused, Standing::Unsure).saying(format!("it ended {code}: {why}"))
            }
        }
    }

    fn read(
        instance: &InstanceId,
        success: bool,
        report: &ActionReport,
        wanted: Wanted<'_>,
    ) -> Host {
        let proves = success && wanted.tag.is_none_or(|tag| report.runs(tag));
        // A host that failed with the version and still runs it has to go back like one that is
        // down.
        let runs_it = wanted.tag.is_some_and(|tag| report.runs(tag));
        let failed = if runs_it { Standing::Down } else { Standing::Failed };
        let (state, standing) = match report.result {
            ActionResult::Deployed | ActionResult::Done if proves => {
                (HostState::Succeeded, Standing::Proven)
            }
            ActionResult::AlreadyCurrent if proves => (HostState::AlreadyCurrent, Standing::Proven),
            ActionResult::Deployed | ActionResult::AlreadyCurrent | ActionResult::Done => {
                let runs = report.image_tag.as_deref().unwrap_or("nothing that it can name");
                let host = Host::new(instance, HostState::Refused, Standing::Unsure).saying(
                    format!("it reports success and runs {runs}: that is not what was asked for"),
                );
                return Host { version_after: report.image_tag.clone(), ..host };
            }
            ActionResult::RolledBack => (HostState::RolledBack, failed),
            ActionResult::Down => (HostState::FailedDown, Standing::Down),
            ActionResult::Failed => (HostState::Refused, failed),
            ActionResult::Busy => (HostState::Busy, Standing::Lacks),
            ActionResult::Refused => (HostState::Refused, Standing::Lacks),
            ActionResult::Leaving => (HostState::Terminated, Standing::Lacks),
            ActionResult::Unknown => (HostState::Unreachable, Standing::Unsure),
        };
        Host {
            step: report.step.clone(),
            message: report.message.clone(),
            version_before: report.before.clone(),
            version_after: report.image_tag.clone(),
            log: report.log.clone(),
            digest: report.digest.clone(),
            ..Host::new(instance, state, standing)
        }
    }

    pub(super) fn was_never_sent(&self) -> bool {
        !self.ordered
    }

    /// Whether it may run the new version, so that going back means to go back here too.
    pub(super) fn may_run_it(&self) -> bool {
        matches!(
            self.standing,
            Standing::Proven | Standing::Unsure | Standing::Down | Standing::NotUndone
        )
    }
}
