//! How one host stands in a rollout: by what it answers when it is asked, and by its orders.

use super::report::objection;
use super::{ActionReport, ActionResult, Invocation, Key, Output, Step};
use crate::run_command::InvocationStatus;
use fleet_protocol::action::Action;
use fleet_protocol::exit_code::ExitCode;
use fleet_protocol::host_order::{HostOrder, OrderId, OrderState};
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
    /// Since when it holds the order, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<String>,
    /// When its running job has had the job limit, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<String>,
    /// Jobs that run there; unknown where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_jobs: Option<u32>,
    /// What did not come about there and stopped nothing, in the host's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    #[serde(skip)]
    pub(super) progress: Progress,
    /// The digest of a proven version.
    #[serde(skip)]
    pub(super) digest: Option<String>,
    /// It is in service, so the rollout's success depends on it.
    #[serde(skip)]
    pub(super) live: bool,
    /// The order that this is about, and which attempt it is.
    #[serde(skip)]
    pub(super) rank: (Step, u8),
    /// The order that it holds by its own word.
    #[serde(skip)]
    pub(super) held: (Step, u8),
    /// It answered when it was asked last.
    #[serde(skip)]
    pub(super) answers: bool,
    /// It runs the wanted version already, by its own word.
    #[serde(skip)]
    pub(super) has_it: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It has no order yet.
    Pending,
    /// It holds the order, and its intake is closed until its running job ends.
    Waiting,
    InProgress,
    Succeeded,
    AlreadyCurrent,
    RolledBack,
    FailedDown,
    Refused,
    Busy,
    /// Its running job had the job limit and goes on; the order was given up.
    AtLimit,
    TimedOut,
    Unreachable,
    NotStarted,
    Cancelled,
    Terminated,
}

/// What a host's state means for the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// It answers, and holds no order of this rollout.
    #[default]
    Unordered,
    /// It did not answer, and nothing says that it ever got an order.
    Silent,
    /// Its order has not ended.
    Open,
    /// Its order waits for a job and has stopped nothing.
    Waits,
    /// It proved what was asked for.
    Proven,
    /// It lacks the version for a reason that is not the version.
    Lacks,
    /// The same, and it is not asked again.
    AtLimit,
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

impl Progress {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Progress::Open | Progress::Waits)
    }
}

/// What a command wanted from its hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) action: Action,
    /// `None` for an order that is not about a version.
    pub(super) tag: Option<&'a ImageTag>,
}

/// What a rollout wants from its hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal<'a> {
    pub(super) key: &'a Key,
    pub(super) tag: &'a ImageTag,
    /// The version to go back to.
    pub(super) before: Option<&'a ImageTag>,
}

impl Host {
    pub(super) fn new(instance: &InstanceId, state: HostState, progress: Progress) -> Host {
        Host {
            instance_id: instance.clone(),
            state,
            step: None,
            message: None,
            version_before: None,
            version_after: None,
            waiting_since: None,
            limit_at: None,
            active_jobs: None,
            notes: Vec::new(),
            log: Vec::new(),
            progress,
            digest: None,
            live: true,
            rank: (Step::Survey, 0),
            held: (Step::Survey, 0),
            answers: false,
            has_it: false,
        }
    }

    pub(super) fn saying(self, message: impl Into<String>) -> Host {
        Host { message: Some(message.into()), ..self }
    }

    /// What a host answers when it is asked; `None` where that is no report of its own.
    pub(super) fn asked(invocation: &Invocation, goal: Goal<'_>) -> Option<Host> {
        let Output::Report(report) = &invocation.output else { return None };
        let instance = &invocation.instance;
        if objection(report, instance, Action::Status).is_some() {
            return None;
        }
        let order = report.order.as_ref().filter(|order| order.id.is_of(goal.key));
        let has_it = report.runs(goal.tag);
        let host = match order {
            Some(order) => Host::ordered(instance, report, order, goal),
            // A host of before there were orders proves a version by running it.
            None if !report.takes_orders && has_it => {
                let host = Host::new(instance, HostState::Succeeded, Progress::Proven);
                let rank = (Step::Apply, u8::MAX);
                Host { version_after: report.image_tag.clone(), rank, ..host }
            }
            None => Host::new(instance, HostState::Pending, Progress::Unordered),
        };
        let (held, active_jobs) = (host.rank, report.active_jobs);
        let runs = report.image_tag.clone().filter(|_| host.progress == Progress::Unordered);
        let version_before = host.version_before.clone().or(runs);
        Some(Host { answers: true, has_it, active_jobs, held, version_before, ..host })
    }

    /// By the order that it holds.
    fn ordered(
        instance: &InstanceId,
        report: &ActionReport,
        order: &HostOrder,
        goal: Goal<'_>,
    ) -> Host {
        let rank = order.id.rank();
        let undo = rank.0 == Step::Undo;
        let host = match (order.state, order.result) {
            (OrderState::Ended, Some(result)) => {
                let tag = if undo { goal.before } else { Some(goal.tag) };
                let said = ActionReport { result, ..report.clone() };
                let wanted = Wanted { action: Action::Deploy, tag };
                Host::read(instance, true, &said, wanted)
            }
            (OrderState::Waiting | OrderState::Preparing, _) => {
                let state = if order.state == OrderState::Waiting {
                    HostState::Waiting
                } else {
                    HostState::InProgress
                };
                Host::new(instance, state, Progress::Waits)
            }
            _ => Host::new(instance, HostState::InProgress, Progress::Open),
        };
        let open = host.progress.is_open();
        Host {
            rank,
            waiting_since: open.then(|| order.accepted_at.clone()),
            limit_at: order.limit_at.clone().filter(|_| open),
            step: host.step.or_else(|| report.step.clone()),
            ..host
        }
    }

    /// Reads one invocation of an order. SSM's own word for success proves nothing; what the host
    /// reports does.
    pub(super) fn judge(
        invocation: &Invocation,
        wanted: Wanted<'_>,
        order: Option<&OrderId>,
    ) -> Host {
        use InvocationStatus as S;
        let Invocation { instance, status, detail, exit, output } = invocation;
        let host = |state, progress| Host::new(instance, state, progress);
        let host = match status {
            S::Pending => host(HostState::Pending, Progress::Open),
            S::Running | S::Unknown => host(HostState::InProgress, Progress::Open),
            S::Unreached => host(HostState::Unreachable, Progress::Lacks)
                .saying(format!("SSM could not hand it the order ({detail})")),
            S::NotStarted => host(HostState::NotStarted, Progress::Lacks)
                .saying("failures on other hosts stopped the command before its turn"),
            S::Refused => host(HostState::Refused, Progress::Lacks)
                .saying(format!("SSM would not run the order there ({detail})")),
            S::TimedOut => host(HostState::TimedOut, Progress::Unsure)
                .saying(format!("it did not answer in time ({detail}); its work may go on")),
            S::Cancelled => host(HostState::Cancelled, Progress::Unsure)
                .saying("the order was cancelled; what the host had begun it finishes or undoes"),
            S::Success | S::Failed | S::EndedOtherwise => {
                let success = *status == S::Success;
                let objection = match output {
                    Output::Report(report) => objection(report, instance, wanted.action),
                    Output::None => Some("it printed nothing".to_owned()),
                    Output::Unreadable(what) => Some(what.clone()),
                };
                match (output, objection) {
                    (Output::Report(report), None) => Host::read(instance, success, report, wanted),
                    (_, objection) => {
                        Host::unreported(instance, success, *exit, &objection.unwrap_or_default())
                    }
                }
            }
        };
        Host { rank: order.map_or((Step::Apply, 0), OrderId::rank), ..host }
    }

    /// An order that ended without a report.
    fn unreported(instance: &InstanceId, success: bool, exit: Option<i32>, why: &str) -> Host {
        let host = |state, progress| Host::new(instance, state, progress);
        let code = exit.map_or_else(
            || "without an exit code".to_owned(),
            |code| format!("with exit code {code}"),
        );
        match exit.and_then(ExitCode::read) {
            _ if success => host(HostState::Refused, Progress::Unsure)
                .saying(format!("its command ended with exit code 0 and proved nothing: {why}")),
            Some(ExitCode::RolledBack) => host(HostState::RolledBack, Progress::Failed).saying(why),
            Some(ExitCode::Down) => host(HostState::FailedDown, Progress::Down).saying(why),
            Some(ExitCode::Untouched) => host(HostState::Refused, Progress::Failed).saying(why),
            Some(ExitCode::Refused) => host(HostState::Refused, Progress::Lacks).saying(why),
            Some(ExitCode::StillBusy) => host(HostState::Busy, Progress::Lacks).saying(why),
            Some(ExitCode::Unavailable) => host(HostState::Unreachable, Progress::Unsure)
                .saying(format!("its deploy-server does not answer: {why}")),
            _ => host(HostState::Refused, Progress::Unsure)
                .saying(format!("its command ended {code}: {why}")),
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
        let failed = if runs_it { Progress::Down } else { Progress::Failed };
        let (state, progress) = match report.result {
            ActionResult::Deployed | ActionResult::Done if proves => {
                (HostState::Succeeded, Progress::Proven)
            }
            ActionResult::AlreadyCurrent if proves => (HostState::AlreadyCurrent, Progress::Proven),
            ActionResult::Deployed | ActionResult::AlreadyCurrent | ActionResult::Done => {
                let runs = report.image_tag.as_deref().unwrap_or("nothing that it can name");
                let host = Host::new(instance, HostState::Refused, Progress::Unsure).saying(
                    format!("it reports success and runs {runs}: that is not what was asked for"),
                );
                return Host { version_after: report.image_tag.clone(), ..host };
            }
            ActionResult::Accepted => {
                let order = report.order.as_ref();
                let waits = order.is_none_or(|order| order.state != OrderState::Swapping);
                let state = if waits { HostState::Waiting } else { HostState::InProgress };
                let progress = if waits { Progress::Waits } else { Progress::Open };
                let host = Host::new(instance, state, progress);
                return Host {
                    waiting_since: order.map(|order| order.accepted_at.clone()),
                    limit_at: order.and_then(|order| order.limit_at.clone()),
                    active_jobs: report.active_jobs,
                    step: report.step.clone(),
                    ..host
                };
            }
            ActionResult::AtLimit => (HostState::AtLimit, Progress::AtLimit),
            ActionResult::TakenBack => (HostState::Cancelled, Progress::Lacks),
            ActionResult::RolledBack => (HostState::RolledBack, failed),
            ActionResult::Down => (HostState::FailedDown, Progress::Down),
            ActionResult::Failed => (HostState::Refused, failed),
            ActionResult::Busy => (HostState::Busy, Progress::Lacks),
            ActionResult::Refused => (HostState::Refused, Progress::Lacks),
            ActionResult::Leaving => (HostState::Terminated, Progress::Lacks),
            ActionResult::Unknown => (HostState::Unreachable, Progress::Unsure),
        };
        Host {
            step: report.step.clone(),
            message: report.message.clone(),
            version_before: report.before.clone(),
            version_after: report.image_tag.clone(),
            notes: report.notes.clone(),
            log: report.log.clone(),
            digest: report.digest.clone(),
            ..Host::new(instance, state, progress)
        }
    }

    /// It may run the failed version, or says that it does without an order of this rollout.
    pub(super) fn has_to_go_back(&self) -> bool {
        self.may_run_it() || self.has_it && self.progress != Progress::Undone
    }

    /// Whether it may run the new version, so that going back means to go back here too.
    pub(super) fn may_run_it(&self) -> bool {
        matches!(
            self.progress,
            Progress::Proven | Progress::Unsure | Progress::Down | Progress::NotUndone
        )
    }
}
