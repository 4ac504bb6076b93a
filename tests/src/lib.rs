//! What several of the suites need.

use fleet_local::postgres::{Options, Postgres};
use fleet_local::registry;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// An Auto Scaling call as an operator's own client would make it.
///
/// # Panics
/// When curl is missing, or AWS (its double) refuses the call.
pub async fn auto_scaling(endpoint: &str, action: &str, parameters: &[(&str, &str)]) {
    let fixed = [("Action", action), ("Version", "2011-01-01")];
    let form: Vec<String> =
        fixed.iter().chain(parameters).map(|(name, value)| format!("{name}={value}")).collect();
    let endpoint = endpoint.to_owned();
    let run = move || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--user", "test:test", &endpoint]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:autoscaling"]);
        for pair in form {
            curl.arg("--data-urlencode").arg(pair);
        }
        curl.output().expect("curl runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("joins");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// One PostgreSQL server for all tests of this process; each has a database of its own.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn shared_server() -> Arc<Postgres> {
    static SERVER: OnceLock<Arc<Postgres>> = OnceLock::new();
    let start = || Arc::new(Postgres::start(Options::default()).expect("PostgreSQL starts"));
    Arc::clone(SERVER.get_or_init(start))
}

/// A new database with the workers' tables; its name, which begins like this.
///
/// # Panics
/// When PostgreSQL refuses.
#[must_use]
pub fn new_database(postgres: &Postgres, prefix: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let database = format!("{prefix}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    postgres.create_database(&database).expect("the database is created");
    registry::install(postgres, &database).expect("the registry is created");
    database
}
