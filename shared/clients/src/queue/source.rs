//! The queue source: one warm connection, one transaction per tick, one statement in it.

use super::document::Document;
use super::layout::{self, ActivePlan, Catalog, TableLayout, unknown};
use super::names::Names;
use super::outcomes;
use super::refused::Refused;
use super::statement::{self, Scope};
use crate::postgres::{Connection, Database, PostgresError};
use fleet_core::scaling::QueueSnapshot;
use fleet_core::status::WorkerDetail;
use fleet_protocol::ids::{GroupName, WorkerId};
use fleet_protocol::reading::{Unknown, UnknownCause};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

/// How long we wait for the server to begin or end a transaction.
const TURNAROUND_LIMIT: Duration = Duration::from_millis(1500);
/// How long we wait for a statement: its own limit in [`statement::BEGIN`] and time for the way, so
/// that it is the server that says it took too long.
const STATEMENT_LIMIT: Duration = Duration::from_millis(2500);
/// The longest [`QueueSource::begin`] may take, second attempt included.
const BEGIN_LIMIT: Duration = Duration::from_secs(8);
/// The catalog is read again after this long, to notice a new index, a grant or a table that grew.
const LAYOUT_LIFETIME: Duration = Duration::from_secs(300);

/// The most jobs that are counted, whatever the maximum of the fleet.
const COUNT_MOST: u32 = 100_000;

/// Reads the queue for one tick at a time.
#[derive(Debug)]
pub struct QueueSource {
    database: Database,
    names: Names,
    /// Kept from one tick to the next. Taken out while in use and put back only after a clean end,
    /// so that an error, a panic or a dropped future closes it.
    connection: Option<Connection>,
    /// Jobs of one group that the workers run at a time, where they limit it.
    group_limit: Option<NonZeroU32>,
    refused: Refused,
    layout: Option<(TableLayout, Instant)>,
}

/// Whether this tick got the lock that keeps ticks on one group apart.
#[derive(Debug)]
pub enum TickLock<'a> {
    Acquired(LockedTick<'a>),
    /// Another tick is at work on the same group.
    HeldElsewhere,
}

/// A tick that holds the lock, and what it saw. The transaction stays open until
/// [`finish`](LockedTick::finish); dropped, the connection closes and the lock goes too.
#[derive(Debug)]
pub struct LockedTick<'a> {
    source: &'a mut QueueSource,
    connection: Connection,
    snapshot: Box<QueueSnapshot>,
}

/// The lock that keeps ticks on `group` in `region` apart. Groups of one name in two regions may
/// share a database.
#[must_use]
pub fn lock_key(group: &GroupName, region: &str) -> i64 {
    lock_number(&format!("ghosthands-fleet autoscale {group} in {region}"))
}

/// Postgres names advisory locks by number: this one by the first eight bytes of a hash.
pub(super) fn lock_number(name: &str) -> i64 {
    let hash = Sha256::digest(name);
    let mut number = [0; 8];
    number.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(number)
}

/// Why an attempt ended without an answer.
pub(super) enum ReadError {
    Postgres(PostgresError),
    Unknown(Unknown),
}

impl From<PostgresError> for ReadError {
    fn from(error: PostgresError) -> ReadError {
        ReadError::Postgres(error)
    }
}

impl From<Unknown> for ReadError {
    fn from(unknown: Unknown) -> ReadError {
        ReadError::Unknown(unknown)
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
struct SnapshotRequest {
    /// A tick's; who only looks takes none, so that no tick finds it held.
    lock: Option<i64>,
    look_ahead: i32,
    /// With what only people look at.
    detail: bool,
    /// Jobs of the general queue are counted up to this many.
    count_limit: u32,
}

/// What there is to see, for people.
#[derive(Clone, Debug)]
pub struct QueueView {
    pub snapshot: QueueSnapshot,
    pub details: BTreeMap<WorkerId, WorkerDetail>,
}

impl SnapshotRequest {
    fn for_tick(lock: i64, look_ahead: u32, useful: u32) -> SnapshotRequest {
        SnapshotRequest {
            lock: Some(lock),
            look_ahead: seconds(look_ahead),
            detail: false,
            count_limit: useful.clamp(statement::COUNT_LIMIT, COUNT_MOST),
        }
    }

    fn for_people(look_ahead: u32) -> SnapshotRequest {
        SnapshotRequest {
            lock: None,
            look_ahead: seconds(look_ahead),
            detail: true,
            count_limit: statement::COUNT_LIMIT,
        }
    }
}

fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

// === impl LockedTick ===

impl LockedTick<'_> {
    #[must_use]
    pub fn snapshot(&self) -> &QueueSnapshot {
        &self.snapshot
    }

    /// Ends the transaction, which releases the lock, and keeps the connection for the next tick.
    pub async fn finish(self) {
        let LockedTick { source, connection, .. } = self;
        source.end(connection, "COMMIT").await;
    }
}

// === impl QueueSource ===

impl QueueSource {
    /// Connects at the first tick.
    #[must_use]
    pub fn new(database: Database, names: Names) -> QueueSource {
        QueueSource {
            database,
            names,
            group_limit: None,
            refused: Refused::default(),
            connection: None,
            layout: None,
        }
    }

    /// The workers run no more than `limit` jobs of one group (`group_id`) at a time, as their
    /// `groupConcurrency` says.
    #[must_use]
    pub fn with_group_limit(self, limit: Option<NonZeroU32>) -> QueueSource {
        QueueSource { group_limit: limit, ..self }
    }

    /// Takes the lock and the snapshot in one statement. `look_ahead`: seconds within which a
    /// waiting job counts as due soon. `useful`: how many jobs the most workers there may be can
    /// run; more than these, and than a few thousand, are not counted.
    ///
    /// A connection that died between ticks, tables that changed under a cached layout, or a scan
    /// for active jobs that took too long, get one second attempt. All in all it takes 8 s at most.
    ///
    /// # Errors
    /// Why the queue is unknown: no answer, a refusal, or tables that are not there.
    pub async fn begin(
        &mut self,
        lock: i64,
        look_ahead: u32,
        useful: u32,
    ) -> Result<TickLock<'_>, Unknown> {
        match self.answer(SnapshotRequest::for_tick(lock, look_ahead, useful), BEGIN_LIMIT).await? {
            (connection, Some(QueueView { snapshot, .. })) => Ok(TickLock::Acquired(LockedTick {
                source: self,
                connection,
                snapshot: Box::new(snapshot),
            })),
            (connection, None) => {
                self.end(connection, "ROLLBACK").await;
                Ok(TickLock::HeldElsewhere)
            }
        }
    }

    /// The same snapshot for people, with more about the workers, within `limit`. It takes no lock
    /// and is in no tick's way.
    ///
    /// # Errors
    /// As for a tick.
    pub async fn view(&mut self, look_ahead: u32, limit: Duration) -> Result<QueueView, Unknown> {
        let (connection, view) =
            self.answer(SnapshotRequest::for_people(look_ahead), limit).await?;
        self.end(connection, "COMMIT").await;
        view.ok_or_else(|| unknown(UnknownCause::Unreadable, "the snapshot is empty".to_owned()))
    }

    async fn answer(
        &mut self,
        request: SnapshotRequest,
        limit: Duration,
    ) -> Result<(Connection, Option<QueueView>), Unknown> {
        self.check_pause()?;
        let answer = timeout(limit, self.attempt_twice(request)).await.unwrap_or_else(|_| {
            Err(PostgresError::TimedOut("connecting and reading the queue", limit).into())
        });
        if answer.is_ok() {
            self.refused.clear();
        }
        answer.map_err(|error| match error {
            ReadError::Unknown(unknown) => unknown,
            ReadError::Postgres(error) => self.unknown_for(error),
        })
    }

    /// # Errors
    /// While credentials that were refused are not tried again.
    pub(super) fn check_pause(&self) -> Result<(), Unknown> {
        self.refused.pause(Instant::now()).map_or(Ok(()), Err)
    }

    pub(super) fn unknown_for(&mut self, error: PostgresError) -> Unknown {
        let refused = error.refused_credentials();
        let unknown = error.into_unknown(&self.database);
        if refused {
            self.refused.note(unknown.clone(), Instant::now());
        }
        unknown
    }

    /// The same where it is no reason to stop asking.
    pub(super) fn unknown_of(&self, error: PostgresError) -> Unknown {
        error.into_unknown(&self.database)
    }

    /// Has the catalog read again.
    pub(super) fn forget_layout(&mut self) {
        self.layout = None;
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Whether there is a connection from the last transaction.
    pub(super) fn is_warm(&self) -> bool {
        self.connection.is_some()
    }

    /// The executed plan of the snapshot statement, with times and buffers, as Postgres prints it.
    ///
    /// # Errors
    /// Why the queue is unknown.
    pub async fn explain(&mut self, look_ahead: u32) -> Result<String, Unknown> {
        match self.plan(SnapshotRequest::for_tick(0, look_ahead, 0)).await {
            Ok(plan) => Ok(plan),
            Err(ReadError::Unknown(unknown)) => Err(unknown),
            Err(ReadError::Postgres(error)) => Err(error.into_unknown(&self.database)),
        }
    }

    async fn attempt_twice(
        &mut self,
        request: SnapshotRequest,
    ) -> Result<(Connection, Option<QueueView>), ReadError> {
        let warm = self.is_warm();
        let answer = self.attempt(request).await;
        match &answer {
            Err(ReadError::Postgres(failure))
                if self.forget_changed_tables(failure)
                    || self.avoid_slow_scan(failure)
                    || (warm && failure.lost_connection()) =>
            {
                self.attempt(request).await
            }
            _ => answer,
        }
    }

    async fn attempt(
        &mut self,
        request: SnapshotRequest,
    ) -> Result<(Connection, Option<QueueView>), ReadError> {
        let connection = self.open().await?;
        let layout = self.current_layout(&connection).await?;
        let Some(document) = self.read(&connection, &layout, request).await? else {
            return Ok((connection, None));
        };
        if document.fits(&layout) {
            return Ok((connection, Some(self.view_of(document, &layout, request)?)));
        }
        // pg-boss migrated, or the queue's policy changed, since the catalog was read.
        self.layout = None;
        let layout = self.current_layout(&connection).await?;
        match self.read(&connection, &layout, request).await? {
            Some(document) if document.fits(&layout) => {
                Ok((connection, Some(self.view_of(document, &layout, request)?)))
            }
            Some(_) => Err(ReadError::Unknown(unknown(
                UnknownCause::Unreadable,
                "pg-boss's schema version or the queue's policy changes from one statement to the next; a migration is running".to_owned(),
            ))),
            None => Ok((connection, None)),
        }
    }

    fn view_of(
        &self,
        document: Document,
        layout: &TableLayout,
        request: SnapshotRequest,
    ) -> Result<QueueView, Unknown> {
        let details = document.details();
        let snapshot = document.into_snapshot(&self.names, layout, request.detail)?;
        Ok(QueueView { snapshot, details })
    }

    /// A connection with a transaction begun on it.
    pub(super) async fn open(&mut self) -> Result<Connection, PostgresError> {
        let connection = match self.connection.take().filter(|warm| !warm.is_closed()) {
            Some(warm) => warm,
            None => self.database.connect().await?,
        };
        connection.execute(statement::BEGIN, TURNAROUND_LIMIT).await?;
        Ok(connection)
    }

    /// The version is read before the catalog: should a migration come between, the snapshot's own
    /// version then differs and gives it away.
    pub(super) async fn current_layout(
        &mut self,
        connection: &Connection,
    ) -> Result<TableLayout, ReadError> {
        if let Some((layout, read)) = &self.layout
            && read.elapsed() < LAYOUT_LIFETIME
        {
            return Ok(layout.clone());
        }
        self.layout = None;
        let rows = connection
            .query(&statement::version(&self.names), &[], STATEMENT_LIMIT)
            .await
            .map_err(|failure| self.explain_missing(failure))?;
        let version = rows.first().and_then(|row| row.get::<_, Option<i32>>(0));
        let version = version.and_then(|version| u32::try_from(version).ok()).ok_or_else(|| {
            unknown(
                UnknownCause::Missing,
                format!(
                    "{} is empty, or row-level security hides its row (docs/sql/row-security.sql); start pg-boss once so that it installs its schema",
                    self.names.pgboss("version")
                ),
            )
        })?;
        let tables = [
            self.names.pgboss("job"),
            self.names.pgboss("queue"),
            self.names.pgboss("archive"),
            self.names.registry(),
            outcomes::TABLE.to_owned(),
        ];
        let parameters = tables.each_ref().map(|table| (table as &(dyn ToSql + Sync), Type::TEXT));
        let rows = connection.query(&layout::statement(), &parameters, STATEMENT_LIMIT).await?;
        let catalog: Catalog = rows
            .first()
            .and_then(|row| serde_json::from_str(row.get::<_, &str>(0)).ok())
            .ok_or_else(|| {
                unknown(UnknownCause::Unreadable, "the catalog's answer cannot be read".to_owned())
            })?;
        let mut layout = catalog.layout(version, &self.names)?;
        if layout.policy_readable {
            let queue: [(&(dyn ToSql + Sync), Type); 1] = [(&self.names.queue, Type::TEXT)];
            let policy = statement::policy(&self.names);
            let rows = connection.query(&policy, &queue, STATEMENT_LIMIT).await?;
            layout.policy = rows.first().and_then(|row| row.get(0));
        }
        self.layout = Some((layout.clone(), Instant::now()));
        Ok(layout)
    }

    async fn read(
        &self,
        connection: &Connection,
        layout: &TableLayout,
        request: SnapshotRequest,
    ) -> Result<Option<Document>, ReadError> {
        let statement = statement::snapshot(&self.names, layout, self.scope(request));
        let rows = self.run(connection, &statement, request).await?;
        match rows.first().and_then(|row| row.get::<_, Option<&str>>(0)) {
            Some(text) => Ok(Some(Document::parse(text)?)),
            None => Ok(None),
        }
    }

    fn scope(&self, request: SnapshotRequest) -> Scope {
        let SnapshotRequest { detail, count_limit, .. } = request;
        Scope { detail, count_limit, group_limit: self.group_limit }
    }

    async fn plan(&mut self, request: SnapshotRequest) -> Result<String, ReadError> {
        let connection = self.open().await?;
        let layout = self.current_layout(&connection).await?;
        let statement = format!(
            "EXPLAIN (ANALYZE, BUFFERS) {}",
            statement::snapshot(&self.names, &layout, self.scope(request))
        );
        let rows = self.run(&connection, &statement, request).await?;
        let lines: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        self.end(connection, "ROLLBACK").await;
        Ok(lines.join("\n"))
    }

    /// Ends the transaction and keeps the connection. Nothing was written, so a failure loses
    /// nothing but the connection.
    pub(super) async fn end(&mut self, connection: Connection, how: &str) {
        if connection.execute(how, TURNAROUND_LIMIT).await.is_ok() {
            self.connection = Some(connection);
        }
    }

    async fn run(
        &self,
        connection: &Connection,
        statement: &str,
        request: SnapshotRequest,
    ) -> Result<Vec<tokio_postgres::Row>, PostgresError> {
        let SnapshotRequest { lock, look_ahead, .. } = &request;
        let pattern = self.names.target_pattern();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (lock, Type::INT8),
            (&self.names.queue, Type::TEXT),
            (&pattern, Type::TEXT),
            (look_ahead, Type::INT4),
        ];
        connection.query(statement, &parameters, STATEMENT_LIMIT).await
    }

    /// Drops the cached layout where `failure` says that a table or a column in it is gone or may
    /// not be read any more. True where a second attempt makes sense.
    pub(super) fn forget_changed_tables(&mut self, failure: &PostgresError) -> bool {
        let changed = failure
            .sqlstate()
            .is_some_and(|state| matches!(state.code(), "42P01" | "42703" | "42501"));
        changed && self.layout.take().is_some()
    }

    /// After a snapshot that scanned for active jobs took too long, leaves them out until the
    /// catalog is read again: the table grew since, and the ready jobs can still be seen. True
    /// where a second attempt makes sense.
    fn avoid_slow_scan(&mut self, failure: &PostgresError) -> bool {
        let slow = failure.sqlstate().is_some_and(|state| state.code() == "57014");
        match &mut self.layout {
            Some((layout, _)) if slow && layout.active == ActivePlan::Scan => {
                layout.active = ActivePlan::Skip(layout::too_costly(&self.names.pgboss("job")));
                true
            }
            _ => false,
        }
    }

    fn explain_missing(&self, failure: PostgresError) -> ReadError {
        match failure.sqlstate().map(tokio_postgres::error::SqlState::code) {
            Some("42P01") => ReadError::Unknown(unknown(
                UnknownCause::Missing,
                format!(
                    "{} does not exist; check the pg-boss schema name and the database in DATABASE_URL, or start pg-boss once so that it installs its schema",
                    self.names.pgboss("version")
                ),
            )),
            _ => ReadError::Postgres(failure),
        }
    }
}
