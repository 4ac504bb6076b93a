//! What a pass tells: one JSON line with everything it saw, decided and did, enough to decide
//! again.

use crate::request::Trigger;
use fleet_clients::config::DeployConfig;
use fleet_clients::telemetry::DeployMetrics;
use fleet_core::rollout::{Call, Inputs, Reason, State};
use fleet_protocol::ids::GroupName;
use serde::Serialize;
use serde_json::{Value, json};

/// What the pass was asked.
#[derive(Debug, Serialize)]
pub(crate) struct Invoked {
    pub(crate) trigger: Trigger,
    pub(crate) request_id: String,
}

/// What a pass asked for.
pub(crate) struct Calls {
    pub(crate) made: Vec<Call>,
    /// What a dry run would have done next.
    pub(crate) withheld: Vec<Call>,
}

/// The line of a pass.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "rollout")]
pub(crate) struct PassRecord {
    at: String,
    #[serde(flatten)]
    invoked: Invoked,
    /// What happened and why, in a sentence for each step.
    summary: Vec<String>,
    because: Vec<Reason>,
    /// Every call that was made, in order.
    calls: Vec<Call>,
    /// In a dry run, what would have come next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    withheld: Vec<Call>,
    dry_run: bool,
    inputs: Inputs,
    group: GroupName,
    environment: String,
    version: &'static str,
    duration_ms: u32,
}

impl PassRecord {
    pub(crate) fn new(
        invoked: Invoked,
        config: &DeployConfig,
        inputs: Inputs,
        calls: Calls,
        because: Vec<Reason>,
        duration_ms: u32,
    ) -> PassRecord {
        PassRecord {
            at: inputs.now.to_string(),
            invoked,
            summary: because.iter().map(ToString::to_string).collect(),
            because,
            calls: calls.made,
            withheld: calls.withheld,
            dry_run: config.dry_run,
            inputs,
            group: config.group.clone(),
            environment: config.environment.clone(),
            version: config.version(),
            duration_ms,
        }
    }

    /// The record without what it was decided from.
    pub(crate) fn into_summary(self) -> Value {
        json!({
            "type": "rollout", "at": self.at, "trigger": self.invoked.trigger, "summary": self.summary,
            "because": self.because, "calls": self.calls.len(),
        })
    }

    pub(crate) fn metrics(&self) -> DeployMetrics {
        let stored = self.inputs.seen.stored();
        let record = stored.and_then(|stored| stored.record());
        let any = |is: fn(&Reason) -> bool| self.because.iter().any(is);
        let seconds = |ms: i64| u32::try_from(ms.max(0) / 1000).unwrap_or(u32::MAX);
        DeployMetrics {
            at: self.inputs.now,
            group: self.group.clone(),
            in_progress: stored.map(|stored| stored.record().is_some()),
            age_s: record.filter(|record| record.trial_to_count().is_none()).map(|record| {
                let passed = record.trial.as_ref().and_then(|trial| trial.passed);
                seconds(self.inputs.now.since(passed.unwrap_or(record.at)))
            }),
            needs_decision: any(|reason| matches!(reason, Reason::NeedsDecision { .. })),
            succeeded: any(|reason| matches!(reason, Reason::Proven { .. })),
            failed: any(|reason| {
                matches!(
                    reason,
                    Reason::Over { state: State::Failed | State::Partial | State::RolledBack }
                )
            }),
            undoing: any(|reason| matches!(reason, Reason::Undo { .. })),
            webhook_pending: stored
                .map(|stored| stored.stable.as_ref().is_some_and(|stable| stable.webhook_pending)),
            source_down: any(|reason| {
                matches!(
                    reason,
                    Reason::StoredUnknown { .. }
                        | Reason::SsmUnknown { .. }
                        | Reason::GroupUnknown { .. }
                )
            }),
            action_failed: any(|reason| matches!(reason, Reason::CallFailed { .. })),
            aws_calls: u32::try_from(self.calls.len()).unwrap_or(u32::MAX),
            pass_ms: self.duration_ms,
        }
    }
}

/// The line of an event that is none of ours.
pub(crate) fn foreign(trigger: Trigger, why: &str, request_id: &str) -> Value {
    json!({ "type": "foreign_event", "trigger": trigger, "because": why, "request_id": request_id })
}
