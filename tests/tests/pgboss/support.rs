//! What every test here needs: one server, a database of one's own in it, and a source on it.

use fleet_clients::postgres::{Database, DatabaseUrl, Trust};
use fleet_clients::queue::{Names, QueueSource, TickLock};
use fleet_core::scaling::QueueSnapshot;
use fleet_local::pgboss::{self, Boss};
use fleet_local::postgres::{Options, Postgres};
use fleet_local::registry;
use fleet_protocol::reading::Unknown;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) const QUEUE: &str = "gh_apply_job";
/// Seconds; between the due-soon and the deferred jobs of the scenario.
pub(crate) const LOOK_AHEAD: u32 = 120;

/// The version the workers run, and the last one of its major version.
pub(crate) const DOWNSTREAM: &str = "12.13.0";
pub(crate) const NEWEST: &str = "12.38.0";

/// One server for all tests that leave it running. Nothing changes its tables' statistics behind a
/// test's back.
pub(crate) fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(own_server)
}

/// A server for a test that stops or stalls it.
pub(crate) fn own_server() -> Postgres {
    let settings = [
        ("autovacuum", "off"),
        ("max_wal_size", "4GB"),
        ("shared_buffers", "256MB"),
        // A server that is killed must come back with all it acknowledged, and VACUUM marks only
        // what is flushed as visible to all.
        ("synchronous_commit", "on"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Postgres::start(Options { settings: settings.into(), ..Options::default() })
        .expect("start PostgreSQL")
}

/// Creates `database` and installs pg-boss `version` and the workers' tables in it.
pub(crate) fn install(server: &Postgres, database: &str, version: &str) -> Boss {
    server.create_database(database).expect("create a database");
    install_into(server, database, version)
}

pub(crate) fn install_into(server: &Postgres, database: &str, version: &str) -> Boss {
    registry::install(server, database).expect("create the registry");
    let mut boss = start(server, database, version);
    boss.create_queue(QUEUE, serde_json::json!({})).expect("create the queue");
    boss
}

pub(crate) fn start(server: &Postgres, database: &str, version: &str) -> Boss {
    let package = pgboss::install(version).expect("install pg-boss");
    package.start(&server.app_url_in(database), &server.ca_file()).expect("start pg-boss")
}

/// A source that reads `url`, believing `ca`.
pub(crate) fn source(url: &str, ca: Option<&str>) -> QueueSource {
    source_of(url, ca, QUEUE)
}

pub(crate) fn source_of(url: &str, ca: Option<&str>, queue: &str) -> QueueSource {
    let url = DatabaseUrl::parse(&url.to_owned().into()).expect("a database URL");
    let trust = Trust::load(ca, &url).expect("an authority");
    let names = Names::new("pgboss", queue, "gh_worker_registry").expect("names");
    QueueSource::new(Database::new(url, trust), names)
}

/// A source as the application's role on `database`.
pub(crate) fn app_source(server: &Postgres, database: &str) -> QueueSource {
    source(&server.app_url_in(database), Some(server.ca_pem()))
}

/// One whole tick.
pub(crate) async fn snapshot(source: &mut QueueSource) -> Result<QueueSnapshot, Unknown> {
    match source.begin(7, LOOK_AHEAD, 0).await? {
        TickLock::Acquired(tick) => {
            let snapshot = tick.snapshot().clone();
            tick.finish().await;
            Ok(snapshot)
        }
        TickLock::HeldElsewhere => panic!("nobody else holds this lock"),
    }
}

/// What people are shown.
pub(crate) async fn look(source: &mut QueueSource) -> Result<QueueSnapshot, Unknown> {
    source.view(LOOK_AHEAD, Duration::from_secs(30)).await.map(|view| view.snapshot)
}

/// The statement `marker` begins, from a file of SQL, whether it is commented out there or not.
pub(crate) fn documented(file: &str, marker: &str) -> String {
    let lines = file.lines().map(|line| line.trim_start_matches("--").trim());
    let mut statement = String::new();
    for line in lines.skip_while(|line| !line.starts_with(marker)) {
        statement += line;
        statement.push(' ');
        if line.ends_with(';') {
            return statement;
        }
    }
    panic!("the file has a statement {marker}")
}
