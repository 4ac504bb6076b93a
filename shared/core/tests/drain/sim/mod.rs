//! The end of one instance on a virtual clock: group, hook, SSM, host, worker and job, and
//! everything that can go wrong with them.
//!
//! A life is a function of its scenario alone, so a seed replays it. Each step is a second.

pub(crate) mod draw;
mod host;
pub(crate) mod ours;
mod peers;
pub(crate) mod replay;
mod world;

pub(crate) use draw::{Draw, Fault};
pub(crate) use ours::{Kill, Ours};
pub(crate) use peers::{Lifecycled, NodeTerminationHandler, OldSystem};
pub(crate) use world::{Life, Loss, World};

/// One scale-in and what goes wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
    /// The hook's default result keeps the machine (the peers have the classic hook, which ends
    /// it).
    pub(crate) retain: bool,
    /// The host watches its own metadata and begins to drain by itself.
    pub(crate) watcher: bool,
    /// What happens is written down. It costs most of the time, so a life is lived again for it.
    pub(crate) traced: bool,
}

impl Scenario {
    pub(crate) fn new(seed: u64, faults: &[Fault]) -> Scenario {
        Scenario { seed, faults: faults.to_vec(), retain: true, watcher: false, traced: false }
    }
}

/// Somebody who looks after the instance, once a second.
pub(crate) trait Reconciler {
    fn second(&mut self, world: &mut World);
}

/// Half a day is longer than any hook of this kind holds.
const LONGEST_S: i64 = 43_200;

/// Lives the whole life.
pub(crate) fn live(scenario: &Scenario, reconciler: &mut dyn Reconciler) -> Life {
    live_in(World::new(scenario), reconciler)
}

/// The same in a world that was made before.
pub(crate) fn live_in(mut world: World, reconciler: &mut dyn Reconciler) -> Life {
    while world.now < LONGEST_S && !world.is_over() {
        world.second();
        reconciler.second(&mut world);
    }
    world.into_life()
}

/// Many instances of one group end at once, and one function whose environments stay warm looks
/// after them all.
pub(crate) fn crowd(scenarios: &[Scenario], mut ours: Ours) -> Vec<Life> {
    let mut worlds: Vec<World> = scenarios.iter().map(World::new).collect();
    worlds[0].draw.fresh = false;
    while worlds[0].now < LONGEST_S && !worlds.iter().all(World::is_over) {
        worlds.iter_mut().for_each(World::second);
        ours.look_after(&mut worlds);
    }
    worlds.into_iter().map(World::into_life).collect()
}

/// The value that so many percent of all are at most.
pub(crate) fn percentile(values: &[i64], percent: usize) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted[rank.min(sorted.len() - 1)]
}
