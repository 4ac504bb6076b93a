//! What a tick on enqueue brings and costs: the time from a job of the real pg-boss to
//! `SetDesiredCapacity` on the AWS double, and how many ticks a hundred calls a second are.
//!
//! The shipped functions behind the template's API, with its places, its authorizer and its
//! schedule. `cargo run -p fleet-tests --bin bench-enqueue`
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use aws_double::{Double, DoubleConfig, Function, GroupSpec, HttpApi};
use fleet_local::pgboss::{self, Boss};
use fleet_local::postgres::{Options, Postgres};
use fleet_local::registry;
use fleet_local::template::Template;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const GROUP: &str = "bench";
const QUEUE: &str = "gh_apply_job";
const PATH: &str = "/api/v1/admin/autoscale/tick";
const TOKEN: &str = "a-tickers-token-for-figures";
const JOBS: u32 = 60;
const SECONDS: u32 = 5;
const A_SECOND: u32 = 100;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Stage {
    double: Double,
    api: HttpApi,
    autoscale: Function,
    boss: Boss,
    /// Held for as long as it is used.
    _server: Postgres,
}

/// An answer's status and its `type`.
type Answer = (u16, String);

impl Stage {
    async fn start() -> Result<Stage> {
        let server = Postgres::start(Options::default())?;
        server.create_database(GROUP)?;
        registry::install(&server, GROUP)?;
        let url = server.app_url_in(GROUP);
        let package = pgboss::install(pgboss::DEFAULT_VERSION)?;
        let mut boss = package.start(&url, &server.ca_file())?;
        boss.create_queue(QUEUE, json!({}))?;
        let double = Double::start(DoubleConfig::default()).await?;
        double.create_group(GroupSpec::new(GROUP, 0, 1000).boot(Duration::from_hours(1)))?;
        let secret = json!({
            "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": "an-operators-token-for-figures",
            "FLEET_TICKER_TOKEN": TOKEN
        });
        double.put_secret("ghosthands/bench/fleet", &secret.to_string())?;
        let common = [("GH_ENVIRONMENT", "bench"), ("AWS_ASG_NAME", GROUP)];
        let own = [
            ("AUTOSCALE_ASG_ENABLED", "true"),
            ("AUTOSCALE_MIN", "0"),
            ("AUTOSCALE_MAX", "1000"),
            // Spare machines would be wanted before their jobs are sent.
            ("WAIT_VALUE", "0"),
            ("DATABASE_CA", server.ca_pem()),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let template = Template::read(GROUP)?;
        template.start("authorize", &double, common.map(owned)).await?;
        let settings = common.into_iter().chain(own).map(owned);
        let autoscale = template.start("autoscale", &double, settings).await?;
        double.schedule("autoscale", "rate(1 minute)", "autoscale")?;
        let api = double.http_api(template.routes_behind_authorizer("autoscale"), 0).await?;
        Ok(Stage { double, api, autoscale, boss, _server: server })
    }

    fn enqueue(&mut self) -> Result<()> {
        self.boss.insert(QUEUE, 1, json!({}), json!({ "expireInSeconds": 14_400 }))?;
        Ok(())
    }

    fn call(&self, calls: &mut JoinSet<Option<Answer>>) {
        let port = self.api.port();
        calls.spawn_blocking(move || post(port).ok());
    }

    fn desired(&self) -> u32 {
        self.double.group(GROUP).map_or(0, |group| group.desired)
    }

    /// The bytes of the newest decision record and of the metrics beside it.
    fn record_bytes(&self) -> usize {
        let lines = self.autoscale.logs();
        let newest = |what: &str| lines.iter().rev().find(|line| line.text.contains(what));
        let bytes = |what| newest(what).map_or(0, |line| line.text.len());
        bytes(r#""type":"decision""#) + bytes(r#""_aws""#)
    }

    /// Until `SetDesiredCapacity` has asked for so many.
    async fn wanted(&self, jobs: u32) {
        while self.desired() < jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn post(port: u16) -> Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "POST {PATH} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
    let body = text.split_once("\r\n\r\n").ok_or("no body")?.1;
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    Ok((status, body["type"].as_str().unwrap_or_default().to_owned()))
}

/// The median, the 95th percentile and the most, in milliseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1].as_millis();
    format!("{} / **{}** / {} ms", at(50), at(95), at(100))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut stage = Stage::start().await?;
    println!("| figure | value | aim |\n|---|---:|---:|");
    let (mut wanted, mut answered, mut first_bytes) = (Vec::new(), Vec::new(), 0);
    for job in 1..=JOBS {
        let mut calls = JoinSet::new();
        let began = Instant::now();
        stage.enqueue()?;
        stage.call(&mut calls);
        stage.wanted(job).await;
        wanted.push(began.elapsed());
        calls.join_all().await;
        answered.push(began.elapsed());
        if job == 1 {
            first_bytes = stage.record_bytes();
        }
    }
    println!(
        "| job sent to `SetDesiredCapacity`, p50 / p95 / max of {JOBS} | {} | p95 2,000 ms |",
        spread(wanted)
    );
    println!("| job sent to the call's answer, the same | {} | |", spread(answered));

    let bytes = stage.record_bytes();
    println!("| log of a tick with 1 instance, and with {JOBS} | {first_bytes}, {bytes} bytes | |");

    stage.double.clear_calls();
    let mut calls = JoinSet::new();
    let began = Instant::now();
    for number in 0..SECONDS * A_SECOND {
        stage.enqueue()?;
        stage.call(&mut calls);
        let next = Duration::from_secs(1) * (number + 1) / A_SECOND;
        tokio::time::sleep(next.saturating_sub(began.elapsed())).await;
    }
    let (took, last) = (began.elapsed(), Instant::now());
    stage.wanted(JOBS + SECONDS * A_SECOND).await;
    let seen = last.elapsed();
    let answers = calls.join_all().await;
    let count = |like: fn(&Answer) -> bool| answers.iter().flatten().filter(|a| like(a)).count();
    let changes = stage.double.calls().iter().filter(|c| c.action == "SetDesiredCapacity").count();
    println!("| {} jobs and calls in | {:.1} s | |", answers.len(), took.as_secs_f32());
    println!("| ticked | **{}** | one a second, and one |", count(|a| a.1 == "decision"));
    println!("| joined | {} | |", count(|a| a.1 == "joined"));
    println!("| refused by Lambda (503) | {} | |", count(|a| a.0 == 503));
    println!("| calls of `SetDesiredCapacity`, the schedule's included | {changes} | |");
    println!("| last job sent to the capacity for all | {} ms | |", seen.as_millis());
    Ok(())
}
