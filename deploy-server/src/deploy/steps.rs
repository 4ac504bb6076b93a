//! How each step is done. Every one may be repeated: a crash can come between its doing and its
//! being noted.

use std::time::{Duration, Instant};

use fleet_protocol::line;
use tokio::task::JoinHandle;

use super::drain::{self, Idle};
use super::find;
use super::gate::{self, Gate, GateState};
use super::model::{DeployStep, Record};
use super::run::Deployment;
use crate::clock::now_ms;
use crate::docker::{self, ContainerDetail};
use crate::listener;
use crate::orders;
use crate::server::Server;
use crate::service::{Service, ServiceKind};
use crate::state::UNDRAIN;
use crate::worker;

/// Between two looks at a process that is to end, and at a port that is to be free.
const BETWEEN_GLANCES: Duration = Duration::from_millis(5);
/// What runs longer is no job any more; the fleet's drain has the same limit.
const LONGEST_JOB: Duration = Duration::from_secs(4 * 3600);
const LOG_LINES: usize = 50;
/// Between two looks of the gate.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// How long a container must stay healthy, and the pause between two looks, where its first answer
/// is enough: another service is away until then.
const FIRST_ANSWER: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(20));
/// A process that ended lets go of its port within this time.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(2);
/// How long the engine is asked to remove what was set aside; whoever waits for the deploy waits
/// for this, too.
const LEFTOVERS_WITHIN: Duration = Duration::from_secs(10);
/// Leftovers that a note names, and bytes of the engine's reason that it shows.
const LEFTOVERS_NAMED: usize = 3;
const REASON_SHOWN: usize = 120;

/// A step that was done.
#[derive(Debug, Default)]
pub(super) struct StepDone {
    /// Docker does not show its effect, so the journal must.
    pub invisible: bool,
    pub caught_jobs: u32,
    pub waited_ms: u64,
}

/// A step that was not.
#[derive(Debug)]
pub(super) enum StepError {
    EngineAway(docker::Error),
    Engine(docker::Error),
    Reason(String),
    /// A container did not become healthy, or did not stay so.
    Gate {
        service: ServiceKind,
        text: String,
        log: Vec<String>,
    },
}

type StepResult = Result<StepDone, StepError>;

impl From<docker::Error> for StepError {
    fn from(error: docker::Error) -> Self {
        if error.is_engine_away() { Self::EngineAway(error) } else { Self::Engine(error) }
    }
}

impl From<String> for StepError {
    fn from(text: String) -> Self {
        Self::Reason(text)
    }
}

impl StepError {
    /// The service that it is about, where the step is about more than one.
    pub(super) fn service(&self) -> Option<ServiceKind> {
        match self {
            Self::Gate { service, .. } => Some(*service),
            _ => None,
        }
    }

    pub(super) fn into_parts(self) -> (String, Vec<String>) {
        match self {
            Self::EngineAway(error) | Self::Engine(error) => (error.to_string(), Vec::new()),
            Self::Reason(text) => (text, Vec::new()),
            Self::Gate { text, log, .. } => (text, log),
        }
    }
}

/// Does one step of the swap, of the commit or of the way back.
pub(super) async fn perform(deployment: &mut Deployment<'_>, step: DeployStep) -> StepResult {
    let server = deployment.server;
    let engine = &server.engine;
    let config = &server.config;
    let run = &deployment.run;
    let old = |kind: ServiceKind| {
        run.old
            .get(&kind)
            .ok_or_else(|| StepError::from(format!("there is no old {kind} container")))
    };
    let new = |kind: ServiceKind| {
        run.created
            .get(&kind)
            .ok_or_else(|| StepError::from(format!("there is no new {kind} container")))
    };
    let visible = Ok(StepDone::default());
    let invisible = Ok(StepDone { invisible: true, ..StepDone::default() });
    match step {
        DeployStep::CloseIntake | DeployStep::Pull | DeployStep::Create(_) => visible,
        DeployStep::ClearPrev(kind) => {
            clear_name(server, config.service(kind), &config.service(kind).prev_name()).await?;
            visible
        }
        DeployStep::Drain => drain_worker(deployment).await,
        DeployStep::Stop(kind) => {
            let id = old(kind)?.id.clone();
            deployment.ending = stop_old(server, kind, id).await?;
            visible
        }
        DeployStep::RenameOld(kind) => {
            engine.rename_container(&old(kind)?.id, &config.service(kind).prev_name()).await?;
            visible
        }
        DeployStep::Start(kind) => {
            start_new(server, config.service(kind), new(kind)?).await?;
            visible
        }
        DeployStep::FirstAnswer(kind) => {
            let since = run.started_at.get(&kind).copied().unwrap_or_else(now_ms);
            let (service, deploy) = (config.service(kind), Some(run.begin.deploy.as_str()));
            pass_gate(FIRST_ANSWER, server, service, new(kind)?, since, deploy).await?;
            invisible
        }
        DeployStep::Gate(_) => {
            pass_gates(deployment).await?;
            visible
        }
        DeployStep::Promote(kind) => {
            promote(server, config.service(kind), new(kind)?).await?;
            visible
        }
        DeployStep::Retire(kind) => {
            engine.set_restart_policy(&old(kind)?.id, "no").await?;
            invisible
        }
        DeployStep::Keep(kind) => {
            engine.set_restart_policy(new(kind)?, "unless-stopped").await?;
            invisible
        }
        DeployStep::StopNew(kind) => {
            let caught_jobs = stop_new(server, kind, new(kind)?, run.begin.force).await?;
            Ok(StepDone { invisible: caught_jobs > 0, caught_jobs, waited_ms: 0 })
        }
        DeployStep::RemoveNew(kind) => {
            remove_or_set_aside(server, config.service(kind), new(kind)?).await?;
            visible
        }
        DeployStep::RestoreName(kind) => {
            engine.rename_container(&old(kind)?.id, &old(kind)?.name).await?;
            visible
        }
        DeployStep::RestorePolicy(kind) => {
            let policy = Some(old(kind)?.policy.as_str()).filter(|policy| !policy.is_empty());
            engine.set_restart_policy(&old(kind)?.id, policy.unwrap_or("no")).await?;
            invisible
        }
        DeployStep::StartOld(kind) => {
            engine.start_container(&old(kind)?.id).await?;
            invisible
        }
        DeployStep::GateOld(kind) => {
            let id = old(kind)?.id.clone();
            let since = run.started_at.get(&kind).copied().unwrap_or_else(now_ms);
            let watch = (config.timing.healthy_for, BETWEEN_LOOKS);
            pass_gate(watch, server, config.service(kind), &id, since, None).await?;
            invisible
        }
        DeployStep::Resume => {
            resume_worker(server).await?;
            invisible
        }
    }
}

/// The engine's call that stops a container, on its way.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) service: ServiceKind,
    call: JoinHandle<Result<(), docker::Error>>,
}

impl Ending {
    /// Waits for the engine. What it could not do shows in the next look.
    pub(super) async fn wait(self) {
        match self.call.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the engine did not stop a container whose processes have ended")
            }
            Err(error) => {
                tracing::error!(error = %error, "a call to the engine ended without a result")
            }
        }
    }
}

/// Stops an old container and returns once its processes have ended. What the engine then tidies up
/// takes it as long again as a good part of a start, and the service is away meanwhile.
async fn stop_old(
    server: &'static Server,
    service: ServiceKind,
    id: String,
) -> Result<Option<Ending>, docker::Error> {
    let detail = server.engine.inspect_container(&id).await?;
    // The engine lets go of a port that it forwards only after the processes have ended.
    let port = server.config.service(service).place.port;
    let detail = detail.filter(|detail| !detail.publishes(port));
    // A process that cannot be seen while it runs cannot be seen to end either.
    let pid = detail.map(|detail| detail.state.pid).filter(|pid| listener::is_alive(*pid));
    let grace = server.config.timing.stop_grace;
    let mut call = tokio::spawn(async move { server.engine.stop_container(&id, grace).await });
    loop {
        tokio::select! {
            stopped = &mut call => {
                return match stopped {
                    Ok(stopped) => stopped.map(|()| None),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
            () = tokio::time::sleep(BETWEEN_GLANCES) => {
                if pid.is_some_and(|pid| !listener::is_alive(pid)) {
                    return Ok(Some(Ending { service, call }));
                }
            }
        }
    }
}

async fn drain_worker(deployment: &mut Deployment<'_>) -> StepResult {
    let server = deployment.server;
    let place = &server.config.worker.place;
    let actor = deployment.run.begin.actor.clone();
    // A rollout's order waits as long as a job may take.
    let within = orders::patience(server, &actor).unwrap_or(server.config.timing.drain_within);
    let id = deployment.run.old.get(&ServiceKind::Worker).map(|old| old.id.clone());
    let id = id.ok_or_else(|| StepError::from("there is no worker to drain".to_owned()))?;
    let began = Instant::now();
    let waited_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);

    let gone = until_it_goes_down(server, &id);
    let idle = tokio::select! {
        biased;
        () = orders::until_lost(server, &actor) => {
            return Err("the order was taken back, or another took its place".to_owned().into());
        }
        idle = drain::wait_until_idle(place, within) => idle,
        () = gone => {
            return Ok(StepDone { invisible: true, caught_jobs: 0, waited_ms: waited_ms() });
        }
        // Its own drain has other rules than a deploy's, and waits for the lock.
        () = until_it_terminates(server) => return Err("the host is terminating".to_owned().into()),
    };
    let mut caught_jobs = 0;
    match idle {
        Ok(Idle::Proven) => {}
        Ok(Idle::ThisInstant) => {
            // Nothing may come between the idle reading and the stop, so the record of the stop is
            // written here.
            deployment.note(Record::Doing { step: DeployStep::Stop(ServiceKind::Worker) });
            caught_jobs = stop_and_watch(server, &id).await?;
        }
        Err(not_idle) if deployment.run.begin.force => {
            tracing::warn!(
                reason = not_idle.reason,
                "the worker is not idle; the deploy is forced"
            );
            caught_jobs = not_idle.last.map_or(0, |reading| reading.active_jobs);
        }
        Err(not_idle) => {
            let seconds = within.as_secs_f64();
            return Err(format!("not drained within {seconds} s: {}", not_idle.reason).into());
        }
    }
    Ok(StepDone { invisible: true, caught_jobs, waited_ms: waited_ms() })
}

/// Stops the worker and returns how many jobs it had taken after its last idle answer.
///
/// # Errors
/// When the engine cannot stop it.
pub(crate) async fn stop_and_watch(server: &Server, id: &str) -> Result<u32, docker::Error> {
    let mut outcome = Ok(());
    let stopping = async {
        outcome = server.engine.stop_container(id, server.config.timing.stop_grace).await;
    };
    let caught = drain::watch_for_caught_jobs(&server.config.worker.place, stopping).await;
    if caught > 0 {
        tracing::warn!(
            jobs = caught,
            "the worker took work between its last idle answer and its end"
        );
    }
    outcome.map(|()| caught)
}

/// Returns when the container does not run any more (or only comes and goes). An engine that is
/// away proves nothing.
pub(crate) async fn until_it_goes_down(server: &Server, id: &str) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match server.engine.inspect_container(id).await {
            Ok(Some(detail)) if detail.is_running() => {}
            Ok(_) => return,
            Err(_) => {}
        }
    }
}

async fn until_it_terminates(server: &Server) {
    while !server.is_terminating() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn start_new(server: &Server, service: &Service, id: &str) -> Result<(), StepError> {
    let began = Instant::now();
    let port = service.place.port;
    while !listener::on_port(port).sockets.is_empty() {
        if began.elapsed() >= PORT_FREE_WITHIN {
            // Unless it is the container itself, started before a crash.
            let detail = server.engine.inspect_container(id).await?;
            if detail.is_some_and(|detail| find::has_port(&detail, port)) {
                return Ok(());
            }
            let owner = listener::owner_of(port);
            let owner = owner.map_or_else(
                || "an unknown process".to_owned(),
                |pid| format!("process {pid} ({})", listener::name_of(pid)),
            );
            return Err(format!("port {port} is not free: {owner} listens on it").into());
        }
        tokio::time::sleep(BETWEEN_GLANCES).await;
    }
    Ok(server.engine.start_container(id).await?)
}

/// Watches the new containers side by side, until each has stayed healthy for its time.
async fn pass_gates(deployment: &mut Deployment<'_>) -> Result<(), StepError> {
    let (server, run) = (deployment.server, &deployment.run);
    let deploy = Some(run.begin.deploy.as_str());
    let watch = |kind: ServiceKind| async move {
        let Some(id) =
            run.created.get(&kind).filter(|_| !run.did.contains(&DeployStep::Gate(kind)))
        else {
            return Ok(());
        };
        let since = run.started_at.get(&kind).copied().unwrap_or_else(now_ms);
        let watch = (server.config.timing.healthy_for, BETWEEN_LOOKS);
        pass_gate(watch, server, server.config.service(kind), id, since, deploy).await
    };
    tokio::try_join!(watch(ServiceKind::Api), watch(ServiceKind::Worker))?;
    for kind in ServiceKind::ALL {
        deployment.note(Record::Did { step: DeployStep::Gate(kind), caught_jobs: 0, waited_ms: 0 });
    }
    Ok(())
}

/// Watches a container, with a pause between two looks, until it has stayed healthy for its time or
/// has failed.
async fn pass_gate(
    (healthy_for, pause): (Duration, Duration),
    server: &Server,
    service: &Service,
    id: &str,
    since_ms: i64,
    deploy: Option<&str>,
) -> Result<(), StepError> {
    // The journal's time once, for a start before a crash; a clock that is set meanwhile must not
    // shorten or stop the wait.
    let within = server.config.timing.start_within;
    let before = Duration::from_millis(u64::try_from(now_ms() - since_ms).unwrap_or(0));
    let (before, began) = (before.min(within), Instant::now());
    let mut gate = Gate::new(healthy_for, within, service.place.port);
    loop {
        let detail: Option<ContainerDetail> = server.engine.inspect_container(id).await?;
        let sample = gate::look(service, detail.as_ref(), deploy).await;
        match gate.observe(before + began.elapsed(), &sample) {
            GateState::Passed => return Ok(()),
            GateState::Wait => tokio::time::sleep(pause).await,
            GateState::Failed(text) => {
                let lines = server.engine.last_log_lines(id, LOG_LINES).await.unwrap_or_default();
                let environment = service.environment(&server.secrets.environment());
                let log = lines.iter().map(|line| service.redact(line, &environment)).collect();
                return Err(StepError::Gate { service: service.kind, text, log });
            }
        }
    }
}

/// Gives the new container the service's own name. A leftover under that name is removed if nothing
/// runs in it.
async fn promote(server: &Server, service: &Service, id: &str) -> Result<(), StepError> {
    let engine = &server.engine;
    if let Some(other) = engine.inspect_container(&service.container).await?
        && other.id != id
        && other.name() == service.container
    {
        if other.is_running() || other.state.restarting {
            return Err(
                format!("another container runs under the name {}", service.container).into()
            );
        }
        remove_or_set_aside(server, service, &other.id).await?;
    }
    Ok(engine.rename_container(id, &service.container).await?)
}

/// Stops a new container on the way back, and returns how many jobs it still had. A worker that
/// already works finishes its job first, however long that takes; only a forced deploy does not
/// wait for it.
async fn stop_new(
    server: &Server,
    kind: ServiceKind,
    id: &str,
    force: bool,
) -> Result<u32, StepError> {
    let place = &server.config.worker.place;
    if kind != ServiceKind::Worker || !is_at_work(server, id).await? {
        server.engine.stop_container(id, server.config.timing.stop_grace).await?;
        return Ok(0);
    }
    let within = if force { server.config.timing.drain_within } else { LONGEST_JOB };
    tokio::select! {
        idle = drain::wait_until_idle(place, within) => if let Err(not_idle) = idle {
            tracing::warn!(reason = not_idle.reason, "the new worker is stopped at work");
        },
        () = until_it_goes_down(server, id) => {}
    }
    Ok(stop_and_watch(server, id).await?)
}

/// Whether the worker in this container has a job. One that listens and does not answer may have
/// one: it is asked again for as long as a deploy waits for a job.
async fn is_at_work(server: &Server, id: &str) -> Result<bool, docker::Error> {
    let place = &server.config.worker.place;
    let began = Instant::now();
    loop {
        if let Ok(reading) = worker::read(place).await {
            return Ok(reading.active_jobs > 0);
        }
        let detail = server.engine.inspect_container(id).await?;
        let listens =
            detail.is_some_and(|detail| detail.is_running() && find::has_port(&detail, place.port));
        if !listens || began.elapsed() >= server.config.timing.drain_within {
            return Ok(false);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Opens the worker's intake. One that cannot is restarted once it is idle, by the keeper.
pub(super) async fn resume_worker(server: &Server) -> Result<(), StepError> {
    let place = &server.config.worker.place;
    for _ in 0..5 {
        if worker::open_intake(place).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.state.replace(UNDRAIN, b"{}").map_err(|error| StepError::from(error.to_string()))
}

/// Frees a name: the container of exactly that name is removed or set aside.
pub(super) async fn clear_name(
    server: &Server,
    service: &Service,
    name: &str,
) -> Result<(), docker::Error> {
    match server.engine.inspect_container(name).await? {
        // The engine also finds containers by the beginning of their id.
        Some(found) if found.name() == name => {
            remove_or_set_aside(server, service, &found.id).await
        }
        _ => Ok(()),
    }
}

/// Removes a container, or gives it a name that is in nobody's way where the engine cannot remove
/// it ("device or resource busy"): what is left over must not keep a service from running. Returns
/// the engine's refusal only where neither can be done.
async fn remove_or_set_aside(
    server: &Server,
    service: &Service,
    id: &str,
) -> Result<(), docker::Error> {
    let Err(refusal) = server.engine.remove_container(id).await else { return Ok(()) };
    // A removal that only takes too long is one that the engine cannot do.
    if refusal.is_engine_away() && !refusal.is_deadline() {
        return Err(refusal);
    }
    let aside = service.leftover_name(id);
    match server.engine.rename_container(id, &aside).await {
        Ok(()) => {
            tracing::error!(error = %refusal, container = aside, "the engine cannot remove a dead container; it is set aside under this name");
            Ok(())
        }
        Err(error) => {
            tracing::error!(error = %error, container = id, "nor can it be renamed");
            Err(refusal)
        }
    }
}

/// Removes what this and earlier deploys had to set aside, as far as the engine can by now, after
/// all else that a deploy does. Returns a note about what stays.
pub(super) async fn remove_leftovers(server: &Server) -> Option<String> {
    let until = Instant::now() + LEFTOVERS_WITHIN;
    let listed = tokio::time::timeout(LEFTOVERS_WITHIN, server.engine.list_containers(true));
    let containers = listed.await.ok()?.ok()?;
    let prefixes = ServiceKind::ALL.map(|kind| server.config.service(kind).leftover_prefix());
    let is_left_over = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let (mut stay, mut why) = (Vec::new(), String::new());
    for container in containers.iter().filter(|it| is_left_over(it.name())) {
        let removal = server.engine.remove_container(&container.id);
        match tokio::time::timeout_at(until.into(), removal).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no answer within {} s", LEFTOVERS_WITHIN.as_secs()),
        }
        stay.push(container.name());
    }
    let text = left_over(&stay, &why)?;
    tracing::error!("{text}");
    Some(text)
}

/// What is to be done about containers that were set aside, in words; `None` where there is none.
fn left_over(names: &[&str], why: &str) -> Option<String> {
    let first = names.first()?;
    let mut named = names[..names.len().min(LEFTOVERS_NAMED)].join(", ");
    if names.len() > LEFTOVERS_NAMED {
        named.push_str(&format!(" and {} more", names.len() - LEFTOVERS_NAMED));
    }
    let why = line::clip(why, REASON_SHOWN);
    Some(format!(
        "set aside because the Docker Engine cannot remove it: {named}; it does not run, and each deploy tries again; to be rid of it, restart Docker or the machine, or find what holds it (`docker rm -f {first}`); the engine says: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::left_over;

    #[test]
    fn what_stays_is_named_with_what_to_do_in_one_short_sentence() {
        assert_eq!(left_over(&[], ""), None);
        let names: Vec<String> =
            (0..9).map(|n| format!("ghosthands-worker.leftover-{n:012}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = left_over(&names, &"device or resource busy ".repeat(50)).unwrap();
        assert!(text.contains(names[2]) && text.contains(" and 6 more;"), "{text}");
        assert!(text.contains(&format!("docker rm -f {}`", names[0])), "{text}");
        assert!(text.len() < 550, "{}", text.len());
        assert!(!left_over(&names[..3], "busy").unwrap().contains("more"));
    }
}
