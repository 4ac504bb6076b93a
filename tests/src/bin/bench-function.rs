//! Measures the shipped function beside a bare `lambda_runtime` binary in the same run, and prints
//! a table.
//!
//! `bench-function <autoscale> <bare>`: start of the process to its first request for work, the
//! invocation to the first TLS hello, ticks of a warm environment against a real database and the
//! AWS double, memory, and sizes.
#![expect(clippy::print_stdout, reason = "the table is this program's product")]

use aws_double::{Double, DoubleConfig, GroupSpec};
use fleet_local::postgres::{Options, Postgres};
use fleet_local::{pgboss, registry};
use serde_json::json;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const COLD_STARTS: usize = 40;
const WARM_TICKS: usize = 300;
const EVENT: &[u8] = include_bytes!("../../../events/autoscale-schedule.json");

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(function), Some(bare)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench-function <autoscale binary> <bare binary>".into());
    };
    let idle = settings(9, vec![]);
    // In turns, so that a slow moment of the machine hits both.
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..COLD_STARTS {
        ours.push(Environment::start(&function, &idle)?.init);
        theirs.push(Environment::start(&bare, &idle)?.init);
    }
    let hello = hellos(&function)?;
    let warm = ticks(&function).await?;
    println!("| figure | autoscale | bare lambda_runtime | aim |");
    println!("|---|---|---|---|");
    let (ours, theirs) = (Spread::of(ours), Spread::of(theirs));
    let ratio = ours.median.as_secs_f64() / theirs.median.as_secs_f64();
    println!(
        "| exec to first `/next`, p50 (min, p95) | {ours} | {theirs} | ratio at most 1.5: {ratio:.2} |"
    );
    println!("| invocation to first TLS hello, p50 (min, p95) | {} | | |", hello.from_invocation);
    println!(
        "| server's go-ahead to TLS hello, p50 (min, p95) | {} | | 1 ms |",
        hello.from_go_ahead
    );
    println!("| warm tick, p50 (min, p95) | {} | | |", warm.duration);
    println!("| RSS after {WARM_TICKS} ticks | {:.1} MB | | 20 MB |", warm.rss_kib / 1024.0);
    let (size, zipped) = (size(&function)?, zipped(&function)?);
    println!("| binary | {size:.2} MB | {:.2} MB | |", self::size(&bare)?);
    println!("| zip -9 | {zipped:.2} MB | {:.2} MB | 3 MB |", self::zipped(&bare)?);
    Ok(())
}

// === A function process and its Runtime API ===

struct Environment {
    process: Child,
    /// The connection on which the process waits for work.
    waiting: TcpStream,
    /// From exec to the first request for work.
    init: Duration,
}

impl Environment {
    fn start(binary: &str, settings: &[(String, String)]) -> Result<Environment> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(settings.iter().cloned())
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let began = Instant::now();
        let process = command.spawn()?;
        let (mut waiting, _) = listener.accept()?;
        waiting.set_nodelay(true)?;
        read_request(&mut waiting)?;
        Ok(Environment { process, waiting, init: began.elapsed() })
    }

    /// Hands the event over, without waiting for the answer.
    fn hand_over(&mut self) -> Result<()> {
        let deadline = jiff::Timestamp::now().as_millisecond() + 55_000;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: bench\r\n\
             lambda-runtime-deadline-ms: {deadline}\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:1:function:f\r\n\
             lambda-runtime-trace-id: Root=1-0-0\r\ncontent-length: {}\r\n\r\n",
            EVENT.len()
        );
        self.waiting.write_all(&[head.as_bytes(), EVENT].concat())?;
        Ok(())
    }

    /// One whole invocation, until the process has answered and asks for work again.
    fn invoke(&mut self) -> Result<(Duration, String)> {
        let began = Instant::now();
        self.hand_over()?;
        // One connection serves both: the runtime's client keeps it open.
        let (line, body) = read_request(&mut self.waiting)?;
        let took = began.elapsed();
        if !line.contains("/response") {
            return Err(format!("the function failed: {line} {body}").into());
        }
        self.waiting.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        read_request(&mut self.waiting)?;
        Ok((took, body))
    }

    fn rss_kib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The request line and the body of one HTTP request.
fn read_request(stream: &mut TcpStream) -> Result<(String, String)> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut bytes = vec![];
    let mut chunk = [0; 65_536];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            let chunked = head.contains("transfer-encoding: chunked");
            let complete = if chunked {
                bytes.ends_with(b"0\r\n\r\n")
            } else {
                bytes.len() >= end + 4 + length
            };
            if complete {
                let line = head.lines().next().unwrap_or_default().to_owned();
                return Ok((line, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err("the process closed the connection".into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn settings(port: u16, more: Vec<(String, String)>) -> Vec<(String, String)> {
    let url = format!("postgresql://app:app@127.0.0.1:{port}/fleet");
    let fixed = [
        ("AWS_LAMBDA_FUNCTION_NAME", "autoscale"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("AUTOSCALE_TICK_SECONDS", "60"),
        ("AWS_ASG_NAME", "bench"),
        ("GH_ENVIRONMENT", "bench"),
        ("DATABASE_URL", &url),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kept = fixed.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    kept.chain(more.clone()).collect()
}

// === The figures ===

struct Hellos {
    from_invocation: Spread,
    from_go_ahead: Spread,
}

/// A server that says yes to TLS and times the hello; every start is a cold one.
fn hellos(binary: &str) -> Result<Hellos> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let (mut from_invocation, mut from_go_ahead) = (vec![], vec![]);
    for _ in 0..COLD_STARTS {
        let mut environment = Environment::start(binary, &settings(port, vec![]))?;
        let invoked = Instant::now();
        environment.hand_over()?;
        let (mut client, _) = server.accept()?;
        client.set_nodelay(true)?;
        let mut request = [0; 8];
        client.read_exact(&mut request)?;
        client.write_all(b"S")?;
        let go_ahead = Instant::now();
        let mut first = [0; 1];
        client.read_exact(&mut first)?;
        // 22 is the TLS record type of a handshake.
        if first != [22] {
            return Err("that was no TLS hello".into());
        }
        from_invocation.push(invoked.elapsed());
        from_go_ahead.push(go_ahead.elapsed());
    }
    Ok(Hellos {
        from_invocation: Spread::of(from_invocation),
        from_go_ahead: Spread::of(from_go_ahead),
    })
}

struct Ticks {
    duration: Spread,
    rss_kib: f64,
}

/// Ticks of one warm environment against a real database with TLS and the AWS double.
async fn ticks(binary: &str) -> Result<Ticks> {
    let postgres = Postgres::start(Options::default())?;
    postgres.create_database("bench")?;
    registry::install(&postgres, "bench")?;
    let url = postgres.app_url_in("bench");
    let mut boss = pgboss::install(pgboss::DEFAULT_VERSION)?.start(&url, &postgres.ca_file())?;
    boss.create_queue("gh_apply_job", json!({}))?;
    boss.insert("gh_apply_job", 3, json!({}), json!({}))?;
    let double = Double::start(DoubleConfig::default()).await?;
    double
        .create_group(GroupSpec::new("bench", 0, 20).desired(3).boot(Duration::ZERO))
        .map_err(|error| format!("{error:?}"))?;
    let mut more = double.aws_env();
    more.push(("DATABASE_URL".into(), url));
    more.push(("DATABASE_CA".into(), postgres.ca_pem().into()));
    let settings = settings(0, more);
    let binary = binary.to_owned();
    let measure = move || -> std::result::Result<Ticks, String> {
        let text = |error: Box<dyn Error>| error.to_string();
        let mut environment = Environment::start(&binary, &settings).map_err(text)?;
        let mut took = vec![];
        for tick in 0..=WARM_TICKS {
            let (duration, body) = environment.invoke().map_err(text)?;
            if !body.contains("\"exact\":true") {
                return Err(format!("the tick did not see the queue: {body}"));
            }
            // The first one connects.
            if tick > 0 {
                took.push(duration);
            }
        }
        let rss_kib = environment.rss_kib().map_err(text)?;
        Ok(Ticks { duration: Spread::of(took), rss_kib })
    };
    Ok(tokio::task::spawn_blocking(measure).await??)
}

fn size(path: &str) -> Result<f64> {
    Ok(megabytes(std::fs::metadata(path)?.len()))
}

fn zipped(path: &str) -> Result<f64> {
    let folder = std::env::temp_dir().join(format!("fleet-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (bootstrap, archive) = (folder.join("bootstrap"), folder.join("function.zip"));
    std::fs::copy(Path::new(path), &bootstrap)?;
    let zip = Command::new("zip").args(["-9", "-q", "-j"]).arg(&archive).arg(&bootstrap).status();
    let length = std::fs::metadata(&archive).map(|archive| archive.len());
    std::fs::remove_dir_all(&folder)?;
    if !zip?.success() {
        return Err("zip failed".into());
    }
    Ok(megabytes(length?))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

struct Spread {
    min: Duration,
    median: Duration,
    p95: Duration,
}

impl Spread {
    fn of(mut figures: Vec<Duration>) -> Spread {
        figures.sort();
        let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
        Spread { min: at(0), median: at(50), p95: at(95) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(f, "{:.2} ms ({:.2}, {:.2})", ms(self.median), ms(self.min), ms(self.p95))
    }
}
