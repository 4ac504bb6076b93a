//! Carries a decision out: at most one call that changes anything.

use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::{AwsError, AwsErrorKind};
use fleet_core::scaling::{CallResult, ScalingAction};
use fleet_protocol::ids::GroupName;
use serde::Serialize;

/// What became of a call that changes something.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum ActionResult {
    /// There was nothing to do.
    None,
    Done,
    /// Decided, recorded, and on purpose not done.
    DryRun,
    Failed {
        kind: AwsErrorKind,
        detail: String,
    },
}

impl ActionResult {
    pub(crate) fn failed(&self) -> bool {
        matches!(self, ActionResult::Failed { .. })
    }

    /// The same for the memory.
    pub(crate) fn for_memory(&self) -> CallResult {
        match self {
            ActionResult::None | ActionResult::Done => CallResult::Made,
            ActionResult::DryRun => CallResult::NotMade,
            ActionResult::Failed { kind, .. } if kind.may_have_acted() => CallResult::Unanswered,
            ActionResult::Failed { .. } => CallResult::Refused,
        }
    }
}

impl From<Result<(), AwsError>> for ActionResult {
    fn from(result: Result<(), AwsError>) -> Self {
        match result {
            Ok(()) => ActionResult::Done,
            Err(AwsError { kind, detail, .. }) => ActionResult::Failed { kind, detail },
        }
    }
}

/// A failure is recorded and not repeated here: the next tick looks at the world and decides again.
pub(crate) async fn act(
    auto_scaling: &AutoScaling,
    group: &GroupName,
    action: &ScalingAction,
    dry_run: bool,
) -> ActionResult {
    match action {
        ScalingAction::Nothing | ScalingAction::LookForRefresh => ActionResult::None,
        _ if dry_run => ActionResult::DryRun,
        ScalingAction::SetDesired { desired } => {
            auto_scaling.set_desired(group, *desired).await.into()
        }
        ScalingAction::Terminate { instance } => {
            auto_scaling.terminate_and_decrement(instance).await.into()
        }
    }
}
