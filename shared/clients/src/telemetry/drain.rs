//! The metrics of one pass of the drain function.

use super::emit_line;
use super::metrics::embedded;
use fleet_protocol::ids::GroupName;
use fleet_protocol::time::UnixMs;
use serde_json::Value;

/// What one pass saw and did, in numbers. `None` is a number nobody knows; it is left out, because
/// 0 would be a claim.
#[derive(Clone, Debug)]
pub struct DrainMetrics {
    /// When the pass saw the group, by AWS's clock.
    pub at: UnixMs,
    /// The metrics' one dimension.
    pub group: GroupName,
    /// Instances that the hook holds.
    pub waiting: Option<u32>,
    /// Instances whose hook ran out and that were kept.
    pub retained: Option<u32>,
    /// How long the longest-leaving instance has been leaving.
    pub oldest_wait_s: Option<u32>,
    /// The least time that is left before a worker is stopped, job or no job.
    pub limit_left_s: Option<u32>,
    /// Instances that this pass let go, and of these the ones without a proof.
    pub released: u32,
    pub gave_up: u32,
    /// Instances that a person has to be told of.
    pub paged: u32,
    /// What was left of the hook's time when the heartbeat came, at the least.
    pub heartbeat_margin_s: Option<u32>,
    pub commands_sent: u32,
    /// Jobs that workers which cannot close their intake took in their last instant.
    pub jobs_caught: u32,
    /// Jobs that ran when a worker was stopped because its time was up.
    pub jobs_interrupted: u32,
    /// Something is wrong with the hook; `None` where it was not looked at.
    pub hook_drift: Option<bool>,
    /// The group, the commands or the machines could not be read; `None` where there was no reason
    /// yet to ask again.
    pub source_down: Option<bool>,
    /// Instances in a state that is not supported, or not known: nobody looks after them.
    pub left_alone: Option<u32>,
    /// Calls that were to change something and failed.
    pub action_failed: u32,
    /// From the event to this pass.
    pub event_age_ms: Option<u32>,
    pub aws_calls: u32,
    pub pass_ms: u32,
}

impl DrainMetrics {
    /// Prints the metrics' line.
    pub fn emit(&self) {
        emit_line(&self.line());
    }

    fn line(&self) -> Value {
        let flag = |flag: Option<bool>| flag.map(u32::from);
        let metrics = [
            ("DrainWaiting", "Count", self.waiting),
            ("DrainRetained", "Count", self.retained),
            ("DrainOldestWaitSeconds", "Seconds", self.oldest_wait_s),
            ("DrainLimitLeftSeconds", "Seconds", self.limit_left_s),
            ("DrainReleased", "Count", Some(self.released)),
            ("DrainGaveUp", "Count", Some(self.gave_up)),
            ("DrainPaged", "Count", Some(self.paged)),
            ("DrainHeartbeatMarginSeconds", "Seconds", self.heartbeat_margin_s),
            ("DrainCommandsSent", "Count", Some(self.commands_sent)),
            ("DrainJobsCaught", "Count", Some(self.jobs_caught)),
            ("DrainJobsInterrupted", "Count", Some(self.jobs_interrupted)),
            ("DrainHookDrift", "Count", flag(self.hook_drift)),
            ("DrainSourceDown", "Count", flag(self.source_down)),
            ("DrainLeftAlone", "Count", self.left_alone),
            ("DrainActionFailed", "Count", Some(self.action_failed)),
            ("DrainEventAgeMs", "Milliseconds", self.event_age_ms),
            ("DrainAwsCalls", "Count", Some(self.aws_calls)),
            ("DrainPassMs", "Milliseconds", Some(self.pass_ms)),
        ];
        embedded(self.at, &self.group, &metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_left_out_and_zero_is_told() {
        let metrics = DrainMetrics {
            at: UnixMs(1_795_478_400_000),
            group: GroupName::new("ghosthands-worker-asg"),
            waiting: Some(2),
            retained: None,
            oldest_wait_s: None,
            limit_left_s: Some(60),
            released: 0,
            gave_up: 0,
            paged: 0,
            heartbeat_margin_s: None,
            commands_sent: 1,
            jobs_caught: 0,
            jobs_interrupted: 0,
            hook_drift: Some(true),
            source_down: None,
            left_alone: Some(0),
            action_failed: 0,
            event_age_ms: None,
            aws_calls: 7,
            pass_ms: 3,
        };
        let line = metrics.line();
        assert_eq!(line["DrainWaiting"], 2);
        assert_eq!(line["DrainReleased"], 0);
        assert_eq!(line["DrainHookDrift"], 1);
        assert_eq!(line.get("DrainRetained"), None);
        assert_eq!(line.get("DrainSourceDown"), None);
        assert_eq!(line["_aws"]["Timestamp"], 1_795_478_400_000_i64);
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert_eq!(declared.len(), 13);
    }
}
