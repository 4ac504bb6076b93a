//! Draining the host: close the worker's intake, wait, and answer with the reading that was seen.

use std::time::{Duration, Instant};

use fleet_protocol::drain_report::{DrainReport, FORM};
use fleet_protocol::ids::InstanceId;

use crate::clock::now_ms;
use crate::deploy::decide::Life;
use crate::deploy::drain::{self, Idle};
use crate::deploy::{find, steps};
use crate::docker::ContainerSummary;
use crate::listener;
use crate::ops::What;
use crate::server::{Server, rfc3339};
use crate::state::{Cost, UNDRAIN};
use crate::worker;

/// The predecessor's time for a drain by HTTP.
pub const HTTP_WAIT: Duration = Duration::from_secs(60);

/// What a drain is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct DrainWish {
    pub within: Duration,
    /// The machine goes away: nothing may undo this drain.
    pub terminating: bool,
    /// When the time is up and a job still runs: end the worker by SIGTERM, with its own grace to
    /// release the job.
    pub stop: bool,
}

/// What a drain came to: what it reports, and what that means for whoever asked.
#[derive(Debug, Clone)]
pub struct DrainEnd {
    pub report: DrainReport,
    pub result: DrainResult,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainResult {
    Drained,
    /// A job runs, or another operation does.
    Busy,
    /// The worker's state cannot be known.
    Unknown,
}

/// What became of a drained worker that was to work again.
#[derive(Debug)]
pub struct Resumed {
    pub message: &'static str,
    /// What did not come about and stopped nothing.
    pub notes: Vec<String>,
}

/// What did not come about and stopped nothing, in words.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Notes {
    /// Logs it and keeps it for the answer.
    fn add(&mut self, text: String) {
        tracing::warn!("{text}");
        self.0.push(text);
    }
}

/// What was seen, before it is put into words.
struct DrainFinding {
    result: DrainResult,
    active_jobs: Option<u32>,
    accepting: Option<bool>,
    worker_stopped: bool,
    caught_jobs: u32,
    stopped_jobs: Option<u32>,
    message: String,
}

impl DrainFinding {
    fn plain(result: DrainResult, message: impl Into<String>) -> Self {
        let (active_jobs, accepting, message) = (None, None, message.into());
        let (worker_stopped, caught_jobs, stopped_jobs) = (false, 0, Some(0));
        Self { result, active_jobs, accepting, worker_stopped, caught_jobs, stopped_jobs, message }
    }

    fn no_worker(message: &str, cost: Cost) -> Self {
        Self {
            active_jobs: Some(0),
            accepting: Some(false),
            worker_stopped: true,
            caught_jobs: cost.caught,
            stopped_jobs: cost.stopped,
            ..Self::plain(DrainResult::Drained, message)
        }
    }
}

/// Drains the host. A terminating drain leaves its marker first of all, and waits for whatever else
/// runs.
pub async fn drain_host(server: &'static Server, wish: DrainWish) -> DrainEnd {
    let began = Instant::now();
    let mut notes = Notes::default();
    let mut finding = attempt(server, wish, began, &mut notes).await;
    server.readings.forget();
    let terminating = server.is_marked();
    if wish.terminating && !terminating {
        finding.message = format!(
            "Not for good: the terminating marker cannot be written; free space in GH_DEPLOY_STATE_DIR. {}",
            finding.message
        );
    }
    let drained = finding.result == DrainResult::Drained;
    let report = DrainReport {
        v: Some(FORM),
        drained,
        active_jobs: finding.active_jobs,
        accepting: finding.accepting,
        terminating,
        instance_id: server.config.instance_id.as_deref().map(InstanceId::new),
        worker_stopped: finding.worker_stopped,
        caught_jobs: finding.caught_jobs,
        stopped_jobs: finding.stopped_jobs,
        waited_ms: Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)),
        boot_id: boot_id(),
        observed_at: Some(rfc3339(now_ms())),
        success: Some(drained),
        message: finding.message,
        notes: notes.0,
    };
    DrainEnd { report, result: finding.result }
}

async fn attempt(
    server: &'static Server,
    wish: DrainWish,
    began: Instant,
    notes: &mut Notes,
) -> DrainFinding {
    if wish.terminating {
        server.mark_terminating();
    }
    let ticket = loop {
        match server.ops.admit(What::Drain) {
            Ok(ticket) => {
                ticket.step("drain-worker");
                break Some(ticket);
            }
            // Two drains of a machine that goes away want the same, and the second may be in more
            // of a hurry. A cleanup touches nothing that a drain does.
            Err(running)
                if wish.terminating && matches!(running.what, What::Drain | What::Cleanup) =>
            {
                break None;
            }
            // The machine is taken with or without the lock: better that its worker is told.
            Err(_) if wish.terminating && wish.stop && began.elapsed() >= wish.within => {
                break None;
            }
            Err(_) if wish.terminating && began.elapsed() < wish.within => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(running) => return DrainFinding::plain(DrainResult::Busy, running.describe()),
        }
    };

    if let Err(error) = server.state.mark_drain_asked() {
        notes.add(format!("the drain cannot be recorded on disk: a restarted server may resume the worker as one that nobody told to drain ({error})"));
    }
    if ticket.is_some()
        && let Err(error) = server.state.remove(UNDRAIN)
    {
        notes.add(format!("an earlier order to resume the worker cannot be removed: it may resume the worker after this drain ({error})"));
    }

    let container = match worker_container(server).await {
        Ok(Some(container)) if find::life(&container) != Life::Down => Some(container),
        // Docker says that there is none, and the kernel that nobody plays it either.
        Ok(_) if listener::on_port(server.config.worker.place.port).sockets.is_empty() => {
            return DrainFinding::no_worker(
                "No worker runs on this host",
                server.state.cost_of_drain(),
            );
        }
        Ok(_) => None,
        Err(error) => {
            notes.add(format!("the Docker Engine does not say which container the worker is; the drain goes on by the worker's own answers ({error})"));
            None
        }
    };
    let id = container.as_ref().map(|container| container.id.as_str());
    let idle = loop {
        let left = wish.within.saturating_sub(began.elapsed());
        let gone = async {
            match id {
                Some(id) => {
                    steps::until_it_goes_down(server, id).await;
                    id
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            idle = drain::wait_until_idle(&server.config.worker.place, left) => break idle,
            id = gone => match keep_down(server, id, wish.terminating, notes).await {
                Ok(Some(caught)) => {
                    let cost = Cost { caught, ..Cost::default() };
                    let cost = note_cost(server, id, cost, notes);
                    return ended("The worker has ended", cost, server).await;
                }
                // It runs again already, with its intake open.
                Ok(None) => {}
                Err(reason) => return cannot_be_stopped(None, &reason),
            },
        }
    };
    match idle {
        Ok(Idle::Proven) => {
            if let Err(stranger) = is_answered_by(server, id, notes).await {
                return DrainFinding::plain(
                    DrainResult::Unknown,
                    format!("Not drained: {stranger}"),
                );
            }
            if let (true, Some(id)) = (wish.terminating, id) {
                keep_from_reboots(server, id, notes).await;
            }
            DrainFinding {
                active_jobs: Some(0),
                accepting: Some(false),
                ..DrainFinding::plain(DrainResult::Drained, "Drain complete")
            }
        }
        Ok(Idle::ThisInstant) => stop_at_this_instant(server, id, wish.terminating, notes).await,
        Err(not_idle) => {
            let reading = not_idle.last.as_ref().ok();
            if let (true, Some(id)) = (wish.stop, id) {
                let jobs = reading.map(|reading| reading.active_jobs);
                return stop_at_work(server, id, jobs, notes).await;
            }
            let busy = reading.is_some_and(|reading| reading.active_jobs > 0);
            let result = if busy { DrainResult::Busy } else { DrainResult::Unknown };
            DrainFinding {
                active_jobs: reading.map(|reading| reading.active_jobs),
                accepting: reading.and_then(|reading| reading.accepting),
                ..DrainFinding::plain(result, format!("Not drained: {}", not_idle.reason))
            }
        }
    }
}

/// Whether the worker's own container answers on its port, by the kernel's table: on host
/// networking any process may. Where the engine cannot be asked, nobody knows the container's
/// processes, and the answer alone has to do.
///
/// # Errors
/// Who answers instead.
async fn is_answered_by(
    server: &Server,
    id: Option<&str>,
    notes: &mut Notes,
) -> Result<(), String> {
    let Some(id) = id else { return Ok(()) };
    let detail = match server.engine.inspect_container(id).await {
        Ok(Some(detail)) => detail,
        Ok(None) => return Err("its container is gone, and something else answers".to_owned()),
        Err(error) => {
            notes.add(format!("the Docker Engine does not say whether the worker's container is the one that answered; its answer is believed ({error})"));
            return Ok(());
        }
    };
    let port = server.config.worker.place.port;
    if find::has_port(&detail, port) {
        return Ok(());
    }
    let owner = listener::owner_of(port).map_or_else(
        || "nobody".to_owned(),
        |pid| format!("process {pid} ({})", listener::name_of(pid)),
    );
    Err(format!("port {port} is answered by {owner}, not by the worker's container"))
}

/// An old worker is idle now and may fetch the next job in a moment: only its end makes it a proof.
async fn stop_at_this_instant(
    server: &Server,
    id: Option<&str>,
    terminating: bool,
    notes: &mut Notes,
) -> DrainFinding {
    let Some(id) = id else {
        return DrainFinding {
            active_jobs: Some(0),
            ..DrainFinding::plain(
                DrainResult::Unknown,
                "Not drained: the worker cannot say whether it takes more work, and it runs in no container of ours",
            )
        };
    };
    // The mark is for putting it back to work, which nobody does on a machine that goes away.
    let stopped = match server.state.mark_stopped_by_drain(id, Cost::default()) {
        Err(error) if !terminating => Err(error.to_string()),
        _ => stop_idle(server, id, terminating, notes).await.map_err(|error| error.to_string()),
    };
    let caught = match stopped {
        Ok(caught) => caught,
        Err(reason) => return cannot_be_stopped(Some(0), &reason),
    };
    let message = if caught == 0 {
        "Drain complete: the worker was stopped while it was idle"
    } else {
        "Drain complete: the worker was stopped, and had taken work in the last instant"
    };
    let cost = note_cost(server, id, Cost { caught, ..Cost::default() }, notes);
    ended(message, cost, server).await
}

/// Sees to it that the engine does not start again what has just gone down, and returns how many
/// jobs that cost; `None` when it has started it already.
async fn keep_down(
    server: &Server,
    id: &str,
    terminating: bool,
    notes: &mut Notes,
) -> Result<Option<u32>, String> {
    let text = |error: crate::docker::Error| error.to_string();
    let Some(detail) = server.engine.inspect_container(id).await.map_err(text)? else {
        return Ok(Some(0));
    };
    if detail.is_running() {
        return Ok(None);
    }
    if !terminating && detail.state.restarting {
        server
            .state
            .mark_stopped_by_drain(id, Cost::default())
            .map_err(|error| error.to_string())?;
    }
    stop_idle(server, id, terminating, notes).await.map(Some).map_err(text)
}

/// Stops a worker that runs no job, for good on a machine that goes away, and returns how many jobs
/// it took in the last instant.
async fn stop_idle(
    server: &Server,
    id: &str,
    terminating: bool,
    notes: &mut Notes,
) -> Result<u32, crate::docker::Error> {
    if !terminating {
        return steps::stop_and_watch(server, id).await;
    }
    // Before the stop, for a reboot in between; and after it, because the engine takes the change
    // back while it starts the container, as it does again and again with one that crashes.
    _ = server.engine.set_restart_policy(id, "no").await;
    let caught = steps::stop_and_watch(server, id).await?;
    keep_from_reboots(server, id, notes).await;
    Ok(caught)
}

/// Takes the worker's restart policy. A drain does not fail where the engine refuses.
async fn keep_from_reboots(server: &Server, id: &str, notes: &mut Notes) {
    if let Err(error) = server.engine.set_restart_policy(id, "no").await {
        notes.add(format!("the restart policy of the drained worker cannot be changed: a reboot would start it again ({error})"));
    }
}

/// Writes down what the worker's end cost, and returns it together with what earlier ends did.
fn note_cost(server: &Server, id: &str, cost: Cost, notes: &mut Notes) -> Cost {
    let total = server.state.cost_of_drain().plus(cost);
    if cost != Cost::default()
        && let Err(error) = server.state.mark_stopped_by_drain(id, cost)
    {
        let stopped =
            cost.stopped.map_or_else(|| "an unknown number".to_owned(), |n| n.to_string());
        notes.add(format!(
            "the jobs of the stopped worker cannot be recorded on disk: the next drain will not report them ({} caught, {stopped} stopped; {error})",
            cost.caught
        ));
    }
    total
}

/// The finding that no worker runs any more, once Docker and the kernel both say so.
async fn ended(message: &str, cost: Cost, server: &Server) -> DrainFinding {
    match worker_container(server).await {
        Ok(Some(container)) if runs(server, &container).await => DrainFinding::plain(
            DrainResult::Unknown,
            format!("Not drained: the container {} runs again", container.name()),
        ),
        Ok(_) if !listener::on_port(server.config.worker.place.port).sockets.is_empty() => {
            let port = server.config.worker.place.port;
            let text = format!("Not drained: something still listens on the worker's port {port}");
            DrainFinding::plain(DrainResult::Unknown, text)
        }
        Ok(_) => DrainFinding::no_worker(message, cost),
        Err(error) => DrainFinding::plain(
            DrainResult::Unknown,
            format!("Not drained: whether the worker has ended cannot be seen: {error}"),
        ),
    }
}

/// Whether a container runs or will. The engine's list may be a moment behind its own answer to a
/// stop, which a look at the container is not; what cannot be seen may run.
async fn runs(server: &Server, container: &ContainerSummary) -> bool {
    if find::life(container) == Life::Down {
        return false;
    }
    match server.engine.inspect_container(&container.id).await {
        Ok(detail) => detail.is_some_and(|it| it.state.running || it.state.restarting),
        Err(_) => true,
    }
}

fn cannot_be_stopped(active_jobs: Option<u32>, reason: &str) -> DrainFinding {
    let text = format!("Not drained: the worker cannot be stopped: {reason}");
    DrainFinding { active_jobs, ..DrainFinding::plain(DrainResult::Unknown, text) }
}

/// The time is up: the worker is told to end, and has its own grace to release its job.
async fn stop_at_work(
    server: &Server,
    id: &str,
    jobs: Option<u32>,
    notes: &mut Notes,
) -> DrainFinding {
    let engine = &server.engine;
    // Twice, as in `stop_idle`.
    _ = engine.set_restart_policy(id, "no").await;
    match engine.stop_container(id, server.config.timing.stop_grace).await {
        Ok(()) => {
            keep_from_reboots(server, id, notes).await;
            let cost = Cost { stopped: jobs, ..Cost::default() };
            let cost = note_cost(server, id, cost, notes);
            let message = "The time was up: the worker was told to end, and has ended";
            DrainFinding { stopped_jobs: cost.stopped, ..ended(message, cost, server).await }
        }
        Err(error) => cannot_be_stopped(jobs, &error.to_string()),
    }
}

/// Puts a drained worker back to work.
///
/// # Errors
/// Why it stays drained.
pub async fn resume_host(server: &'static Server) -> Result<Resumed, String> {
    if server.is_terminating() {
        return Err("This host is terminating: its worker stays drained".to_owned());
    }
    let ticket = server.ops.admit(What::Resume).map_err(|running| running.describe())?;
    ticket.step("resume-worker");
    server.readings.forget();
    if let Some(id) = server.state.stopped_by_drain() {
        let current = worker_container(server).await.map_err(|error| error.to_string())?;
        // Another container may play the worker by now: two of them would take jobs.
        let still = current.is_some_and(|container| container.id == id);
        if still {
            server.engine.start_container(&id).await.map_err(|error| error.to_string())?;
        }
        let resumed = forget_drain(server, "The worker was started again");
        if still {
            return Ok(resumed);
        }
    }
    if worker::open_intake(&server.config.worker.place).await.is_ok() {
        return Ok(forget_drain(server, "The worker takes work again"));
    }
    worker::read(&server.config.worker.place).await.map_err(|unknown| unknown.to_string())?;
    server.state.replace(UNDRAIN, b"{}").map_err(|error| error.to_string())?;
    let message = "The worker cannot resume: it will be restarted as soon as it is idle";
    Ok(Resumed { message, notes: Vec::new() })
}

/// Forgets what was written down about the drain. A disk that refuses keeps no worker from its
/// work.
fn forget_drain(server: &Server, message: &'static str) -> Resumed {
    let mut notes = Notes::default();
    if let Err(error) = server.state.forget_drain() {
        notes.add(format!("the worker takes jobs again, but the record of its drain cannot be removed from the disk ({error})"));
    }
    Resumed { message, notes: notes.0 }
}

/// The container that plays the worker.
///
/// # Errors
/// When Docker cannot be asked.
pub async fn worker_container(
    server: &Server,
) -> Result<Option<ContainerSummary>, crate::docker::Error> {
    let containers = server.engine.list_containers(true).await?;
    Ok(find::current(&server.config, &server.config.worker, &containers, None).cloned())
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
