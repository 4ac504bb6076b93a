//! `fleet-local up`: a job in pg-boss becomes capacity, before one's eyes.

mod hosts;
mod options;
mod play;
mod rollouts;
mod stage;
mod tell;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use fleet_local::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::hosts::{Site, Tally};
use self::stage::{AUTOSCALE, DRAIN, Stage};
use self::tell::Narrator;
use crate::USAGE;

pub(crate) use options::Options;

/// As in sysexits.h: something that this needs is not there.
const UNAVAILABLE: u8 = 69;
/// As a shell reports a program that ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs it all and returns the exit code.
pub(crate) fn main(options: &Options) -> ExitCode {
    if let Some(problem) = options.problem() {
        return give_up(&problem, USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&format!("start the runtime: {error}"), 1),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = up(options) => result,
            result = asked_to_stop() => result,
        }
    });
    // Workers that are still starting are not worth waiting for: they die with this process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(End::Stopped) if options.once => ExitCode::from(INTERRUPTED),
        Ok(End::Stopped | End::Good) => ExitCode::SUCCESS,
        Ok(End::Bad) => ExitCode::FAILURE,
        Err(error @ Error::Missing { .. }) => give_up(&error.to_string(), UNAVAILABLE),
        Err(error) => give_up(&error.to_string(), 1),
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A person ended it.
    Stopped,
    /// By itself; every job ran, none was interrupted, capacity is back at the minimum.
    Good,
    /// By itself, with one of these untrue.
    Bad,
}

async fn up(options: &Options) -> Result<End, Error> {
    let narrator = Narrator::new();
    let mut stage = Stage::start(options, narrator).await?;
    stage.print_where_to_look();
    let (send, tally) = watch::channel(Tally::default());
    let site = Site {
        double: stage.double.clone(),
        images: stage.images.clone(),
        source: stage.source(),
        narrator,
    };
    let hosts = hosts::run(stage.double.subscribe(), site, send);
    let follow = |function: &aws_double::Function, name| {
        tell::follow_function(function.subscribe_logs(), name, narrator)
    };
    let (autoscale, drain) = (follow(&stage.autoscale, AUTOSCALE), follow(&stage.drain, DRAIN));
    tokio::select! {
        end = play::play(options, &mut stage, tally, narrator) => end,
        _ = async { tokio::join!(hosts, autoscale, drain) } => {
            Err(Error::Failed("the hosts ended".to_owned()))
        }
    }
}

async fn asked_to_stop() -> Result<End, Error> {
    let stream = |kind| {
        signal(kind).map_err(|source| Error::Io { doing: "listen for signals".to_owned(), source })
    };
    let mut interrupt = stream(SignalKind::interrupt())?;
    let mut terminate = stream(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tell::line("stopping");
    Ok(End::Stopped)
}

fn give_up(problem: &str, code: u8) -> ExitCode {
    writeln!(std::io::stderr(), "fleet-local: {problem}").ok();
    ExitCode::from(code)
}
