//! Reads every source at the same time, each with a limit of its own, so that one that is down
//! costs its own fields and nothing else.

use crate::app::App;
use fleet_clients::queue::{QueueSource, QueueView};
use fleet_core::scaling::{Group, LossCause, Memory};
use fleet_core::status::{Inputs, LastRollout, Proof};
use fleet_lambda::now;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// An AWS call has three seconds by itself.
pub(crate) const CALL: Duration = Duration::from_millis(3_500);
/// The database's own limits add up to more than people wait.
const QUEUE: Duration = Duration::from_secs(4);
/// The results of commands come in pages.
const PROOFS: Duration = Duration::from_secs(5);

/// Everything that can be known now.
pub(crate) async fn read(app: &App) -> Inputs {
    let config = &app.config;
    let group_and_proofs = async {
        let group = within(CALL, "the group", describe(app)).await;
        let proofs = proofs(app, &group).await;
        (group, proofs)
    };
    let queue = within(QUEUE, "the queue", look(app));
    let memory = within(CALL, "the memory", app.parameters.get(&config.state_parameter));
    let stable = within(CALL, "the stable version", app.parameters.get(&config.stable_parameter));
    let ((group, proofs), queue, memory, stable) =
        tokio::join!(group_and_proofs, queue, memory, stable);
    let (queue, details) = match queue {
        Reading::Known(QueueView { snapshot, details }) => (Reading::Known(snapshot), details),
        Reading::Unknown(unknown) => (Reading::Unknown(unknown), BTreeMap::new()),
    };
    Inputs {
        now: now(),
        site: config.site.clone(),
        group,
        queue,
        details,
        memory: remembered(memory),
        proofs,
        last_rollout: stable.known().and_then(|text| LastRollout::read(text.as_deref()?)),
        stable: stable_version(&config.stable_parameter, stable),
    }
}

/// The group, which is asked for by itself where a change is to be checked against it.
pub(crate) async fn describe(app: &App) -> Reading<Group> {
    app.auto_scaling.describe(&app.config.site.group).await
}

async fn look(app: &App) -> Reading<QueueView> {
    ask(app, async |source| source.view(app.config.boot_s, QUEUE).await).await
}

/// What the database answers.
pub(crate) async fn ask<T>(
    app: &App,
    question: impl AsyncFnOnce(&mut QueueSource) -> Result<T, Unknown>,
) -> Reading<T> {
    // Two requests do not overlap in one environment, so the lock is free; it is the future's own
    // if this one is dropped.
    let mut queue = app.queue.lock().await;
    let seen = async {
        let source = queue.source(app.queue_failed.load(Ordering::Relaxed)).await?;
        question(source).await
    };
    let seen = seen.await;
    app.queue_failed.store(seen.is_err(), Ordering::Relaxed);
    seen.map_or_else(Reading::Unknown, Reading::Known)
}

/// Only for hosts that exist: which they are has to be known first.
async fn proofs(app: &App, group: &Reading<Group>) -> Reading<BTreeMap<InstanceId, Proof>> {
    let Reading::Known(group) = group else {
        return Reading::Unknown(Unknown {
            cause: UnknownCause::NotAsked,
            detail: "which hosts there are is unknown, so none was asked for".to_owned(),
        });
    };
    let hosts = group.instances.iter().map(|instance| instance.id.clone()).collect();
    // What was said before counts no more, so it is not looked through.
    let since = UnixMs(now().0 - i64::from(app.config.site.proof_life_s) * 1000);
    app.proofs.of(&hosts, since, PROOFS).await
}

fn remembered(stored: Reading<Option<String>>) -> Reading<Memory> {
    match stored {
        Reading::Known(Some(text)) => Reading::Known(Memory::decode(&text)),
        Reading::Known(None) => Reading::Known(Memory::Lost {
            cause: LossCause::Absent,
            detail: "there is none; it comes with the first tick that is no dry run".to_owned(),
        }),
        Reading::Unknown(unknown) => Reading::Unknown(unknown),
    }
}

fn stable_version(name: &str, stored: Reading<Option<String>>) -> Reading<Option<StablePointer>> {
    match stored {
        Reading::Known(None) => Reading::Known(None),
        Reading::Known(Some(text)) => match StablePointer::parse(&text) {
            Ok(stable) => Reading::Known(Some(stable)),
            Err(wrong) => Reading::Unknown(Unknown {
                cause: UnknownCause::Unreadable,
                detail: format!("the parameter {name} cannot be used: {wrong}"),
            }),
        },
        Reading::Unknown(unknown) => Reading::Unknown(unknown),
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    reading: impl Future<Output = Reading<T>>,
) -> Reading<T> {
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
        Reading::Unknown(Unknown {
            cause: UnknownCause::TimedOut,
            detail: format!("{what} was not read within {:.1} s", limit.as_secs_f32()),
        })
    })
}
