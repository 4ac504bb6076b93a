//! Gathers those who want a tick into one that begins after all of them came.
//!
//! It takes two locks: who holds the first gathers, and who finds it held joins; the second is the
//! tick's own. Both are released before the tick begins and reads the queue. So who joins does so
//! before that reading, and who comes after it finds nobody to join and gathers for the next tick.

use super::source::{QueueSource, lock_number};
use crate::postgres::{Connection, PostgresError};
use fleet_protocol::ids::GroupName;
use fleet_protocol::reading::Unknown;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};

/// How long we wait for an answer that the server gives at once.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);

/// What a caller who wants a tick has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathering {
    /// Tick now, for all who joined.
    Tick,
    /// Nothing: the tick that another caller gathers for has not begun yet.
    Joined,
    /// Nothing: a tick runs, and went on for longer than [`GatheringRequest::patience`].
    StillRunning,
}

/// Whom to gather, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct GatheringRequest {
    /// The lock of the caller who gathers: [`gathering_key`].
    pub gathering: i64,
    /// The tick's own: [`lock_key`](super::lock_key).
    pub tick: i64,
    /// How long others have to join.
    pub pause: Duration,
    /// How long to wait after that for the end of a tick that runs.
    pub patience: Duration,
}

/// The lock of the caller who gathers the others for a tick on `group` in `region`.
#[must_use]
pub fn gathering_key(group: &GroupName, region: &str) -> i64 {
    lock_number(&format!("ghosthands-fleet gathering {group} in {region}"))
}

impl QueueSource {
    /// Joins those whom another caller gathers; where nobody does, gathers others and waits for
    /// the end of a tick that runs.
    ///
    /// # Errors
    /// Why the database gave no answer. A connection that died since the last tick gets one second
    /// attempt.
    pub async fn gather(&mut self, request: GatheringRequest) -> Result<Gathering, Unknown> {
        self.check_pause()?;
        let gathered = self.gather_twice(request).await;
        gathered.map_err(|error| self.unknown_for(error))
    }

    async fn gather_twice(
        &mut self,
        request: GatheringRequest,
    ) -> Result<Gathering, PostgresError> {
        let warm = self.is_warm();
        let connection = match self.open().await {
            Err(error) if warm && error.lost_connection() => self.open().await?,
            opened => opened?,
        };
        let gathering = gather_on(&connection, request).await?;
        // Of a transaction that an error ended, Postgres takes COMMIT for ROLLBACK.
        self.end(connection, "COMMIT").await;
        Ok(gathering)
    }
}

async fn gather_on(
    connection: &Connection,
    request: GatheringRequest,
) -> Result<Gathering, PostgresError> {
    let GatheringRequest { gathering, tick, pause, patience } = request;
    let gathering: [(&(dyn ToSql + Sync), Type); 1] = [(&gathering, Type::INT8)];
    let tick: [(&(dyn ToSql + Sync), Type); 1] = [(&tick, Type::INT8)];
    let rows =
        connection.query("SELECT pg_try_advisory_xact_lock($1)", &gathering, ANSWER_LIMIT).await?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(Gathering::Joined);
    }
    tokio::time::sleep(pause).await;
    let limits = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{}ms'",
        patience.as_millis()
    );
    connection.execute(&limits, ANSWER_LIMIT).await?;
    let waited = connection
        .query("SELECT pg_advisory_xact_lock($1)::text", &tick, patience + ANSWER_LIMIT)
        .await;
    match waited {
        Ok(_) => Ok(Gathering::Tick),
        Err(error) if error.sqlstate().is_some_and(|state| state.code() == "55P03") => {
            Ok(Gathering::StillRunning)
        }
        Err(error) => Err(error),
    }
}
