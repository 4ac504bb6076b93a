//! The text of the one statement, written for the tables that are there.
//!
//! Nothing in the database makes its answer unbounded or keeps it from answering: texts, rows and
//! queues are cut at the limits below, counting stops where it cannot change a decision any more,
//! and a moment outside [`EARLIEST`] to [`LATEST`] never enters arithmetic.

use super::layout::{ActivePlan, Columns, TableLayout, WaitingIndex, hidden_among};
use super::names::Names;
use std::num::NonZeroU32;

/// Runs first in every transaction. Limits are `LOCAL` because a session's settings do not survive
/// a transaction pooler.
///
/// The transaction is idle while the tick acts; Postgres ends
/// it before the next minute's tick, so that a frozen function cannot keep the lock.
///
/// Without statistics, as after a burst, Postgres takes a table for nearly empty and would rather
/// sort all of its waiting jobs than read the first ones from an index.
pub(super) const BEGIN: &str = "BEGIN READ ONLY; \
    SET LOCAL statement_timeout = '1500ms'; \
    SET LOCAL lock_timeout = '750ms'; \
    SET LOCAL idle_in_transaction_session_timeout = '50s'; \
    SET LOCAL enable_sort = off; \
    SET LOCAL jit = off";

/// Registry rows are never deleted. A worker reports every 30 s, so after an hour's silence its row
/// says nothing about a living instance.
const REGISTRY_WINDOW: &str = "1 hour";

/// What a worker that keeps the contract writes into `metadata`, whatever else is in it and
/// whatever type the column is of.
const CONTRACT: &str = ", CASE to_jsonb(metadata) -> 'accepting' WHEN 'true'::jsonb THEN true \
    WHEN 'false'::jsonb THEN false END AS accepting, \
    CASE WHEN jsonb_typeof(to_jsonb(metadata) -> 'active_jobs') = 'number' \
    THEN least(greatest((to_jsonb(metadata) ->> 'active_jobs')::numeric, 0), 1000)::int4 END AS jobs, \
    left(to_jsonb(metadata) ->> 'idle_since', 40) AS idle_since";

/// Moments outside these years are somebody's mistake. Arithmetic on the ends of the type fails,
/// and would take the whole statement with it.
const EARLIEST: &str = "timestamptz '2000-01-01 00:00:00+00'";
const LATEST: &str = "timestamptz '2100-01-01 00:00:00+00'";
/// The longest expiry and heartbeat that are added to a moment.
pub(super) const LONGEST: &str = "interval '100 years'";

/// Waiting and active jobs of the general queue are counted up to this many at least.
pub(super) const COUNT_LIMIT: u32 = 10_000;
/// Jobs of one targeted queue are counted up to this many: one keeps its worker.
pub(super) const TARGETED_COUNT_LIMIT: u32 = 1_000;
/// Registry rows that are read, the latest heartbeats first.
pub(super) const WORKER_LIMIT: u32 = 4_000;
/// Targeted queues that are looked into beside those of the workers in the registry.
pub(super) const STRANGER_LIMIT: u32 = 500;
/// Where pg-boss keeps no list of queues, waiting jobs that are searched for names of queues.
const SEARCHED_JOBS: u32 = 20_000;
/// Characters of a text; one more says that there were more.
pub(super) const TEXT_LIMIT: u32 = 200;
/// Names of rows that cannot be read.
const NAMED: u32 = 10;

/// pg-boss's version, which is one row.
pub(super) fn version(names: &Names) -> String {
    format!("SELECT max(version)::int4 FROM {}", names.pgboss("version"))
}

/// The policy of the general queue (`$1`), one row where the queue exists.
pub(super) fn policy(names: &Names) -> String {
    format!(
        "SELECT left(policy::text, {TEXT_LIMIT}) FROM {} WHERE name = $1",
        names.pgboss("queue")
    )
}

/// What a snapshot is asked to count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// With what only people look at.
    pub(super) detail: bool,
    /// Jobs of the general queue are counted up to this many.
    pub(super) count_limit: u32,
    /// Jobs of one group that run at a time, where the workers limit it.
    pub(super) group_limit: Option<NonZeroU32>,
}

/// A key of which only so many jobs run at a time.
struct ConcurrencyKey {
    column: &'static str,
    limit: u32,
    /// Which jobs of the queue take up one of its places.
    taken: String,
}

/// The snapshot. Parameters: `$1` lock key (int8; NULL takes no lock), `$2` general queue (text),
/// `$3` pattern of the targeted queues (text), `$4` look-ahead in seconds (int4). One row, one
/// column: NULL where another tick holds the lock (nothing else is then evaluated), else one JSON
/// document as text.
///
/// States are literals, because the partial indexes are matched against them.
pub(super) fn snapshot(names: &Names, layout: &TableLayout, scope: Scope) -> String {
    let text = Text { names, layout, scope };
    format!(
        "SELECT CASE WHEN coalesce(pg_try_advisory_xact_lock($1), true) THEN ({})::text END",
        text.document()
    )
}

/// The parts of one statement.
struct Text<'a> {
    names: &'a Names,
    layout: &'a TableLayout,
    scope: Scope,
}

impl Text<'_> {
    fn document(&self) -> String {
        let mut with = Vec::new();
        if self.layout.registry.is_ok() {
            with.push(format!("registry AS MATERIALIZED ({})", self.registry()));
        }
        if self.layout.active == ActivePlan::Scan {
            with.push(format!("taken AS MATERIALIZED ({})", self.scanned_active()));
        }
        with.push(format!("own AS MATERIALIZED ({})", self.own_queues()));
        with.push(format!("stranger AS MATERIALIZED ({})", self.strangers()));
        format!(
            "WITH {with} SELECT json_build_object(\
             'now_ms', {now}, \
             'version', (SELECT max(version) FROM {version}), \
             'replica', pg_is_in_recovery(), \
             'queue', {queue}, \
             'role', current_user, \
             'hidden', {hidden}, \
             'general', json_build_object('waiting', {waiting}, 'active', {active}), \
             'targeted', {targeted}, \
             'strangers', (SELECT count(*) FROM stranger), \
             'workers', {workers}, \
             'unread_workers', {unread})",
            with = with.join(", "),
            now = milliseconds("now()"),
            version = self.names.pgboss("version"),
            queue = self.queue(),
            hidden = self.hidden_tables(),
            waiting = row(&self.general_waiting()),
            active = self.general_active().as_deref().map_or_else(null, row),
            targeted = rows(&self.targeted()),
            workers =
                self.layout.registry.as_ref().map_or_else(|_| null(), |()| rows("TABLE registry")),
            unread = self
                .layout
                .registry
                .as_ref()
                .map_or_else(|_| "0".to_owned(), |()| self.unread_workers()),
        )
    }

    /// The general queue's own row. Before version 10 a queue is none: one that never had a job
    /// looks like one that does not exist, so a job of any state, there or in the archive, is the
    /// proof.
    fn queue(&self) -> String {
        if self.layout.queue_table {
            let policy = match self.layout.policy_readable {
                true => format!("left(policy::text, {TEXT_LIMIT})"),
                false => null(),
            };
            let queue = self.names.pgboss("queue");
            return format!(
                "(SELECT json_build_object('policy', {policy}) FROM {queue} WHERE name = $2)"
            );
        }
        format!(
            "(SELECT json_build_object('policy', NULL) WHERE EXISTS (SELECT FROM {job} WHERE name = $2) \
             OR EXISTS (SELECT FROM {archive} WHERE name = $2))",
            job = self.names.pgboss("job"),
            archive = self.names.pgboss("archive"),
        )
    }

    /// Tables of which row-level security may hide rows from this role, by name. Without an error
    /// Postgres shows such a table as an empty one. It is asked in this very statement, whose locks
    /// keep anybody from changing a policy meanwhile.
    fn hidden_tables(&self) -> String {
        let other = if self.layout.queue_table { "queue" } else { "archive" };
        let mut tables: Vec<String> =
            ["version", "job", other].map(|table| self.names.pgboss(table)).into();
        if self.layout.registry.is_ok() {
            tables.push(self.names.registry());
        }
        hidden_among(&tables)
    }

    // === Waiting ===

    /// Jobs that become due later than the look-ahead are counted for people only: a tick has no
    /// use for them, and there may be many.
    fn general_waiting(&self) -> String {
        let horizon = match self.scope.detail {
            true => String::new(),
            false => format!(" AND {} <= {}", self.start_after(), HORIZON),
        };
        let limit = self.scope.count_limit;
        let Some(key) = self.concurrency_key() else {
            let jobs = self.waiting_jobs("name = $2", &horizon, "", limit);
            return format!("SELECT {} FROM ({jobs}) AS waiting", self.waiting_counts(limit, true));
        };
        // As many of a key's jobs can run as its limit leaves beside those that run already. What
        // waits behind them needs no worker of its own: the one that ends takes the next.
        let jobs =
            self.waiting_jobs("name = $2", &horizon, &format!(", {} AS key", key.column), limit);
        let room = format!("greatest({} - coalesce(min(taken.jobs), 0), 0)", key.limit);
        let free = |of: &str| {
            format!(
                "CASE WHEN waiting.key IS NULL THEN count(*) FILTER (WHERE {of}) \
                 ELSE least(count(*) FILTER (WHERE {of}), {room}) END"
            )
        };
        let due = self.due();
        let due_or_soon = format!("due <= {HORIZON}");
        format!(
            "SELECT {ready_sum} AS ready, {soon_sum} AS due_soon, {deferred}\
             {held_sum} AS held_by_key, {wait} AS oldest_wait_ms, {odd_sum} AS odd, \
             {all_sum} >= {limit} AS at_least, {odd_jobs} AS odd_jobs FROM (\
             SELECT {ready} AS ready, {soon} AS ready_or_soon, count(*) FILTER (WHERE {due}) AS due, \
             count(*) FILTER (WHERE due > {HORIZON}) AS deferred, \
             min(due) FILTER (WHERE {sane}) AS oldest, count(*) FILTER (WHERE NOT {sane}) AS odd, \
             count(*) AS all_jobs \
             FROM ({jobs}) AS waiting LEFT JOIN (\
             SELECT {column} AS key, count(*) AS jobs FROM {job} \
             WHERE name = $2 AND {taken} GROUP BY 1) AS taken ON taken.key = waiting.key \
             GROUP BY waiting.key) AS keys",
            ready_sum = sum("ready"),
            soon_sum = sum("greatest(ready_or_soon - ready, 0)"),
            held_sum = sum("due - ready"),
            odd_sum = sum("odd"),
            all_sum = sum("all_jobs"),
            deferred = match self.scope.detail {
                true => format!("{} AS deferred, ", sum("deferred")),
                false => String::new(),
            },
            wait = milliseconds("now() - min(oldest)"),
            odd_jobs = self.odd_waiting_jobs(&sum("odd")),
            ready = free(&due),
            soon = free(&due_or_soon),
            sane = sane("due"),
            column = key.column,
            job = self.job(),
            taken = key.taken,
        )
    }

    /// What limits how many of the waiting jobs can run at once: the queue's policy, which holds
    /// for each `singleton_key`, or the workers' own limit for each group.
    fn concurrency_key(&self) -> Option<ConcurrencyKey> {
        if self.layout.keys_readable {
            let policy = self.layout.policy.as_deref().unwrap_or_default();
            match policy {
                "singleton" | "stately" => {
                    return Some(ConcurrencyKey {
                        column: "coalesce(singleton_key, '')",
                        limit: 1,
                        taken: format!("state = 'active' AND policy = '{policy}'"),
                    });
                }
                // A job that failed, or waits for its retry, keeps its key's others back.
                "key_strict_fifo" => {
                    let due = self.due().replace("due", self.start_after());
                    return Some(ConcurrencyKey {
                        column: "singleton_key",
                        limit: 1,
                        taken: format!(
                            "state IN ('active', 'retry', 'failed') AND policy = '{policy}' \
                             AND NOT (state = 'retry' AND {due})"
                        ),
                    });
                }
                _ => {}
            }
        }
        let limit = self.scope.group_limit.filter(|_| self.layout.groups)?;
        Some(ConcurrencyKey {
            column: "group_id",
            limit: limit.get(),
            taken: "state = 'active' AND group_id IS NOT NULL".to_owned(),
        })
    }

    /// Waiting jobs of the queue that `which` selects, at least `limit` of them if there are so
    /// many, the ones that are due first. They come in the order of an index, which a second
    /// condition on the name would lose, and no more of it is read.
    fn waiting_jobs(&self, which: &str, and: &str, columns: &str, limit: u32) -> String {
        let start_after = self.start_after();
        let of_states = |states: &str| {
            format!(
                "(SELECT {start_after} AS due{columns} FROM {job} WHERE {which} AND {states}{unblocked}{and} \
                 ORDER BY {start_after} LIMIT {limit})",
                job = self.job(),
                unblocked = self.unblocked(),
            )
        };
        match self.layout.waiting {
            WaitingIndex::ByTime | WaitingIndex::Missing => of_states("state < 'active'"),
            WaitingIndex::ByState => {
                format!(
                    "{} UNION ALL {}",
                    of_states("state = 'created'"),
                    of_states("state = 'retry'")
                )
            }
        }
    }

    fn waiting_counts(&self, limit: u32, named: bool) -> String {
        let due = self.due();
        let deferred = match self.scope.detail {
            true => format!("count(*) FILTER (WHERE NOT {due} AND due > {HORIZON}) AS deferred, "),
            false => String::new(),
        };
        let odd = format!("count(*) FILTER (WHERE NOT {})", sane("due"));
        let odd_jobs = match named {
            true => format!(", {} AS odd_jobs", self.odd_waiting_jobs(&odd)),
            false => String::new(),
        };
        format!(
            "count(*) FILTER (WHERE {due}) AS ready, \
             count(*) FILTER (WHERE NOT {due} AND due <= {HORIZON}) AS due_soon, \
             {deferred}0 AS held_by_key, {wait} AS oldest_wait_ms, \
             {odd} AS odd, count(*) >= {limit} AS at_least{odd_jobs}",
            wait = milliseconds(&format!("now() - min(due) FILTER (WHERE {})", sane("due"))),
        )
    }

    /// Looked for only where `odd` counted some, and an index leads to them.
    fn odd_waiting_jobs(&self, odd: &str) -> String {
        if !self.layout.job_id || self.layout.waiting == WaitingIndex::Missing {
            return null();
        }
        let start_after = self.start_after();
        let jobs = |and: String| {
            let id = format!(", left(id::text, {TEXT_LIMIT}) AS id");
            self.waiting_jobs("name = $2", &and, &id, NAMED)
        };
        let mut named = jobs(format!(" AND {start_after} < {EARLIEST}"));
        if self.scope.detail {
            named += " UNION ALL ";
            named += &jobs(format!(" AND {start_after} > {LATEST}"));
        }
        format!(
            "CASE WHEN {odd} > 0 THEN (SELECT json_agg(id) FROM (SELECT id FROM ({named}) AS odd LIMIT {NAMED}) AS named) END"
        )
    }

    // === Active ===

    /// A job is past its time exactly where pg-boss's own sweep would say so; where it cannot be
    /// told, the job counts as live. A start that is no moment may be the latest.
    fn active_jobs(&self, which: &str, columns: &str) -> String {
        let (started, expire) = match self.layout.columns {
            Columns::Lowercase => ("startedon", "expirein"),
            Columns::Interval => ("started_on", "expire_in"),
            Columns::Seconds => ("started_on", "expire_seconds * interval '1 second'"),
        };
        let ends = |from: &str, after: &str| {
            format!(
                "CASE WHEN {sane} AND {after} BETWEEN -{LONGEST} AND {LONGEST} THEN {from} + {after} < now() \
                 ELSE {from} < {EARLIEST} END",
                sane = sane(from),
            )
        };
        let mut past = format!("coalesce({}, false)", ends(started, expire));
        if self.layout.heartbeat {
            past += &format!(
                " OR coalesce({}, false)",
                ends("heartbeat_on", "heartbeat_seconds * interval '1 second'")
            );
        }
        format!(
            "SELECT {columns}CASE WHEN {sane} THEN {started} ELSE now() END AS started, \
             NOT coalesce({sane}, false) AS odd, {past} AS past \
             FROM {job} WHERE {which} AND state = 'active'",
            sane = sane(started),
            job = self.job(),
        )
    }

    fn active_counts(&self, limit: Option<u32>) -> String {
        let at_least =
            limit.map_or_else(|| "false".to_owned(), |limit| format!("count(*) >= {limit}"));
        format!(
            "count(*) FILTER (WHERE NOT past) AS live, count(*) FILTER (WHERE past) AS expired, \
             {newest} AS newest_start_ms, count(*) FILTER (WHERE odd) AS odd, {at_least} AS at_least",
            newest = milliseconds("max(started) FILTER (WHERE NOT past)"),
        )
    }

    /// The small tables are read once, for all queues.
    fn scanned_active(&self) -> String {
        let jobs = self.active_jobs("(name = $2 OR name LIKE $3)", "name, ");
        format!("SELECT name, {} FROM ({jobs}) AS jobs GROUP BY name", self.active_counts(None))
    }

    fn general_active(&self) -> Option<String> {
        match self.layout.active {
            ActivePlan::Skip(_) => None,
            ActivePlan::Scan => Some(
                "SELECT live, expired, newest_start_ms, odd, at_least FROM taken WHERE name = $2"
                    .to_owned(),
            ),
            ActivePlan::Count => Some(self.counted_active("name = $2", self.scope.count_limit)),
        }
    }

    fn counted_active(&self, which: &str, limit: u32) -> String {
        let jobs = self.active_jobs(which, "");
        let counts = self.active_counts(Some(limit));
        format!("SELECT {counts} FROM ({jobs} LIMIT {limit}) AS jobs")
    }

    // === Targeted queues ===

    /// Queues of the workers in the registry: a job in one of them keeps its worker, so none of
    /// these is left out.
    fn own_queues(&self) -> String {
        if self.layout.registry.is_err() {
            return "SELECT NULL::text AS name WHERE false".to_owned();
        }
        let names = "SELECT DISTINCT $2 || '/' || id AS name FROM registry, \
                     LATERAL (VALUES (worker), (target), (instance)) AS ids (id) \
                     WHERE id IS NOT NULL";
        match self.layout.queue_table {
            true => format!(
                "SELECT name FROM {} WHERE name LIKE $3 AND name IN ({names})",
                self.names.pgboss("queue")
            ),
            false => names.to_owned(),
        }
    }

    /// The other targeted queues, all of them: how many there are is told.
    fn strangers(&self) -> String {
        if self.layout.queue_table {
            return format!(
                "SELECT name FROM {} WHERE name LIKE $3 AND name NOT IN (SELECT name FROM own)",
                self.names.pgboss("queue")
            );
        }
        let job = self.job();
        let active = match self.layout.active {
            ActivePlan::Skip(_) => String::new(),
            ActivePlan::Scan => " UNION SELECT name FROM taken WHERE name LIKE $3".to_owned(),
            ActivePlan::Count => format!(
                " UNION (SELECT name FROM {job} WHERE name LIKE $3 AND state = 'active' LIMIT {SEARCHED_JOBS})"
            ),
        };
        format!(
            "SELECT name FROM ((SELECT name FROM {job} WHERE name LIKE $3 AND state < 'active' \
             LIMIT {SEARCHED_JOBS}){active}) AS found WHERE name NOT IN (SELECT name FROM own)"
        )
    }

    /// A worker's own queue is read whole, because any job in it keeps that worker.
    fn targeted(&self) -> String {
        let limit = TARGETED_COUNT_LIMIT;
        let waiting = self.waiting_jobs("name = queue.name", "", "", limit);
        let (active, unfinished) = match self.layout.active {
            ActivePlan::Skip(_) => (None, ""),
            ActivePlan::Scan => (
                Some(
                    "SELECT live, expired, newest_start_ms, odd, at_least FROM taken WHERE taken.name = queue.name"
                        .to_owned(),
                ),
                " OR active.live + active.expired > 0",
            ),
            ActivePlan::Count => (
                Some(self.counted_active("name = queue.name", limit)),
                " OR active.live + active.expired > 0",
            ),
        };
        let join = active
            .map(|active| format!(" LEFT JOIN LATERAL ({active}) AS active ON true"))
            .unwrap_or_default();
        let shown = if join.is_empty() { "NULL" } else { "row_to_json(active)" };
        format!(
            "SELECT left(substr(queue.name, length($2) + 2), {text}) AS worker, \
             row_to_json(waiting) AS waiting, {shown} AS active \
             FROM (SELECT name FROM own UNION ALL (SELECT name FROM stranger LIMIT {STRANGER_LIMIT})) AS queue \
             CROSS JOIN LATERAL (SELECT count(*) AS jobs, {counts} FROM ({waiting}) AS jobs) AS waiting{join} \
             WHERE waiting.jobs > 0{unfinished}",
            text = TEXT_LIMIT + 1,
            counts = self.waiting_counts(limit, false),
        )
    }

    // === The registry ===

    fn registry(&self) -> String {
        let text = |column: &str| format!("left({column}::text, {})", TEXT_LIMIT + 1);
        let mut more = String::new();
        if self.scope.detail {
            more += &format!(", {} AS job", text("current_job_id"));
        }
        if self.layout.metadata {
            more += CONTRACT;
        }
        if self.scope.detail && self.layout.registered_at {
            let registered = milliseconds("registered_at");
            more += &format!(
                ", CASE WHEN {} THEN {registered} END AS registered_ms",
                sane("registered_at")
            );
        }
        let heartbeat = format!("least(greatest(last_heartbeat, {EARLIEST}), {LATEST})");
        format!(
            "SELECT {worker} AS worker, {target} AS target, {instance} AS instance, {status} AS status, \
             current_job_id IS NOT NULL AS has_job, {heartbeat} AS last_heartbeat_ms, \
             NOT coalesce({sane}, false) AS odd{more} \
             FROM {from} ORDER BY coalesce(last_heartbeat BETWEEN {EARLIEST} AND now() + interval '1 minute', false) DESC, \
             last_heartbeat DESC LIMIT {WORKER_LIMIT}",
            worker = text("worker_id"),
            target = text("target_worker_id"),
            instance = text("ec2_instance_id"),
            status = text("status"),
            heartbeat = milliseconds(&heartbeat),
            sane = sane("last_heartbeat"),
            from = self.reporting_workers(),
        )
    }

    /// With the rows whose heartbeat is no moment: nobody knows whether they are old.
    fn reporting_workers(&self) -> String {
        format!(
            "{} WHERE last_heartbeat > now() - interval '{REGISTRY_WINDOW}' \
             OR last_heartbeat < {EARLIEST} OR last_heartbeat IS NULL",
            self.names.registry()
        )
    }

    fn unread_workers(&self) -> String {
        format!(
            "CASE WHEN (SELECT count(*) FROM registry) < {WORKER_LIMIT} THEN 0 \
             ELSE (SELECT count(*) FROM {}) - {WORKER_LIMIT} END",
            self.reporting_workers()
        )
    }

    // === Words ===

    fn job(&self) -> String {
        self.names.pgboss("job")
    }

    fn start_after(&self) -> &'static str {
        self.layout.columns.start_after()
    }

    fn unblocked(&self) -> &'static str {
        if self.layout.blocked { " AND NOT blocked" } else { "" }
    }

    /// pg-boss fetches with `<` up to schema 36 and with `<=` after it.
    fn due(&self) -> String {
        if self.layout.version > 36 { "due <= now()" } else { "due < now()" }.to_owned()
    }
}

const HORIZON: &str = "now() + $4 * interval '1 second'";

pub(super) fn sane(moment: &str) -> String {
    format!("({moment} BETWEEN {EARLIEST} AND {LATEST})")
}

fn sum(of: &str) -> String {
    format!("coalesce(sum({of}), 0)::int8")
}

fn null() -> String {
    "NULL".to_owned()
}

/// The one row of `query` as a JSON object.
pub(super) fn row(query: &str) -> String {
    format!("(SELECT row_to_json(one) FROM ({query}) AS one)")
}

/// The rows of `query` as a JSON array.
fn rows(query: &str) -> String {
    format!("(SELECT coalesce(json_agg(listed), '[]') FROM ({query}) AS listed)")
}

/// A timestamp or an interval in whole milliseconds, rounded down.
pub(super) fn milliseconds(moment: &str) -> String {
    format!("floor(extract(epoch FROM {moment}) * 1000)::int8")
}
