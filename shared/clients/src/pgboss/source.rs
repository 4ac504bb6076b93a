//! The queue source: one warm connection, one transaction per tick, one statement in it.

use super::names::Names;
use super::probe::{self, ActivePlan, Catalog, Shape, unknown};
use super::read::Document;
use super::sql;
use crate::postgres::{Connection, Database, Failure};
use fleet_core::scaling::QueueSnapshot;
use fleet_core::status::WorkerDetail;
use fleet_protocol::ids::{GroupName, WorkerId};
use fleet_protocol::reading::{Unknown, UnknownCause};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

/// How long we wait for the server to begin or end a transaction.
const TURNAROUND_LIMIT: Duration = Duration::from_millis(1500);
/// How long we wait for a statement: its own limit in [`sql::BEGIN`] and time for the way, so that
/// it is the server that says it took too long.
const STATEMENT_LIMIT: Duration = Duration::from_millis(2500);
/// The longest [`QueueSource::begin`] may take, second attempt included.
const BEGIN_LIMIT: Duration = Duration::from_secs(8);
/// The catalog is read again after this long, to notice a new index, a grant or a table that grew.
const SHAPE_LIFETIME: Duration = Duration::from_secs(300);

/// Reads the queue for one tick at a time.
#[derive(Debug)]
pub struct QueueSource {
    database: Database,
    names: Names,
    /// Kept from one tick to the next. Taken out while in use and put back only after a clean end,
    /// so that an error, a panic or a dropped future closes it.
    connection: Option<Connection>,
    shape: Option<(Shape, Instant)>,
}

/// The start of a tick.
#[derive(Debug)]
pub enum Begun<'a> {
    Tick(Tick<'a>),
    /// Another tick is at work on the same group.
    Busy,
}

/// A tick that holds the lock, and what it saw. The transaction stays open until
/// [`finish`](Tick::finish); dropped, the connection closes and the lock goes too.
#[derive(Debug)]
pub struct Tick<'a> {
    source: &'a mut QueueSource,
    connection: Connection,
    snapshot: Box<QueueSnapshot>,
}

/// The lock that keeps ticks on `group` apart: the first eight bytes of a hash, since Postgres
/// names such locks by number.
pub fn lock_key(group: &GroupName) -> i64 {
    let hash = Sha256::digest(format!("ghosthands-fleet autoscale {group}"));
    let mut key = [0; 8];
    key.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(key)
}

/// Why an attempt ended without an answer.
enum Trouble {
    Failure(Failure),
    Unknown(Unknown),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failure(failure)
    }
}

impl From<Unknown> for Trouble {
    fn from(unknown: Unknown) -> Trouble {
        Trouble::Unknown(unknown)
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Question {
    /// A tick's; who only looks takes none, so that no tick finds it held.
    lock: Option<i64>,
    look_ahead: i32,
    /// With what only people look at.
    detail: bool,
}

/// What there is to see, for people.
#[derive(Clone, Debug)]
pub struct Look {
    pub snapshot: QueueSnapshot,
    pub details: BTreeMap<WorkerId, WorkerDetail>,
}

impl Question {
    fn of_tick(lock: i64, look_ahead: u32) -> Question {
        Question { lock: Some(lock), look_ahead: seconds(look_ahead), detail: false }
    }

    fn to_look(look_ahead: u32) -> Question {
        Question { lock: None, look_ahead: seconds(look_ahead), detail: true }
    }
}

fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

// === impl Tick ===

impl Tick<'_> {
    pub fn snapshot(&self) -> &QueueSnapshot {
        &self.snapshot
    }

    /// Ends the transaction, which releases the lock, and keeps the connection for the next tick.
    pub async fn finish(self) {
        let Tick { source, connection, .. } = self;
        source.end(connection, "COMMIT").await;
    }
}

// === impl QueueSource ===

impl QueueSource {
    /// Connects at the first tick.
    pub fn new(database: Database, names: Names) -> QueueSource {
        QueueSource { database, names, connection: None, shape: None }
    }

    /// Takes the lock and the snapshot in one statement. `look_ahead`: seconds within which a
    /// waiting job counts as due soon.
    ///
    /// A connection that died between ticks, or tables that changed under a cached shape, get one
    /// second attempt. All in all it takes 8 s at most.
    ///
    /// # Errors
    /// Why the queue is unknown: no answer, a refusal, or tables that are not there.
    pub async fn begin(&mut self, lock: i64, look_ahead: u32) -> Result<Begun<'_>, Unknown> {
        match self.answer(Question::of_tick(lock, look_ahead), BEGIN_LIMIT).await? {
            (connection, Some(Look { snapshot, .. })) => {
                Ok(Begun::Tick(Tick { source: self, connection, snapshot: Box::new(snapshot) }))
            }
            (connection, None) => {
                self.end(connection, "ROLLBACK").await;
                Ok(Begun::Busy)
            }
        }
    }

    /// The same snapshot for people, with more about the workers, within `limit`. It takes no lock
    /// and is in no tick's way.
    ///
    /// # Errors
    /// As for a tick.
    pub async fn look(&mut self, look_ahead: u32, limit: Duration) -> Result<Look, Unknown> {
        let (connection, look) = self.answer(Question::to_look(look_ahead), limit).await?;
        self.end(connection, "COMMIT").await;
        look.ok_or_else(|| unknown(UnknownCause::Unreadable, "the snapshot is empty".to_owned()))
    }

    async fn answer(
        &mut self,
        question: Question,
        limit: Duration,
    ) -> Result<(Connection, Option<Look>), Unknown> {
        let answer = timeout(limit, self.attempt_twice(question)).await.unwrap_or_else(|_| {
            Err(Failure::TimedOut("connecting and reading the queue", limit).into())
        });
        answer.map_err(|trouble| match trouble {
            Trouble::Unknown(unknown) => unknown,
            Trouble::Failure(failure) => {
                self.avoid_slow_scan(&failure);
                failure.into_unknown(&self.database)
            }
        })
    }

    /// The executed plan of the snapshot statement, with times and buffers, as Postgres prints it.
    ///
    /// # Errors
    /// Why the queue is unknown.
    pub async fn explain(&mut self, look_ahead: u32) -> Result<String, Unknown> {
        match self.plan(Question::of_tick(0, look_ahead)).await {
            Ok(plan) => Ok(plan),
            Err(Trouble::Unknown(unknown)) => Err(unknown),
            Err(Trouble::Failure(failure)) => Err(failure.into_unknown(&self.database)),
        }
    }

    async fn attempt_twice(
        &mut self,
        question: Question,
    ) -> Result<(Connection, Option<Look>), Trouble> {
        let warm = self.connection.is_some();
        let answer = self.attempt(question).await;
        match &answer {
            Err(Trouble::Failure(failure))
                if self.forget_changed_tables(failure) || (warm && failure.lost_connection()) =>
            {
                self.attempt(question).await
            }
            _ => answer,
        }
    }

    async fn attempt(&mut self, question: Question) -> Result<(Connection, Option<Look>), Trouble> {
        let connection = self.open().await?;
        let shape = self.current_shape(&connection).await?;
        let Some(document) = self.read(&connection, &shape, question).await? else {
            return Ok((connection, None));
        };
        if document.version == Some(shape.version) {
            return Ok((connection, Some(self.seen(document, &shape, question)?)));
        }
        // pg-boss migrated since the catalog was read.
        self.shape = None;
        let shape = self.current_shape(&connection).await?;
        match self.read(&connection, &shape, question).await? {
            Some(document) if document.version == Some(shape.version) => {
                Ok((connection, Some(self.seen(document, &shape, question)?)))
            }
            Some(_) => Err(Trouble::Unknown(unknown(
                UnknownCause::Unreadable,
                "pg-boss's schema version changes from one statement to the next; a migration is running".to_owned(),
            ))),
            None => Ok((connection, None)),
        }
    }

    fn seen(&self, document: Document, shape: &Shape, question: Question) -> Result<Look, Unknown> {
        let details = document.details();
        let snapshot = document.into_snapshot(&self.names, shape, question.detail)?;
        Ok(Look { snapshot, details })
    }

    /// A connection with a transaction begun on it.
    async fn open(&mut self) -> Result<Connection, Failure> {
        let connection = match self.connection.take().filter(|warm| !warm.is_closed()) {
            Some(warm) => warm,
            None => self.database.connect().await?,
        };
        connection.execute(sql::BEGIN, TURNAROUND_LIMIT).await?;
        Ok(connection)
    }

    /// The version is read before the catalog: should a migration come between, the snapshot's own
    /// version then differs and gives it away.
    async fn current_shape(&mut self, connection: &Connection) -> Result<Shape, Trouble> {
        if let Some((shape, read)) = &self.shape
            && read.elapsed() < SHAPE_LIFETIME
        {
            return Ok(shape.clone());
        }
        self.shape = None;
        let rows = connection
            .query(&sql::version(&self.names), &[], STATEMENT_LIMIT)
            .await
            .map_err(|failure| self.explain_missing(failure))?;
        let version = rows.first().and_then(|row| row.get::<_, Option<i32>>(0));
        let version = version.and_then(|version| u32::try_from(version).ok()).ok_or_else(|| {
            unknown(
                UnknownCause::Missing,
                format!(
                    "{} is empty; start pg-boss once so that it installs its schema",
                    self.names.pgboss("version")
                ),
            )
        })?;
        let tables = [
            self.names.pgboss("job"),
            self.names.pgboss("queue"),
            self.names.pgboss("archive"),
            self.names.registry(),
        ];
        let parameters = tables.each_ref().map(|table| (table as &(dyn ToSql + Sync), Type::TEXT));
        let rows = connection.query(&probe::statement(), &parameters, STATEMENT_LIMIT).await?;
        let catalog: Catalog = rows
            .first()
            .and_then(|row| serde_json::from_str(row.get::<_, &str>(0)).ok())
            .ok_or_else(|| {
                unknown(UnknownCause::Unreadable, "the catalog's answer cannot be read".to_owned())
            })?;
        let shape = catalog.shape(version, &self.names)?;
        self.shape = Some((shape.clone(), Instant::now()));
        Ok(shape)
    }

    async fn read(
        &self,
        connection: &Connection,
        shape: &Shape,
        question: Question,
    ) -> Result<Option<Document>, Trouble> {
        let statement = sql::snapshot(&self.names, shape, question.detail);
        let rows = self.ask(connection, &statement, question).await?;
        match rows.first().and_then(|row| row.get::<_, Option<&str>>(0)) {
            Some(text) => Ok(Some(Document::parse(text)?)),
            None => Ok(None),
        }
    }

    async fn plan(&mut self, question: Question) -> Result<String, Trouble> {
        let connection = self.open().await?;
        let shape = self.current_shape(&connection).await?;
        let statement =
            format!("EXPLAIN (ANALYZE, BUFFERS) {}", sql::snapshot(&self.names, &shape, false));
        let rows = self.ask(&connection, &statement, question).await?;
        let lines: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        self.end(connection, "ROLLBACK").await;
        Ok(lines.join("\n"))
    }

    /// Ends the transaction and keeps the connection. Nothing was written, so a failure loses
    /// nothing but the connection.
    async fn end(&mut self, connection: Connection, how: &str) {
        if connection.execute(how, TURNAROUND_LIMIT).await.is_ok() {
            self.connection = Some(connection);
        }
    }

    async fn ask(
        &self,
        connection: &Connection,
        statement: &str,
        question: Question,
    ) -> Result<Vec<tokio_postgres::Row>, Failure> {
        let Question { lock, look_ahead, .. } = &question;
        let pattern = self.names.target_pattern();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (lock, Type::INT8),
            (&self.names.queue, Type::TEXT),
            (&pattern, Type::TEXT),
            (look_ahead, Type::INT4),
        ];
        connection.query(statement, &parameters, STATEMENT_LIMIT).await
    }

    /// Drops the cached shape where `failure` says that a table or a column in it is gone or may
    /// not be read any more. True where a second attempt makes sense.
    fn forget_changed_tables(&mut self, failure: &Failure) -> bool {
        let changed = failure
            .sqlstate()
            .is_some_and(|state| matches!(state.code(), "42P01" | "42703" | "42501"));
        changed && self.shape.take().is_some()
    }

    /// After a snapshot that scanned for active jobs took too long, leaves them out until the
    /// catalog is read again: the ready jobs can then still be seen.
    fn avoid_slow_scan(&mut self, failure: &Failure) {
        let slow = failure.sqlstate().is_some_and(|state| state.code() == "57014");
        if let Some((shape, _)) = &mut self.shape
            && slow
            && shape.active == ActivePlan::Scan
        {
            shape.active = ActivePlan::Skip(probe::too_costly(&self.names.pgboss("job")));
        }
    }

    fn explain_missing(&self, failure: Failure) -> Trouble {
        match failure.sqlstate().map(tokio_postgres::error::SqlState::code) {
            Some("42P01") => Trouble::Unknown(unknown(
                UnknownCause::Missing,
                format!(
                    "{} does not exist; check the pg-boss schema name and the database in DATABASE_URL, or start pg-boss once so that it installs its schema",
                    self.names.pgboss("version")
                ),
            )),
            _ => Trouble::Failure(failure),
        }
    }
}
