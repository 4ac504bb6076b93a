//! The metrics of one pass of the deploy function.

use super::emit_line;
use super::metrics::embedded;
use fleet_protocol::ids::GroupName;
use fleet_protocol::time::UnixMs;
use serde_json::Value;

/// What one pass saw and did, in numbers. `None` is a number nobody knows; it is left out, because
/// 0 would be a claim.
#[derive(Clone, Debug)]
pub struct DeployMetrics {
    pub at: UnixMs,
    /// The metrics' one dimension.
    pub group: GroupName,
    /// A rollout is in progress.
    pub in_progress: Option<bool>,
    /// How long it has been, or since its jobs spoke for it; none while they are judged.
    pub age_s: Option<u32>,
    /// It waits for a person's word.
    pub needs_decision: bool,
    /// A rollout ended in this pass, with every host's proof.
    pub succeeded: bool,
    /// A rollout ended in this pass in another way.
    pub failed: bool,
    /// Hosts are told to go back.
    pub undoing: bool,
    /// VALET has not taken the news of the stable version.
    pub webhook_pending: Option<bool>,
    /// SSM, the group or the parameters could not be read.
    pub source_down: bool,
    /// A call that was to change something failed.
    pub action_failed: bool,
    pub aws_calls: u32,
    pub pass_ms: u32,
}

impl DeployMetrics {
    /// Prints the metrics' line.
    pub fn emit(&self) {
        emit_line(&self.line());
    }

    fn line(&self) -> Value {
        let flag = |flag: bool| Some(u32::from(flag));
        let metrics = [
            ("RolloutInProgress", "Count", self.in_progress.map(u32::from)),
            ("RolloutAgeSeconds", "Seconds", self.age_s),
            // Said only where it is so: most sites judge no jobs, and each metric costs.
            ("RolloutNeedsDecision", "Count", self.needs_decision.then_some(1)),
            ("RolloutSucceeded", "Count", flag(self.succeeded)),
            ("RolloutFailed", "Count", flag(self.failed)),
            ("RolloutUndoing", "Count", flag(self.undoing)),
            ("RolloutUntold", "Count", self.webhook_pending.map(u32::from)),
            ("RolloutSourceDown", "Count", flag(self.source_down)),
            ("RolloutActionFailed", "Count", flag(self.action_failed)),
            ("RolloutAwsCalls", "Count", Some(self.aws_calls)),
            ("RolloutPassMs", "Milliseconds", Some(self.pass_ms)),
        ];
        embedded(self.at, &self.group, &metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_left_out_and_zero_is_told() {
        let metrics = DeployMetrics {
            at: UnixMs(1_795_478_400_000),
            group: GroupName::new("asg"),
            in_progress: Some(true),
            age_s: None,
            needs_decision: false,
            succeeded: false,
            failed: true,
            undoing: false,
            webhook_pending: None,
            source_down: false,
            action_failed: false,
            aws_calls: 5,
            pass_ms: 3,
        };
        let line = metrics.line();
        assert_eq!((&line["RolloutInProgress"], &line["RolloutFailed"]), (&1.into(), &1.into()));
        assert_eq!(line["RolloutSucceeded"], 0);
        assert_eq!(line.get("RolloutAgeSeconds"), None);
        assert_eq!(line.get("RolloutUntold"), None);
        assert_eq!(line.get("RolloutNeedsDecision"), None);
    }
}
