//! Passes side by side whose calls take seconds, while one rollout follows the other.

use crate::random::Random;
use crate::world::{Luck, World, tag};
use fleet_core::rollout::{
    Answer, Call, Inputs, Key, Kind, Limits, Seen, Start, Started, State, Strategy, decide, start,
};
use fleet_protocol::ids::CommandId;
use std::collections::VecDeque;

/// One invocation of the function, which makes one call after another.
struct Actor {
    what: What,
    calls: VecDeque<Call>,
    answer: Option<Answer>,
    effect: i64,
    end: i64,
}

enum What {
    Pass(Box<Inputs>),
    Begin(Box<Start>, i64, Box<Seen>),
    /// Until then.
    Sleeps(i64),
}

struct Race {
    world: World,
    random: Random,
    actors: Vec<Actor>,
    /// Rollouts in the order in which they were accepted.
    accepted: Vec<CommandId>,
    wanted: usize,
    attempts: u32,
}

impl Race {
    fn new(seed: u64, passes: usize) -> Race {
        let luck = Luck { restore_s: 2, lag_s: 1, ..Luck::default() };
        let world = World::new(seed, 3, luck);
        let sleeps = |at| Actor {
            what: What::Sleeps(at),
            calls: VecDeque::new(),
            answer: None,
            effect: 0,
            end: 0,
        };
        let now = world.now_s;
        let actors = (0..=passes).map(|n| sleeps(now + i64::try_from(n).expect("small"))).collect();
        Race {
            world,
            random: Random::new(seed),
            actors,
            accepted: Vec::new(),
            wanted: 0,
            attempts: 0,
        }
    }

    fn below(&mut self, end: u64) -> i64 {
        i64::try_from(self.random.below(end)).expect("small")
    }

    fn wish(&self) -> Start {
        let n = self.wanted;
        Start {
            key: Key::of_hash(&format!("{n:012x}")),
            attempt: Key::of_hash(&format!("{:012x}", self.attempts)),
            kind: Kind::Deploy,
            image_tag: Some(tag(&format!("v{}", n + 2))),
            strategy: Strategy::AllAtOnce,
            force: false,
            by: None,
            why: None,
            build: Default::default(),
            hosts: None,
        }
    }

    /// One second of one actor. The first one is the client, who begins rollouts.
    fn turn(&mut self, at: usize) {
        let now = self.world.now_s;
        let mut actor = std::mem::replace(
            &mut self.actors[at],
            Actor {
                what: What::Sleeps(0),
                calls: VecDeque::new(),
                answer: None,
                effect: 0,
                end: 0,
            },
        );
        if let Some(call) = actor.calls.front()
            && actor.answer.is_none()
            && now >= actor.effect
        {
            actor.answer = Some(self.world.call(call.clone()));
        }
        if actor.calls.front().is_some() && now < actor.end {
            self.actors[at] = actor;
            return;
        }
        if actor.calls.pop_front().is_some() {
            let answer = actor.answer.take().expect("it had its effect");
            match &mut actor.what {
                What::Pass(inputs) => inputs.seen.take(answer),
                What::Begin(.., seen) => seen.take(answer),
                What::Sleeps(_) => {}
            }
        }
        if actor.calls.is_empty() {
            self.think(at, &mut actor);
        }
        if !actor.calls.is_empty() {
            let takes = 1 + self.below(5);
            actor.end = now + takes;
            actor.effect = now + self.below(takes.unsigned_abs() + 1);
        }
        self.actors[at] = actor;
    }

    fn think(&mut self, at: usize, actor: &mut Actor) {
        let now = self.world.now_s;
        match &actor.what {
            What::Sleeps(until) if now < *until => {}
            What::Sleeps(_) if at == 0 => {
                self.attempts += 1;
                actor.what = What::Begin(Box::new(self.wish()), now, Box::default());
                self.think(at, actor);
            }
            What::Sleeps(_) => {
                let hint = self.accepted.last().cloned();
                let inputs = Inputs::new(false, Limits::default(), self.world.now(), hint);
                actor.what = What::Pass(Box::new(inputs));
                self.think(at, actor);
            }
            What::Pass(inputs) => {
                let decision = decide(inputs);
                actor.calls = decision.calls.into();
                if actor.calls.is_empty() {
                    // A tick comes once a minute, events in between.
                    let longest = if self.actors.len() > 3 { 60 } else { 10 };
                    actor.what = What::Sleeps(now + self.below(longest));
                }
            }
            What::Begin(wish, began, seen) => {
                let began = fleet_protocol::time::UnixMs(*began * 1000);
                match start(wish, began, seen) {
                    Ok(calls) => actor.calls = calls.into(),
                    Err(Started::Accepted { id, .. }) => {
                        if !self.accepted.contains(&id) {
                            self.accepted.push(id);
                        }
                        self.wanted += 1;
                        actor.what = What::Sleeps(now + self.below(3));
                    }
                    Err(_) => actor.what = What::Sleeps(now + 1 + self.below(5)),
                }
            }
        }
    }

    fn run(&mut self, rollouts: usize, label: &str) {
        for _ in 0..40_000 {
            let over = self.world.record().is_none();
            if self.accepted.len() >= rollouts && over {
                break;
            }
            self.world.step(1);
            for at in 0..self.actors.len() {
                // The client has nothing more to begin.
                if at > 0 || self.accepted.len() < rollouts {
                    self.turn(at);
                }
            }
        }
        let record = self.world.record();
        assert_eq!(self.accepted.len(), rollouts, "{label}: {record:?}");
        assert_eq!(self.world.regressions, 0, "{label}: the pointer went back");
        assert_eq!(self.world.foreign_closes, 0, "{label}: a record was closed by another rollout");
        let stable = self.world.stable();
        for id in &self.accepted {
            let state = stable.ended(id).map(|ended| ended.state);
            let stored = &self.world.stored;
            assert_eq!(
                state,
                Some(State::Succeeded),
                "{label}: {id} in {:?} {stored:?}",
                self.accepted
            );
        }
        let last = format!("v{}", rollouts + 1);
        assert!(self.world.hosts.values().all(|host| host.runs == tag(&last)), "{label}");
    }
}

#[test]
fn passes_side_by_side_never_move_the_pointer_back_nor_close_another_rollout() {
    for (passes, races) in [(2, 1500), (8, 250)] {
        for seed in 0..races {
            Race::new(seed, passes).run(4, &format!("{passes} passes, seed {seed}"));
        }
    }
}
