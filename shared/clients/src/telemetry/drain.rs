//! The metrics of one pass of the drain function.

use super::emit_line;
use super::metrics::embedded;
use fleet_core::drain::DrainMetrics;
use fleet_protocol::ids::GroupName;
use serde_json::Value;

/// What one pass cost.
#[derive(Clone, Copy, Debug)]
pub struct PassCosts {
    /// From the event to this pass.
    pub event_age_ms: Option<u32>,
    pub aws_calls: u32,
    pub pass_ms: u32,
}

/// Prints the metrics' line. Their one dimension is the group.
pub fn emit_drain(group: &GroupName, metrics: &DrainMetrics, costs: &PassCosts) {
    emit_line(&line(group, metrics, costs));
}

fn line(group: &GroupName, seen: &DrainMetrics, costs: &PassCosts) -> Value {
    let flag = |flag: Option<bool>| flag.map(u32::from);
    let metrics = [
        ("DrainWaiting", "Count", seen.waiting),
        ("DrainRetained", "Count", seen.retained),
        ("DrainOldestWaitSeconds", "Seconds", seen.oldest_wait_s),
        ("DrainLimitLeftSeconds", "Seconds", seen.limit_left_s),
        ("DrainReleased", "Count", Some(seen.released)),
        ("DrainGaveUp", "Count", Some(seen.gave_up)),
        ("DrainPaged", "Count", Some(seen.paged)),
        ("DrainHeartbeatMarginSeconds", "Seconds", seen.heartbeat_margin_s),
        ("DrainCommandsSent", "Count", Some(seen.commands_sent)),
        ("DrainJobsCaught", "Count", Some(seen.jobs_caught)),
        ("DrainJobsInterrupted", "Count", Some(seen.jobs_interrupted)),
        ("DrainHookDrift", "Count", flag(seen.hook_drift)),
        ("DrainSourceDown", "Count", flag(seen.source_down)),
        ("DrainLeftAlone", "Count", seen.left_alone),
        ("DrainActionFailed", "Count", Some(seen.action_failed)),
        ("DrainEventAgeMs", "Milliseconds", costs.event_age_ms),
        ("DrainAwsCalls", "Count", Some(costs.aws_calls)),
        ("DrainPassMs", "Milliseconds", Some(costs.pass_ms)),
    ];
    embedded(seen.at, group, &metrics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::time::UnixMs;

    #[test]
    fn what_is_unknown_is_left_out_and_zero_is_told() {
        let metrics = DrainMetrics {
            at: UnixMs(1_795_478_400_000),
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
        };
        let costs = PassCosts { event_age_ms: None, aws_calls: 7, pass_ms: 3 };
        let line = line(&GroupName::new("ghosthands-worker-asg"), &metrics, &costs);
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
