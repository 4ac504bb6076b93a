//! A fleet that lives: jobs arrive, machines boot, workers claim and report, and every tick is
//! decided by [`decide`]. Time moves by the second; nothing waits.

use crate::fleet::{group, inputs, instance};
use fleet_core::scaling::*;
use fleet_protocol::ids::WorkerId;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use std::collections::VecDeque;

/// Seconds that a worker of the predecessor lets pass between two registry rows.
const HEARTBEAT_S: i64 = 30;
/// Seconds between two looks for a job.
const POLL_S: i64 = 2;
/// Seconds from a termination to the closed intake.
const DRAIN_S: i64 = 5;
const START: i64 = 1_764_000_000;

/// What a life is like.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub policy: Policy,
    pub tick_s: i64,
    /// The share of workers, in a hundred, that keep the contract.
    pub contract_percent: u32,
    /// The terminate hook is in place: whoever leaves finishes its job.
    pub hook: bool,
    pub boot_s: (i64, i64),
    pub seed: u64,
}

impl Site {
    pub(crate) fn of(policy: Policy) -> Site {
        Site { policy, tick_s: 10, contract_percent: 100, hook: true, boot_s: (75, 110), seed: 1 }
    }
}

struct Machine {
    number: u32,
    contract: bool,
    ready_at: i64,
    job: Option<Job>,
    idle_since: i64,
    leaving: Option<i64>,
    row: Option<WorkerRow>,
}

#[derive(Clone, Copy)]
struct Job {
    started: i64,
    until: i64,
}

/// A life, and what came of it.
pub(crate) struct Life {
    site: Site,
    now: i64,
    machines: Vec<Machine>,
    waiting: VecDeque<(i64, i64)>,
    pub desired: u32,
    memory: Memory,
    random: u64,
    next_number: u32,
    pub arrived: u32,
    pub done: u32,
    pub interrupted: u32,
    pub launches: u32,
    pub wait_s: i64,
    pub last: Option<(Inputs, TickResult)>,
}

impl Life {
    /// A fleet of `workers` idle machines.
    pub(crate) fn new(site: Site, workers: u32) -> Life {
        let mut life = Life {
            now: START,
            machines: Vec::new(),
            waiting: VecDeque::new(),
            desired: workers,
            memory: Memory::Lost { cause: LossCause::Absent, detail: "there is none".into() },
            random: site.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            site,
            next_number: 0,
            arrived: 0,
            done: 0,
            interrupted: 0,
            launches: 0,
            wait_s: 0,
            last: None,
        };
        for _ in 0..workers {
            life.launch(0);
        }
        life
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    fn launch(&mut self, boot_s: i64) {
        let contract = self.below(100) < u64::from(self.site.contract_percent);
        self.machines.push(Machine {
            number: self.next_number,
            contract,
            ready_at: self.now + boot_s,
            job: None,
            idle_since: self.now + boot_s,
            leaving: None,
            row: None,
        });
        self.next_number += 1;
    }

    pub(crate) fn arrive(&mut self, jobs: u32, takes_s: i64) {
        self.arrived += jobs;
        for _ in 0..jobs {
            self.waiting.push_back((self.now, takes_s));
        }
    }

    pub(crate) fn in_service(&self) -> u32 {
        let staying = self.machines.iter().filter(|m| m.leaving.is_none()).count();
        u32::try_from(staying).expect("few")
    }

    pub(crate) fn at_work(&self) -> u32 {
        u32::try_from(self.machines.iter().filter(|m| m.job.is_some()).count()).expect("few")
    }

    pub(crate) fn need(&self) -> u32 {
        let waiting = u32::try_from(self.waiting.len()).expect("few");
        let staying = self.machines.iter().filter(|m| m.leaving.is_none() && m.job.is_some());
        waiting + u32::try_from(staying.count()).expect("few")
    }

    /// One second, and the tick that falls into it.
    pub(crate) fn second(&mut self) {
        self.work();
        if (self.now - START) % self.site.tick_s == 0 {
            self.tick();
        }
        self.now += 1;
    }

    pub(crate) fn seconds(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn work(&mut self) {
        let now = self.now;
        let mut machines = std::mem::take(&mut self.machines);
        machines.retain_mut(|machine| {
            if now < machine.ready_at {
                return true;
            }
            let before = (machine.job.is_some(), machine.is_draining(now));
            if machine.job.is_some_and(|job| job.until <= now) {
                machine.job = None;
                machine.idle_since = now;
                self.done += 1;
            }
            let polls = (now + i64::from(machine.number)) % POLL_S == 0;
            let fetches = machine.job.is_none() && polls && !machine.is_draining(now);
            if fetches && let Some((arrived, takes_s)) = self.waiting.pop_front() {
                self.wait_s += now - arrived;
                machine.job = Some(Job { started: now, until: now + takes_s.max(1) });
            }
            let after = (machine.job.is_some(), machine.is_draining(now));
            let beat = (now + i64::from(machine.number)) % HEARTBEAT_S == 0;
            if beat || machine.row.is_none() || (machine.contract && before != after) {
                machine.row = Some(machine.report(now));
            }
            !(machine.is_draining(now) && machine.job.is_none())
        });
        self.machines = machines;
    }

    fn tick(&mut self) {
        let inputs = self.observe();
        let result = decide(&inputs);
        self.memory = Memory::decode(&result.state.encode());
        match &result.decision.action {
            ScalingAction::SetDesired { desired } | ScalingAction::GiveBack { desired } => {
                self.desired = *desired;
            }
            ScalingAction::Replace { instance } => self.end(std::slice::from_ref(instance)),
            action => {
                let gone: Vec<_> = action.terminated().cloned().collect();
                self.desired -= u32::try_from(gone.len()).expect("few");
                self.end(&gone);
            }
        }
        while self.in_service() < self.desired {
            let (least, most) = self.site.boot_s;
            let spread = u64::try_from(most - least + 1).expect("a range");
            let boot_s = least + i64::try_from(self.below(spread)).expect("few");
            self.launch(boot_s);
            self.launches += 1;
        }
        self.last = Some((inputs, result));
    }

    /// Without a hook a terminated machine is gone at once, with whatever it does.
    fn end(&mut self, gone: &[fleet_protocol::ids::InstanceId]) {
        let now = self.now;
        let is_gone = |machine: &Machine| gone.contains(&instance(machine.number));
        if self.site.hook {
            for machine in self.machines.iter_mut().filter(|machine| is_gone(machine)) {
                machine.leaving = Some(now);
            }
            return;
        }
        let cut = self.machines.iter().filter(|m| is_gone(m) && m.job.is_some()).count();
        self.interrupted += u32::try_from(cut).expect("few");
        self.machines.retain(|machine| !is_gone(machine));
    }

    fn observe(&self) -> Inputs {
        let now = UnixMs(self.now * 1000);
        let jobs: Vec<Job> = self.machines.iter().filter_map(|machine| machine.job).collect();
        let waiting = u32::try_from(self.waiting.len()).expect("few");
        let active = ActiveCounts {
            live: u32::try_from(jobs.len()).expect("few"),
            expired: 0,
            newest_start: jobs.iter().map(|job| UnixMs(job.started * 1000)).max(),
        };
        let oldest = self.waiting.front().map_or(0, |(arrived, _)| self.now - arrived);
        let general = QueueCounts {
            ready: waiting,
            due_soon: 0,
            deferred: None,
            oldest_wait_ms: oldest * 1000,
            active: Reading::Known(active),
        };
        let queue = QueueSnapshot {
            db_now: now,
            schema: Schema { version: 30, tested: true },
            general,
            targeted: vec![],
            workers: Reading::Known(self.machines.iter().filter_map(|m| m.row.clone()).collect()),
            ..crate::fleet::queue(0, 0, 0)
        };
        let instances = self.machines.iter().map(|machine| Instance {
            id: instance(machine.number),
            lifecycle: match machine.leaving {
                Some(_) => "Terminating:Wait".into(),
                // EC2 says that a machine runs well before its worker does.
                None if self.now + 40 < machine.ready_at => "Pending".into(),
                None => "InService".into(),
            },
            healthy: true,
            protected: false,
        });
        let group =
            Group { max: 5_000, desired: self.desired, instances: instances.collect(), ..group(0) };
        let mut inputs = inputs(State::default(), queue, group);
        inputs.policy = self.site.policy.clone();
        inputs.memory = self.memory.clone();
        inputs.observation.now = now;
        let hook = if self.site.hook { HookStatus::Ours } else { HookStatus::Missing };
        inputs.observation.hook = Some(Reading::Known(hook));
        inputs
    }
}

impl Machine {
    fn is_draining(&self, now: i64) -> bool {
        self.leaving.is_some_and(|since| now >= since + DRAIN_S)
    }

    fn report(&self, now: i64) -> WorkerRow {
        let draining = self.is_draining(now);
        let busy = self.job.is_some();
        WorkerRow {
            worker: WorkerId::new(instance(self.number).as_str()),
            target: None,
            instance: Some(instance(self.number)),
            status: if draining { WorkerStatus::Draining } else { WorkerStatus::Active },
            has_job: busy,
            jobs: self.contract.then_some(u32::from(busy)),
            accepting: self.contract.then_some(!draining),
            idle_since: (self.contract && !busy).then_some(UnixMs(self.idle_since * 1000)),
            last_heartbeat: UnixMs(now * 1000),
        }
    }
}

fn policy(max: u32, wait_value: u32) -> Policy {
    Policy { min: 1, max, wait_value, ..Policy::default() }
}

/// Every job that came was done or waits, and none was cut.
fn assert_conserved(life: &Life, what: &str) {
    let waiting = u32::try_from(life.waiting.len()).expect("few");
    assert_eq!(life.arrived, life.done + life.at_work() + waiting, "{what}: a job was lost");
    assert_eq!(life.interrupted, 0, "{what}: a job was cut");
}

/// `policy.md`, section 1, row 1: one worker a tick took 16.7 hours.
#[test]
fn a_burst_of_a_thousand_is_gone_three_ticks_after_its_hold() {
    for (contract_percent, what) in [(100, "contract"), (0, "predecessor")] {
        let site = Site { contract_percent, ..Site::of(policy(1_000, 6)) };
        let hold_s = 95 * 7;
        let mut life = Life::new(site, 1);
        life.seconds(30);
        life.arrive(1_000, 120);
        life.seconds(600);
        assert_eq!(life.done, 1_000, "{what}");
        // The last boots are learned, so the hold is at most that of the longest.
        life.seconds(hold_s * 110 / 95 + 3 * 10 + 60);
        assert_eq!(life.desired, 1, "{what}: {:?}", life.last.map(|(_, tick)| tick.decision));
        assert_conserved(&life, what);
    }
}

/// Row 2: from 0.7 starts a second on nobody was ever proven idle.
#[test]
fn at_any_rate_of_starts_the_surplus_goes() {
    // Starts in a hundred seconds, and how long each job takes.
    for (starts, takes_s) in [(1, 1_000), (10, 300), (70, 60), (100, 60), (1_000, 10)] {
        let mut life = Life::new(Site::of(policy(1_000, 0)), 300);
        let (mut surplus, mut needed, mut looks) = (0_i64, 0_i64, 0_i64);
        for second in 0..4_200 {
            let due = (0..starts).filter(|_| life.below(100) == 0).count();
            life.arrive(u32::try_from(due).expect("few"), takes_s);
            life.second();
            if second >= 3_600 {
                surplus += i64::from(life.desired) - i64::from(life.need());
                needed += i64::from(life.need());
                looks += 1;
            }
        }
        let (surplus, needed) = (surplus / looks, needed / looks);
        assert!(surplus <= needed / 10 + 1, "{starts}/100 s: {surplus} beyond {needed}");
        assert_conserved(&life, "steady");
    }
}

/// Lives of every kind: no job is cut or lost, capacity stays inside its bounds, and each decision
/// is made again from its record.
#[test]
fn in_no_life_is_a_job_cut_or_lost() {
    for seed in 1..=24_u64 {
        let contract_percent = [0, 50, 100][usize::try_from(seed % 3).expect("few")];
        let site = Site {
            contract_percent,
            // Without the hook only strict proof lets anybody go.
            hook: seed % 4 != 0,
            tick_s: [10, 20, 30, 60][usize::try_from(seed / 2 % 4).expect("few")],
            seed,
            ..Site::of(policy(40, [0, 1, 6][usize::try_from(seed / 3 % 3).expect("few")]))
        };
        let what = format!("{site:?}");
        let mut life = Life::new(site, 1 + u32::try_from(seed % 9).expect("few"));
        for second in 0..3_600 {
            if life.below(90) == 0 {
                let jobs = 1 + life.below(12);
                let takes_s = 5 + life.below(400);
                let jobs = u32::try_from(jobs).expect("few");
                life.arrive(jobs, i64::try_from(takes_s).expect("short"));
            }
            life.second();
            assert!((1..=40).contains(&life.desired), "{what}");
            if second % 600 == 0 {
                let (inputs, result) = life.last.as_ref().expect("a tick");
                let line = serde_json::to_string(inputs).expect("encodes");
                let read: Inputs = serde_json::from_str(&line).expect("decodes");
                assert_eq!(&decide(&read), result, "{what}");
            }
        }
        life.seconds(900);
        assert_conserved(&life, &what);
        assert!(life.done > 50, "{what}: {} jobs say nothing", life.done);
        assert!(life.launches > 0, "{what}");
    }
}

/// A worker of the predecessor that looks idle may have taken a job since: with the hook away it
/// would be cut. The same life without the proof cuts some, so the proof is what saves them.
#[test]
fn the_lives_without_a_hook_would_cut_jobs_without_the_proof() {
    let site = Site { contract_percent: 100, hook: true, ..Site::of(policy(40, 0)) };
    let mut life = Life::new(site, 40);
    let mut likely = 0;
    for _ in 0..1_800 {
        if life.below(2) == 0 {
            life.arrive(1, 20);
        }
        life.second();
        if let Some((_, tick)) = &life.last
            && let Reason::Idle { likely: some, .. } = tick.decision.because
        {
            likely += some;
        }
    }
    assert!(likely > 0, "nobody went by its own word");
    assert_conserved(&life, "by their own word");
}
