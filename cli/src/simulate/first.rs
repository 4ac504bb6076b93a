//! The first version of this product's rule, to measure what the present one gained: it ticks once
//! a minute, ends one machine per tick, and proves idleness by a row that is newer than the start
//! of every running job.

use super::world::{Action, Fleet, Ms, Policy};
use std::collections::BTreeMap;

const MINUTE: Ms = 60_000;
/// Boot time times one plus its `WAIT_VALUE` of 5.
const FIRST_HOLD: Ms = 95_000 * 6;
const HOLD_AT_LEAST: Ms = 60_000;
const ROW_FRESH: Ms = 90_000;
const AFTER_START: Ms = 5_000;
const CONFIRM: Ms = 20_000;

#[derive(Debug, Default)]
pub struct FirstVersion {
    /// When each level of capacity was last needed, by level less one.
    needed: Vec<Ms>,
    /// Since when each machine has been proven idle.
    idle: BTreeMap<usize, Ms>,
}

impl Policy for FirstVersion {
    fn interval(&self) -> Ms {
        MINUTE
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let Fleet { now, conditions, desired, ready, .. } = *fleet;
        let need = (ready + fleet.active).clamp(conditions.min, conditions.max);
        let level = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        self.needed.resize(level(conditions.max), Ms::MIN / 2);
        self.needed[..level(need)].fill(now);
        self.idle = self.prove_idle(fleet);
        if need > desired {
            return vec![Action::SetDesired(need)];
        }
        if need == desired || ready > 0 {
            return Vec::new();
        }
        let in_service = fleet.alive.iter().filter(|&&m| fleet.machines[m].is_in_service()).count();
        let hold = (FIRST_HOLD >> (desired - need - 1).min(62)).max(HOLD_AT_LEAST);
        if in_service <= level(need) || now - self.needed[level(desired) - 1] < hold {
            return Vec::new();
        }
        let confirmed = self.idle.iter().find(|(_, since)| now - **since >= CONFIRM);
        confirmed.map(|(&machine, _)| Action::End(machine)).into_iter().collect()
    }
}

impl FirstVersion {
    fn prove_idle(&self, fleet: &Fleet<'_>) -> BTreeMap<usize, Ms> {
        let newest = fleet.newest_job_start();
        let proven = fleet.alive.iter().copied().filter(|&machine| {
            let it = &fleet.machines[machine];
            let row = it.row(fleet.now, fleet.conditions.heartbeat);
            it.is_in_service()
                && row.is_some_and(|(written, has_job)| {
                    !has_job
                        && fleet.now - written <= ROW_FRESH
                        && newest.is_none_or(|newest| written >= newest + AFTER_START)
                })
        });
        proven.map(|m| (m, self.idle.get(&m).copied().unwrap_or(fleet.now))).collect()
    }
}
