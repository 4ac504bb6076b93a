//! The metrics of one tick in CloudWatch's embedded metric format: a log line from which CloudWatch
//! makes metrics by itself.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use super::emit_line;
use fleet_core::scaling::ScalingMetrics;
use fleet_protocol::ids::GroupName;
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};

const NAMESPACE: &str = "GhostHands/Fleet";

/// The line for these metrics: name, unit and value. What nobody knows is left out.
pub(super) fn embedded(
    at: UnixMs,
    group: &GroupName,
    metrics: &[(&str, &str, Option<u32>)],
) -> Value {
    let known =
        || metrics.iter().filter_map(|(name, unit, value)| value.map(|value| (name, unit, value)));
    let mut line = json!({
        "_aws": {
            "Timestamp": at.0,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["group"]],
                "Metrics": known()
                    .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
                    .collect::<Vec<_>>(),
            }],
        },
        "group": group,
    });
    for (name, _, value) in known() {
        line[*name] = json!(value);
    }
    line
}

/// Prints the metrics' line of a tick, whose decision was made `decision_ms` after it began. Their
/// one dimension is the group.
pub fn emit_tick(group: &GroupName, metrics: &ScalingMetrics, decision_ms: u32) {
    emit_line(&line(group, metrics, decision_ms));
}

fn line(group: &GroupName, seen: &ScalingMetrics, decision_ms: u32) -> Value {
    let flag = |flag: bool| Some(u32::from(flag));
    let metrics = [
        ("Ready", "Count", seen.ready),
        ("DueSoon", "Count", seen.due_soon),
        ("ActiveLive", "Count", seen.active_live),
        ("ActiveExpired", "Count", seen.active_expired),
        ("OldestWaitSeconds", "Seconds", seen.oldest_wait_s),
        ("Need", "Count", seen.need),
        ("Desired", "Count", seen.desired),
        ("InService", "Count", seen.in_service),
        ("Pending", "Count", seen.pending),
        ("Terminating", "Count", seen.terminating),
        ("SourceAgeSeconds", "Seconds", seen.source_age_s),
        ("ScaleInBlocked", "Count", flag(seen.scale_in_blocked)),
        ("SourceDown", "Count", flag(seen.source_down)),
        ("ActionFailed", "Count", flag(seen.action_failed)),
        ("Spare", "Count", seen.spare),
        ("UnableWorkers", "Count", seen.unable_workers),
        ("NotConverging", "Count", flag(seen.not_converging)),
        ("WaitTargetMissed", "Count", flag(seen.wait_target_missed)),
        ("DrainMissing", "Count", flag(seen.drain_missing)),
        ("DecisionMs", "Milliseconds", Some(decision_ms)),
    ];
    embedded(seen.at, group, &metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> ScalingMetrics {
        ScalingMetrics {
            at: UnixMs(1_795_478_400_000),
            ready: Some(0),
            due_soon: Some(1),
            active_live: Some(2),
            active_expired: Some(3),
            oldest_wait_s: Some(4),
            need: Some(5),
            desired: Some(6),
            in_service: Some(7),
            pending: Some(8),
            terminating: Some(9),
            source_age_s: Some(10),
            scale_in_blocked: true,
            source_down: false,
            action_failed: false,
            spare: Some(11),
            unable_workers: Some(12),
            not_converging: true,
            wait_target_missed: false,
            drain_missing: false,
        }
    }

    fn line_of(metrics: &ScalingMetrics) -> Value {
        line(&GroupName::new("ghosthands-worker-asg"), metrics, 13)
    }

    #[test]
    fn every_declared_metric_has_its_value_beside_it() {
        let line = line_of(&metrics());
        assert_eq!(line["_aws"]["Timestamp"], 1_795_478_400_000_i64);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "GhostHands/Fleet");
        assert_eq!(directive["Dimensions"], json!([["group"]]));
        assert_eq!(line["group"], "ghosthands-worker-asg");
        let declared: Vec<(&str, &str, u64)> = directive["Metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|metric| {
                let name = metric["Name"].as_str().unwrap();
                (name, metric["Unit"].as_str().unwrap(), line[name].as_u64().unwrap())
            })
            .collect();
        assert_eq!(
            declared,
            [
                ("Ready", "Count", 0),
                ("DueSoon", "Count", 1),
                ("ActiveLive", "Count", 2),
                ("ActiveExpired", "Count", 3),
                ("OldestWaitSeconds", "Seconds", 4),
                ("Need", "Count", 5),
                ("Desired", "Count", 6),
                ("InService", "Count", 7),
                ("Pending", "Count", 8),
                ("Terminating", "Count", 9),
                ("SourceAgeSeconds", "Seconds", 10),
                ("ScaleInBlocked", "Count", 1),
                ("SourceDown", "Count", 0),
                ("ActionFailed", "Count", 0),
                ("Spare", "Count", 11),
                ("UnableWorkers", "Count", 12),
                ("NotConverging", "Count", 1),
                ("WaitTargetMissed", "Count", 0),
                ("DrainMissing", "Count", 0),
                ("DecisionMs", "Milliseconds", 13),
            ]
        );
    }

    #[test]
    fn what_is_unknown_is_left_out_and_not_zero() {
        let unknown =
            ScalingMetrics { ready: None, active_live: None, source_down: true, ..metrics() };
        let line = line_of(&unknown);
        assert_eq!(line.get("Ready"), None);
        assert_eq!(line.get("ActiveLive"), None);
        assert_eq!(line["SourceDown"], 1);
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
        assert!(!declared.contains("Ready") && !declared.contains("ActiveLive"), "{declared}");
    }
}
