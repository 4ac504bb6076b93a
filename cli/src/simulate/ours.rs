//! This product's policy: the very `decide` of the autoscale function, fed with what its sources
//! would say of the simulated fleet.

use super::OurSettings;
use super::world::{Action, Conditions, Fleet, Machine, Ms, Phase, Policy};
use fleet_core::scaling::{
    self, ActiveCounts, Group, HookStatus, Inputs, Instance, LossCause, Memory, Observation,
    Omitted, QueueCounts, QueueSnapshot, RefreshStatus, ScalingAction, Schema, UnreadableRows,
    WorkerRow, WorkerStatus, decide,
};
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use std::num::NonZeroU32;

/// The simulated day begins here, so that ages and samples look as they would in production.
const EPOCH: Ms = 1_764_547_200_000;

#[derive(Debug)]
pub struct Ours {
    settings: OurSettings,
    policy: scaling::Policy,
    memory: Memory,
    ids: Vec<InstanceId>,
}

impl Ours {
    #[must_use]
    pub fn new(settings: OurSettings, conditions: &Conditions) -> Ours {
        let boot = i64::midpoint(conditions.boot.0, conditions.boot.1) / 1000;
        let policy = scaling::Policy {
            min: conditions.min,
            max: conditions.max,
            jobs_per_worker: NonZeroU32::MIN,
            wait_value: settings.wait_value,
            boot_s: u32::try_from(boot).unwrap_or(u32::MAX),
            ..scaling::Policy::default()
        };
        let memory = Memory::Lost { cause: LossCause::Absent, detail: "the first tick".to_owned() };
        Ours { settings, policy, memory, ids: Vec::new() }
    }

    fn observe(&mut self, fleet: &Fleet<'_>) -> Observation {
        while self.ids.len() < fleet.machines.len() {
            self.ids.push(InstanceId::new(format!("i-{:017x}", self.ids.len())));
        }
        let now = at(fleet.now);
        let members = fleet
            .alive
            .iter()
            .filter(|&&m| !matches!(fleet.machines[m].phase, Phase::Stopped | Phase::Gone));
        let instances = members.clone().map(|&m| self.instance(m, &fleet.machines[m])).collect();
        let heartbeat = fleet.conditions.heartbeat;
        let rows = members
            .filter_map(|&m| {
                let (written, has_job) = fleet.machines[m].row(fleet.now, heartbeat)?;
                // A worker that keeps the contract writes its row at each change.
                let now_busy = matches!(fleet.machines[m].phase, Phase::Busy { .. });
                let (written, has_job) =
                    if now_busy == has_job { (written, has_job) } else { (fleet.now, now_busy) };
                let id = &self.ids[m];
                Some(WorkerRow {
                    worker: WorkerId::new(id.as_str()),
                    target: None,
                    instance: Some(id.clone()),
                    status: WorkerStatus::Active,
                    has_job,
                    jobs: Some(u32::from(has_job)),
                    accepting: Some(true),
                    idle_since: None,
                    last_heartbeat: at(written),
                })
            })
            .collect();
        let newest = fleet.newest_job_start();
        let queue = QueueSnapshot {
            db_now: now,
            schema: Schema { version: 46, tested: true },
            general: QueueCounts {
                ready: fleet.ready,
                due_soon: 0,
                deferred: None,
                oldest_wait_ms: fleet.oldest.map_or(0, |oldest| fleet.now - oldest),
                active: Reading::Known(ActiveCounts {
                    live: fleet.active,
                    expired: 0,
                    newest_start: newest.map(at),
                }),
            },
            held_by_key: 0,
            targeted: Vec::new(),
            workers: Reading::Known(rows),
            jobs_elsewhere: 0,
            omitted: Omitted::default(),
            unreadable: UnreadableRows::default(),
        };
        let group = Group {
            name: GroupName::new("simulated"),
            min: fleet.conditions.min,
            max: fleet.conditions.max,
            desired: fleet.desired,
            instances,
            suspended: Vec::new(),
            tags: Vec::new(),
            not_instances: None,
            stopped: Vec::new(),
        };
        Observation {
            now,
            queue: Reading::Known(queue),
            group: Reading::Known(group),
            refresh: Some(Reading::Known(RefreshStatus::None)),
            hook: Some(Reading::Known(HookStatus::Ours)),
            launches: None,
        }
    }

    fn instance(&self, machine: usize, it: &Machine) -> Instance {
        let lifecycle = match (it.leaving, it.phase) {
            (Some(_), _) => LifecycleState::TerminatingWait,
            (None, Phase::Booting) => LifecycleState::Pending,
            (None, _) => LifecycleState::InService,
        };
        Instance { id: self.ids[machine].clone(), lifecycle, healthy: true, protected: false }
    }
}

impl Policy for Ours {
    fn interval(&self) -> Ms {
        self.settings.tick_ms
    }

    fn enqueue_delay(&self) -> Option<Ms> {
        self.settings.enqueue_ms
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let observation = self.observe(fleet);
        let memory = std::mem::replace(
            &mut self.memory,
            Memory::Lost { cause: LossCause::Absent, detail: String::new() },
        );
        let inputs = Inputs { policy: self.policy.clone(), memory, observation };
        let result = decide(&inputs);
        self.memory = Memory::Kept(result.state);
        match &result.decision.action {
            ScalingAction::SetDesired { desired } => vec![Action::SetDesired(*desired)],
            action => {
                let machine = |id| self.ids.iter().position(|known| known == id);
                action.terminated().filter_map(machine).map(Action::End).collect()
            }
        }
    }
}

fn at(ms: Ms) -> UnixMs {
    UnixMs(EPOCH + ms)
}
