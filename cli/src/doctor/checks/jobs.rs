//! Jobs: how long they wait, and whether somebody takes them.

use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use crate::show::{span, word};
use fleet_core::scaling::QueueSnapshot;
use fleet_protocol::reading::Reading;

const AREA: &str = "jobs";
/// WAIT_TARGET_SECONDS by default.
const TARGET_S: u64 = 180;
/// A worker asks for jobs every few seconds.
const TAKES_WITHIN_S: u64 = 60;

/// What is waiting, by the API or by the database.
struct Waiting {
    ready: u64,
    oldest_s: u64,
    expired: Option<u64>,
}

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let check = |name| Check::new(AREA, name, "the queue");
    let waiting = match waiting(facts) {
        Ok(waiting) => waiting,
        Err(why) => {
            return ["oldest wait", "takers"].map(|name| check(name).not_checked(&why)).to_vec();
        }
    };
    let Waiting { ready, oldest_s, .. } = waiting;
    let wait = span(oldest_s);
    let oldest = if oldest_s > TARGET_S {
        let finding = format!("{ready} jobs are ready, the oldest for {wait}");
        check("oldest wait").warning(finding, "ghfleet explain --now")
    } else {
        check("oldest wait").ok(format!("{ready} jobs are ready, the oldest for {wait}"))
    };
    let mut found = vec![oldest, takers(facts, &waiting, check("takers"))];
    if let Some(expired) = waiting.expired.filter(|expired| *expired > 0) {
        let finding = format!("{expired} jobs run past their expiry: pg-boss has not swept them");
        found.push(check("expired").warning(finding, "ghfleet status"));
    }
    found
}

fn waiting(facts: &Facts) -> Result<Waiting, String> {
    match (facts.told("/queue"), &facts.database.view) {
        (Ok(queue), _) => {
            let number = |name: &str| queue[name].as_u64();
            let known = number("ready").zip(number("oldest_wait_s"));
            let (ready, oldest_s) = known.ok_or("the API's status does not tell how jobs wait")?;
            Ok(Waiting { ready, oldest_s, expired: number("expired") })
        }
        (Err(_), Reading::Known(view)) => Ok(seen(&view.snapshot)),
        (Err(why), Reading::Unknown(_)) => Err(why),
    }
}

fn seen(snapshot: &QueueSnapshot) -> Waiting {
    let queues =
        || std::iter::once(&snapshot.general).chain(snapshot.targeted.iter().map(|it| &it.counts));
    let oldest_ms = queues().map(|queue| queue.oldest_wait_ms).max().unwrap_or(0);
    let active = snapshot.general.active.known();
    Waiting {
        ready: queues().map(|queue| u64::from(queue.ready)).sum(),
        oldest_s: u64::try_from(oldest_ms / 1000).unwrap_or(0),
        expired: active.map(|active| u64::from(active.expired)),
    }
}

/// Workers that report without a job while jobs wait.
fn takers(facts: &Facts, waiting: &Waiting, check: Check) -> Diagnosis {
    let workers = match facts.told("/workers") {
        Ok(workers) => workers.as_array().map(Vec::as_slice).unwrap_or_default(),
        Err(why) => return check.not_checked(why),
    };
    let idle: Vec<String> = workers
        .iter()
        .filter(|worker| worker["state"] == "idle")
        .filter_map(|worker| word(worker, "/instance_id"))
        .collect();
    let Some(first) = idle.first() else {
        return check.ok("no worker is idle");
    };
    if waiting.ready == 0 || waiting.oldest_s < TAKES_WITHIN_S {
        return check.ok("no job waits for long while a worker is idle");
    }
    let finding = format!(
        "{} jobs have waited for up to {}, and the idle workers of these take nothing: {}",
        waiting.ready,
        span(waiting.oldest_s),
        super::listed(&idle)
    );
    check.fault(finding, format!("ghfleet shell {first} --run   # then: deploy-server status"))
}
