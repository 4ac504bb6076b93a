//! The simulated fleet: jobs, machines, and what each of them does at which moment.
//!
//! Time is in milliseconds from the first job's day. A machine boots, its worker polls the queue
//! every two seconds, takes the oldest ready job, and writes its registry row every thirty. A
//! machine that is told to go finishes its job first, unless its policy's system kills it after a
//! limit: then the job starts again from zero and counts as interrupted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

pub type Ms = i64;

/// One job of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub arrival: Ms,
    pub duration: Ms,
}

/// What is the same for every policy.
#[derive(Clone, Debug)]
pub struct Conditions {
    pub min: u32,
    pub max: u32,
    /// The shortest and the longest time from a launch to the first poll.
    pub boot: (Ms, Ms),
    /// The same from the start of a stopped machine.
    pub wake: (Ms, Ms),
    pub poll: Ms,
    pub heartbeat: Ms,
    /// From the end of the last job, or the order to go, to the machine's end.
    pub leave: Ms,
    /// AWS bills at least this much for each start.
    pub billed_at_least: Ms,
    pub seed: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            min: 1,
            max: 30,
            boot: (75_000, 110_000),
            wake: (25_000, 35_000),
            poll: 2_000,
            heartbeat: 30_000,
            leave: 5_000,
            billed_at_least: 60_000,
            seed: 1,
        }
    }
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Launched or woken, and not polling yet.
    Booting,
    Idle,
    Busy {
        job: usize,
        ends: Ms,
    },
    Stopped,
    Gone,
}

#[derive(Clone, Debug)]
pub struct Machine {
    pub phase: Phase,
    pub launched: Ms,
    /// When its present start began to be billed.
    pub started: Ms,
    /// When its worker began to poll after its latest start.
    pub ready: Ms,
    /// Told to go, and into the stopped tier rather than to its end.
    pub leaving: Option<Leaving>,
    /// When its worker took its latest job, and when that job ended.
    pub job_began: Option<Ms>,
    pub job_ended: Option<Ms>,
    /// Since when it is idle, while it is.
    pub idle_since: Ms,
    poll_planned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    ToEnd,
    ToStopped,
}

impl Machine {
    /// Whether it counts towards the group's desired capacity.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.leaving.is_none() && !matches!(self.phase, Phase::Stopped | Phase::Gone)
    }

    /// Whether its worker takes part in the queue: booted, and neither stopped nor gone.
    #[must_use]
    pub fn is_in_service(&self) -> bool {
        self.leaving.is_none() && matches!(self.phase, Phase::Idle | Phase::Busy { .. })
    }

    /// The registry row as of its latest heartbeat at `now`: when it was written, and whether it
    /// named a job. `None` while there is no row yet.
    #[must_use]
    pub fn row(&self, now: Ms, heartbeat: Ms) -> Option<(Ms, bool)> {
        if !matches!(self.phase, Phase::Idle | Phase::Busy { .. }) {
            return None;
        }
        let written = self.ready + (now - self.ready).max(0) / heartbeat * heartbeat;
        let began = self.job_began.is_some_and(|began| began <= written);
        let ended = self.job_ended.is_some_and(|ended| ended <= written);
        let newer = self.job_ended.zip(self.job_began).is_some_and(|(ended, began)| ended < began);
        Some((written, began && (newer || !ended)))
    }
}

/// What a policy may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Launches, or ends machines that the group picks without looking at jobs.
    SetDesired(u32),
    /// Ends this machine after its job and lowers the desired capacity by one.
    End(usize),
    /// Stops this machine after its job and lowers the desired capacity by one.
    Stop(usize),
    /// Starts this many stopped machines and raises the desired capacity by as many.
    Wake(u32),
    /// Ends one stopped machine.
    EndStopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Ready(usize),
    Poll(usize),
    Done(usize),
    /// A leaving machine's time for its job is over.
    Kill(usize),
    Left(usize),
    /// A worker that ends itself when it has been idle for its limit, by the start of its idleness.
    IdleExit(usize, Ms),
    Tick,
    EnqueueTick,
}

/// A rule that decides how many machines there are.
pub trait Policy {
    /// Milliseconds between two ticks.
    fn interval(&self) -> Ms;

    /// From a job's arrival to the tick that it asks for, where the system has such a way.
    fn enqueue_delay(&self) -> Option<Ms> {
        None
    }

    /// Workers end their own machine after being idle this long, while there are more than the
    /// minimum.
    fn idle_exit(&self) -> Option<(Ms, Leaving)> {
        None
    }

    /// A leaving machine is killed after this long; `None` lets it finish its job.
    fn drain_limit(&self) -> Option<Ms> {
        None
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action>;
}

/// What a policy sees at a tick.
pub struct Fleet<'a> {
    pub now: Ms,
    pub conditions: &'a Conditions,
    pub machines: &'a [Machine],
    /// Indices of the machines that are not gone.
    pub alive: &'a [usize],
    pub desired: u32,
    pub ready: u32,
    pub active: u32,
    /// Since when the oldest ready job has been ready.
    pub oldest: Option<Ms>,
    pub arrived: usize,
}

impl Fleet<'_> {
    /// When the latest of the jobs that run now began.
    #[must_use]
    pub fn newest_job_start(&self) -> Option<Ms> {
        let machines = self.alive.iter().map(|&machine| &self.machines[machine]);
        let busy = machines.filter(|machine| matches!(machine.phase, Phase::Busy { .. }));
        busy.filter_map(|machine| machine.job_began).max()
    }
}

impl std::fmt::Debug for Fleet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fleet at {} ms: {} ready, {} active", self.now, self.ready, self.active)
    }
}

/// What a run came to, before anything is computed from it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// From each job's arrival to its first start.
    pub waits: Vec<Ms>,
    pub billed_ms: i64,
    /// Volumes of machines that run or are stopped.
    pub volume_ms: i64,
    pub launches: u64,
    pub wakes: u64,
    pub interrupted: u64,
    pub wasted_ms: i64,
    pub horizon: Ms,
    /// `(moment, demand, machines in service, machines billed)`, at each change.
    pub steps: Vec<Moment>,
    pub ticks: u64,
}

/// The fleet between two changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Ms,
    pub demand: u32,
    pub in_service: u32,
    pub billed: u32,
}

struct World<'a> {
    conditions: &'a Conditions,
    jobs: &'a [Job],
    next_job: usize,
    /// Ready jobs, oldest first.
    queue: VecDeque<usize>,
    started: Vec<bool>,
    machines: Vec<Machine>,
    alive: Vec<usize>,
    events: BinaryHeap<Reverse<(Ms, u64, Event)>>,
    planned: u64,
    now: Ms,
    desired: u32,
    active: u32,
    unfinished: usize,
    enqueue_planned: bool,
    random: fastrand::Rng,
    run: Run,
}

/// Plays `jobs`, sorted by arrival, against `policy` until the last job is done.
pub fn play(jobs: &[Job], conditions: &Conditions, policy: &mut dyn Policy) -> Run {
    let mut world = World {
        conditions,
        jobs,
        next_job: 0,
        queue: VecDeque::new(),
        started: vec![false; jobs.len()],
        machines: Vec::new(),
        alive: Vec::new(),
        events: BinaryHeap::new(),
        planned: 0,
        now: 0,
        desired: 0,
        active: 0,
        unfinished: jobs.len(),
        enqueue_planned: false,
        random: fastrand::Rng::with_seed(conditions.seed),
        run: Run { waits: vec![0; jobs.len()], ..Run::default() },
    };
    if let Some(first) = jobs.first() {
        world.plan(first.arrival, Event::Arrival);
    }
    world.plan(0, Event::Tick);
    world.set_desired(conditions.min, policy.drain_limit());
    while world.unfinished > 0 {
        let Some(Reverse((at, _, event))) = world.events.pop() else { break };
        world.now = at;
        world.happen(event, policy);
    }
    world.finish()
}

impl World<'_> {
    fn plan(&mut self, at: Ms, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn happen(&mut self, event: Event, policy: &mut dyn Policy) {
        match event {
            Event::Arrival => self.arrive(policy),
            Event::Ready(machine) => self.become_ready(machine, policy),
            Event::Poll(machine) => self.poll(machine, policy),
            Event::Done(machine) => self.job_done(machine, policy),
            Event::Kill(machine) => self.kill(machine),
            Event::Left(machine) => self.leave(machine),
            Event::IdleExit(machine, since) => self.idle_exit(machine, since, policy),
            Event::Tick => {
                let next = self.now + policy.interval();
                self.plan(next, Event::Tick);
                self.tick(policy);
            }
            Event::EnqueueTick => {
                self.enqueue_planned = false;
                self.tick(policy);
            }
        }
    }

    fn tick(&mut self, policy: &mut dyn Policy) {
        self.run.ticks += 1;
        self.alive.retain(|&machine| self.machines[machine].phase != Phase::Gone);
        let fleet = Fleet {
            now: self.now,
            conditions: self.conditions,
            machines: &self.machines,
            alive: &self.alive,
            desired: self.desired,
            ready: count(self.queue.len()),
            active: self.active,
            oldest: self.queue.front().map(|&job| self.jobs[job].arrival),
            arrived: self.next_job,
        };
        for action in policy.tick(&fleet) {
            match action {
                Action::SetDesired(desired) => self.set_desired(desired, policy.drain_limit()),
                Action::End(machine) => self.send_away(machine, Leaving::ToEnd, policy),
                Action::Stop(machine) => self.send_away(machine, Leaving::ToStopped, policy),
                Action::Wake(machines) => self.wake(machines),
                Action::EndStopped => self.end_stopped(),
            }
        }
    }

    fn arrive(&mut self, policy: &dyn Policy) {
        let job = self.next_job;
        self.next_job += 1;
        if let Some(next) = self.jobs.get(self.next_job) {
            self.plan(next.arrival, Event::Arrival);
        }
        self.enqueue(job);
        if let Some(delay) = policy.enqueue_delay()
            && !self.enqueue_planned
        {
            self.enqueue_planned = true;
            self.plan(self.now + delay, Event::EnqueueTick);
        }
    }

    fn enqueue(&mut self, job: usize) {
        self.queue.push_back(job);
        for at in 0..self.alive.len() {
            self.plan_poll(self.alive[at]);
        }
        self.note();
    }

    /// Plans the next poll of an idle worker that has something to find.
    fn plan_poll(&mut self, machine: usize) {
        let poll = self.conditions.poll;
        let it = &mut self.machines[machine];
        if it.phase != Phase::Idle || it.leaving.is_some() || it.poll_planned {
            return;
        }
        it.poll_planned = true;
        let since = self.now - it.idle_since;
        let at = it.idle_since + (since + poll - 1) / poll * poll;
        self.plan(at, Event::Poll(machine));
    }

    fn become_ready(&mut self, machine: usize, policy: &dyn Policy) {
        let now = self.now;
        let it = &mut self.machines[machine];
        if it.phase != Phase::Booting || it.leaving.is_some() {
            return;
        }
        it.ready = now;
        self.become_idle(machine, policy);
    }

    /// A worker without a job polls at once, and then at its interval.
    fn become_idle(&mut self, machine: usize, policy: &dyn Policy) {
        let now = self.now;
        self.machines[machine].phase = Phase::Idle;
        self.machines[machine].idle_since = now;
        self.note();
        if self.take(machine) {
            return;
        }
        if let Some((limit, _)) = policy.idle_exit() {
            self.plan(now + limit, Event::IdleExit(machine, now));
        }
    }

    fn poll(&mut self, machine: usize, _policy: &dyn Policy) {
        self.machines[machine].poll_planned = false;
        let it = &self.machines[machine];
        if it.phase == Phase::Idle && it.leaving.is_none() {
            self.take(machine);
        }
    }

    fn take(&mut self, machine: usize) -> bool {
        let Some(job) = self.queue.pop_front() else { return false };
        let now = self.now;
        if !std::mem::replace(&mut self.started[job], true) {
            self.run.waits[job] = now - self.jobs[job].arrival;
        }
        let ends = now + self.jobs[job].duration;
        let it = &mut self.machines[machine];
        it.phase = Phase::Busy { job, ends };
        it.job_began = Some(now);
        self.active += 1;
        self.plan(ends, Event::Done(machine));
        true
    }

    fn job_done(&mut self, machine: usize, policy: &dyn Policy) {
        let Phase::Busy { ends, .. } = self.machines[machine].phase else { return };
        if ends != self.now {
            return;
        }
        self.active -= 1;
        self.unfinished -= 1;
        self.machines[machine].job_ended = Some(self.now);
        if self.machines[machine].leaving.is_some() {
            self.machines[machine].phase = Phase::Idle;
            self.plan(self.now + self.conditions.leave, Event::Left(machine));
            self.note();
        } else {
            self.become_idle(machine, policy);
        }
    }

    fn idle_exit(&mut self, machine: usize, since: Ms, policy: &dyn Policy) {
        let it = &self.machines[machine];
        if it.phase != Phase::Idle || it.idle_since != since || it.leaving.is_some() {
            return;
        }
        let Some((limit, leaving)) = policy.idle_exit() else { return };
        if self.desired > self.conditions.min {
            self.send_away(machine, leaving, policy);
        } else {
            // It asks again: others may have come meanwhile.
            self.plan(self.now + limit, Event::IdleExit(machine, since));
        }
    }

    fn send_away(&mut self, machine: usize, leaving: Leaving, policy: &dyn Policy) {
        if !self.machines[machine].is_member() || self.desired == 0 {
            return;
        }
        self.desired -= 1;
        self.depart(machine, leaving, policy.drain_limit());
    }

    fn depart(&mut self, machine: usize, leaving: Leaving, drain_limit: Option<Ms>) {
        self.machines[machine].leaving = Some(leaving);
        match self.machines[machine].phase {
            Phase::Busy { .. } => {
                if let Some(limit) = drain_limit {
                    self.plan(self.now + limit, Event::Kill(machine));
                }
            }
            _ => self.plan(self.now + self.conditions.leave, Event::Left(machine)),
        }
        self.note();
    }

    fn kill(&mut self, machine: usize) {
        let Phase::Busy { job, .. } = self.machines[machine].phase else { return };
        self.active -= 1;
        self.run.interrupted += 1;
        self.run.wasted_ms += self.now - self.machines[machine].job_began.unwrap_or(self.now);
        self.machines[machine].phase = Phase::Idle;
        self.leave(machine);
        self.enqueue(job);
    }

    /// A machine that was told to go is gone, or stopped.
    fn leave(&mut self, machine: usize) {
        self.bill(machine);
        let it = &mut self.machines[machine];
        if it.leaving == Some(Leaving::ToStopped) {
            it.phase = Phase::Stopped;
            it.leaving = None;
        } else {
            it.phase = Phase::Gone;
            self.run.volume_ms += self.now - it.launched;
        }
        self.note();
    }

    fn bill(&mut self, machine: usize) {
        let ran = self.now - self.machines[machine].started;
        self.run.billed_ms += ran.max(self.conditions.billed_at_least);
    }

    fn set_desired(&mut self, desired: u32, drain_limit: Option<Ms>) {
        let desired = desired.clamp(self.conditions.min, self.conditions.max);
        while self.desired < desired {
            self.desired += 1;
            self.launch();
        }
        while self.desired > desired {
            let members: Vec<usize> =
                self.alive.iter().copied().filter(|&m| self.machines[m].is_member()).collect();
            let Some(&machine) = self.random.choice(&members) else { break };
            self.desired -= 1;
            self.depart(machine, Leaving::ToEnd, drain_limit);
        }
    }

    fn launch(&mut self) {
        let boot = self.random.i64(self.conditions.boot.0..=self.conditions.boot.1);
        let machine = self.machines.len();
        self.machines.push(Machine {
            phase: Phase::Booting,
            launched: self.now,
            started: self.now,
            ready: self.now,
            leaving: None,
            job_began: None,
            job_ended: None,
            idle_since: self.now,
            poll_planned: false,
        });
        self.alive.push(machine);
        self.run.launches += 1;
        self.plan(self.now + boot, Event::Ready(machine));
        self.note();
    }

    fn wake(&mut self, machines: u32) {
        for _ in 0..machines {
            let stopped = |&&m: &&usize| self.machines[m].phase == Phase::Stopped;
            let Some(&machine) = self.alive.iter().find(stopped) else { return };
            let wake = self.random.i64(self.conditions.wake.0..=self.conditions.wake.1);
            let now = self.now;
            let it = &mut self.machines[machine];
            it.phase = Phase::Booting;
            it.started = now;
            it.job_began = None;
            it.job_ended = None;
            self.desired += 1;
            self.run.wakes += 1;
            self.plan(now + wake, Event::Ready(machine));
        }
        self.note();
    }

    fn end_stopped(&mut self) {
        let stopped = |&&m: &&usize| self.machines[m].phase == Phase::Stopped;
        let Some(&machine) = self.alive.iter().find(stopped) else { return };
        self.machines[machine].phase = Phase::Gone;
        self.run.volume_ms += self.now - self.machines[machine].launched;
        self.note();
    }

    /// Keeps the fleet as it is now, for the integrals and the picture.
    fn note(&mut self) {
        let (mut in_service, mut billed) = (0, 0);
        for &machine in &self.alive {
            let it = &self.machines[machine];
            in_service += u32::from(it.is_in_service());
            billed += u32::from(!matches!(it.phase, Phase::Stopped | Phase::Gone));
        }
        let step = Moment {
            at: self.now,
            demand: count(self.queue.len()) + self.active,
            in_service,
            billed,
        };
        match self.run.steps.last_mut() {
            Some(last) if last.at == step.at => *last = step,
            _ => self.run.steps.push(step),
        }
    }

    fn finish(mut self) -> Run {
        for at in 0..self.alive.len() {
            let machine = self.alive[at];
            match self.machines[machine].phase {
                Phase::Gone => continue,
                Phase::Stopped => {}
                _ => self.bill(machine),
            }
            self.run.volume_ms += self.now - self.machines[machine].launched;
        }
        self.note();
        self.run.horizon = self.now;
        self.run
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
