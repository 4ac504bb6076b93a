//! What holds for the groups whatever is called in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    ActionKey, AutoScaling, Direction, GroupSpec, GroupUpdate, HookResult, HookSpec, Transition,
    TransitionKind,
};

#[derive(Debug, Clone)]
enum Op {
    Desired(u32),
    Terminate(usize, bool),
    Health(usize, bool),
    Lose(usize),
    Protect(usize, bool),
    Complete(usize, HookResult),
    Heartbeat(usize),
    Suspend(bool, bool),
    Resume,
    Bounds(u32, u32),
    Hook(Direction, bool),
    Pass(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let which = 0..8_usize;
    let result = prop_oneof![Just(HookResult::Continue), Just(HookResult::Abandon)];
    let direction = prop_oneof![Just(Direction::Launching), Just(Direction::Terminating)];
    prop_oneof![
        3 => (0..8_u32).prop_map(Op::Desired),
        3 => (which.clone(), any::<bool>()).prop_map(|(i, d)| Op::Terminate(i, d)),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, h)| Op::Health(i, h)),
        1 => which.clone().prop_map(Op::Lose),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, p)| Op::Protect(i, p)),
        2 => (which.clone(), result).prop_map(|(i, r)| Op::Complete(i, r)),
        1 => which.prop_map(Op::Heartbeat),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(l, t)| Op::Suspend(l, t)),
        1 => Just(Op::Resume),
        1 => (0..5_u32, 0..7_u32).prop_map(|(min, max)| Op::Bounds(min, max)),
        1 => (direction, any::<bool>()).prop_map(|(d, on)| Op::Hook(d, on)),
        4 => (0..400_u32).prop_map(Op::Pass),
    ]
}

/// A group and the time that passed, with every check that holds after every step.
struct Run {
    asg: AutoScaling,
    now: Timestamp,
    seen: Vec<Transition>,
    /// Time passes in steps of this many seconds at most.
    grain: u32,
}

impl Run {
    fn new(grain: u32) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let times = (Duration::from_secs(60), Duration::from_secs(5));
        let mut asg = AutoScaling::new("us-east-1", "000000000000", times, 3, now);
        let spec = GroupSpec::new("g", 1, 5).desired(2).hook(HookSpec::terminating("out", 120));
        asg.create_simple(spec).expect("a group");
        Self { asg, now, seen: Vec::new(), grain }
    }

    fn instance(&self, index: usize) -> String {
        let group = self.asg.group("g").expect("g");
        match group.instances.len() {
            0 => "i-nobody".to_owned(),
            n => group.instances[index % n].id.clone(),
        }
    }

    /// A refused call is as good as any: it must only not break anything.
    fn apply(&mut self, op: &Op) {
        let key = |hook: &str, instance: String| ActionKey {
            hook: hook.to_owned(),
            token: None,
            instance: Some(instance),
        };
        let outcome = match op {
            Op::Desired(n) => self.asg.set_desired("g", *n, false),
            Op::Terminate(i, decrement) => {
                let id = self.instance(*i);
                self.asg.terminate_instance(&id, *decrement).map(drop)
            }
            Op::Health(i, healthy) => {
                let id = self.instance(*i);
                self.asg.set_health(&id, *healthy, true)
            }
            Op::Lose(i) => {
                let id = self.instance(*i);
                self.asg.lose_instance(&id)
            }
            Op::Protect(i, protected) => {
                let ids = [self.instance(*i)];
                self.asg.set_protection("g", &ids, *protected)
            }
            Op::Complete(i, result) => {
                let id = self.instance(*i);
                let first = self.asg.complete_action("g", &key("out", id.clone()), *result);
                first.or_else(|_| self.asg.complete_action("g", &key("in", id), *result))
            }
            Op::Heartbeat(i) => {
                let id = self.instance(*i);
                self.asg.heartbeat("g", &key("out", id))
            }
            Op::Suspend(launch, terminate) => {
                let mut names = vec!["AZRebalance".to_owned()];
                names.extend(launch.then(|| "Launch".to_owned()));
                names.extend(terminate.then(|| "Terminate".to_owned()));
                self.asg.suspend("g", &names)
            }
            Op::Resume => self.asg.resume("g", &[]),
            Op::Bounds(min, max) => {
                let update =
                    GroupUpdate { min: Some(*min), max: Some(*max), ..GroupUpdate::default() };
                self.asg.update_group("g", update)
            }
            Op::Hook(direction, true) => {
                let name = if *direction == Direction::Launching { "in" } else { "out" };
                let hook = HookSpec { direction: *direction, ..HookSpec::terminating(name, 90) };
                self.asg.put_hook("g", hook)
            }
            Op::Hook(direction, false) => {
                let name = if *direction == Direction::Launching { "in" } else { "out" };
                self.asg.delete_hook("g", name)
            }
            Op::Pass(seconds) => {
                self.pass(*seconds);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            assert!(!error.message.is_empty() && error.status == 400, "{error:?}");
        }
        self.seen.extend(self.asg.take_transitions());
        let group = self.asg.group("g").expect("g");
        assert!((group.min..=group.max).contains(&group.desired), "desired outside its bounds");
    }

    fn pass(&mut self, seconds: u32) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(self.grain);
            self.now += Duration::from_secs(step.into());
            self.asg.advance(self.now);
            left -= step;
        }
    }
}

fn run(ops: &[Op], grain: u32) -> Run {
    let mut run = Run::new(grain);
    for op in ops {
        run.apply(op);
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn instances_live_once_and_die_once(ops in prop::collection::vec(op(), 1..60)) {
        let run = run(&ops, u32::MAX);
        let mut lives: BTreeMap<&str, Vec<TransitionKind>> = BTreeMap::new();
        for (before, after) in run.seen.iter().zip(run.seen.iter().skip(1)) {
            prop_assert_eq!(after.seq, before.seq + 1);
            prop_assert!(after.at >= before.at);
        }
        for transition in &run.seen {
            lives.entry(&transition.instance).or_default().push(transition.kind);
        }
        for (id, life) in lives {
            let count = |kind| life.iter().filter(|k| **k == kind).count();
            prop_assert_eq!(life[0], TransitionKind::Launching, "{}", id);
            prop_assert_eq!(count(TransitionKind::Launching), 1);
            for once in [
                TransitionKind::InService,
                TransitionKind::TerminatingWait,
                TransitionKind::ShuttingDown,
                TransitionKind::Terminated,
            ] {
                prop_assert!(count(once) <= 1, "{id}: {life:?}");
            }
            if count(TransitionKind::Terminated) == 1 {
                prop_assert_eq!(*life.last().expect("not empty"), TransitionKind::Terminated);
                prop_assert_eq!(count(TransitionKind::ShuttingDown), 1);
            }
        }
    }

    #[test]
    fn left_alone_the_group_reaches_its_desired_capacity(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut run = run(&ops, u32::MAX);
        run.asg.resume("g", &[]).expect("all of them");
        let instances = &run.asg.group("g").expect("g").instances;
        for id in instances.iter().map(|i| i.id.clone()).collect::<Vec<_>>() {
            // Those on their way out refuse, and need not agree.
            drop(run.asg.set_protection("g", &[id], false));
        }
        // A launch hook whose default is ABANDON would replace its instances for ever.
        drop(run.asg.delete_hook("g", "in"));
        run.pass(3 * 86_400);
        let group = run.asg.group("g").expect("g");
        prop_assert_eq!(group.in_service(), usize::try_from(group.desired).expect("small"));
        prop_assert_eq!(group.instances.len(), group.in_service(), "someone never left");
    }

    #[test]
    fn how_often_one_looks_changes_nothing(ops in prop::collection::vec(op(), 1..40)) {
        let (coarse, fine) = (run(&ops, u32::MAX), run(&ops, 7));
        prop_assert_eq!(coarse.seen, fine.seen);
        prop_assert_eq!(coarse.asg.groups(), fine.asg.groups());
    }
}
