//! The double as a program: prints one JSON line with its endpoint, serves until SIGTERM or SIGINT.

use std::process::ExitCode;
use std::time::Duration;

use aws_double::{ClockMode, Double, DoubleConfig};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
usage: aws-double [--port N] [--region NAME] [--account DIGITS] [--seed N]
                  [--clock real|TIME] [--boot-seconds N] [--shutdown-seconds N]
  --clock TIME  an RFC 3339 time: the clock stands there until POST /_double/clock/advance moves it";

fn parse(mut args: impl Iterator<Item = String>) -> Result<DoubleConfig, String> {
    let mut config = DoubleConfig::default();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))?;
        let bad = |what: &str| format!("{flag} must be {what}, not '{value}'\n{USAGE}");
        let seconds = || {
            let parsed =
                value.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            parsed.ok_or_else(|| bad("a number of seconds"))
        };
        match flag.as_str() {
            "--port" => config.port = value.parse().map_err(|_| bad("a port"))?,
            "--region" => config.region = value,
            "--account" if value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit()) => {
                config.account = value;
            }
            "--account" => return Err(bad("twelve digits")),
            "--seed" => config.seed = value.parse().map_err(|_| bad("a whole number"))?,
            "--clock" if value == "real" => config.clock = ClockMode::Real,
            "--clock" => {
                let time = value.parse().map_err(|_| bad("'real' or an RFC 3339 time"))?;
                config.clock = ClockMode::Manual(time);
            }
            "--boot-seconds" => config.boot = seconds()?,
            "--shutdown-seconds" => config.shutdown = seconds()?,
            _ => return Err(format!("unknown option {flag}\n{USAGE}")),
        }
    }
    Ok(config)
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that says where it listens"
)]
async fn main() -> ExitCode {
    let config = match parse(std::env::args().skip(1)) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("aws-double: {message}");
            return ExitCode::from(2);
        }
    };
    // Before the line that tells the parent it may signal.
    let signals = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (double, (mut terminate, mut interrupt)) = match (Double::start(config).await, signals) {
        (Ok(double), Ok(signals)) => (double, signals),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("aws-double: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", serde_json::json!({ "endpoint": double.endpoint() }));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(double);
    ExitCode::SUCCESS
}
