//! The end of one instance on a virtual clock: group, hook, SSM, host, worker and job, and everything that can go wrong with them.
//!
//! A life is a function of its scenario alone, so a seed replays it. Each step is a second.

mod draw;
mod host;
mod ours;
mod peers;
mod world;

pub(crate) use draw::{Draw, Fault, Window};
pub(crate) use ours::{Kill, Ours};
pub(crate) use peers::{Lifecycled, NodeTerminationHandler, OldSystem};
pub(crate) use world::{Life, World};

/// One scale-in and what goes wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
    /// The hook's default result keeps the machine (the peers have the classic hook, which ends it).
    pub(crate) retain: bool,
    /// The host watches its own metadata and begins to drain by itself.
    pub(crate) watcher: bool,
}

impl Scenario {
    pub(crate) fn new(seed: u64, faults: &[Fault]) -> Scenario {
        Scenario { seed, faults: faults.to_vec(), retain: true, watcher: false }
    }
}

/// Somebody who looks after the instance, once a second.
pub(crate) trait Keeper {
    fn second(&mut self, world: &mut World);
}

/// Half a day is longer than any hook of this kind holds.
const LONGEST_S: i64 = 43_200;

/// Lives the whole life.
pub(crate) fn live(scenario: &Scenario, keeper: &mut dyn Keeper) -> Life {
    let mut world = World::new(scenario);
    while world.now < LONGEST_S && !world.is_over() {
        world.second();
        keeper.second(&mut world);
    }
    world.into_life()
}
