//! Makes the calls that a decision asks for.

use crate::app::App;
use fleet_core::drain::{Answer, Call, CallResult};
use fleet_protocol::time::UnixMs;
use futures_util::stream::{self, StreamExt};
use std::time::Duration;

/// Calls under way at a time: enough that a hundred heartbeats take a second, and few enough not to
/// empty the account's bucket.
const AT_A_TIME: usize = 16;

/// Makes the calls and returns what they came to, in any order. None of them fails the pass.
pub(crate) async fn perform(app: &App, calls: Vec<Call>, now: UnixMs) -> Vec<Answer> {
    stream::iter(calls)
        .map(|call| answer(app, call, now))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}

async fn answer(app: &App, call: Call, now: UnixMs) -> Answer {
    let App { lifecycle, commands, ec2, .. } = app;
    let dry_run = app.config.dry_run;
    match call {
        Call::DescribeGroup { after_s } => {
            tokio::time::sleep(Duration::from_secs(after_s.into())).await;
            Answer::Group(lifecycle.group(now).await)
        }
        Call::DescribeHook => Answer::Hook(lifecycle.hook().await),
        Call::DescribeMachines { instances } => {
            Answer::Machines(ec2.instance_states(&instances).await)
        }
        Call::DescribeActivities => Answer::Activities(lifecycle.activities().await),
        Call::ListCommands { instance } => {
            let listed = commands.of(&instance).await;
            Answer::Commands(instance, listed)
        }
        Call::Heartbeat { instance } if dry_run => Answer::Held(instance, CallResult::DryRun),
        Call::Send { instance, .. } if dry_run => Answer::Sent(instance, CallResult::DryRun),
        Call::Complete { instance } if dry_run => Answer::Completed(instance, CallResult::DryRun),
        Call::Replace { instance } if dry_run => Answer::Replaced(instance, CallResult::DryRun),
        Call::Heartbeat { instance } => {
            let done = lifecycle.heartbeat(&instance).await;
            Answer::Held(instance, done)
        }
        Call::Send { instance, order } => {
            let done = commands.send(&instance, &order).await;
            Answer::Sent(instance, done)
        }
        Call::Complete { instance } => {
            let done = lifecycle.complete(&instance).await;
            Answer::Completed(instance, done)
        }
        Call::Replace { instance } => {
            let done = lifecycle.replace(&instance).await;
            Answer::Replaced(instance, done)
        }
    }
}
