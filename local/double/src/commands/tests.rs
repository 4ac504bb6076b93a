//! Run Command one rule at a time, on a clock that only the test moves.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::model::{
    CommandOutput, CommandState,
    InvocationState::{self, *},
};
use super::{CommandFault, Machine, RunCommand, RunKey, SendRequest};

/// Seconds a step of the document may run.
const EXECUTION: u64 = 60;
/// Seconds of the delivery window.
const DELIVERY: u64 = 30;

pub(super) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

pub(super) fn machine(number: usize) -> Machine {
    let tags = [("aws:autoscaling:groupName", "fleet"), ("Role", "worker")];
    let tags = tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Machine { id: format!("i-{number}"), managed: true, tags }
}

/// Run Command with the document `Host` and machines i-0, i-1, …
pub(super) struct Fixture {
    pub(super) commands: RunCommand,
    pub(super) machines: Vec<Machine>,
    /// Runs that began and have not been reported.
    running: Vec<RunKey>,
    killed: Vec<RunKey>,
}

impl Fixture {
    pub(super) fn new(machines: usize) -> Self {
        let mut commands = RunCommand::new("000000000000", 7, start());
        let content = json!({
            "schemaVersion": "2.2",
            "parameters": {
                "action": { "type": "String", "allowedValues": ["drain", "deploy"], "default": "drain" },
                "tag": { "type": "String", "allowedPattern": "^[a-z0-9.-]{1,20}$", "default": "none" },
            },
            "mainSteps": [{
                "action": "aws:runShellScript",
                "name": "host",
                "inputs": {
                    "timeoutSeconds": EXECUTION,
                    "runCommand": ["deploy-server {{ action }} {{ tag }}"],
                },
            }],
        });
        commands.create_document("Host", &content.to_string()).expect("a legal document");
        let machines = (0..machines).map(machine).collect();
        Self { commands, machines, running: Vec::new(), killed: Vec::new() }
    }

    fn request(&self) -> SendRequest {
        SendRequest {
            document: "Host".to_owned(),
            instance_ids: self.machines.iter().map(|m| m.id.clone()).collect(),
            timeout_seconds: Some(u32::try_from(DELIVERY).expect("small")),
            ..SendRequest::default()
        }
    }

    pub(super) fn send(&mut self, change: impl FnOnce(&mut SendRequest)) -> u64 {
        let mut request = self.request();
        change(&mut request);
        let seq = self.commands.send(request, &self.machines).expect("a legal request");
        self.collect();
        seq
    }

    pub(super) fn refused(&mut self, change: impl FnOnce(&mut SendRequest)) -> (String, String) {
        let mut request = self.request();
        change(&mut request);
        let error = self.commands.send(request, &self.machines).expect_err("refused");
        (error.code, error.message)
    }

    /// Takes what hosts have to begin, at the present instant.
    fn collect(&mut self) {
        self.commands.advance(self.commands.now);
        let runs = self.commands.take_runs();
        self.running.extend(runs.begin);
        self.running.retain(|key| !runs.kill.contains(key));
        self.killed.extend(runs.kill);
    }

    fn at(&mut self, seconds: u64) {
        self.commands.advance(start() + Duration::from_secs(seconds));
        self.collect();
    }

    /// Hosts that run something, by number.
    pub(super) fn busy(&self) -> Vec<usize> {
        self.running.iter().map(|key| key.instance[2..].parse().expect("a number")).collect()
    }

    /// The run of a host ends.
    fn end(&mut self, host: usize, exit_code: i32) {
        let id = format!("i-{host}");
        let at = self.running.iter().position(|key| key.instance == id).expect("it runs");
        let key = self.running.remove(at);
        self.commands.report(&key, CommandOutput::exit(exit_code).stdout("out"));
        self.collect();
    }

    fn end_all(&mut self, exit_code: i32) {
        for host in self.busy() {
            self.end(host, exit_code);
        }
    }

    fn cancel(&mut self, seq: u64, hosts: &[usize]) {
        let id = self.commands.command(seq).expect("it exists").id.clone();
        let hosts: Vec<String> = hosts.iter().map(|n| format!("i-{n}")).collect();
        self.commands.cancel(&id, &hosts).expect("legal");
        self.collect();
    }

    pub(super) fn states(&self, seq: u64) -> Vec<InvocationState> {
        let command = self.commands.command(seq).expect("it exists");
        command.invocations.iter().map(|v| v.state).collect()
    }

    pub(super) fn state(&self, seq: u64) -> CommandState {
        self.commands.command(seq).expect("it exists").state
    }
}

fn rate(concurrency: &str, errors: &str) -> impl FnOnce(&mut SendRequest) {
    let (concurrency, errors) = (concurrency.to_owned(), errors.to_owned());
    |request| {
        request.max_concurrency = Some(concurrency);
        request.max_errors = Some(errors);
    }
}

#[test]
fn one_host_first_then_waves_that_double_up_to_the_concurrency() {
    let mut f = Fixture::new(10);
    let seq = f.send(rate("50%", "0"));
    let mut waves = Vec::new();
    while !f.busy().is_empty() {
        waves.push(f.busy());
        f.end_all(0);
    }
    assert_eq!(waves, [vec![0], vec![1, 2], vec![3, 4, 5, 6], vec![7, 8, 9]]);
    assert_eq!(f.state(seq), CommandState::Success);
}

#[test]
fn at_full_concurrency_the_window_slides() {
    let mut f = Fixture::new(8);
    f.send(rate("2", "0"));
    f.end(0, 0);
    assert_eq!(f.busy(), [1, 2]);
    f.end(2, 0);
    assert_eq!(f.busy(), [1, 3], "the next comes as soon as one has ended");
}

#[test]
fn the_canary_limits_the_damage_of_a_bad_command_to_one_host() {
    let mut f = Fixture::new(4);
    let seq = f.send(rate("50%", "0"));
    f.end(0, 1);
    assert_eq!(f.states(seq), [Failed, Terminated, Terminated, Terminated]);
    assert_eq!(f.state(seq), CommandState::Failed);
    let details: Vec<_> = f.states(seq).iter().map(|s| (s.status(), s.details())).collect();
    assert_eq!(details[0], ("Failed", "Failed"));
    assert_eq!(details[1], ("Cancelled", "Terminated"));
}

#[test]
fn max_errors_n_stops_at_error_n_plus_1_and_those_in_flight_finish() {
    let mut f = Fixture::new(8);
    let seq = f.send(rate("4", "1"));
    f.end(0, 1);
    assert_eq!(f.busy(), [1, 2], "one error is allowed");
    f.end(1, 1);
    assert_eq!(f.busy(), [2], "nothing new is sent");
    assert_eq!(f.state(seq), CommandState::InProgress);
    f.end(2, 0);
    assert_eq!(
        f.states(seq),
        [Failed, Failed, Success, Terminated, Terminated, Terminated, Terminated, Terminated]
    );
    assert_eq!(f.state(seq), CommandState::Failed);
}

#[test]
fn errors_that_are_allowed_still_prevent_success() {
    let mut f = Fixture::new(2);
    let seq = f.send(rate("1", "1"));
    f.end(0, 1);
    f.end(1, 0);
    assert_eq!(f.state(seq), CommandState::Incomplete);
    assert_eq!((f.state(seq).status(), f.state(seq).details()), ("Failed", "Incomplete"));
}

#[test]
fn an_execution_timeout_kills_the_run_and_counts_as_an_error() {
    let mut f = Fixture::new(2);
    let seq = f.send(rate("1", "0"));
    f.at(EXECUTION - 1);
    assert_eq!(f.states(seq), [InProgress, Pending]);
    f.at(EXECUTION);
    assert_eq!(f.states(seq), [ExecutionTimedOut, Terminated]);
    assert_eq!(f.killed.len(), 1);
    assert_eq!(f.state(seq), CommandState::Failed);
}

#[test]
fn an_offline_agent_gets_the_command_when_it_is_back_in_time() {
    let mut f = Fixture::new(1);
    f.commands.set_online("i-0", false);
    let seq = f.send(|_| ());
    f.at(DELIVERY - 1);
    assert_eq!(f.states(seq), [Pending]);
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.states(seq), [InProgress]);
    f.end(0, 0);
    assert_eq!(f.state(seq), CommandState::Success);
}

#[test]
fn a_delivery_timeout_never_runs_and_counts_as_no_error() {
    let mut f = Fixture::new(2);
    f.commands.set_online("i-0", false);
    let seq = f.send(rate("1", "0"));
    f.at(DELIVERY);
    assert_eq!(f.states(seq), [DeliveryTimedOut, InProgress], "the next wave goes out");
    f.commands.set_online("i-0", true);
    f.end(1, 0);
    assert_eq!(f.busy(), [0; 0], "what came too late does not run");
    assert_eq!(f.state(seq), CommandState::Incomplete);
    let only = f.send(|request| request.instance_ids.truncate(1));
    f.commands.set_online("i-0", false);
    f.end(0, 0);
    assert_eq!(f.states(only), [InProgress], "the result waits for the connection");
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.state(only), CommandState::Success);
}

#[test]
fn a_command_nobody_picked_up_in_time_timed_out() {
    let mut f = Fixture::new(2);
    f.commands.set_online("i-0", false);
    f.commands.set_online("i-1", false);
    let seq = f.send(|_| ());
    f.at(2 * DELIVERY);
    assert_eq!(f.states(seq), [DeliveryTimedOut, DeliveryTimedOut]);
    let state = f.state(seq);
    assert_eq!((state.status(), state.details()), ("TimedOut", "DeliveryTimedOut"));
}

#[test]
fn the_verdict_of_a_delivery_timeout_may_come_only_when_the_command_expires() {
    let mut f = Fixture::new(1);
    f.commands.settings.timeout_verdict_at_expiry = true;
    f.commands.set_online("i-0", false);
    let seq = f.send(|_| ());
    f.at(DELIVERY + 1);
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.states(seq), [Pending], "too late to start, too early to tell");
    f.at(DELIVERY + EXECUTION);
    assert_eq!(f.states(seq), [DeliveryTimedOut]);
}

#[test]
fn undeliverable_counts_nowhere() {
    let mut f = Fixture::new(2);
    f.commands.plan_fault("i-0", CommandFault::Undeliverable);
    let seq = f.send(rate("1", "0"));
    f.at(DELIVERY);
    assert_eq!(f.states(seq), [Undeliverable, InProgress]);
    f.end(1, 0);
    assert_eq!(f.state(seq), CommandState::Success, "AWS calls that a success");
    f.commands.plan_fault("i-0", CommandFault::Undeliverable);
    let alone = f.send(|request| request.instance_ids.truncate(1));
    f.at(2 * DELIVERY);
    assert_eq!(f.state(alone), CommandState::Failed, "with nobody reached it is not");
}

#[test]
fn a_machine_that_ends_before_delivery_is_undeliverable_and_a_stranger_afterwards() {
    let mut f = Fixture::new(1);
    f.commands.set_online("i-0", false);
    let seq = f.send(|_| ());
    f.commands.machine_gone("i-0");
    f.at(DELIVERY);
    assert_eq!(f.states(seq), [Undeliverable]);
    f.machines[0].managed = false;
    let (code, message) = f.refused(|_| ());
    assert_eq!(code, "InvalidInstanceId");
    assert_eq!(message, "Instances [[i-0]] not in a valid state for account 000000000000");
}

#[test]
fn an_agent_that_dies_leaves_its_command_in_progress_until_it_expires() {
    let mut f = Fixture::new(1);
    let seq = f.send(|_| ());
    f.commands.kill_agent("i-0");
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.killed.len(), 1);
    f.at(EXECUTION + 1);
    assert_eq!(f.states(seq), [InProgress], "nobody is left to enforce the time limit");
    f.at(DELIVERY + EXECUTION - 1);
    assert_eq!(f.states(seq), [InProgress]);
    f.at(DELIVERY + EXECUTION);
    assert_eq!(f.states(seq), [DeliveryTimedOut]);
}

#[test]
fn an_agent_without_a_connection_still_keeps_the_time_limit() {
    let mut f = Fixture::new(1);
    let seq = f.send(|request| request.timeout_seconds = Some(3600));
    f.commands.set_online("i-0", false);
    f.at(EXECUTION);
    assert_eq!((f.killed.len(), f.states(seq)), (1, vec![InProgress]));
    f.at(EXECUTION + 100);
    assert_eq!(f.killed.len(), 1);
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.states(seq), [ExecutionTimedOut]);
}

#[test]
fn expires_after_is_delivery_window_plus_execution_limit_and_ends_hosts_whose_wave_never_came() {
    let mut f = Fixture::new(3);
    f.commands.plan_fault("i-0", CommandFault::LoseReport);
    let seq = f.send(rate("1", "0"));
    let expires = f.commands.command(seq).expect("it exists").expires;
    assert_eq!(expires, start() + Duration::from_secs(DELIVERY + EXECUTION));
    f.end(0, 0);
    f.commands.set_online("i-0", false);
    f.at(DELIVERY + EXECUTION);
    assert_eq!(f.states(seq), [DeliveryTimedOut, DeliveryTimedOut, DeliveryTimedOut]);
    assert_eq!(f.busy(), [0; 0]);
}

#[test]
fn cancel_kills_what_runs_and_spares_what_ended() {
    let mut f = Fixture::new(4);
    let seq = f.send(rate("2", "0"));
    f.end(0, 0);
    f.cancel(seq, &[]);
    assert_eq!(f.states(seq), [Success, Cancelled, Cancelled, Cancelled]);
    assert_eq!(f.killed.iter().map(|k| k.instance.as_str()).collect::<Vec<_>>(), ["i-1", "i-2"]);
    assert_eq!(f.state(seq), CommandState::Cancelled);
    f.cancel(seq, &[]);
    assert_eq!(f.state(seq), CommandState::Cancelled, "a second cancel changes nothing");
}

#[test]
fn cancel_of_one_host_lets_the_others_go_on() {
    let mut f = Fixture::new(3);
    let seq = f.send(rate("1", "0"));
    f.cancel(seq, &[1]);
    assert_eq!(f.states(seq), [InProgress, Cancelled, Pending]);
    f.end(0, 0);
    f.end(2, 0);
    assert_eq!(f.state(seq), CommandState::Incomplete);
    let id = f.commands.command(seq).expect("it exists").id.clone();
    let cancel = |f: &mut Fixture, id: &str, hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
        f.commands.cancel(id, &hosts).expect_err("refused").code
    };
    assert_eq!(cancel(&mut f, &id, &["i-9"]), "InvalidInstanceId");
    assert_eq!(cancel(&mut f, &id, &["i-1", "i-1"]), "DuplicateInstanceId");
    assert_eq!(cancel(&mut f, "no-such-command", &[]), "InvalidCommandId");
}

#[test]
fn cancel_is_best_effort_an_agent_that_is_away_runs_on() {
    let mut f = Fixture::new(1);
    let seq = f.send(|_| ());
    f.commands.set_online("i-0", false);
    f.cancel(seq, &[]);
    assert_eq!((f.states(seq), f.killed.len()), (vec![Cancelling], 0));
    f.end(0, 0);
    f.commands.set_online("i-0", true);
    f.collect();
    assert_eq!(f.states(seq), [Cancelled], "the end is told as a cancel, whatever it was");
    let hanging = f.send(|_| ());
    f.commands.set_online("i-0", false);
    f.cancel(hanging, &[]);
    f.at(DELIVERY + EXECUTION);
    assert_eq!(f.states(hanging), [Cancelled]);
}

#[test]
fn cancel_ends_a_run_that_would_have_taken_longer() {
    let mut f = Fixture::new(1);
    let seq = f.send(|_| ());
    let key = f.running.remove(0);
    f.commands.report(&key, CommandOutput::exit(0).took(Duration::from_secs(50)));
    f.at(10);
    f.cancel(seq, &[]);
    assert_eq!(f.states(seq), [Cancelled]);
}

#[test]
fn the_result_arrives_when_the_run_took_its_time() {
    let mut f = Fixture::new(1);
    let seq = f.send(|_| ());
    let key = f.running.remove(0);
    f.commands.report(&key, CommandOutput::exit(0).took(Duration::from_secs(50)));
    f.at(49);
    assert_eq!(f.states(seq), [InProgress]);
    f.at(50);
    assert_eq!(f.states(seq), [Success]);
    let late = f.send(|_| ());
    let key = f.running.remove(0);
    f.commands.report(&key, CommandOutput::exit(0).took(Duration::from_secs(EXECUTION + 1)));
    f.at(50 + EXECUTION);
    assert_eq!(f.states(late), [ExecutionTimedOut]);
}

#[test]
fn a_double_delivery_runs_twice_and_the_first_result_counts() {
    let mut f = Fixture::new(1);
    f.commands.plan_fault("*", CommandFault::DeliverTwice);
    let seq = f.send(|_| ());
    assert_eq!(f.running.iter().map(|k| k.delivery).collect::<Vec<_>>(), [1, 2]);
    f.end(0, 0);
    f.end(0, 1);
    assert_eq!(f.states(seq), [Success]);
    let v = &f.commands.command(seq).expect("it exists").invocations[0];
    assert_eq!((v.deliveries, v.output.as_ref().map(|o| o.exit_code)), (2, Some(0)));
}

#[test]
fn lost_output_is_a_success_without_proof() {
    let mut f = Fixture::new(1);
    f.commands.plan_fault("i-0", CommandFault::LoseOutput);
    let seq = f.send(|_| ());
    f.end(0, 0);
    assert_eq!(f.states(seq), [Success]);
    let output = f.commands.command(seq).expect("it exists").invocations[0].output.clone();
    assert_eq!(output, Some(CommandOutput::exit(0)));
}

#[test]
fn a_delayed_command_is_picked_up_later_or_not_at_all() {
    let mut f = Fixture::new(2);
    f.commands.plan_fault("i-0", CommandFault::Delay { seconds: 20 });
    f.commands.plan_fault("i-1", CommandFault::Delay { seconds: 30 });
    let seq = f.send(rate("1", "0"));
    assert_eq!(f.states(seq), [Delayed, Pending]);
    f.at(20);
    assert_eq!(f.states(seq), [InProgress, Pending]);
    f.end(0, 0);
    f.at(20 + DELIVERY);
    assert_eq!(f.states(seq), [Success, DeliveryTimedOut]);
    assert_eq!(f.commands.command(seq).expect("it exists").invocations[1].deliveries, 0);
}

#[test]
fn a_new_command_is_in_no_listing_for_a_while() {
    let mut f = Fixture::new(1);
    f.commands.settings.listed_after = Duration::from_secs(3);
    f.send(|_| ());
    let listed =
        |f: &Fixture| (f.commands.listed(None).count(), f.commands.listed(Some("i-0")).count());
    f.at(2);
    assert_eq!(listed(&f), (0, 0));
    f.at(3);
    assert_eq!(listed(&f), (1, 1));
    assert_eq!(f.commands.listed(Some("i-1")).count(), 0);
}

#[test]
fn pick_up_takes_the_time_it_is_set_to() {
    let mut f = Fixture::new(1);
    f.commands.settings.delivery = Duration::from_secs(5);
    let seq = f.send(|_| ());
    f.at(4);
    assert_eq!(f.states(seq), [Pending]);
    f.at(5);
    assert_eq!(f.states(seq), [InProgress]);
}

#[test]
fn events_tell_each_change_of_status_in_order() {
    let mut f = Fixture::new(2);
    f.send(rate("1", "0"));
    f.end(0, 0);
    f.end(1, 1);
    let told: Vec<String> = f
        .commands
        .take_notices()
        .iter()
        .map(|n| format!("{} {}", n.instance.as_deref().unwrap_or("command"), n.status))
        .collect();
    assert_eq!(
        told,
        [
            "i-0 InProgress",
            "command InProgress",
            "i-0 Success",
            "i-1 InProgress",
            "i-1 Failed",
            "command Failed",
        ]
    );
}
