//! What goes wrong, and when: all drawn before the life begins, so that every reconciler lives
//! through the same.

use super::Scenario;

/// A small generator, the same on every machine. <https://prng.di.unimi.it/splitmix64.c>
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).expect("low is not above high") + 1;
        low + i64::try_from(self.next() % span).expect("a span of seconds")
    }

    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What can go wrong, by the failure matrix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub(crate) const ALL: &'static [Fault] = &[$(Fault::$name,)*];
        }
    };
}

faults! {
    /// 3, 4: no event of any kind arrives.
    EventsLost,
    /// 1: every event comes twice or thrice.
    EventsDoubled,
    /// 2: events come up to ten minutes late, and so in any order.
    EventsLate,
    /// 5: the function dies before or after any of its calls, every other time.
    Crashes,
    /// 6: nothing of ours runs for up to an hour.
    Outage,
    /// 7: ticks do not come for a while.
    TicksLost,
    /// 10: the group shows it waiting before the action can be completed.
    ActionLate,
    /// 11: the first completions are done and their answers lost.
    CompleteReplyLost,
    /// 12: completions are refused for a while.
    CompleteThrottled,
    /// Heartbeats are refused for a while.
    HeartbeatThrottled,
    /// 15: the agent is offline.
    AgentOffline,
    /// 15, 38: SSM never knew the machine.
    NeverManaged,
    /// 16: the agent dies with the first commands in hand.
    AgentDies,
    /// 17: the answer to a command is lost, so the SDK sends it twice.
    SendReplyLost,
    SendThrottled,
    /// 18: new commands are not listed for some seconds.
    ListLate,
    ListThrottled,
    /// 19: the first commands end well and did nothing, or say what is not so.
    Lies,
    OutputLost,
    /// 20: the worker cannot be reached by its host.
    WorkerUnreachable,
    /// 22: the worker crashes, and with it its job, and starts again.
    WorkerRestarts,
    /// 24: the deploy-server is down.
    ServerDown,
    /// 29: the job never ends.
    JobHangs,
    /// 35: AWS takes the machine back.
    Spot,
    /// 36: the machine dies.
    MachineDies,
    MachinesThrottled,
    /// 42: another hook holds it as well.
    OtherHook,
    /// 44: the function's clock is hours off.
    ClockWrong,
    GroupThrottled,
    /// The group is shown as it was some time ago.
    GroupStale,
    /// 49: AWS ends the machine in spite of the hook.
    HookIgnored,
    /// 50: an operator completes the action.
    OperatorCompletes,
    /// A worker that fetches on while it drains.
    OldWorker,
}

impl Fault {
    /// Ends machines whatever anybody does; what it costs is counted apart.
    pub(crate) fn is_beyond_us(self) -> bool {
        matches!(
            self,
            Fault::Spot
                | Fault::MachineDies
                | Fault::HookIgnored
                | Fault::OperatorCompletes
                | Fault::WorkerRestarts
        )
    }
}

/// From one second to another, counted from the beginning of the wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Window {
    pub(crate) fn holds(self, at: i64) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// Everything that is left to chance.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    /// Seconds until the running job ends; 0 for an idle worker.
    pub(crate) job_left: i64,
    pub(crate) next_job_s: i64,
    pub(crate) next_gap_s: i64,
    /// When in its minute the tick comes.
    pub(crate) tick_at: i64,
    pub(crate) event_delay_s: i64,
    pub(crate) caught: bool,
    pub(crate) clock_off_s: i64,
    pub(crate) lie: i64,
    /// How often a fault strikes that strikes some times.
    pub(crate) times: i64,
    /// How long a new command is not listed.
    pub(crate) list_late_s: i64,
    /// How old the group is that is shown.
    pub(crate) stale_s: i64,
    /// Whether the agent handed the command on before it died.
    pub(crate) agent_told: bool,
    /// Whether each pass runs in a new environment, which remembers nothing.
    pub(crate) fresh: bool,
    /// Where the deaths of the function come from.
    pub(crate) crashes: Random,
    windows: Vec<(Fault, Window)>,
}

impl Draw {
    pub(crate) fn of(scenario: &Scenario) -> Draw {
        let mut random = Random::new(scenario.seed);
        let busy = random.chance(80);
        let hangs = scenario.faults.contains(&Fault::JobHangs);
        let job_left = if busy || hangs { random.between(10, 1800) } else { 0 };
        let mut draw = Draw {
            job_left: if hangs { i64::MAX / 2 } else { job_left },
            next_job_s: random.between(10, 1800),
            next_gap_s: random.between(5, 240),
            tick_at: random.between(0, 59),
            event_delay_s: random.between(1, 2),
            caught: random.chance(10),
            clock_off_s: random.between(-18_000, 18_000),
            lie: random.between(0, 4),
            times: random.between(1, 3),
            list_late_s: random.between(3, 15),
            stale_s: random.between(5, 90),
            agent_told: random.chance(50),
            fresh: random.chance(50),
            crashes: Random::new(scenario.seed ^ 0x5bd1_e995),
            windows: vec![],
        };
        for fault in &scenario.faults {
            let window = draw.window(*fault, &mut random);
            draw.windows.push((*fault, window));
        }
        draw
    }

    fn window(&mut self, fault: Fault, random: &mut Random) -> Window {
        let always = Window { from: 0, to: i64::MAX };
        let mut within = |from: i64, shortest: i64, longest: i64| {
            let from = random.between(0, from);
            Window { from, to: from + random.between(shortest, longest) }
        };
        match fault {
            Fault::EventsLate => {
                self.event_delay_s = random.between(5, 600);
                always
            }
            Fault::Outage => within(600, 120, 3600),
            Fault::TicksLost => within(600, 120, 900),
            Fault::ActionLate => within(0, 3, 40),
            Fault::GroupStale => within(1500, 60, 600),
            Fault::AgentOffline | Fault::ServerDown => within(300, 60, 1200),
            Fault::WorkerUnreachable => within(600, 10, 900),
            Fault::CompleteThrottled
            | Fault::SendThrottled
            | Fault::ListThrottled
            | Fault::MachinesThrottled
            | Fault::GroupThrottled => within(1200, 30, 300),
            // Longer than the hook's timeout, at times.
            Fault::HeartbeatThrottled => within(600, 30, 600),
            Fault::Spot
            | Fault::MachineDies
            | Fault::HookIgnored
            | Fault::OperatorCompletes
            | Fault::WorkerRestarts => within(1500, 1, 1),
            Fault::OtherHook => within(0, 300, 3000),
            _ => always,
        }
    }

    /// Gives a fault a window that is not drawn.
    pub(crate) fn put(&mut self, fault: Fault, window: Window) {
        self.windows.retain(|(known, _)| *known != fault);
        self.windows.push((fault, window));
    }

    /// The fault's window, where the scenario has the fault.
    pub(crate) fn when(&self, fault: Fault) -> Option<Window> {
        self.windows.iter().find(|(known, _)| *known == fault).map(|(_, window)| *window)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.when(fault).is_some()
    }

    /// Whether the fault is at work.
    pub(crate) fn strikes(&self, fault: Fault, at: i64) -> bool {
        self.when(fault).is_some_and(|window| window.holds(at))
    }

    /// Whether the fault begins in this very second.
    pub(crate) fn begins(&self, fault: Fault, at: i64) -> bool {
        self.when(fault).is_some_and(|window| window.from == at)
    }

    /// When the last of the faults that end is over.
    pub(crate) fn calm_after(&self) -> i64 {
        let ends = self.windows.iter().map(|(_, window)| window.to);
        ends.filter(|to| *to < i64::MAX).max().unwrap_or(0)
    }
}
