//! What holds for commands whatever is called and whatever goes wrong, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::model::{CommandOutput, CommandState, InvocationState};
use super::tests::{machine, start};
use super::{CommandFault, Machine, Notice, RunCommand, RunKey, SendRequest};

/// Machines of a run.
const MACHINES: usize = 9;
/// `MaxConcurrency` texts and what they mean for nine hosts.
const CONCURRENCY: [(&str, usize); 4] = [("1", 1), ("2", 2), ("50%", 5), ("50", 50)];

#[derive(Debug, Clone)]
enum Op {
    Send { concurrency: usize, errors: usize, window: u32 },
    End { which: usize, exit_code: i32, took: u64 },
    Cancel { which: usize, host: Option<usize> },
    Online(usize, bool),
    KillAgent(usize),
    Gone(usize),
    Fault(usize, CommandFault),
    Verdict(bool),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let host = 0..MACHINES;
    let fault = prop_oneof![
        Just(CommandFault::Undeliverable),
        Just(CommandFault::DeliverTwice),
        Just(CommandFault::LoseOutput),
        Just(CommandFault::LoseReport),
        (0..60_u32).prop_map(|seconds| CommandFault::Delay { seconds }),
    ];
    prop_oneof![
        2 => (0..CONCURRENCY.len(), 0..4_usize, 30..90_u32).prop_map(
            |(concurrency, errors, window)| Op::Send { concurrency, errors, window }
        ),
        8 => (0..20_usize, prop_oneof![3 => Just(0), 1 => Just(1)], 0..90_u64)
            .prop_map(|(which, exit_code, took)| Op::End { which, exit_code, took }),
        1 => (0..5_usize, proptest::option::of(host.clone()))
            .prop_map(|(which, host)| Op::Cancel { which, host }),
        2 => (host.clone(), any::<bool>()).prop_map(|(i, online)| Op::Online(i, online)),
        1 => host.clone().prop_map(Op::KillAgent),
        1 => host.clone().prop_map(Op::Gone),
        2 => (host, fault).prop_map(|(i, fault)| Op::Fault(i, fault)),
        1 => any::<bool>().prop_map(Op::Verdict),
        6 => (0..60_u64).prop_map(Op::Pass),
    ]
}

/// The commands, the time that passed, and every check that holds after every step.
struct Run {
    commands: RunCommand,
    machines: Vec<Machine>,
    now: Timestamp,
    running: Vec<RunKey>,
    /// `MaxConcurrency` by command.
    most: BTreeMap<u64, usize>,
    /// The last status told, by command and instance.
    told: BTreeMap<(u64, Option<String>), &'static str>,
    /// Terminal states seen.
    ended: BTreeMap<(u64, usize), InvocationState>,
    seen: Vec<Notice>,
    /// Time passes in steps of this many seconds at most.
    grain: u64,
}

impl Run {
    fn new(grain: u64) -> Self {
        let mut commands = RunCommand::new("000000000000", 3, start());
        let content = serde_json::json!({
            "schemaVersion": "2.2",
            "mainSteps": [{
                "action": "aws:runShellScript",
                "name": "host",
                "inputs": { "timeoutSeconds": 60, "runCommand": ["true"] },
            }],
        });
        commands.create_document("Host", &content.to_string()).expect("legal");
        Self {
            commands,
            machines: (0..MACHINES).map(machine).collect(),
            now: start(),
            running: Vec::new(),
            most: BTreeMap::new(),
            told: BTreeMap::new(),
            ended: BTreeMap::new(),
            seen: Vec::new(),
            grain,
        }
    }

    /// A refused call is as good as any: it must only not break anything.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Send { concurrency, errors, window } => {
                let (text, most) = CONCURRENCY[*concurrency];
                let request = SendRequest {
                    document: "Host".to_owned(),
                    targets: vec![("tag:Role".to_owned(), vec!["worker".to_owned()])],
                    timeout_seconds: Some(*window),
                    max_concurrency: Some(text.to_owned()),
                    max_errors: Some(errors.to_string()),
                    ..SendRequest::default()
                };
                let seq = self.commands.send(request, &self.machines).expect("legal");
                self.most.insert(seq, most);
            }
            Op::End { which, exit_code, took } => {
                if !self.running.is_empty() {
                    let key = self.running.remove(which % self.running.len());
                    let took = Duration::from_secs(*took);
                    self.commands.report(&key, CommandOutput::exit(*exit_code).took(took));
                }
            }
            Op::Cancel { which, host } => {
                let all = self.commands.commands();
                if let Some(id) = all.iter().rev().nth(*which).map(|c| c.id.clone()) {
                    let hosts: Vec<String> = host.iter().map(|n| format!("i-{n}")).collect();
                    drop(self.commands.cancel(&id, &hosts));
                }
            }
            Op::Online(i, online) => self.commands.set_online(&format!("i-{i}"), *online),
            Op::KillAgent(i) => self.commands.kill_agent(&format!("i-{i}")),
            Op::Gone(i) => {
                self.machines[*i].managed = false;
                self.commands.machine_gone(&format!("i-{i}"));
            }
            Op::Fault(i, fault) => self.commands.plan_fault(&format!("i-{i}"), *fault),
            Op::Verdict(late) => self.commands.settings.timeout_verdict_at_expiry = *late,
            Op::Pass(seconds) => return self.pass(*seconds),
        }
        self.check();
    }

    fn pass(&mut self, seconds: u64) {
        let mut left = seconds;
        loop {
            let step = left.min(self.grain);
            self.now += Duration::from_secs(step);
            self.check();
            left -= step;
            if left == 0 {
                return;
            }
        }
    }

    fn check(&mut self) {
        self.commands.advance(self.now);
        let runs = self.commands.take_runs();
        self.running.extend(runs.begin);
        self.running.retain(|key| !runs.kill.contains(key));
        let next = self.commands.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "everything due has happened: {next:?}");
        for notice in self.commands.take_notices() {
            self.told.insert((notice.seq, notice.instance.clone()), notice.status);
            self.seen.push(notice);
        }
        for command in self.commands.commands() {
            let seq = command.seq;
            let open = command.count(|s| !s.is_terminal());
            assert!(open == 0 || command.expires > self.now, "{seq} ended by ExpiresAfter");
            let sent = command
                .invocations
                .iter()
                .filter(|v| v.sent_at.is_some() && !v.state.is_terminal());
            assert!(sent.count() <= self.most[&seq], "{seq} keeps to MaxConcurrency");
            let over = !matches!(
                command.state,
                CommandState::Pending | CommandState::InProgress | CommandState::Cancelling
            );
            assert_eq!(over, open == 0, "{seq} is over with its last invocation");
            if let Some(status) = self.told.get(&(seq, None)) {
                assert_eq!(*status, command.state.status(), "{seq}: the last event is the state");
            } else {
                assert_eq!(command.state, CommandState::Pending);
            }
            for (index, v) in command.invocations.iter().enumerate() {
                let told = self.told.get(&(seq, Some(v.instance.clone())));
                assert_eq!(*told.unwrap_or(&"Pending"), v.state.status());
                let before = self.ended.get(&(seq, index));
                assert!(before.is_none_or(|state| *state == v.state), "terminal is terminal");
                if v.state.is_terminal() {
                    self.ended.insert((seq, index), v.state);
                    assert!(v.ended_at.is_some_and(|at| at <= self.now));
                }
                let never_ran =
                    matches!(v.state, InvocationState::Undeliverable | InvocationState::Terminated);
                assert!(!never_ran || v.deliveries == 0, "{:?} never ran", v.state);
                assert!(v.deliveries <= 2);
            }
        }
    }
}

proptest! {
    #[test]
    fn commands_keep_their_rules(
        ops in proptest::collection::vec(op(), 1..60),
        grain in 1..60_u64,
    ) {
        let mut run = Run::new(grain);
        for op in &ops {
            run.apply(op);
        }
        run.pass(200);
        let open = run.commands.commands().iter().map(|c| c.count(|s| !s.is_terminal()));
        prop_assert_eq!(open.sum::<usize>(), 0, "every command ends");
    }

    #[test]
    fn the_step_of_the_clock_changes_nothing(ops in proptest::collection::vec(op(), 1..40)) {
        let told = |grain| {
            let mut run = Run::new(grain);
            for op in &ops {
                run.apply(op);
            }
            run.seen
        };
        prop_assert_eq!(told(1), told(60));
    }
}
