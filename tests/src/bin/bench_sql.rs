//! What one snapshot costs at a million finished jobs: time and buffers, with and without the
//! optional index, beside pg-boss's own statistics query.
//!
//! Starts a PostgreSQL of its own, fills it for each version of pg-boss given as an argument (or
//! for three generations), and prints a table. `cargo run -p fleet-tests --bin bench_sql
//! [VERSION…]`
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use fleet_clients::postgres::{Database, DatabaseUrl, Trust};
use fleet_clients::queue::{Names, QueueSource, TickLock};
use fleet_local::postgres::{Options, Postgres};
use fleet_local::{paths, pgboss, registry};
use serde_json::json;
use std::error::Error;
use std::process::Command;
use std::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage};

const QUEUE: &str = "gh_apply_job";
const FINISHED: u32 = 1_000_000;
/// The seed's own story: five jobs, five workers. An active job costs one buffer more, because its
/// row was just written.
const ACTIVE: u32 = 5;
const READY: u32 = 200;
const DEFERRED: u32 = 1000;
/// Bytes of a job's payload, as the service's are.
const PAYLOAD: u32 = 300;
const RUNS: usize = 31;
const SLOW_RUNS: usize = 5;
const LOOK_AHEAD: u32 = 120;

/// Prints pg-boss's statistics query, from the package itself.
const STATISTICS: &str = "
    const plans = await import(process.argv[1]).then(module => module.default ?? module)
    const query = plans.getQueueStats
        ? plans.getQueueStats('pgboss', 'job_common', [process.argv[2]])
        : plans.countStates('pgboss')
    process.stdout.write(query.text ?? query)";

/// The median of several executions of one statement.
#[derive(Clone, Copy)]
struct Cost {
    execution_ms: f64,
    planning_ms: f64,
    buffers: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut versions: Vec<String> = std::env::args().skip(1).collect();
    if versions.is_empty() {
        versions = ["9.0.3", "12.13.0", "12.38.0"].map(str::to_owned).into();
    }
    let settings = [
        ("shared_buffers", "1GB"),
        ("max_wal_size", "8GB"),
        ("autovacuum", "off"),
        ("synchronous_commit", "on"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let server = Postgres::start(Options { settings: settings.into(), ..Options::default() })?;

    println!(
        "PostgreSQL {}, {FINISHED} finished jobs, {READY} ready, {ACTIVE} active, {DEFERRED} deferred, vacuumed; medians of {RUNS} warm runs",
        server.version()
    );
    println!(
        "(of {SLOW_RUNS} for pg-boss's statistics query). Active jobs are not counted where no index serves them.\n"
    );
    println!("| pg-boss | statement | execution ms | planning ms | buffers |");
    println!("|---|---|---:|---:|---:|");
    for version in &versions {
        measure(&server, version).await?;
    }
    Ok(())
}

async fn measure(server: &Postgres, version: &str) -> Result<(), Box<dyn Error>> {
    let database = format!("bench_{}", version.replace('.', "_"));
    fill(server, &database, version).await?;
    let client = server.connect(&database).await?;

    let mut source = source(server, &database)?;
    let indexed = counts_active(&mut source).await?;
    let name = if indexed { "snapshot (pg-boss's own index)" } else { "snapshot, active unknown" };
    row(version, name, snapshot_cost(&mut source).await?);
    if !indexed {
        let (table, started) = match version.starts_with("9.") {
            true => ("pgboss.job", "startedon"),
            false => ("pgboss.job_common", "started_on"),
        };
        let index = format!("CREATE INDEX ON {table} (name, {started}) WHERE state = 'active'");
        client.batch_execute(&index).await?;
        source = self::source(server, &database)?;
        if !counts_active(&mut source).await? {
            return Err("the optional index is not used".into());
        }
        row(version, "snapshot with the optional index", snapshot_cost(&mut source).await?);
    }
    let tick = tick_ms(&mut source).await?;
    println!("| {version} | whole tick over TLS (begin, snapshot, commit) | {tick:.2} | | |");

    let statistics = format!("EXPLAIN (ANALYZE, BUFFERS) {}", statistics_query(version)?);
    let mut costs = Vec::new();
    for _ in 0..SLOW_RUNS {
        costs.push(cost(&plan(&client, &statistics).await?)?);
    }
    row(version, "pg-boss's statistics query", median(costs));
    Ok(())
}

async fn fill(server: &Postgres, database: &str, version: &str) -> Result<(), Box<dyn Error>> {
    server.create_database(database)?;
    registry::install(server, database)?;
    let mut boss =
        pgboss::install(version)?.start(&server.app_url_in(database), &server.ca_file())?;
    boss.create_queue(QUEUE, json!({}))?;
    let times = match version.starts_with("9.") {
        true => "createdon, startedon, completedon",
        false => "created_on, started_on, completed_on",
    };
    let client = server.connect(database).await?;
    client
        .batch_execute(&format!(
            "INSERT INTO pgboss.job (name, state, data, {times}) \
             SELECT '{QUEUE}', 'completed', jsonb_build_object('payload', repeat('x', {PAYLOAD})), now(), now(), now() \
             FROM generate_series(1, {FINISHED})"
        ))
        .await?;
    boss.insert(QUEUE, READY + ACTIVE, json!({}), json!({}))?;
    boss.fetch(QUEUE, ACTIVE)?;
    let tomorrow: String = client
        .query_one("SELECT to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')", &[])
        .await?
        .get(0);
    boss.insert(QUEUE, DEFERRED, json!({}), json!({ "startAfter": tomorrow }))?;
    // INDEX_CLEANUP because VACUUM skips it for a few dead rows, and their pages would then never
    // count as visible to all.
    client.batch_execute("VACUUM (ANALYZE, INDEX_CLEANUP ON)").await?;
    Ok(())
}

fn source(server: &Postgres, database: &str) -> Result<QueueSource, Box<dyn Error>> {
    let url = DatabaseUrl::parse(&server.app_url_in(database).into())
        .map_err(|problems| format!("{problems:?}"))?;
    let trust = Trust::load(Some(server.ca_pem()), &url)?;
    let names = Names::new("pgboss", QUEUE, "gh_worker_registry")?;
    Ok(QueueSource::new(Database::new(url, trust), names))
}

/// Runs one tick; whether its snapshot knew the active jobs.
async fn counts_active(source: &mut QueueSource) -> Result<bool, Box<dyn Error>> {
    match source.begin(1, LOOK_AHEAD, 0).await.map_err(|unknown| unknown.detail)? {
        TickLock::Acquired(tick) => {
            let known = tick.snapshot().general.active.known().is_some();
            tick.finish().await;
            Ok(known)
        }
        TickLock::HeldElsewhere => Err("another tick runs".into()),
    }
}

async fn tick_ms(source: &mut QueueSource) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        counts_active(source).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

async fn snapshot_cost(source: &mut QueueSource) -> Result<Cost, Box<dyn Error>> {
    let mut costs = Vec::new();
    for _ in 0..RUNS {
        costs.push(cost(&source.explain(LOOK_AHEAD).await.map_err(|unknown| unknown.detail)?)?);
    }
    Ok(median(costs))
}

fn statistics_query(version: &str) -> Result<String, Box<dyn Error>> {
    let package = paths::cache().join(format!("npm/pg-boss-{version}/node_modules/pg-boss"));
    let plans = [package.join("dist/plans.js"), package.join("src/plans.js")];
    let plans = plans.iter().find(|file| file.exists()).ok_or("pg-boss has no plans.js")?;
    let output = Command::new("node")
        .args(["--input-type=module", "--eval", STATISTICS])
        .arg(plans)
        .arg(QUEUE)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let query = String::from_utf8(output.stdout)?;
    Ok(query.replace("$1::text[]", &format!("ARRAY['{QUEUE}']")))
}

async fn plan(client: &Client, explain: &str) -> Result<String, Box<dyn Error>> {
    let mut lines = Vec::new();
    for message in client.simple_query(explain).await? {
        if let SimpleQueryMessage::Row(row) = message {
            lines.extend(row.get(0).map(str::to_owned));
        }
    }
    Ok(lines.join("\n"))
}

/// Reads the figures of a plan: the times at its end, and the buffers of its top node.
fn cost(plan: &str) -> Result<Cost, Box<dyn Error>> {
    let after = |label: &str| plan.lines().find_map(|line| line.trim().strip_prefix(label));
    let milliseconds = |label: &str| -> Result<f64, Box<dyn Error>> {
        let text = after(label).ok_or_else(|| format!("the plan has no {label}"))?;
        Ok(text.trim_end_matches("ms").trim().parse()?)
    };
    let buffers = after("Buffers: shared ").ok_or("the plan has no buffers")?;
    let buffers = buffers
        .split([' ', ','])
        .filter_map(|word| word.strip_prefix("hit=").or_else(|| word.strip_prefix("read=")))
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    Ok(Cost {
        execution_ms: milliseconds("Execution Time:")?,
        planning_ms: milliseconds("Planning Time:")?,
        buffers,
    })
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.execution_ms.total_cmp(&b.execution_ms));
    costs[costs.len() / 2]
}

fn row(version: &str, statement: &str, cost: Cost) {
    let Cost { execution_ms, planning_ms, buffers } = cost;
    println!("| {version} | {statement} | {execution_ms:.2} | {planning_ms:.2} | {buffers} |");
}
