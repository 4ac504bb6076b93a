//! The text of the statements that read one job. No column of a payload is named in them.

use super::layout::{Columns, JobTables, Table, TableLayout, hidden_among};
use super::names::Names;
use super::outcomes::TABLE;
use super::statement::{LONGEST, TEXT_LIMIT, milliseconds, row, sane};

/// Targeted queues in which a job is looked for.
pub(super) const QUEUES: u32 = 5_000;
/// Where VALET notes pg-boss's id of a job, in the `metadata` of its own row.
const NOTED_ID: &str = "to_jsonb(metadata) ->> 'pgBossJobId'";
const UUID: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";

/// What is read of a job, by the names that pg-boss 10 and later have.
const JOB: [(&str, &str); 9] = [
    ("created", "created_on"),
    ("start_after", "start_after"),
    ("started", "started_on"),
    ("completed", "completed_on"),
    ("retry_count", "retry_count"),
    ("retry_limit", "retry_limit"),
    ("retry_delay", "retry_delay"),
    ("retry_backoff", "retry_backoff"),
    ("expire", "expire_seconds"),
];
/// Without these a row of the application's says nothing.
const APPLICATION: [&str; 2] = ["id", "status"];

/// The job with this id, or whose application's row has it. Parameters: `$1` the id, a UUID (text),
/// `$2` general queue (text), `$3` pattern of the targeted queues (text). One row, one JSON
/// document as text.
pub(super) fn job(names: &Names, layout: &TableLayout) -> String {
    let JobTables { job, archive, application } = &layout.tables;
    let noted = application.as_ref().filter(|table| shows_all(table) && table.shows("metadata"));
    let wanted = match noted {
        Some(_) => format!(
            "SELECT $1::uuid AS id UNION SELECT CASE WHEN noted ~ '{UUID}' THEN noted::uuid END \
             FROM (SELECT {NOTED_ID} AS noted FROM {TABLE} WHERE id = $1::uuid LIMIT 1) AS own"
        ),
        None => "SELECT $1::uuid AS id".to_owned(),
    };
    let mut found = one_of(names, layout, "job", job, "false");
    if let Some(archive) = archive.as_ref().filter(|table| is_searchable(table)) {
        found += " UNION ALL ";
        found += &one_of(names, layout, "archive", archive, "true");
    }
    let application = match application.as_ref().filter(|table| shows_all(table)) {
        Some(table) => row(&application_row(table, "id = $1::uuid")),
        None => "NULL".to_owned(),
    };
    let queues = match layout.queue_table {
        true => format!(
            "queues AS MATERIALIZED (SELECT name FROM {} WHERE name = $2 OR name LIKE $3 LIMIT {QUEUES}), ",
            names.pgboss("queue")
        ),
        false => String::new(),
    };
    let searched = if layout.queue_table { "(SELECT count(*) FROM queues)" } else { "NULL" };
    format!(
        "WITH {queues}wanted AS MATERIALIZED ({wanted}), found AS MATERIALIZED ({found} LIMIT 1) \
         SELECT json_build_object('now_ms', {now}, 'version', (SELECT max(version) FROM {version}), \
         'replica', pg_is_in_recovery(), 'role', current_user, 'queues', {searched}, \
         'hidden', {hidden}, 'job', {job}, 'application', {application})::text",
        now = milliseconds("now()"),
        version = names.pgboss("version"),
        hidden = hidden(names, layout),
        job = row("TABLE found"),
    )
}

/// The application's row that notes this id. Parameters: `$1` the id (text), `$2` when the job was
/// taken (int8, milliseconds), which the index on `started_at` leads to.
pub(super) fn noted_application(layout: &TableLayout) -> Option<String> {
    let table = layout.tables.application.as_ref().filter(|table| shows_all(table))?;
    if !table.shows("metadata") || !table.shows("started_at") {
        return None;
    }
    let taken = "to_timestamp($2::int8 / 1000.0)";
    let which = format!(
        "started_at BETWEEN {taken} - interval '1 minute' AND {taken} + interval '10 minutes' \
         AND {NOTED_ID} = $1"
    );
    Some(format!("SELECT {}::text", row(&application_row(table, &which))))
}

/// The registry's row of the worker `$1` (text).
pub(super) fn worker(names: &Names, layout: &TableLayout) -> String {
    let registered = match layout.registered_at {
        true => moment("registered_at"),
        false => "NULL".to_owned(),
    };
    format!(
        "SELECT (SELECT row_to_json(one) FROM (SELECT {worker} AS worker, {instance} AS instance, \
         {registered} AS registered FROM {registry} WHERE worker_id = $1 LIMIT 1) AS one)::text",
        worker = text("worker_id"),
        instance = text("ec2_instance_id"),
        registry = names.registry(),
    )
}

/// The end of the job that a worker took before. Parameters: `$1` the worker (text), `$2` when it
/// took this one (int8, milliseconds), `$3` the application's id of this one (text).
pub(super) fn job_before(layout: &TableLayout) -> Option<String> {
    let table = layout.tables.application.as_ref()?;
    let needed = ["id", "worker_id", "started_at", "completed_at"];
    if !needed.iter().all(|column| table.shows(column)) {
        return None;
    }
    let taken = "to_timestamp($2::int8 / 1000.0)";
    Some(format!(
        "SELECT {} FROM {TABLE} WHERE worker_id = $1 AND id::text IS DISTINCT FROM $3 \
         AND started_at < {taken} AND started_at >= {taken} - interval '1 day' \
         ORDER BY started_at DESC LIMIT 1",
        moment("completed_at")
    ))
}

/// Whether the rows of the application's table can be told apart.
pub(super) fn shows_all(table: &Table) -> bool {
    APPLICATION.iter().all(|column| table.shows(column))
}

/// Whether a job can be found in it.
pub(super) fn is_searchable(table: &Table) -> bool {
    ["id", "name", "state"].iter().all(|column| table.shows(column))
}

/// The columns of a job that this role may not read.
pub(super) fn unreadable(table: &Table, layout: &TableLayout) -> Vec<String> {
    let columns = JOB.iter().map(|(_, column)| spelled(column, layout));
    columns.filter(|column| table.has(column) && !table.shows(column)).collect()
}

/// pg-boss 9 writes its columns without underscores.
fn spelled(column: &str, layout: &TableLayout) -> String {
    match (layout.columns, column) {
        (Columns::Lowercase, "expire_seconds") => "expirein".to_owned(),
        (Columns::Interval, "expire_seconds") => "expire_in".to_owned(),
        (Columns::Lowercase, _) => column.replace('_', ""),
        (Columns::Interval | Columns::Seconds, _) => column.to_owned(),
    }
}

/// The wanted jobs of one of pg-boss's tables. From version 10 on a job is known by its queue's
/// name and its id, and each queue may be a partition.
fn one_of(
    names: &Names,
    layout: &TableLayout,
    name: &str,
    table: &Table,
    archived: &str,
) -> String {
    let mut columns = vec![
        format!("left(id::text, {TEXT_LIMIT}) AS id"),
        format!("left(name, {}) AS queue", TEXT_LIMIT + 1),
        "state::text AS state".to_owned(),
        format!("{archived} AS archived"),
    ];
    for (field, column) in JOB {
        let column = spelled(column, layout);
        let value = match field {
            "retry_backoff" if !table.shows(&column) => "NULL::boolean".to_owned(),
            _ if !table.shows(&column) => "NULL::int8".to_owned(),
            "retry_backoff" => column,
            "created" | "start_after" | "started" | "completed" => moment(&column),
            "expire" if layout.columns != Columns::Seconds => format!(
                "CASE WHEN {column} BETWEEN interval '0' AND {LONGEST} THEN floor(extract(epoch FROM {column}))::int8 END"
            ),
            _ => format!("{column}::int8"),
        };
        columns.push(format!("{value} AS {field}"));
    }
    let blocked =
        if layout.blocked && table.shows("blocked") { "blocked" } else { "NULL::boolean" };
    columns.push(format!("{blocked} AS blocked"));
    let (columns, from) = (columns.join(", "), names.pgboss(name));
    match layout.queue_table {
        true => format!(
            "(SELECT one.* FROM wanted CROSS JOIN queues CROSS JOIN LATERAL (SELECT {columns} FROM {from} AS jobs \
             WHERE jobs.name = queues.name AND jobs.id = wanted.id LIMIT 1) AS one)"
        ),
        false => format!(
            "(SELECT one.* FROM wanted CROSS JOIN LATERAL (SELECT {columns} FROM {from} AS jobs \
             WHERE jobs.id = wanted.id AND (jobs.name = $2 OR jobs.name LIKE $3) LIMIT 1) AS one)"
        ),
    }
}

fn application_row(table: &Table, which: &str) -> String {
    let optional = |column: &str, value: String| match table.shows(column) {
        true => value,
        false => "NULL".to_owned(),
    };
    format!(
        "SELECT {id} AS id, {status} AS status, {worker} AS worker, {created} AS created, \
         {started} AS started, {completed} AS completed FROM {TABLE} WHERE {which} LIMIT 1",
        id = text("id"),
        status = text("status"),
        worker = optional("worker_id", text("worker_id")),
        created = optional("created_at", moment("created_at")),
        started = optional("started_at", moment("started_at")),
        completed = optional("completed_at", moment("completed_at")),
    )
}

/// Tables of which row-level security may hide rows from this role: a hidden row is not a missing
/// one.
fn hidden(names: &Names, layout: &TableLayout) -> String {
    let mut tables = vec![names.pgboss("version"), names.pgboss("job")];
    if layout.queue_table {
        tables.push(names.pgboss("queue"));
    }
    if layout.tables.archive.is_some() {
        tables.push(names.pgboss("archive"));
    }
    if layout.registry.is_ok() {
        tables.push(names.registry());
    }
    if layout.tables.application.is_some() {
        tables.push(TABLE.to_owned());
    }
    hidden_among(&tables)
}

fn text(column: &str) -> String {
    format!("left({column}::text, {})", TEXT_LIMIT + 1)
}

/// Milliseconds, or null for what is no moment.
fn moment(column: &str) -> String {
    format!("CASE WHEN {} THEN {} END", sane(column), milliseconds(column))
}
