//! What a host's server answers to its own command line, which prints it whole where `--json` is
//! given: the end of a deploy, or what the host is doing.

use crate::action_report::ActionReport;
use crate::host_order::{HostOrder, OrderEnd};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The fields of an answer that the control plane and the command line read. Each is absent where
/// the answer is about something else; others are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostReply {
    /// A deploy, rollback or bootstrap: its id.
    pub deploy_id: Option<String>,
    pub status: Option<HostStatus>,
    /// The version that was asked for.
    pub image_tag: Option<String>,
    /// The engine's id of that image, `sha256:…`.
    pub image_id: Option<String>,
    /// What was in service before.
    pub previous: Option<PreviousVersion>,
    /// Where a deploy failed.
    pub failed_step: Option<String>,
    pub error: Option<String>,
    pub message: Option<String>,
    /// What did not come about and stopped nothing, and what to do about it.
    pub notes: Vec<String>,
    /// The last lines of the container that failed.
    pub log: Vec<String>,
    /// `status`: who answers, how it is, and what its services run.
    pub instance_id: Option<String>,
    pub health: Option<HostHealth>,
    pub services: Option<Vec<ServiceStatus>>,
    /// The newest order of a rollout, and what it came to.
    pub order: Option<HostOrder>,
    pub order_ended: Option<OrderEnd>,
}

/// The field `status`: what became of a deploy, or how the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostStatus {
    Deployed,
    /// It failed, and the previous containers run again.
    RolledBack,
    /// It failed before anything was touched.
    Failed,
    /// It failed, and the previous containers could not be restored.
    Down,
    /// A deploy has not ended.
    Running,
    /// The host is well.
    Ok,
    /// The host is not well; its health says why.
    Degraded,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The version that a deploy found in service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreviousVersion {
    pub image_tag: Option<String>,
    pub image_id: Option<String>,
}

/// How a host is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostHealth {
    /// It leaves its group, and nothing on it can undo that.
    pub terminating: bool,
    /// What is wrong with it.
    pub reason: Option<String>,
    /// Jobs that run; unknown where the worker does not say.
    pub active_workers: Option<u32>,
}

/// What one service of a host runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `api` or `worker`.
    pub service: String,
    #[serde(default)]
    pub image_tag: Option<String>,
    #[serde(default)]
    pub digest: Option<String>,
    #[serde(default)]
    pub image_id: Option<String>,
    /// The deploy that made its container.
    #[serde(default)]
    pub deploy_id: Option<String>,
    /// As the Docker Engine spells it.
    #[serde(default)]
    pub state: Option<String>,
}

impl ServiceStatus {
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state.as_deref() == Some("running")
    }
}

impl HostReply {
    /// Reads an answer. One that is none of this version's has no field.
    #[must_use]
    pub fn read(answer: &Value) -> HostReply {
        HostReply::deserialize(answer).unwrap_or_default()
    }

    /// Why it is not well, in the host's words.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let health = self.health.as_ref().and_then(|health| health.reason.as_deref());
        self.error.as_deref().or(self.message.as_deref()).or(health)
    }
}

/// The line of JSON that a command of the host document printed, told by its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOutput {
    /// `--fleet`: the report of an order.
    Report(ActionReport),
    /// A deploy's answer.
    Deploy(HostReply),
    /// The answer to `status`.
    Status(HostReply),
    /// It has the fields of one of the three, and this version cannot read their values.
    Unreadable,
    /// Another command's answer, or a drain's report.
    Other,
}

impl HostOutput {
    /// Finds the first line that is a JSON object; `None` where there is none.
    #[must_use]
    pub fn find(output: &str) -> Option<HostOutput> {
        let lines = output.lines().map(str::trim).filter(|line| line.starts_with('{'));
        let answer = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).next()?;
        let has = |field: &str| answer.get(field).is_some();
        let reply = || HostReply::deserialize(&answer);
        let read = if has("deployId") {
            reply().map(HostOutput::Deploy)
        } else if has("action") && has("result") {
            ActionReport::deserialize(&answer).map(HostOutput::Report)
        } else if has("services") {
            reply().map(HostOutput::Status)
        } else {
            Ok(HostOutput::Other)
        };
        Some(read.unwrap_or(HostOutput::Unreadable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_told_by_its_fields() {
        let find = |text: &str| HostOutput::find(text).unwrap();
        let report = include_str!("../fixtures/action-report.json");
        assert!(matches!(find(report), HostOutput::Report(_)));
        let deploy =
            r#"{"deployId":"d","status":"rolled_back","previous":{"imageTag":"v1"},"new":1}"#;
        let HostOutput::Deploy(reply) = find(deploy) else { panic!("a deploy") };
        assert_eq!(reply.status, Some(HostStatus::RolledBack));
        assert_eq!(reply.previous.and_then(|it| it.image_tag).as_deref(), Some("v1"));
        let status = r#"{"status":"ok","services":[{"service":"api","state":"running"}]}"#;
        let HostOutput::Status(reply) = find(status) else { panic!("a status") };
        assert!(reply.services.unwrap()[0].is_running());
        assert_eq!(find(r#"{"drained":true}"#), HostOutput::Other);
        assert_eq!(HostOutput::find("deployed v2\n[1]\n{"), None);
    }

    #[test]
    fn values_of_another_kind_are_unreadable_and_words_of_a_later_host_unknown() {
        for text in [
            r#"{"deployId":7}"#,
            r#"{"deployId":"d","imageTag":["v2"]}"#,
            r#"{"services":{}}"#,
            r#"{"services":[{"imageTag":"v1"}]}"#,
            r#"{"action":"deploy","result":"deployed"}"#,
        ] {
            assert_eq!(HostOutput::find(text), Some(HostOutput::Unreadable), "{text}");
        }
        let later = HostReply::read(&json!({ "status": "teleported", "where": [] }));
        assert_eq!(later.status, Some(HostStatus::Unknown));
        assert_eq!(HostReply::read(&Value::Null), HostReply::default());
    }

    #[test]
    fn the_reason_is_the_error_before_the_message_before_the_health() {
        let mut reply = HostReply::read(&json!({
            "error": "e", "message": "m", "health": { "reason": "h", "terminating": true }
        }));
        assert_eq!(reply.reason(), Some("e"));
        reply.error = None;
        assert_eq!(reply.reason(), Some("m"));
        reply.message = None;
        assert_eq!(reply.reason(), Some("h"));
    }
}
