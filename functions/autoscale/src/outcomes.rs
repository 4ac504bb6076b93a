//! Counts how the jobs of a new version end while a rollout is judged by them. The deploy function
//! decides on the numbers; it has no way to the database.

use crate::app::App;
use fleet_clients::queue::{OutcomeCounts, OutcomesRequest, QueueAccess};
use fleet_clients::telemetry::emit_line;
use fleet_core::rollout::{CallResult, Outcomes, Trial};
use fleet_core::scaling::Group;
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde_json::json;
use std::time::{Duration, Instant};

/// A rollout takes its next step once a minute, so its jobs need not be counted more often.
const PAUSE: Duration = Duration::from_secs(50);

/// Counts, where a rollout is being judged. Whatever goes wrong is said in a line of its own and
/// stops nothing: without numbers the rollout waits, and at the end asks a person.
pub(crate) async fn count_outcomes(app: &App, queue: &mut QueueAccess, group: &Reading<Group>) {
    if !app.config.judging.is_on() || app.config.dry_run {
        return;
    }
    let mut counted = app.outcomes_counted.lock().await;
    if counted.is_some_and(|at: Instant| at.elapsed() < PAUSE) {
        return;
    }
    *counted = Some(Instant::now());
    let stored = match app.rollouts.stored().await {
        Reading::Known(stored) => stored,
        Reading::Unknown(unknown) => return say(app, None, &unknown.detail),
    };
    let Some(record) = stored.record() else { return };
    let (Some(trial), Some(id)) = (record.trial_to_count(), record.id()) else { return };
    let written = match count(queue, trial, record.at, group).await {
        Ok(OutcomeCounts { at, new, beside, before }) => {
            let (rollout, since) = (id.clone(), trial.since);
            let outcomes = Outcomes { rollout, since, at, new, beside, before };
            match app.rollouts.write_outcomes(&outcomes).await {
                CallResult::Done => Ok(outcomes.to_string()),
                CallResult::Failed { detail } => Err(detail),
            }
        }
        Err(detail) => Err(detail),
    };
    match written {
        Ok(numbers) => say(app, Some(id), &numbers),
        Err(detail) => say(app, Some(id), &format!("the jobs were not counted: {detail}")),
    }
}

async fn count(
    queue: &mut QueueAccess,
    trial: &Trial,
    begun: UnixMs,
    group: &Reading<Group>,
) -> Result<OutcomeCounts, String> {
    let hosts = match group {
        _ if !trial.hosts.is_empty() => trial.hosts.clone(),
        Reading::Known(group) => group.instances.iter().map(|it| it.id.clone()).collect(),
        Reading::Unknown(unknown) => return Err(unknown.detail.clone()),
    };
    let request = OutcomesRequest { hosts, since: trial.since, begun };
    let source = queue.source(false).await.map_err(|unknown| unknown.detail)?;
    source.outcomes(&request).await.map_err(|unknown| unknown.detail)
}

fn say(app: &App, rollout: Option<&CommandId>, summary: &str) {
    emit_line(&json!({
        "type": "outcomes", "rollout": rollout, "summary": summary, "group": app.config.group,
        "environment": app.config.environment, "version": app.config.version(),
    }));
}
