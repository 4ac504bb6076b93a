//! After a crash or a reboot: finish or undo what the journal says was under way.

use std::time::Duration;

use super::decide::interrupted;
use super::model::{DeployStep, Record, Run};
use super::run::Deployment;
use super::steps::clear_name;
use crate::ops::What;
use crate::server::Server;
use crate::service::ServiceKind;
use crate::state::{Journal, StateError};

const BETWEEN_TRIES: Duration = Duration::from_secs(5);

/// Takes up the last deploy if it has no end. Must run before anything else may take the lock;
/// returns when the host has one owner per service again.
pub async fn recover(server: &'static Server) {
    let Ok(ticket) = server.ops.admit(What::Recovery) else { return };
    let (mut run, journal) = loop {
        match open(server) {
            Ok(Some(opened)) => break opened,
            Ok(None) => return,
            // Nothing else may be deployed over what is not known, and a disk can be mended.
            Err(error) => {
                tracing::error!(error = %error, "the interrupted deploy waits for its journal");
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
        }
    };
    tracing::warn!(deploy = run.begin.deploy, step = ?run.step, "a deploy was interrupted");
    // Old proofs: the worker may have taken a job since, and a reboot stops what was started.
    run.did.remove(&DeployStep::Drain);
    for kind in ServiceKind::ALL {
        run.did.remove(&DeployStep::StartOld(kind));
    }

    let mut deployment = Deployment::resume(server, &ticket, run, journal);
    let id = &deployment.run.begin.deploy;
    let ended =
        server.state.history().unwrap_or_default().into_iter().find(|entry| entry.id == *id);
    if let Some(entry) = ended {
        deployment.forget_the_former_worker();
        deployment.note(Record::End { outcome: entry.status });
        return;
    }
    let world = deployment.look().await;
    let made = deployment.run.created.clone();
    if let Some(reason) = interrupted(&deployment.run, &world) {
        let step = deployment.run.step.map_or("initializing", DeployStep::public_name);
        let service = deployment.run.step.and_then(DeployStep::service);
        deployment.fail(step, service, reason.to_owned(), Vec::new());
    }
    let entry = deployment.drive().await;
    server.readings.forget();
    // A container may have been made and not been written down: no service waits for its end.
    for kind in ServiceKind::ALL.into_iter().filter(|kind| !made.contains_key(kind)) {
        let service = server.config.service(kind);
        let name = service.next_name();
        if let Err(error) = clear_name(server, service, &name).await {
            tracing::warn!(error = %error, container = name, "a leftover container stays");
        }
    }
    ticket.finish(entry);
}

/// The deploy that has no end, and its journal, open for writing.
fn open(server: &Server) -> Result<Option<(Run, Journal)>, StateError> {
    let Some(run) = Run::from_records(Journal::read(&server.state)?) else { return Ok(None) };
    server.saw_generation(run.begin.generation);
    if run.outcome.is_some() {
        return Ok(None);
    }
    Ok(Some((run, Journal::resume(&server.state)?)))
}
