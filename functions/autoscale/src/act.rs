//! Carries a decision out.

use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::{AwsError, AwsErrorKind};
use fleet_core::scaling::{CallResults, ScalingAction};
use fleet_protocol::ids::{GroupName, InstanceId};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Calls under way at a time.
const AT_A_TIME: usize = 8;
/// No call begins later than this after the first: the rest is decided anew by the next tick.
const LIMIT: Duration = Duration::from_secs(10);

/// What became of the calls that change something.
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
    /// Some of several calls were not made, or not answered; of which the first failed so.
    Partly {
        made: u32,
        refused: u32,
        unanswered: u32,
        not_sent: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<AwsErrorKind>,
        #[serde(skip_serializing_if = "String::is_empty")]
        detail: String,
    },
}

impl ActionResult {
    pub(crate) fn failed(&self) -> bool {
        matches!(self, ActionResult::Failed { .. } | ActionResult::Partly { kind: Some(_), .. })
    }

    /// The same for the memory. `calls`: how many the action takes.
    pub(crate) fn for_memory(&self, calls: u32) -> CallResults {
        let none = CallResults::default();
        match self {
            ActionResult::Done => CallResults { made: calls, ..none },
            ActionResult::None | ActionResult::DryRun => none,
            ActionResult::Failed { kind, .. } if kind.may_have_acted() => {
                CallResults { unanswered: calls, ..none }
            }
            ActionResult::Failed { .. } => CallResults { refused: calls, ..none },
            ActionResult::Partly { made, refused, unanswered, .. } => {
                CallResults { made: *made, refused: *refused, unanswered: *unanswered }
            }
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
        ScalingAction::SetDesired { desired } | ScalingAction::GiveBack { desired } => {
            auto_scaling.set_desired(group, *desired).await.into()
        }
        ScalingAction::Replace { instance } => auto_scaling.replace(instance).await.into(),
        ScalingAction::Terminate { .. } => {
            terminate(auto_scaling, action.terminated().cloned().collect()).await
        }
        // The settings cannot switch the stopped tier on.
        ScalingAction::Stop { .. } | ScalingAction::EndStopped { .. } => ActionResult::Failed {
            kind: AwsErrorKind::Invalid,
            detail: "this version cannot stop instances".to_owned(),
        },
    }
}

/// Ends each of these instances, some at a time and only as long as the tick has time.
async fn terminate(auto_scaling: &AutoScaling, instances: Vec<InstanceId>) -> ActionResult {
    let began = Instant::now();
    let mut waiting = instances.into_iter();
    let mut under_way = JoinSet::new();
    let (mut made, mut refused, mut unanswered) = (0_u32, 0_u32, 0_u32);
    let mut first: Option<AwsError> = None;
    loop {
        // An instance that is gone says nothing about the others; throttling and a lost connection
        // do, and only get worse.
        let goes_on = first.as_ref().is_none_or(|error| error.kind == AwsErrorKind::Invalid);
        while under_way.len() < AT_A_TIME && goes_on && began.elapsed() < LIMIT {
            let Some(instance) = waiting.next() else { break };
            let client = auto_scaling.clone();
            under_way.spawn(async move { client.terminate_and_decrement(&instance).await });
        }
        match under_way.join_next().await {
            None => break,
            Some(Ok(Ok(()))) => made += 1,
            Some(Ok(Err(error))) => {
                match error.kind.may_have_acted() {
                    true => unanswered += 1,
                    false => refused += 1,
                }
                first.get_or_insert(error);
            }
            // Its task panicked with the call under way.
            Some(Err(_)) => unanswered += 1,
        }
    }
    let not_sent = u32::try_from(waiting.count()).unwrap_or(u32::MAX);
    match (made, refused + unanswered, not_sent, first) {
        (_, 0, 0, _) => ActionResult::Done,
        (0, 1, 0, Some(error)) => Err(error).into(),
        (.., first) => ActionResult::Partly {
            made,
            refused,
            unanswered,
            not_sent,
            kind: first.as_ref().map(|error| error.kind),
            detail: first.map(|error| error.detail).unwrap_or_default(),
        },
    }
}
