//! What is in the database: which columns, whether a queue table, whether counting active jobs is
//! cheap, and whether the registry can be read.

use super::names::Names;
use fleet_protocol::reading::{Unknown, UnknownCause};
use serde::Deserialize;

/// Tables up to this size without an index for active jobs are scanned: about 200,000 rows, a tenth
/// of a second. It is the size that is asked for because it is always current, while the planner's
/// estimate of rows is -1 on a table that was never analysed.
const SCAN_LIMIT_BYTES: i64 = 128 * 1024 * 1024;

/// What the statement is written for.
#[derive(Clone, Debug)]
pub(super) struct TableLayout {
    pub(super) version: u32,
    pub(super) columns: Columns,
    /// `blocked` jobs wait for others; the ready index leaves them out (and only matches where the
    /// statement does too).
    pub(super) blocked: bool,
    pub(super) heartbeat: bool,
    pub(super) queue_table: bool,
    /// The general queue's policy; `None` where there are no policies, or it cannot be read.
    pub(super) policy: Option<String>,
    pub(super) policy_readable: bool,
    /// When the keys that a policy limits can be read.
    pub(super) keys_readable: bool,
    /// When jobs have a group, and it can be read.
    pub(super) groups: bool,
    /// When jobs can be named.
    pub(super) job_id: bool,
    pub(super) waiting: WaitingIndex,
    pub(super) active: ActivePlan,
    pub(super) registry: Result<(), Unknown>,
    /// When workers registered can be read too, which only people look at.
    pub(super) registered_at: bool,
    /// What workers write into `metadata` can be read, too.
    pub(super) metadata: bool,
    /// What the passport of one job may be read from.
    pub(super) tables: JobTables,
}

/// The tables that have something of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct JobTables {
    pub(super) job: Table,
    /// Where pg-boss 9 and 10 move jobs that ended.
    pub(super) archive: Option<Table>,
    /// The application's own.
    pub(super) application: Option<Table>,
}

/// The three spellings of the columns that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// pg-boss 9: `startafter`, `expirein interval`.
    Lowercase,
    /// pg-boss 10: `start_after`, `expire_in interval`.
    Interval,
    /// pg-boss 11 and later: `start_after`, `expire_seconds`.
    Seconds,
}

/// The index of pg-boss by which waiting jobs are read in the order in which they become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WaitingIndex {
    /// `(name, start_after)`.
    ByTime,
    /// `(name, state, blocked, start_after)`: one state after the other.
    ByState,
    /// There is none just now, such as while a migration builds it: what waits is sorted.
    Missing,
}

/// How active jobs are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ActivePlan {
    /// Every table has an index whose predicate covers active jobs.
    Count,
    /// At least one has not, and those together are small enough to be read whole.
    Scan,
    /// It would cost too much.
    Skip(Unknown),
}

/// The catalog's answer, as [`statement`] builds it.
#[derive(Debug, Deserialize)]
pub(super) struct Catalog {
    job: Option<Table>,
    queue: Option<Table>,
    archive: Option<Table>,
    registry: Option<Table>,
    #[serde(default)]
    application: Option<Table>,
    waiting_index: WaitingIndex,
    /// Bytes of the job tables that lack an index for active jobs.
    unindexed_bytes: i64,
    /// The largest of them, as a qualified name.
    largest_unindexed: Option<String>,
}

/// A table's columns.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Table {
    columns: Vec<Column>,
}

#[derive(Clone, Debug, Deserialize)]
struct Column {
    name: String,
    readable: bool,
}

/// Reads the catalog. Parameters: `$1` job, `$2` queue, `$3` archive, `$4` registry, `$5` the
/// application's jobs, as quoted qualified names (text). One row, one JSON document as text.
///
/// An index serves the active count where it begins with the name and its predicate is `state =
/// 'active'` or a list of states with `active` in it; the ones pg-boss has for its queue policies
/// have further conditions and do not.
pub(super) fn statement() -> String {
    let table = |parameter: &str| {
        format!(
            "(SELECT json_build_object('columns', \
             (SELECT json_agg(json_build_object('name', a.attname, 'readable', \
             has_column_privilege(c.oid, a.attnum, 'SELECT'))) FROM pg_attribute a \
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) \
             FROM pg_class c WHERE c.oid = to_regclass({parameter}))"
        )
    };
    let ordered = |keys: &str| {
        format!(
            "NOT EXISTS (SELECT FROM leaf WHERE NOT EXISTS (\
             SELECT FROM pg_index i WHERE i.indrelid = leaf.oid AND i.indisvalid \
             AND pg_get_expr(i.indpred, i.indrelid) ~ 'state' \
             AND (SELECT string_agg(a.attname, ',' ORDER BY k.position) \
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position) \
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
             WHERE k.position <= i.indnkeyatts) = {keys}))"
        )
    };
    format!(
        "WITH leaf AS (\
         SELECT c.oid, coalesce(pg_relation_size(c.oid), 0) AS bytes FROM pg_class c \
         WHERE (c.oid = to_regclass($1) AND c.relkind = 'r') \
         OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1))\
         ), unindexed AS (\
         SELECT oid, bytes FROM leaf WHERE NOT EXISTS (\
         SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = leaf.oid AND i.indisvalid AND a.attname = 'name' \
         AND pg_get_expr(i.indpred, i.indrelid) ~ \
         '^\\(state = (''active''::[^()]*|ANY \\(ARRAY\\[[^()]*''active''::[^()]*\\]\\))\\)$')\
         ) SELECT json_build_object(\
         'job', {job}, 'queue', {queue}, 'archive', {archive}, 'registry', {registry}, \
         'application', {application}, \
         'waiting_index', CASE WHEN {by_time} THEN 'by_time' WHEN {by_state} THEN 'by_state' ELSE 'missing' END, \
         'unindexed_bytes', (SELECT coalesce(sum(bytes), 0) FROM unindexed), \
         'largest_unindexed', (SELECT format('%I.%I', n.nspname, c.relname) FROM unindexed u \
         JOIN pg_class c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
         ORDER BY u.bytes DESC, c.oid LIMIT 1))::text",
        job = table("$1"),
        queue = table("$2"),
        archive = table("$3"),
        registry = table("$4"),
        application = table("$5"),
        by_time = ordered("ANY (ARRAY['name,start_after', 'name,startafter'])"),
        by_state = ordered("'name,state,blocked,start_after'"),
    )
}

/// SQL that is true where row-level security may hide rows of the table `oid` from this role:
/// unless a policy shows it every row (`USING (true)`), and no restrictive one takes some away.
pub(super) fn may_hide_rows(oid: &str) -> String {
    let policy = |kind: &str, shows: &str| {
        format!(
            "EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = {oid} AND p.polcmd IN ('r', '*') AND {kind} \
             AND coalesce(pg_get_expr(p.polqual, p.polrelid), '') {shows} AND EXISTS (\
             SELECT FROM unnest(p.polroles) AS member (role) WHERE role = 0 OR pg_has_role(role, 'USAGE')))"
        )
    };
    format!(
        "(row_security_active({oid}) AND (NOT {all} OR {fewer}))",
        all = policy("p.polpermissive", "= 'true'"),
        fewer = policy("NOT p.polpermissive", "NOT IN ('', 'true')"),
    )
}

/// Those of these tables of which row-level security may hide rows from this role, by name.
pub(super) fn hidden_among(tables: &[String]) -> String {
    let checks: Vec<String> = tables
        .iter()
        .map(|table| {
            let name = format!("'{}'", table.replace('\'', "''"));
            let hides = may_hide_rows(&format!("{name}::regclass"));
            format!("SELECT {name} AS name WHERE {hides}")
        })
        .collect();
    let checks = checks.join(" UNION ALL ");
    format!("(SELECT coalesce(json_agg(name), '[]') FROM ({checks}) AS hidden)")
}

impl Catalog {
    /// The layout for pg-boss schema `version`, or why nothing can be counted.
    pub(super) fn layout(self, version: u32, names: &Names) -> Result<TableLayout, Unknown> {
        let job_name = names.pgboss("job");
        let job = self.job.ok_or_else(|| unknown(
            UnknownCause::Missing,
            format!("{job_name} does not exist although pg-boss's version table does; check the pg-boss schema name"),
        ))?;
        let columns = if job.has("expire_seconds") {
            Columns::Seconds
        } else if job.has("expire_in") {
            Columns::Interval
        } else if job.has("expirein") {
            Columns::Lowercase
        } else {
            return Err(unknown(
                UnknownCause::Unreadable,
                format!(
                    "{job_name} (pg-boss schema {version}) has none of the expiry columns of schemas 20 to 46"
                ),
            ));
        };
        let blocked = job.has("blocked");
        let heartbeat = job.has("heartbeat_on") && job.has("heartbeat_seconds");
        let mut needed = vec!["name", "state", columns.start_after()];
        needed.extend(match columns {
            Columns::Lowercase => ["startedon", "expirein"],
            Columns::Interval => ["started_on", "expire_in"],
            Columns::Seconds => ["started_on", "expire_seconds"],
        });
        needed.extend(blocked.then_some("blocked"));
        needed.extend(
            heartbeat.then_some(["heartbeat_on", "heartbeat_seconds"]).into_iter().flatten(),
        );
        job.readable(&job_name, &needed)?;

        let queue_table = self.queue.is_some();
        match (&self.queue, &self.archive) {
            (Some(queue), _) => queue.readable(&names.pgboss("queue"), &["name"])?,
            (None, Some(archive)) => archive.readable(&names.pgboss("archive"), &["name"])?,
            (None, None) => {
                return Err(unknown(
                    UnknownCause::Unreadable,
                    format!(
                        "schema {} has a job table but neither a queue nor an archive table",
                        names.schema
                    ),
                ));
            }
        }
        let active = if self.largest_unindexed.is_none() {
            ActivePlan::Count
        } else if self.unindexed_bytes <= SCAN_LIMIT_BYTES {
            ActivePlan::Scan
        } else {
            ActivePlan::Skip(too_costly(self.largest_unindexed.as_deref().unwrap_or(&job_name)))
        };
        let registry = match &self.registry {
            Some(table) => table.readable(&names.registry(), REGISTRY_COLUMNS),
            None => Err(unknown(
                UnknownCause::Missing,
                format!(
                    "the worker registry {} does not exist; no worker can be shown to be idle",
                    names.registry()
                ),
            )),
        };
        let readable =
            |table: Option<&Table>, column: &str| table.is_some_and(|table| table.shows(column));
        let registered_at = readable(self.registry.as_ref(), "registered_at");
        let metadata = readable(self.registry.as_ref(), "metadata");
        let policy_readable = readable(self.queue.as_ref(), "policy");
        Ok(TableLayout {
            version,
            columns,
            blocked,
            heartbeat,
            queue_table,
            policy: None,
            policy_readable,
            keys_readable: job.shows("singleton_key") && job.shows("policy"),
            groups: job.shows("group_id"),
            job_id: job.shows("id"),
            waiting: self.waiting_index,
            active,
            registry,
            registered_at,
            metadata,
            tables: JobTables { job, archive: self.archive, application: self.application },
        })
    }
}

const REGISTRY_COLUMNS: &[&str] = &[
    "worker_id",
    "target_worker_id",
    "ec2_instance_id",
    "status",
    "current_job_id",
    "last_heartbeat",
];

impl Columns {
    pub(super) fn start_after(self) -> &'static str {
        match self {
            Columns::Lowercase => "startafter",
            Columns::Interval | Columns::Seconds => "start_after",
        }
    }
}

impl Table {
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|found| found.name == column)
    }

    /// Whether `column` exists and this role may read it.
    pub(super) fn shows(&self, column: &str) -> bool {
        self.columns.iter().any(|found| found.name == column && found.readable)
    }

    /// That `needed` exist and can be read by this role.
    fn readable(&self, table: &str, needed: &[&str]) -> Result<(), Unknown> {
        let absent: Vec<&str> = needed.iter().copied().filter(|name| !self.has(name)).collect();
        if !absent.is_empty() {
            return Err(unknown(
                UnknownCause::Unreadable,
                format!("{table} has no column {}", absent.join(", ")),
            ));
        }
        let denied: Vec<&str> = self
            .columns
            .iter()
            .filter(|column| !column.readable && needed.contains(&column.name.as_str()))
            .map(|column| column.name.as_str())
            .collect();
        if !denied.is_empty() {
            return Err(unknown(
                UnknownCause::Failed,
                format!(
                    "this role may not read {table}; GRANT SELECT ({}) ON {table} (docs/sql/role.sql)",
                    denied.join(", ")
                ),
            ));
        }
        Ok(())
    }
}

/// The active count where the table cannot be read whole.
pub(super) fn too_costly(table: &str) -> Unknown {
    unknown(
        UnknownCause::NotAsked,
        format!(
            "{table} has no index for active jobs and takes too long to scan every minute; create the optional index in docs/sql/active-index.sql"
        ),
    )
}

/// A table of which this role may not see every row.
pub(super) fn hidden(table: &str, role: &str) -> Unknown {
    let role = role.replace('"', "\"\"");
    unknown(
        UnknownCause::Failed,
        format!(
            "row-level security may hide rows of {table} from this role, which would read as an empty table; \
             CREATE POLICY fleet_reads ON {table} FOR SELECT TO \"{role}\" USING (true) (or BYPASSRLS), and no restrictive policy beside it \
             (docs/sql/row-security.sql tells which tables need it)"
        ),
    )
}

pub(super) fn unknown(cause: UnknownCause, detail: String) -> Unknown {
    Unknown { cause, detail }
}
