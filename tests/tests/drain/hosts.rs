//! A group whose hook the shipped drain function holds, on a clock that the test moves.

use crate::scripted::{Hosts, Script};
use aws_double::{
    Call, ClockMode, Double, DoubleConfig, Function, Group, GroupSpec, HookSpec, LifecycleState,
};
use fleet_local::template::Template;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

pub(crate) const GROUP: &str = "ghosthands-worker-asg";
pub(crate) const HOOK: &str = "ghosthands-drain-hook";
pub(crate) const DOCUMENT: &str = "GhostHands-Host";
pub(crate) const SCHEDULE: &[u8] = include_bytes!("../../../events/drain-schedule.json");
const BOOT: Duration = Duration::from_secs(1);
/// A minute in all.
const PIPE_LOOKS: u32 = 1200;
const PIPE_PAUSE: Duration = Duration::from_millis(50);

/// What a test wants to be different.
pub(crate) struct Setup {
    pub(crate) size: u32,
    pub(crate) retain: bool,
    pub(crate) hook: &'static str,
    pub(crate) heartbeat_s: u32,
    /// How far AWS's clock is behind the machine's.
    pub(crate) clock_behind: Duration,
    pub(crate) env: Vec<(&'static str, &'static str)>,
}

impl Setup {
    pub(crate) fn size(size: u32) -> Setup {
        let (heartbeat_s, clock_behind) = (300, Duration::ZERO);
        Setup { size, retain: true, hook: HOOK, heartbeat_s, clock_behind, env: vec![] }
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Setup {
        self.env.push((name, value));
        self
    }
}

pub(crate) struct World {
    pub(crate) double: Double,
    pub(crate) drain: Function,
    pub(crate) hosts: Hosts,
    /// In the order of the group.
    pub(crate) ids: Vec<String>,
    began: Timestamp,
}

impl World {
    /// A group of idle hosts in service, the function with its rules, and a tick every minute.
    pub(crate) async fn start(setup: Setup) -> World {
        let now = Timestamp::now() - setup.clock_behind;
        let began = Timestamp::from_second(now.as_second()).expect("whole seconds");
        let config = DoubleConfig { clock: ClockMode::Manual(began), ..DoubleConfig::default() };
        let double = Double::start(config).await.expect("starts");
        let mut group = GroupSpec::new(GROUP, 0, setup.size.max(1))
            .desired(setup.size)
            .boot(BOOT)
            .shutdown(BOOT)
            .hook(HookSpec::terminating(setup.hook, setup.heartbeat_s));
        if setup.retain {
            group = group.retain_on_abandon();
        }
        double.create_group(group).expect("a valid group");
        double.advance(BOOT).await.expect("a manual clock");
        let template = Template::read(GROUP).expect("the template is there");
        double.create_document(DOCUMENT, &template.host_document()).expect("a valid document");
        let least = [("GH_ENVIRONMENT", "test"), ("AWS_ASG_NAME", GROUP)];
        let settings =
            least.into_iter().chain(setup.env).map(|(n, v)| (n.to_owned(), v.to_owned()));
        let drain = template.start("drain", &double, settings).await.expect("the function starts");
        double.schedule("every-minute", "rate(1 minute)", "drain").expect("a rate");
        let hosts = Hosts::new(&double);
        let ids: Vec<String> = instances(&double).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), setup.size as usize);
        for id in &ids {
            hosts.add(id, Script::idle());
        }
        World { double, drain, hosts, ids, began }
    }

    /// So long after the world began.
    pub(crate) fn at(&self, seconds: u64) -> Timestamp {
        self.began + BOOT + Duration::from_secs(seconds)
    }

    /// Gives the first host a job until then.
    pub(crate) fn first_works_until(&self, seconds: u64) {
        let ends = self.at(seconds);
        self.hosts.change(&self.ids[0], |script| script.job_ends = Some(ends));
    }

    /// Somebody outside ends the first instance.
    pub(crate) async fn end_first(&self) {
        self.double.terminate_instance(&self.ids[0], true).expect("it can be ended");
        self.double.settle().await;
    }

    /// Moves the clock by whole seconds.
    pub(crate) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.double.advance(Duration::from_secs(1)).await.expect("a manual clock");
        }
    }

    /// Moves the clock until the instance has left, and says how long that took. `check` is called
    /// after each second.
    pub(crate) async fn until_gone(
        &self,
        instance: &str,
        within_s: u64,
        mut check: impl FnMut(),
    ) -> u64 {
        for second in 0..=within_s {
            check();
            let state = self.state(instance);
            if state.is_none_or(|state| state == LifecycleState::TerminatingProceed) {
                return second;
            }
            self.pass(1).await;
        }
        panic!(
            "{instance} is still {:?} after {within_s} s: {:#?}",
            self.state(instance),
            self.summaries()
        );
    }

    /// As above for the first instance, which must not leave while its job runs.
    pub(crate) async fn until_first_gone(&self, within_s: u64) -> u64 {
        let id = self.ids[0].clone();
        self.until_gone(&id, within_s, || self.nobody_is_cut_off()).await
    }

    /// No machine ended, or is about to, with a job on it.
    #[track_caller]
    pub(crate) fn nobody_is_cut_off(&self) {
        let now = self.double.now();
        let there = instances(&self.double);
        for (id, script) in self.hosts.all().iter_mut() {
            let state = there.iter().find(|(known, _)| known == id).map(|(_, state)| *state);
            let ends = state.is_none_or(|state| {
                matches!(state, LifecycleState::TerminatingProceed | LifecycleState::Terminating)
            });
            assert!(!(ends && script.is_busy(now)), "{id} left with a job on it");
            assert_eq!(script.interrupted, 0, "{id} was stopped at work");
        }
    }

    pub(crate) fn state(&self, instance: &str) -> Option<LifecycleState> {
        instances(&self.double).into_iter().find(|(id, _)| id == instance).map(|(_, state)| state)
    }

    pub(crate) fn group(&self) -> Group {
        self.double.group(GROUP).expect("the group is there")
    }

    /// The calls of this action that were answered well.
    pub(crate) fn done(&self, action: &str) -> Vec<Call> {
        let calls = self.double.calls();
        calls.into_iter().filter(|call| call.action == action && call.status == 200).collect()
    }

    /// One tick by hand; its record.
    pub(crate) async fn tick(&self) -> Value {
        let answer = self.drain.invoke(SCHEDULE).await.expect("the function answers");
        serde_json::from_slice(&answer).expect("a JSON answer")
    }

    /// Kills the function in whatever it is doing. The next event gets a new environment.
    pub(crate) async fn restart_function(&mut self) {
        self.drain.stop().await;
        self.bring_back().await;
    }

    pub(crate) async fn bring_back(&mut self) {
        let config = self.drain.config().clone();
        self.drain = Function::start(config).await.expect("the Runtime API starts");
        self.double.add_function(&self.drain);
    }

    /// Lets so many environments work at the same time; the template allows one.
    pub(crate) async fn side_by_side(&mut self, environments: usize) {
        self.drain.stop().await;
        let config = self.drain.config().clone().concurrency(environments);
        self.drain = Function::start(config).await.expect("the Runtime API starts");
        self.double.add_function(&self.drain);
    }

    /// The records that the function printed.
    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.drain.logs();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
        parsed.filter(|line| line["type"] == "drain").collect()
    }

    /// Waits until the records hold what is asked for: the pipe may bring a line a moment after the
    /// answer.
    pub(crate) async fn recorded(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        for _ in 0..PIPE_LOOKS {
            if holds(&self.records()) {
                return;
            }
            tokio::time::sleep(PIPE_PAUSE).await;
        }
        panic!("no record of this: {what}: {:#?}", self.summaries());
    }

    /// Waits until the metric's values add up to at least this much, for the same reason.
    pub(crate) async fn metric(&self, name: &str, at_least: u64) {
        let sum = || {
            let lines = self.drain.logs();
            let values = lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(&line.text).ok()?[name].as_u64());
            values.sum::<u64>()
        };
        for _ in 0..PIPE_LOOKS {
            if sum() >= at_least {
                return;
            }
            tokio::time::sleep(PIPE_PAUSE).await;
        }
        panic!("{name} is {} in all, not {at_least}", sum());
    }

    /// What the records said, in words.
    pub(crate) fn summaries(&self) -> Vec<String> {
        let lines = self.records().into_iter().flat_map(|record| {
            let at = record["at"].as_str().unwrap_or_default().to_owned();
            let words = record["summary"].as_array().cloned().unwrap_or_default();
            words.into_iter().map(move |word| format!("{at} {word}"))
        });
        lines.filter(|line| !line.contains("nobody is leaving")).collect()
    }
}

fn instances(double: &Double) -> Vec<(String, LifecycleState)> {
    let group = double.group(GROUP).expect("the group is there");
    group.instances.iter().map(|i| (i.id.clone(), i.state)).collect()
}
