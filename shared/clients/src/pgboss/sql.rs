//! The text of the one statement, written for the tables that are there.

use super::names::Names;
use super::probe::{ActivePlan, Columns, Shape};

/// Runs first in every transaction. Limits are `LOCAL` because a session's settings do not survive
/// a transaction pooler.
///
/// `row_security = off` makes a table whose policies would hide rows from this role an error:
/// silence would read as an empty queue. The transaction is idle while the tick acts; Postgres ends
/// it before the next minute's tick, so that a frozen function cannot keep the lock.
pub(super) const BEGIN: &str = "BEGIN READ ONLY; \
    SET LOCAL statement_timeout = '1500ms'; \
    SET LOCAL lock_timeout = '750ms'; \
    SET LOCAL idle_in_transaction_session_timeout = '50s'; \
    SET LOCAL row_security = off; \
    SET LOCAL jit = off";

/// Registry rows are never deleted. A worker reports every 30 s, so after an hour's silence its row
/// says nothing about a living instance.
const REGISTRY_WINDOW: &str = "1 hour";

/// pg-boss's version, which is one row.
pub(super) fn version(names: &Names) -> String {
    format!("SELECT max(version)::int4 FROM {}", names.pgboss("version"))
}

/// The snapshot, with `detail` also what only people look at. Parameters: `$1` lock key (int8; NULL
/// takes no lock), `$2` general queue (text), `$3` pattern of the targeted queues (text), `$4`
/// look-ahead in seconds (int4). One row, one column: NULL where another tick holds the lock
/// (nothing else is then evaluated), else one JSON document as text.
///
/// Of waiting jobs each queue condition is in a branch of its own, because an OR of both would lose
/// the index's order by time; active jobs are few, and one pass over their index takes both. States
/// are literals, because the partial indexes are matched against them.
pub(super) fn snapshot(names: &Names, shape: &Shape, detail: bool) -> String {
    let version = names.pgboss("version");
    let exists = queue_exists(names, shape);
    let waiting = waiting(names, shape, detail);
    let active = match shape.active {
        ActivePlan::Count | ActivePlan::Scan => active(names, shape),
        ActivePlan::Skip(_) => "NULL".to_owned(),
    };
    let workers = match shape.registry {
        Ok(()) => workers(names, detail.then_some(shape)),
        Err(_) => "NULL".to_owned(),
    };
    format!(
        "SELECT CASE WHEN coalesce(pg_try_advisory_xact_lock($1), true) THEN json_build_object(\
         'now_ms', {now}, \
         'version', (SELECT max(version) FROM {version}), \
         'replica', pg_is_in_recovery(), \
         'queue_exists', ({exists}), \
         'waiting', {waiting}, \
         'active', {active}, \
         'workers', {workers}\
         )::text END",
        now = milliseconds("now()"),
    )
}

/// Before version 10 a queue is no row of its own. One that never had a job looks like one that
/// does not exist, so a job of any state, there or in the archive, is the proof.
fn queue_exists(names: &Names, shape: &Shape) -> String {
    if shape.queue_table {
        return format!("EXISTS (SELECT FROM {} WHERE name = $2)", names.pgboss("queue"));
    }
    format!(
        "EXISTS (SELECT FROM {job} WHERE name = $2) OR EXISTS (SELECT FROM {archive} WHERE name = $2)",
        job = names.pgboss("job"),
        archive = names.pgboss("archive"),
    )
}

/// Jobs that become due later than the look-ahead are counted for people only: a tick has no use
/// for them, and there may be many. A worker's own queue is read whole, because any job in it keeps
/// that worker.
fn waiting(names: &Names, shape: &Shape, detail: bool) -> String {
    let job = names.pgboss("job");
    let start_after = shape.columns.start_after();
    let unblocked = if shape.blocked { " AND NOT blocked" } else { "" };
    // pg-boss fetches with `<` up to schema 36 and with `<=` after it.
    let due = if shape.version > 36 { "due <= now()" } else { "due < now()" };
    let horizon = "now() + $4 * interval '1 second'";
    let branch = |condition: &str| {
        format!(
            "SELECT name, {start_after} AS due FROM {job} WHERE {condition} AND state < 'active'{unblocked}"
        )
    };
    let (general, deferred) = if detail {
        let deferred =
            format!("count(*) FILTER (WHERE NOT {due} AND due > {horizon}) AS deferred, ");
        (branch("name = $2"), deferred)
    } else {
        (branch(&format!("name = $2 AND {start_after} <= {horizon}")), String::new())
    };
    let wait = milliseconds("now() - min(due)");
    list(&format!(
        "SELECT name, \
         count(*) FILTER (WHERE {due}) AS ready, \
         count(*) FILTER (WHERE NOT {due} AND due <= {horizon}) AS due_soon, \
         {deferred}{wait} AS oldest_wait_ms \
         FROM ({general} UNION ALL {targeted}) AS unfinished GROUP BY name",
        targeted = branch("name LIKE $3"),
    ))
}

/// A job is past its time exactly where pg-boss's own sweep would say so; where it cannot be told,
/// the job counts as live.
fn active(names: &Names, shape: &Shape) -> String {
    let job = names.pgboss("job");
    let (started, expire) = match shape.columns {
        Columns::Lowercase => ("startedon", "expirein"),
        Columns::Interval => ("started_on", "expire_in"),
        Columns::Seconds => ("started_on", "expire_seconds * interval '1 second'"),
    };
    let mut past = format!("{started} + {expire} < now()");
    if shape.heartbeat {
        past += " OR heartbeat_on + heartbeat_seconds * interval '1 second' < now()";
    }
    list(&format!(
        "SELECT name, \
         count(*) FILTER (WHERE NOT past) AS live, \
         count(*) FILTER (WHERE past) AS expired, \
         {newest} AS newest_start_ms \
         FROM (SELECT name, {started} AS started, coalesce({past}, false) AS past \
         FROM {job} WHERE (name = $2 OR name LIKE $3) AND state = 'active') AS taken GROUP BY name",
        newest = milliseconds("max(started) FILTER (WHERE NOT past)"),
    ))
}

fn workers(names: &Names, detail: Option<&Shape>) -> String {
    let registered = detail.filter(|shape| shape.registered_at);
    let more = detail.map_or("", |_| ", current_job_id::text AS job").to_owned()
        + &registered.map_or_else(String::new, |_| {
            format!(", {} AS registered_ms", milliseconds("registered_at"))
        });
    list(&format!(
        "SELECT worker_id::text AS worker, target_worker_id::text AS target, ec2_instance_id::text AS instance, \
         status::text AS status, current_job_id IS NOT NULL AS has_job, \
         {heartbeat} AS last_heartbeat_ms{more} \
         FROM {registry} WHERE last_heartbeat > now() - interval '{REGISTRY_WINDOW}' ORDER BY worker_id",
        heartbeat = milliseconds("last_heartbeat"),
        registry = names.registry(),
    ))
}

/// The rows of `query` as a JSON array.
fn list(query: &str) -> String {
    format!("(SELECT coalesce(json_agg(listed), '[]') FROM ({query}) AS listed)")
}

/// A timestamp or an interval in whole milliseconds, rounded down.
fn milliseconds(moment: &str) -> String {
    format!("floor(extract(epoch FROM {moment}) * 1000)::int8")
}
