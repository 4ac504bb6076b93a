//! One job by its id, with what the application and the registry know of it.

use super::document::identifier;
use super::job_statement as statement;
use super::layout::{self, TableLayout, unknown};
use super::outcomes::TABLE;
use super::source::{QueueSource, ReadError};
use crate::postgres::{Connection, PostgresError};
use fleet_core::passport::{ApplicationJob, JobId, JobState, QueueJob, RegisteredWorker};
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

/// A statement's own limit and time for the way.
const LIMIT: Duration = Duration::from_millis(2500);

/// What the database knows of a job.
#[derive(Clone, Debug)]
pub struct FoundJob {
    /// The database's clock.
    pub now: UnixMs,
    /// `None` where no table has it.
    pub job: Option<QueueJob>,
    pub application: Reading<Option<ApplicationJob>>,
    /// The row of the worker that took it, where one is named.
    pub worker: Reading<Option<RegisteredWorker>>,
    /// When that worker ended the job before.
    pub job_before: Reading<Option<UnixMs>>,
    /// Where it was looked for, in words.
    pub looked_in: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Document {
    now_ms: i64,
    version: Option<u32>,
    replica: bool,
    role: String,
    queues: Option<u32>,
    hidden: Vec<String>,
    job: Option<JobRow>,
    application: Option<ApplicationRow>,
}

#[derive(Debug, Deserialize)]
struct JobRow {
    id: String,
    queue: String,
    state: String,
    archived: bool,
    created: Option<i64>,
    start_after: Option<i64>,
    started: Option<i64>,
    completed: Option<i64>,
    retry_count: Option<i64>,
    retry_limit: Option<i64>,
    retry_delay: Option<i64>,
    retry_backoff: Option<bool>,
    expire: Option<i64>,
    blocked: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ApplicationRow {
    id: String,
    status: Option<String>,
    worker: Option<String>,
    created: Option<i64>,
    started: Option<i64>,
    completed: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct WorkerRow {
    worker: String,
    instance: Option<String>,
    registered: Option<i64>,
}

impl QueueSource {
    /// The job with this id, pg-boss's or the application's, in the general queue and the targeted
    /// ones, within `limit`. It reads times, states and names, and no payload.
    ///
    /// # Errors
    /// Why the jobs cannot be read: no answer, a refusal, or tables that are not there.
    pub async fn job(&mut self, id: &JobId, limit: Duration) -> Result<FoundJob, Unknown> {
        self.check_pause()?;
        let found = timeout(limit, self.find_twice(id)).await.unwrap_or_else(|_| {
            Err(PostgresError::TimedOut("connecting and reading a job", limit).into())
        });
        found.map_err(|error| match error {
            ReadError::Unknown(unknown) => unknown,
            ReadError::Postgres(error) => self.unknown_for(error),
        })
    }

    /// A connection that died since it was used, or tables that changed, get a second attempt.
    async fn find_twice(&mut self, id: &JobId) -> Result<FoundJob, ReadError> {
        let warm = self.is_warm();
        match self.find(id).await {
            Err(ReadError::Postgres(failure))
                if self.forget_changed_tables(&failure) || (warm && failure.lost_connection()) =>
            {
                self.find(id).await
            }
            found => found,
        }
    }

    async fn find(&mut self, id: &JobId) -> Result<FoundJob, ReadError> {
        let connection = self.open().await?;
        let layout = self.current_layout(&connection).await?;
        let document = self.read_job(&connection, &layout, id).await?;
        let (layout, document) = if document.version == Some(layout.version) {
            (layout, document)
        } else {
            // pg-boss migrated since the catalog was read.
            self.forget_layout();
            let layout = self.current_layout(&connection).await?;
            let document = self.read_job(&connection, &layout, id).await?;
            (layout, document)
        };
        let found = self.found(&connection, &layout, document).await?;
        // A statement of those beside the job may have failed, and ended the transaction.
        self.end(connection, "ROLLBACK").await;
        Ok(found)
    }

    async fn read_job(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        id: &JobId,
    ) -> Result<Document, ReadError> {
        let (id, pattern) = (id.as_str(), self.names().target_pattern());
        let queue = &self.names().queue;
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&id, Type::TEXT), (&queue, Type::TEXT), (&pattern, Type::TEXT)];
        let statement = statement::job(self.names(), layout);
        let rows = connection.query(&statement, &parameters, LIMIT).await?;
        let text = rows.first().and_then(|row| row.get::<_, Option<&str>>(0)).unwrap_or_default();
        let document: Document = serde_json::from_str(text).map_err(|error| {
            unknown(UnknownCause::Unreadable, format!("the job cannot be read: {error}"))
        })?;
        if document.replica {
            return Err(ReadError::Unknown(unknown(
                UnknownCause::Unreadable,
                "the database is a standby, which may lag behind; point DATABASE_URL at the primary"
                    .to_owned(),
            )));
        }
        Ok(document)
    }

    async fn found(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        document: Document,
    ) -> Result<FoundJob, ReadError> {
        let names = self.names();
        let hides = |table: &str| {
            let table = document.hidden.iter().find(|hidden| *hidden == table)?;
            Some(layout::hidden(table, &document.role))
        };
        let tables = ["version", "job", "queue", "archive"].map(|table| names.pgboss(table));
        if let Some(hidden) = tables.iter().find_map(|table| hides(table)) {
            return Err(hidden.into());
        }
        let looked_in = self.looked_in(layout, document.queues);
        let job = document.job.map(|row| row.read(names.target_prefix().as_str(), layout));
        let mut application = match (hides(TABLE), application_gap(layout)) {
            (Some(hidden), _) => Reading::Unknown(hidden),
            (None, Some(gap)) => Reading::Unknown(gap),
            (None, None) => Reading::Known(document.application.map(ApplicationRow::read)),
        };
        let started = job.as_ref().and_then(|job| job.started);
        if let (Reading::Known(None), Some(job), Some(started)) = (&application, &job, started) {
            application = self.noted(connection, layout, &job.id, started).await;
        }
        let row = application.known().and_then(Option::as_ref);
        let target = job.as_ref().and_then(|job| job.target.clone());
        let worker =
            row.and_then(|row| row.worker.clone()).or(target).filter(|_| started.is_some());
        let application_id = row.map(|row| row.id.clone());
        let (worker, job_before) = match (worker, started) {
            (Some(worker), Some(started)) => {
                let row = match hides(&names.registry()) {
                    Some(hidden) => Reading::Unknown(hidden),
                    None => self.registered(connection, layout, &worker).await,
                };
                let before = match hides(TABLE) {
                    Some(hidden) => Reading::Unknown(hidden),
                    None => {
                        self.job_before(connection, layout, &worker, started, application_id).await
                    }
                };
                (row, before)
            }
            _ => {
                let nobody = || unknown(UnknownCause::NotAsked, "no worker is named".to_owned());
                (Reading::Unknown(nobody()), Reading::Unknown(nobody()))
            }
        };
        let now = UnixMs(document.now_ms);
        Ok(FoundJob { now, job, application, worker, job_before, looked_in })
    }

    fn looked_in(&self, layout: &TableLayout, queues: Option<u32>) -> Vec<String> {
        let names = self.names();
        let (job, queue) = (names.pgboss("job"), &names.queue);
        let mut looked_in = vec![match queues {
            Some(0) => format!("{job} (there is neither a queue {queue} nor one for a worker)"),
            Some(queues) => format!("{job} ({queue} and its queues for workers, {queues} in all)"),
            None => format!("{job} ({queue} and its queues for workers)"),
        }];
        if let Some(archive) = &layout.tables.archive {
            let name = names.pgboss("archive");
            looked_in.push(match statement::is_searchable(archive) {
                true => name,
                false => format!("not in {name}, which the role may not read (docs/sql/role.sql)"),
            });
        }
        looked_in.push(match application_gap(layout) {
            None => TABLE.to_owned(),
            Some(gap) => format!("not in {TABLE}: {}", gap.detail),
        });
        looked_in
    }

    async fn noted(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        id: &str,
        started: UnixMs,
    ) -> Reading<Option<ApplicationJob>> {
        let Some(statement) = statement::noted_application(layout) else {
            return Reading::Unknown(unknown(
                UnknownCause::NotAsked,
                format!(
                    "{TABLE} has no row with this id, and the role may not read its metadata, where pgBossJobId is; grant it as docs/sql/role.sql does, or ask with the application's id"
                ),
            ));
        };
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&id, Type::TEXT), (&started.0, Type::INT8)];
        self.one(connection, &statement, &parameters, ApplicationRow::read).await
    }

    async fn registered(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        worker: &WorkerId,
    ) -> Reading<Option<RegisteredWorker>> {
        if let Err(unreadable) = &layout.registry {
            return Reading::Unknown(unreadable.clone());
        }
        let worker = worker.as_str();
        let statement = statement::worker(self.names(), layout);
        self.one(connection, &statement, &[(&worker, Type::TEXT)], WorkerRow::read).await
    }

    /// The one row of a statement, as JSON text.
    async fn one<Row: for<'de> Deserialize<'de>, T>(
        &self,
        connection: &Connection,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        read: fn(Row) -> T,
    ) -> Reading<Option<T>> {
        let rows = match connection.query(statement, parameters, LIMIT).await {
            Ok(rows) => rows,
            Err(error) => return Reading::Unknown(self.failed(error)),
        };
        let Some(text) = rows.first().and_then(|row| row.get::<_, Option<&str>>(0)) else {
            return Reading::Known(None);
        };
        match serde_json::from_str(text) {
            Ok(row) => Reading::Known(Some(read(row))),
            Err(error) => Reading::Unknown(unknown(
                UnknownCause::Unreadable,
                format!("the row cannot be read: {error}"),
            )),
        }
    }

    /// A statement beside the job's own: its failure costs its own answer.
    fn failed(&self, error: PostgresError) -> Unknown {
        let slow = error.sqlstate().is_some_and(|state| state.code() == "57014");
        match slow {
            true => unknown(
                UnknownCause::TimedOut,
                format!(
                    "{TABLE} took too long; create the index on started_at of docs/sql/role.sql"
                ),
            ),
            false => self.unknown_of(error),
        }
    }

    async fn job_before(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        worker: &WorkerId,
        started: UnixMs,
        application_id: Option<String>,
    ) -> Reading<Option<UnixMs>> {
        let Some(statement) = statement::job_before(layout) else {
            return Reading::Unknown(unknown(
                UnknownCause::NotAsked,
                format!(
                    "the role may not read id, worker_id, started_at and completed_at of {TABLE}; grant them as docs/sql/role.sql does"
                ),
            ));
        };
        let worker = worker.as_str();
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&worker, Type::TEXT), (&started.0, Type::INT8), (&application_id, Type::TEXT)];
        match connection.query(&statement, &parameters, LIMIT).await {
            Err(error) => Reading::Unknown(self.failed(error)),
            Ok(rows) => match rows.first().map(|row| row.get::<_, Option<i64>>(0)) {
                None => Reading::Known(None),
                Some(Some(ended)) => Reading::Known(Some(UnixMs(ended))),
                Some(None) => Reading::Unknown(unknown(
                    UnknownCause::Missing,
                    format!("the job that its worker took before has no completed_at in {TABLE}"),
                )),
            },
        }
    }
}

/// Why the application's table says nothing.
fn application_gap(layout: &TableLayout) -> Option<Unknown> {
    match &layout.tables.application {
        None => Some(unknown(UnknownCause::Missing, format!("there is no table {TABLE}"))),
        Some(table) if statement::shows_all(table) => None,
        Some(_) => Some(unknown(
            UnknownCause::NotAsked,
            "the role may not read its id and status; grant them as docs/sql/role.sql does"
                .to_owned(),
        )),
    }
}

fn whole(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

impl JobRow {
    fn read(self, prefix: &str, layout: &TableLayout) -> QueueJob {
        let tables = &layout.tables;
        let table = if self.archived { tables.archive.as_ref() } else { Some(&tables.job) };
        let unreadable = table.map(|table| statement::unreadable(table, layout));
        QueueJob {
            target: self.queue.strip_prefix(prefix).map(|id| WorkerId::new(identifier(id))),
            id: self.id,
            queue: identifier(&self.queue),
            state: JobState::read(&self.state),
            created: self.created.map(UnixMs),
            start_after: self.start_after.map(UnixMs),
            started: self.started.map(UnixMs),
            completed: self.completed.map(UnixMs),
            retry_count: whole(self.retry_count),
            retry_limit: whole(self.retry_limit),
            retry_delay_s: whole(self.retry_delay),
            retry_backoff: self.retry_backoff,
            expire_s: whole(self.expire),
            blocked: self.blocked == Some(true),
            archived: self.archived,
            unreadable: unreadable.unwrap_or_default(),
        }
    }
}

impl ApplicationRow {
    fn read(self) -> ApplicationJob {
        ApplicationJob {
            id: identifier(&self.id),
            status: identifier(self.status.as_deref().unwrap_or("null")),
            worker: self.worker.as_deref().map(|id| WorkerId::new(identifier(id))),
            created: self.created.map(UnixMs),
            started: self.started.map(UnixMs),
            completed: self.completed.map(UnixMs),
        }
    }
}

impl WorkerRow {
    fn read(self) -> RegisteredWorker {
        RegisteredWorker {
            worker: WorkerId::new(identifier(&self.worker)),
            instance: self.instance.as_deref().and_then(|id| InstanceId::parse(id).ok()),
            registered: self.registered.map(UnixMs),
        }
    }
}
