//! Ten thousand rollouts, and a thousand hosts: what is reported is what is true, and what a
//! rollout promises holds.

use crate::random::Random;
use crate::world::{Luck, World, tag};
use fleet_core::rollout::{
    ActionResult, Answer, Call, HostState, Inputs, Key, Kind, Known, Limits, ROUNDS, Seen, Start,
    Started, State, Strategy, View, decide, enough, start,
};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use std::collections::BTreeMap;

/// More passes than any rollout needs, whatever happens.
const PASSES: u32 = 6000;

struct Sim {
    world: World,
    wish: Start,
    id: Option<CommandId>,
    label: String,
    /// Seconds between two passes.
    every_s: i64,
}

impl Sim {
    fn new(seed: u64, hosts: u32, luck: Luck, strategy: Strategy) -> Sim {
        let wish = Start {
            key: Key::of_hash(&format!("{seed:012x}")),
            attempt: Key::of_hash("000000000000"),
            kind: Kind::Deploy,
            image_tag: Some(tag("v2")),
            strategy,
            force: false,
            by: None,
            why: None,
            build: Default::default(),
            hosts: None,
        };
        let label = format!("seed {seed}, {hosts} hosts, {strategy}, {luck:?}");
        Sim { world: World::new(seed, hosts, luck), wish, id: None, label, every_s: 20 }
    }

    /// Makes the call, unless the function dies before it; `None` where it dies.
    fn call(&mut self, call: Call) -> Option<Answer> {
        let kills = self.world.luck.kills;
        if self.world.random.permille(kills) {
            return None;
        }
        if let Call::WriteStable { stable, .. } = &call {
            self.check_pointer(stable.pointer.image_tag.as_str());
        }
        let answer = self.world.call(call);
        (!self.world.random.permille(kills)).then_some(answer)
    }

    /// The pointer moves on proof only: enough hosts run the version, and none failed with it.
    fn check_pointer(&self, to: &str) {
        if self.world.stable().pointer.image_tag.as_str() == to || to == "v1" {
            return;
        }
        assert_eq!(to, "v2", "{}", self.label);
        let live = u32::try_from(self.world.in_service().count()).expect("small");
        let runs = self.world.in_service().filter(|(_, host)| host.runs.as_str() == "v2").count();
        // Hosts may have left between the reading and the write.
        let enough = enough(self.wish.strategy, live);
        let churn = self.world.luck.churn > 0;
        assert!(churn || runs >= usize::try_from(enough).expect("small"), "{}", self.label);
    }

    /// Asks until it is accepted, as a client does that repeats its request.
    fn ask(&mut self) -> bool {
        for attempt in 0..200 {
            self.wish.attempt = Key::of_hash(&format!("{attempt:012x}"));
            let mut seen = Seen::default();
            let now = self.world.now();
            let started = loop {
                let calls = match start(&self.wish, now, &seen) {
                    Ok(calls) => calls,
                    Err(started) => break Some(started),
                };
                let mut died = false;
                for call in calls {
                    match self.call(call) {
                        Some(answer) => seen.take(answer),
                        None => {
                            died = true;
                            break;
                        }
                    }
                }
                if died {
                    break None;
                }
            };
            match started {
                Some(Started::Accepted { id, .. }) => {
                    self.id = Some(id);
                    return true;
                }
                Some(Started::NoHosts { .. }) => return false,
                Some(Started::KeyReused { .. } | Started::Conflict { .. }) => {
                    panic!("{started:?}: {}", self.label)
                }
                Some(Started::Unsure { .. } | Started::Unavailable { .. }) | None => {}
            }
            self.world.step(7);
        }
        panic!("never accepted: {}", self.label)
    }

    /// One pass of the driver, which may die.
    fn pass(&mut self) {
        let hint = self.id.clone();
        let mut inputs = Inputs::new(true, Limits::default(), self.world.now(), hint);
        for _ in 0..ROUNDS {
            let decision = decide(&inputs);
            if decision.calls.is_empty() {
                self.check_hosts(&inputs);
                return;
            }
            for call in decision.calls {
                match self.call(call) {
                    Some(answer) => inputs.seen.take(answer),
                    None => return,
                }
            }
        }
        panic!("a pass without end: {}", self.label)
    }

    /// Every host that is called good runs the version.
    fn check_hosts(&self, inputs: &Inputs) {
        let Some(record) = inputs.seen.stored().and_then(|stored| stored.record()) else { return };
        let Some(Reading::Known(members)) = &inputs.seen.members else { return };
        let commands: Vec<_> = record
            .commands
            .iter()
            .filter_map(|sent| match inputs.seen.commands.get(sent.id.as_ref()?)? {
                Reading::Known(Some(evidence)) => Some((sent.step, evidence)),
                _ => None,
            })
            .collect();
        let view = View::of(&Known {
            kind: record.kind,
            key: Some(&record.key),
            image_tag: Some(&record.image_tag),
            before: record.before.as_ref(),
            expected: &record.expected,
            commands: &commands,
            members: Some(members),
            over: false,
        });
        // An order to go back may be at work before it is listed.
        for host in &view.hosts {
            let Some(truth) = self.world.hosts.get(&host.instance_id) else { continue };
            let good = matches!(host.state, HostState::Succeeded | HostState::AlreadyCurrent);
            if good && !record.undo {
                assert_eq!(truth.runs.as_str(), "v2", "{host:?}: {}", self.label);
            }
        }
    }

    /// Lives the whole rollout and returns what it came to.
    fn live(&mut self) -> Option<State> {
        if !self.ask() {
            return None;
        }
        let id = self.id.clone().expect("accepted");
        for pass in 0..PASSES {
            if pass > 0 && self.world.record().is_none() {
                // It stays over, however often the event of its end comes again.
                self.pass();
                if self.world.record().is_none() {
                    break;
                }
            }
            self.pass();
            // Events come early on; what lasts for longer is driven by the tick of each minute.
            self.world.step(if pass < 90 { self.every_s } else { 60 });
            assert!(pass + 1 < PASSES, "no end: {} {:?}", self.label, self.world.record());
        }
        let stable = self.world.stable().clone();
        let state = stable.ended(&id).map(|ended| ended.state);
        let state = state.unwrap_or_else(|| panic!("it is not remembered: {}", self.label));
        let moved = stable.pointer.image_tag.as_str() == "v2";
        let runs = |version: &str| {
            self.world.in_service().filter(|(_, h)| h.runs.as_str() == version).count()
        };
        match state {
            State::RolledBack => {
                assert!(!moved, "{}", self.label);
                // Whoever has the new version got it unseen, or came to service since.
                assert_eq!(runs("v2"), 0, "{}", self.label);
            }
            State::Succeeded => {
                assert!(moved, "{}", self.label);
                assert_eq!(stable.pointer.deployment_id.as_ref(), Some(&id), "{}", self.label);
            }
            // The pointer may have moved before a host turned out not to answer.
            State::Partial | State::Failed | State::Cancelled => {}
            State::InProgress => panic!("it is over and in progress: {}", self.label),
        }
        Some(state)
    }
}

fn luck(seed: u64) -> Luck {
    // One world in four is perfect in each respect.
    let pick = |shift: u32, choices: [u64; 4]| {
        choices[usize::try_from((seed >> shift) & 3).expect("two bits")]
    };
    Luck {
        calls: pick(0, [0, 5, 20, 60]),
        kills: pick(2, [0, 5, 20, 60]),
        hosts: pick(4, [0, 5, 30, 100]),
        churn: pick(6, [0, 1, 3, 10]),
        version: pick(8, [0, 0, 20, 200]),
        lag_s: i64::try_from(pick(10, [0, 0, 5, 20])).expect("small"),
        job_s: i64::try_from(pick(12, [0, 0, 300, 1800])).expect("small"),
        old: pick(14, [0, 0, 0, 300]),
        restore_s: 0,
    }
}

#[test]
fn ten_thousand_rollouts_report_the_truth() {
    let mut states: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..10_000_u64 {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let hosts = [1, 2, 3, 5, 10, 20][usize::try_from(mixed % 6).expect("small")];
        let strategy = Strategy::ALL[usize::try_from(mixed / 7 % 4).expect("small")];
        let state = Sim::new(seed, hosts, luck(mixed >> 3), strategy).live();
        let name = state.map_or_else(|| "nobody there".to_owned(), |state| format!("{state:?}"));
        *states.entry(name).or_default() += 1;
    }
    println!("{states:?}");
    // Every end is met, so that the checks of each were made.
    for state in ["Succeeded", "Partial", "Failed", "RolledBack"] {
        assert!(states.get(state).is_some_and(|count| *count > 50), "{states:?}");
    }
}

#[test]
fn a_thousand_hosts_report_the_truth() {
    for (seed, luck) in [
        (1, Luck::default()),
        (2, Luck { hosts: 5, ..Luck::default() }),
        (3, Luck { version: 20, ..Luck::default() }),
        (4, Luck { calls: 5, kills: 5, hosts: 2, churn: 1, lag_s: 5, ..Luck::default() }),
    ] {
        let state = Sim::new(seed, 1000, luck, Strategy::Canary).live();
        if seed == 1 {
            assert_eq!(state, Some(State::Succeeded));
        }
    }
}

/// Fleets that are never idle: the rollout ends when the jobs do, and interrupts none.
#[test]
fn a_good_version_reaches_every_host_of_a_fleet_that_is_always_busy() {
    let mut lines = Vec::new();
    for (hosts, job_s, times) in [
        (1, 300, 200),
        (1, 14_400, 100),
        (10, 600, 200),
        (10, 1800, 200),
        (10, 14_000, 50),
        (100, 1800, 20),
        (100, 14_000, 5),
    ] {
        let (mut longest, mut sum, mut sends) = (0, 0, 0);
        for seed in 0..times {
            let luck = Luck { job_s, ..Luck::default() };
            let mut sim = Sim::new(seed, hosts, luck, Strategy::Canary);
            sim.every_s = 60;
            let began = sim.world.now_s;
            assert_eq!(sim.live(), Some(State::Succeeded), "{}", sim.label);
            let took = sim.world.now_s - began;
            assert!(sim.world.hosts.values().all(|host| host.interrupted == 0), "{}", sim.label);
            longest = longest.max(took);
            sum += took;
            sends = sends.max(sim.world.sends);
        }
        let mean = sum / i64::try_from(times).expect("small");
        lines.push(format!(
            "{hosts} hosts, jobs of {job_s} s: {times} of {times} succeed, {mean} s on average, {longest} s at most, {sends} commands at most"
        ));
        // Waves of 1, 2, 4, … each wait for a job at most.
        let waves = i64::from(u32::BITS - hosts.leading_zeros()) + 1;
        assert!(longest <= waves * (job_s + 300), "{lines:?}");
    }
    println!("{}", lines.join("\n"));
}

/// A version that works nowhere is seen by one host, whichever way it fails and however the calls
/// and the function fare.
#[test]
fn a_version_that_works_nowhere_touches_exactly_one_host_in_ten_thousand_rollouts() {
    let mut random = Random::new(7);
    for seed in 0..10_000_u64 {
        let hosts = [2, 3, 5, 10, 20][usize::try_from(random.below(5)).expect("small")];
        let strategy = [Strategy::Canary, Strategy::HalfAtATime, Strategy::OneAtATime]
            [usize::try_from(random.below(3)).expect("small")];
        let job_s = [0, 0, 300, 1800][usize::try_from(random.below(4)).expect("small")];
        let bad = [0, 10, 40][usize::try_from(random.below(3)).expect("small")];
        let luck = Luck { calls: bad, kills: bad, lag_s: 5, job_s, ..Luck::default() };
        let mut sim = Sim::new(seed, hosts, luck, strategy);
        let outcomes = [ActionResult::RolledBack, ActionResult::Down];
        let outcome = outcomes[usize::try_from(random.below(2)).expect("small")];
        for host in sim.world.hosts.values_mut() {
            host.rejects = Some((tag("v2"), outcome));
        }
        let state = sim.live();
        let touched = sim.world.hosts.values().filter(|host| host.touched).count();
        assert_eq!(touched, 1, "{}", sim.label);
        let ended = if outcome == ActionResult::Down { State::RolledBack } else { State::Failed };
        assert_eq!(state, Some(ended), "{}", sim.label);
        assert!(sim.world.in_service().all(|(_, host)| host.runs == tag("v1")), "{}", sim.label);
        assert_eq!(sim.world.stable().pointer.image_tag, tag("v1"), "{}", sim.label);
    }
}
