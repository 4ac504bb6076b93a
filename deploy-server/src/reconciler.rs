//! What must stay true without anybody asking: a terminating host stays drained, and a worker that
//! was drained for nothing goes back to work.

use std::time::Duration;

use fleet_protocol::worker::WorkerStatus;

use crate::deploy::decide::Life;
use crate::deploy::{find, foreign, steps};
use crate::host_drain::{DrainWish, drain_host, worker_container};
use crate::ops::What;
use crate::server::Server;
use crate::state::{Cost, UNDRAIN};
use crate::unasked_drain::UnaskedDrain;
use crate::worker;

const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Long: an old worker is caught idle only while it is watched.
const DRAIN_FOR: Duration = Duration::from_secs(300);
const BETWEEN_SAMPLES: Duration = Duration::from_secs(10);

/// Looks after the host until the process ends. `looked`: whether it was seen that no container of
/// another machine runs.
pub async fn keep(server: &'static Server, mut looked: bool) {
    let mut sampled = tokio::time::Instant::now();
    let mut unasked = UnaskedDrain::default();
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if sampled.elapsed() >= BETWEEN_SAMPLES {
            server.sampler.tick();
            sampled = tokio::time::Instant::now();
        }
        if server.ops.running().is_some() {
            continue;
        }
        if !looked {
            looked = foreign::stop(server).await;
        }
        if server.is_terminating() {
            keep_drained(server).await;
        } else if matches!(server.state.read(UNDRAIN), Ok(Some(_))) {
            restart_when_idle(server).await;
        } else {
            unasked.look(server).await;
        }
    }
}

/// A new or restarted worker on a terminating host is drained before it can take much.
async fn keep_drained(server: &'static Server) {
    let drained = match worker::read(&server.config.worker.place).await {
        Ok(reading) => reading.is_drained(),
        Err(_) => match worker_container(server).await {
            Ok(Some(container)) => find::life(&container) == Life::Down,
            Ok(None) => true,
            Err(_) => false,
        },
    };
    if !drained {
        let wish = DrainWish { within: DRAIN_FOR, terminating: true, stop: false };
        let report = drain_host(server, wish).await.report;
        tracing::info!(
            drained = report.drained,
            message = report.message,
            "a worker took jobs on this terminating host and was told to drain again"
        );
    }
}

/// Restarts a worker that cannot open its intake again. Its container is written down before it
/// stops, so that a crash before the start does not leave it stopped.
async fn restart_when_idle(server: &'static Server) {
    let reading = worker::read(&server.config.worker.place).await;
    match &reading {
        Ok(reading) if reading.active_jobs > 0 => return,
        Err(_) if server.state.stopped_by_drain().is_none() => return,
        _ => {}
    }
    let Ok(ticket) = server.ops.admit(What::Resume) else { return };
    ticket.step("resume-worker");
    match restart(server, reading.ok()).await {
        Ok(true) => tracing::info!("the drained worker was put back to work by a restart"),
        Ok(false) => {}
        Err(error) => tracing::warn!(error, "the drained worker cannot be restarted yet"),
    }
    server.readings.forget();
}

/// Returns false where there is nothing to restart yet.
async fn restart(server: &Server, reading: Option<WorkerStatus>) -> Result<bool, String> {
    let text = |error: crate::docker::Error| error.to_string();
    let container = worker_container(server).await.map_err(text)?;
    match (reading, container) {
        (Some(reading), Some(container))
            if reading.is_draining || reading.accepting == Some(false) =>
        {
            // A disk that refuses the mark keeps no worker from its work.
            if let Err(error) = server.state.mark_stopped_by_drain(&container.id, Cost::default()) {
                tracing::warn!(error = %error, "the worker is restarted, and that cannot be recorded on disk: a crash of the server during the restart would leave it stopped");
            }
            // Counted and logged where the worker took a job after it was seen idle.
            steps::stop_and_watch(server, &container.id).await.map_err(text)?;
            server.engine.start_container(&container.id).await.map_err(text)?;
        }
        (None, Some(container)) => {
            let stopped_here = server.state.stopped_by_drain().as_ref() == Some(&container.id);
            if find::life(&container) != Life::Down || !stopped_here {
                return Ok(false);
            }
            server.engine.start_container(&container.id).await.map_err(text)?;
        }
        // It takes work already, or there is none to start.
        _ => {}
    }
    server.state.forget_drain().map_err(|error| error.to_string())?;
    Ok(true)
}
