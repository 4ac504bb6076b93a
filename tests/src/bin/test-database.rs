//! A database for tests that are not written in Rust: PostgreSQL with TLS, the real pg-boss schema
//! and the workers' tables.
//!
//! Prints one JSON line (`url`, `ca_pem`) when it is ready. Each line of the input is a number of
//! jobs to enqueue through the real package, answered by a line with that number. Everything stops
//! when the input ends.
#![expect(clippy::print_stdout, reason = "the answers are what this program is for")]

use fleet_local::postgres::{self, Postgres};
use fleet_local::{pgboss, registry};
use serde_json::json;
use std::error::Error;
use std::io::BufRead;

const QUEUE: &str = "gh_apply_job";

fn main() -> Result<(), Box<dyn Error>> {
    let server = Postgres::start(postgres::Options::default())?;
    registry::install(&server, postgres::DATABASE)?;
    let package = pgboss::install(pgboss::DEFAULT_VERSION)?;
    let mut boss = package.start(&server.app_url(), &server.ca_file())?;
    boss.create_queue(QUEUE, json!({}))?;
    println!("{}", json!({ "url": server.app_url(), "ca_pem": server.ca_pem() }));

    for line in std::io::stdin().lock().lines() {
        let jobs: u32 = line?.trim().parse()?;
        boss.insert(QUEUE, jobs, json!({}), json!({}))?;
        println!("{jobs}");
    }
    Ok(())
}
