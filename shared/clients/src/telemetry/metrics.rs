//! The metrics of one tick in CloudWatch's embedded metric format: a log line from which CloudWatch
//! makes metrics by itself.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use super::emit_line;
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

/// What one tick saw and did, in numbers. `None` is a number nobody knows; it is left out, because
/// 0 would be a claim.
#[derive(Clone, Debug)]
pub struct TickMetrics {
    /// When the tick began.
    pub at: UnixMs,
    /// The metrics' one dimension.
    pub group: GroupName,
    pub ready: Option<u32>,
    pub due_soon: Option<u32>,
    pub active_live: Option<u32>,
    pub active_expired: Option<u32>,
    /// How long the oldest ready job has been due, in seconds.
    pub oldest_wait_s: Option<u32>,
    /// Workers that the demand asks for, before any bound.
    pub need: Option<u32>,
    pub desired: Option<u32>,
    pub in_service: Option<u32>,
    pub pending: Option<u32>,
    pub terminating: Option<u32>,
    /// How far the database's clock is behind the function's, in seconds.
    pub source_age_s: Option<u32>,
    /// Fewer workers would do, and something forbade to take one away.
    pub scale_in_blocked: bool,
    /// The queue or the group could not be read.
    pub source_down: bool,
    /// A change of capacity was asked for and failed.
    pub action_failed: bool,
    /// Machines beyond the need that rises of the last hour ask for.
    pub spare: Option<u32>,
    /// Machines in service whose worker has been unable to take a job for longer than it may take
    /// to boot.
    pub unable_workers: Option<u32>,
    /// The group does not follow its desired capacity, or its workers take no jobs.
    pub not_converging: bool,
    /// A job has waited for longer than `WAIT_TARGET_SECONDS`.
    pub wait_target_missed: bool,
    /// Instances leave without a drain behind them: the hook is missing, or no drain reaches them.
    pub drain_missing: bool,
    /// From the tick's beginning to its decision.
    pub decision_ms: u32,
}

impl TickMetrics {
    /// Prints the metrics' line.
    pub fn emit(&self) {
        emit_line(&self.line());
    }

    fn line(&self) -> Value {
        let flag = |flag: bool| Some(u32::from(flag));
        let metrics = [
            ("Ready", "Count", self.ready),
            ("DueSoon", "Count", self.due_soon),
            ("ActiveLive", "Count", self.active_live),
            ("ActiveExpired", "Count", self.active_expired),
            ("OldestWaitSeconds", "Seconds", self.oldest_wait_s),
            ("Need", "Count", self.need),
            ("Desired", "Count", self.desired),
            ("InService", "Count", self.in_service),
            ("Pending", "Count", self.pending),
            ("Terminating", "Count", self.terminating),
            ("SourceAgeSeconds", "Seconds", self.source_age_s),
            ("ScaleInBlocked", "Count", flag(self.scale_in_blocked)),
            ("SourceDown", "Count", flag(self.source_down)),
            ("ActionFailed", "Count", flag(self.action_failed)),
            ("Spare", "Count", self.spare),
            ("UnableWorkers", "Count", self.unable_workers),
            ("NotConverging", "Count", flag(self.not_converging)),
            ("WaitTargetMissed", "Count", flag(self.wait_target_missed)),
            ("DrainMissing", "Count", flag(self.drain_missing)),
            ("DecisionMs", "Milliseconds", Some(self.decision_ms)),
        ];
        embedded(self.at, &self.group, &metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> TickMetrics {
        TickMetrics {
            at: UnixMs(1_795_478_400_000),
            group: GroupName::new("ghosthands-worker-asg"),
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
            decision_ms: 13,
        }
    }

    #[test]
    fn every_declared_metric_has_its_value_beside_it() {
        let line = metrics().line();
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
        let line =
            TickMetrics { ready: None, active_live: None, source_down: true, ..metrics() }.line();
        assert_eq!(line.get("Ready"), None);
        assert_eq!(line.get("ActiveLive"), None);
        assert_eq!(line["SourceDown"], 1);
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
        assert!(!declared.contains("Ready") && !declared.contains("ActiveLive"), "{declared}");
    }
}
