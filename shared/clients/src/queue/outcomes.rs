//! How jobs end, for the trial of a new version: counts by worker, and never what is in a job.
//!
//! pg-boss does not know. A worker of the application tells it "completed" of every job that it has
//! had, and its tables do not say which worker that was. Both are in the application's own table
//! of jobs, whose `worker_id` is the registry's.

use super::layout::{may_hide_rows, unknown};
use super::source::QueueSource;
use crate::postgres::PostgresError;
use fleet_core::rollout::Tally;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};

/// The application's table of jobs.
pub(super) const TABLE: &str = "public.gh_automation_jobs";
/// More jobs than that are not counted.
const MOST: u32 = 200_000;
/// The statement's own limit and time for the way.
const LIMIT: Duration = Duration::from_millis(2500);
const DAY_MS: i64 = 86_400_000;

/// Which jobs are counted.
#[derive(Clone, Debug)]
pub struct OutcomesRequest {
    /// The hosts of the new version.
    pub hosts: Vec<InstanceId>,
    /// They have run it since then.
    pub since: UnixMs,
    /// When the rollout began.
    pub begun: UnixMs,
}

/// The jobs of a trial that ended, by who ran them and when they started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub at: UnixMs,
    /// On the hosts of the new version, since they have run it.
    pub new: Tally,
    /// On all others in the same time.
    pub beside: Tally,
    /// On all of them in the day before the rollout.
    pub before: Tally,
}

/// Parameters: `$1` a day before the rollout, `$2` its beginning, `$3` the trial's (int8,
/// milliseconds), `$4` the instances of the new version (text[]).
fn statement(registry: &str) -> String {
    let moment = |parameter: &str| format!("to_timestamp({parameter}::int8 / 1000.0)");
    let (day, begun, since) = (moment("$1"), moment("$2"), moment("$3"));
    let hides = |table: &str| may_hide_rows(&format!("'{}'::regclass", table.replace('\'', "''")));
    let counts: Vec<String> = ["new", "beside", "before"]
        .iter()
        .flat_map(|side| {
            [format!("side = '{side}' AND NOT failed"), format!("side = '{side}' AND failed")]
        })
        .map(|which| format!("count(*) FILTER (WHERE {which})::int4"))
        .collect();
    format!(
        "SELECT (extract(epoch FROM now()) * 1000)::int8, {hidden}, {counts} FROM (\
         SELECT jobs.status::text <> 'completed' AS failed, \
         CASE WHEN jobs.started_at < {begun} THEN 'before' \
         WHEN coalesce(registry.ec2_instance_id, jobs.worker_id) = ANY($4) THEN 'new' \
         ELSE 'beside' END AS side \
         FROM {TABLE} AS jobs LEFT JOIN {registry} AS registry \
         ON registry.worker_id = jobs.worker_id \
         WHERE jobs.status::text IN ('completed', 'failed', 'expired') \
         AND jobs.started_at >= {day} AND jobs.started_at <= now() \
         AND (jobs.started_at < {begun} OR jobs.started_at >= {since}) \
         ORDER BY jobs.started_at DESC LIMIT {MOST}) AS ended",
        hidden = format_args!("({} OR {})", hides(TABLE), hides(registry)),
        counts = counts.join(", "),
    )
}

impl QueueSource {
    /// Counts jobs that completed and failed, in a transaction of its own.
    ///
    /// # Errors
    /// Why that is unknown: no answer, no such table, no right to read it, or row-level security
    /// that may hide rows.
    pub async fn outcomes(&mut self, request: &OutcomesRequest) -> Result<OutcomeCounts, Unknown> {
        self.check_pause()?;
        match self.count_outcomes(request).await {
            Ok(counts) => counts,
            Err(error) => Err(self.explain_outcomes(error)),
        }
    }

    async fn count_outcomes(
        &mut self,
        request: &OutcomesRequest,
    ) -> Result<Result<OutcomeCounts, Unknown>, PostgresError> {
        let hosts: Vec<&str> = request.hosts.iter().map(InstanceId::as_str).collect();
        let day = request.begun.0 - DAY_MS;
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&day, Type::INT8),
            (&request.begun.0, Type::INT8),
            (&request.since.0, Type::INT8),
            (&hosts, Type::TEXT_ARRAY),
        ];
        let connection = self.open().await?;
        let statement = statement(&self.names().registry());
        let rows = connection.query(&statement, &parameters, LIMIT).await?;
        self.end(connection, "COMMIT").await;
        let Some(row) = rows.first() else {
            return Ok(Err(unknown(UnknownCause::Unreadable, "no row came back".to_owned())));
        };
        if row.get::<_, bool>(1) {
            let detail = format!(
                "row-level security may hide jobs of {TABLE} from this role; run docs/sql/row-security.sql"
            );
            return Ok(Err(unknown(UnknownCause::Failed, detail)));
        }
        let count = |at: usize| u32::try_from(row.get::<_, i32>(at)).unwrap_or(0);
        let tally = |at: usize| Tally { completed: count(at), failed: count(at + 1) };
        Ok(Ok(OutcomeCounts {
            at: UnixMs(row.get(0)),
            new: tally(2),
            beside: tally(4),
            before: tally(6),
        }))
    }

    fn explain_outcomes(&mut self, error: PostgresError) -> Unknown {
        match error.sqlstate().map(tokio_postgres::error::SqlState::code) {
            Some("42P01" | "42703") => unknown(
                UnknownCause::Missing,
                format!("{TABLE} has no worker_id, status and started_at to judge a version by"),
            ),
            Some("42501") => unknown(
                UnknownCause::Failed,
                format!(
                    "the role may not read worker_id, status and started_at of {TABLE}; grant them as docs/sql/role.sql does"
                ),
            ),
            _ => self.unknown_for(error),
        }
    }
}
