//! Makes the calls that a decision asks for.

use crate::app::App;
use fleet_clients::telemetry::error_chain;
use fleet_core::rollout::{Answer, Call, CallResult, Members, Stable};
use fleet_lambda::now;
use fleet_protocol::reading::Reading;
use futures_util::stream::{self, StreamExt};

/// Calls under way at a time.
const AT_A_TIME: usize = 8;

/// Makes the calls and returns what they came to, in any order. None of them fails the pass.
pub(crate) async fn perform(app: &App, calls: Vec<Call>) -> Vec<Answer> {
    stream::iter(calls).map(|call| answer(app, call)).buffer_unordered(AT_A_TIME).collect().await
}

async fn answer(app: &App, call: Call) -> Answer {
    let rollouts = &app.rollouts;
    match call {
        Call::ReadStored => Answer::Stored(rollouts.stored().await),
        Call::ListRecent { since } => Answer::Recent(rollouts.recent(since).await),
        Call::ReadCommand { id } => {
            let evidence = rollouts.evidence(&id).await;
            Answer::Command(id, evidence)
        }
        Call::DescribeGroup => Answer::Members(members(app).await),
        Call::DescribeAlarms { names } => Answer::Alarms(app.alarms.fired(&names).await),
        Call::DescribeManaged => Answer::Managed(rollouts.managed().await),
        Call::CreateRecord { record, version } => {
            let lock = rollouts.create(&record, version).await;
            Answer::RecordCreated(record, lock)
        }
        Call::Write { record, version } => {
            let done = rollouts.write(&record, version).await;
            Answer::Written(record, done)
        }
        Call::WriteStable { stable, version } => {
            let done = rollouts.write_stable(&stable, version).await;
            Answer::StableWritten(stable, done)
        }
        Call::RequestCancel { id } => Answer::CancelRequested(rollouts.request_cancel(&id).await),
        Call::RequestPause { id } => Answer::PauseRequested(rollouts.request_pause(&id).await),
        Call::RequestContinue { id, at } => {
            Answer::PauseRequested(rollouts.request_continue(&id, at).await)
        }
        Call::Send(sending) => Answer::Sent(rollouts.send(&sending).await),
        Call::Cancel { id, instances } => {
            let done = rollouts.cancel(&id, &instances).await;
            Answer::Cancelled(id, done)
        }
        Call::SendWebhook { stable } => {
            let done = tell(app, &stable).await;
            Answer::WebhookSent(stable.pointer.deployment_id, done)
        }
    }
}

/// Whether a call changes something: those that only look are made in a dry run too.
pub(crate) fn changes(call: &Call) -> bool {
    match call {
        Call::ReadStored
        | Call::ListRecent { .. }
        | Call::ReadCommand { .. }
        | Call::DescribeGroup
        | Call::DescribeAlarms { .. }
        | Call::DescribeManaged => false,
        Call::CreateRecord { .. }
        | Call::Write { .. }
        | Call::RequestPause { .. }
        | Call::RequestContinue { .. }
        | Call::WriteStable { .. }
        | Call::RequestCancel { .. }
        | Call::Send(_)
        | Call::Cancel { .. }
        | Call::SendWebhook { .. } => true,
    }
}

/// The instances of the group, each with its lifecycle state.
pub(crate) async fn members(app: &App) -> Reading<Members> {
    match app.auto_scaling.describe(&app.config.group).await {
        Reading::Known(group) => {
            let states = group.instances.into_iter();
            Reading::Known(states.map(|instance| (instance.id, instance.lifecycle)).collect())
        }
        Reading::Unknown(unknown) => Reading::Unknown(unknown),
    }
}

async fn tell(app: &App, stable: &Stable) -> CallResult {
    let Some(webhook) = &app.webhook else { return CallResult::Done };
    match app.webhook_key().await {
        Ok(key) => webhook.tell(stable, &key, now()).await,
        Err(error) => CallResult::Failed { detail: error_chain(&error) },
    }
}
