//! The rules of others under the same faults. Each is given our worker and our host's way to drain;
//! what is theirs is who learns of the end, who holds the instance, and who lets it go.

use super::world::Loss;
use super::{Fault, Reconciler, World};

/// The predecessor: a hook of 300 s and nobody who holds it, tells the host or completes. Nothing
/// reaches a machine in `Terminating:Wait`, so its worker takes jobs until the hook runs out.
#[derive(Debug)]
pub(crate) struct OldSystem;

impl Reconciler for OldSystem {
    fn second(&mut self, world: &mut World) {
        while world.arrived().is_some() {
            world.say("an event that nobody reads");
        }
    }
}

/// When a process of theirs dies: once in the first ten minutes, where ours dies in every other
/// pass.
fn dies_at(world: &World) -> Option<i64> {
    let mut random = world.draw.crashes.clone();
    world.draw.has(Fault::Crashes).then(|| random.between(1, 600))
}

fn heartbeat(world: &mut World) -> bool {
    let refused = world.strikes(Fault::HeartbeatThrottled);
    !refused && world.heartbeat()
}

/// What one attempt to complete came to.
enum Completion {
    Done,
    NoAction,
    Refused,
}

fn complete(world: &mut World) -> Completion {
    if world.strikes(Fault::CompleteThrottled) {
        Completion::Refused
    } else if world.complete(Loss::Released) {
        Completion::Done
    } else {
        Completion::NoAction
    }
}

/// buildkite/lifecycled: a daemon on the host reads the hook's event from a queue and the
/// metadata's spot notice, runs a handler that waits for the job, holds every 10 s and always
/// completes, once.
#[derive(Debug, Default)]
pub(crate) struct Lifecycled {
    doing: Doing,
    back_at: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Listening,
    Handling,
    Completing {
        until: i64,
    },
    /// It takes one notice and exits.
    Gone,
}

const LIFECYCLED_HEARTBEAT_S: i64 = 10;
const LIFECYCLED_SPOT_POLL_S: i64 = 5;
/// systemd starts it again after this time.
const LIFECYCLED_BOOT_S: i64 = 30;
/// The completion has a context of its own, of so long.
const LIFECYCLED_COMPLETES_S: i64 = 30;

impl Reconciler for Lifecycled {
    fn second(&mut self, world: &mut World) {
        if !world.machine_runs {
            return;
        }
        if dies_at(world) == Some(world.now) {
            // It deletes its message before it handles it, so nothing tells it again.
            world.say("lifecycled dies");
            self.doing = Doing::Listening;
            self.back_at = world.now + LIFECYCLED_BOOT_S;
        }
        if world.now < self.back_at {
            return;
        }
        // It lives on the host, so an outage of the control plane is one of its calls only.
        let can_call = !world.strikes(Fault::Outage);
        match self.doing {
            Doing::Listening => {
                let polls = world.now % LIFECYCLED_SPOT_POLL_S == 0;
                let spot = world.draw.when(Fault::Spot).is_some_and(|w| world.now >= w.from);
                let told = can_call && world.arrived().is_some();
                if told || (polls && spot) {
                    world.mark("lifecycled runs its handler");
                    self.doing = Doing::Handling;
                }
            }
            Doing::Handling => {
                if can_call && world.now % LIFECYCLED_HEARTBEAT_S == 0 && !heartbeat(world) {
                    world.say("a heartbeat failed; lifecycled logs it");
                }
                if world.host.is_at_rest() {
                    self.doing = Doing::Completing { until: world.now + LIFECYCLED_COMPLETES_S };
                }
            }
            Doing::Completing { until } if world.now < until => {
                if can_call && !matches!(complete(world), Completion::Refused) {
                    self.doing = Doing::Gone;
                }
            }
            Doing::Completing { .. } => self.doing = Doing::Gone,
            Doing::Gone => {}
        }
    }
}

/// aws-node-termination-handler in its queue mode, with its heartbeats switched on: a controller
/// reads the events from a queue that keeps them for 300 s, drains, holds until the first error,
/// and completes once; a completion that fails leaves the heartbeats on.
#[derive(Debug, Default)]
pub(crate) struct NodeTerminationHandler {
    /// When each message was sent that nobody has deleted.
    queue: Vec<i64>,
    drains: bool,
    holds: bool,
    processed: bool,
    back_at: i64,
}

const NTH_HEARTBEAT_S: i64 = 60;
const NTH_RETENTION_S: i64 = 300;
const NTH_BOOT_S: i64 = 15;

impl Reconciler for NodeTerminationHandler {
    fn second(&mut self, world: &mut World) {
        while world.arrived().is_some() {
            self.queue.push(world.now);
        }
        self.queue.retain(|sent| world.now - sent < NTH_RETENTION_S);
        if dies_at(world) == Some(world.now) || world.strikes(Fault::Outage) {
            if self.drains || self.processed {
                world.say("node-termination-handler dies, and knows nothing any more");
            }
            let NodeTerminationHandler { queue, .. } = std::mem::take(self);
            self.queue = queue;
            self.back_at = world.now + NTH_BOOT_S;
        }
        if world.now < self.back_at || !world.machine_runs {
            return;
        }
        if !self.drains && !self.processed && !self.queue.is_empty() {
            world.mark("node-termination-handler drains");
            (self.drains, self.holds) = (true, true);
        }
        if self.holds && world.now % NTH_HEARTBEAT_S == 0 && !heartbeat(world) {
            world.say("a heartbeat failed: node-termination-handler holds no more");
            self.holds = false;
        }
        if self.drains && world.host.is_at_rest() {
            (self.drains, self.processed) = (false, true);
            if matches!(complete(world), Completion::Done) {
                self.holds = false;
                self.queue.clear();
            } else {
                world.say("the completion failed: node-termination-handler logs it and holds on");
            }
        }
    }
}
