//! What to look up in the functions' logs, which nobody but a person may read.

use fleet_protocol::time::UnixMs;
use serde::Serialize;

/// A query for CloudWatch Logs Insights, with the time that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogsQuery {
    pub log_group: String,
    /// RFC 3339, in UTC.
    pub from: String,
    pub to: String,
    pub query: String,
}

/// A tick takes a few seconds, and its line is written at its end.
const WAY_S: u32 = 30;

/// The decision records of the ticks from `from` on, until a tick after `until`. `template.yaml`
/// saves the same query.
#[must_use]
pub fn decisions_query(environment: &str, from: UnixMs, until: UnixMs, tick_s: u32) -> LogsQuery {
    let from = from.whole_seconds();
    let to = until.plus_seconds(tick_s.saturating_add(WAY_S)).whole_seconds();
    LogsQuery {
        log_group: format!("/aws/lambda/ghosthands-{environment}-autoscale"),
        from: from.to_string(),
        to: to.to_string(),
        query: "fields at, summary, request_id | filter type = \"decision\" | sort at asc"
            .to_owned(),
    }
}
