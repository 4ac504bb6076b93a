//! Single rules, each by its name.

use crate::world::{Luck, World, tag};
use fleet_core::rollout::{
    ActionReport, ActionResult, Answer, Call, Command, Evidence, HostState, Inputs, Invocation,
    Key, Kind, Known, Limits, Members, Output, Part, Reason, Record, RolloutOrder, Seen,
    SendResult, Start, Started, State, Step, Strategy, Targets, View, decide, start,
};
use fleet_core::run_command::{CommandStatus, InvocationStatus as Status};
use fleet_protocol::action::Action;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;

fn id(n: usize) -> InstanceId {
    InstanceId::new(format!("i-{n:08}"))
}

fn report(n: usize, result: ActionResult, runs: &str) -> ActionReport {
    let known = ActionReport::new(id(n), Action::Deploy, result);
    ActionReport { image_tag: Some(runs.to_owned()), ..known }
}

fn invocation(n: usize, status: Status, output: Output) -> Invocation {
    Invocation { instance: id(n), status, detail: format!("{status:?}"), exit: Some(0), output }
}

fn said(n: usize, result: ActionResult, runs: &str) -> Invocation {
    let good =
        !matches!(result, ActionResult::RolledBack | ActionResult::Down | ActionResult::Failed);
    let status = if good { Status::Success } else { Status::Failed };
    invocation(n, status, Output::Report(report(n, result, runs)))
}

fn evidence(invocations: Vec<Invocation>) -> Evidence {
    let key = Key::of_hash("abcdef012345");
    let part = Part::Root { key, by: None, why: None };
    Evidence {
        command: Command {
            id: CommandId::new("c"),
            requested: UnixMs(0),
            order: RolloutOrder { kind: Kind::Deploy, strategy: Strategy::Canary, part },
            image_tag: Some(tag("v2")),
            force: false,
            host_order: None,
            status: CommandStatus::Ended,
            targets: invocations.iter().map(|invocation| invocation.instance.clone()).collect(),
        },
        invocations,
    }
}

/// The view of one command on hosts of which all are in service but those with another state given.
fn view(evidence: &Evidence, expected: &[InstanceId], others: &[(usize, &str)]) -> View {
    let mut members: Members =
        evidence.command.targets.iter().map(|id| (id.clone(), "InService".into())).collect();
    for (n, state) in others {
        match *state {
            "" => drop(members.remove(&id(*n))),
            state => drop(members.insert(id(*n), state.into())),
        }
    }
    View::of(&Known {
        kind: Kind::Deploy,
        key: Some(&Key::of_hash("abcdef012345")),
        image_tag: Some(&tag("v2")),
        before: Some(&tag("v1")),
        expected,
        commands: &[(Step::Apply, evidence)],
        members: Some(&members),
        over: false,
    })
}

fn state(view: &View, n: usize) -> HostState {
    view.hosts.iter().find(|host| host.instance_id == id(n)).expect("a host").state
}

#[test]
fn every_word_of_a_host_has_its_state() {
    let all = [
        (ActionResult::Deployed, "v2", HostState::Succeeded),
        (ActionResult::AlreadyCurrent, "v2", HostState::AlreadyCurrent),
        (ActionResult::RolledBack, "v1", HostState::RolledBack),
        (ActionResult::Down, "", HostState::FailedDown),
        (ActionResult::Failed, "v1", HostState::Refused),
        (ActionResult::Busy, "v1", HostState::Busy),
        (ActionResult::Refused, "v1", HostState::Refused),
        (ActionResult::Leaving, "v1", HostState::Terminated),
        (ActionResult::Unknown, "v1", HostState::Unreachable),
        // Lies.
        (ActionResult::Deployed, "v1", HostState::Refused),
        (ActionResult::AlreadyCurrent, "v1", HostState::Refused),
    ];
    let evidence = evidence(
        all.iter().enumerate().map(|(n, (result, runs, _))| said(n, *result, runs)).collect(),
    );
    let view = view(&evidence, &[], &[]);
    for (n, (result, runs, expected)) in all.iter().enumerate() {
        assert_eq!(state(&view, n), *expected, "{result:?} {runs}");
    }
    assert_eq!(view.verdict(false), State::Partial);
}

#[test]
fn a_success_without_proof_is_none() {
    let mut other_host = report(9, ActionResult::Deployed, "v2");
    other_host.v = 1;
    let mut other_form = report(3, ActionResult::Deployed, "v2");
    other_form.v = 2;
    let mut other_action = report(4, ActionResult::Done, "v2");
    other_action.action = Action::Cleanup;
    let broken =
        invocation(5, Status::Failed, Output::Report(report(5, ActionResult::Deployed, "v2")));
    let evidence = evidence(vec![
        invocation(0, Status::Success, Output::None),
        invocation(1, Status::Success, Output::Unreadable("it printed hello".to_owned())),
        invocation(2, Status::Success, Output::Report(other_host)),
        invocation(3, Status::Success, Output::Report(other_form)),
        invocation(4, Status::Success, Output::Report(other_action)),
        broken,
    ]);
    let view = view(&evidence, &[], &[]);
    assert!(
        view.hosts.iter().all(|host| host.state == HostState::Refused && host.message.is_some()),
        "{view:?}"
    );
    assert_eq!(view.verdict(false), State::Failed);
}

#[test]
fn ssms_own_words_have_their_states() {
    let evidence = evidence(vec![
        invocation(0, Status::Pending, Output::None),
        invocation(1, Status::Running, Output::None),
        invocation(2, Status::Unreached, Output::None),
        invocation(3, Status::TimedOut, Output::None),
        invocation(4, Status::Cancelled, Output::None),
        invocation(5, Status::NotStarted, Output::None),
    ]);
    // 6 was in service and SSM never heard of it, 7 came meanwhile, and of those that were asked
    // some left.
    let view = view(
        &evidence,
        &[id(6)],
        &[(6, "InService"), (7, "InService"), (8, "Pending"), (5, "Terminating:Wait"), (2, "")],
    );
    let expected = [
        HostState::Pending,
        HostState::InProgress,
        HostState::Terminated,
        HostState::TimedOut,
        HostState::Cancelled,
        HostState::Terminated,
        HostState::Unreachable,
        HostState::Pending,
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        assert_eq!(state(&view, n), expected, "host {n}");
    }
    assert_eq!(view.hosts.len(), 8, "one that boots is nobody yet");
    assert_eq!(view.verdict(false), State::InProgress);
}

#[test]
fn a_host_in_standby_counts() {
    let evidence =
        evidence(vec![said(0, ActionResult::Deployed, "v2"), said(1, ActionResult::Busy, "v1")]);
    let view =
        view(&evidence, &[], &[(1, "Standby"), (2, "EnteringStandby"), (3, "Warmed:Stopped")]);
    assert_eq!((state(&view, 1), state(&view, 2)), (HostState::Busy, HostState::Pending));
    assert_eq!(view.hosts.len(), 3);
    assert_eq!(view.verdict(false), State::Partial);
}

#[test]
fn a_host_that_still_runs_the_order_of_an_ended_command_is_waited_for() {
    let evidence = evidence(vec![
        said(0, ActionResult::Deployed, "v2"),
        invocation(1, Status::Running, Output::None),
    ]);
    assert_eq!(evidence.command.status, CommandStatus::Ended);
    assert_eq!(view(&evidence, &[], &[]).verdict(false), State::InProgress);
}

#[test]
fn what_a_host_left_behind_is_shown_with_it_whatever_became_of_the_version() {
    let note = "ghosthands-worker.leftover-0123456789ab cannot be removed".to_owned();
    let with = |n: usize, result, runs| {
        let report = ActionReport { notes: vec![note.clone()], ..report(n, result, runs) };
        invocation(n, Status::Success, Output::Report(report))
    };
    let evidence = evidence(vec![
        with(0, ActionResult::Deployed, "v2"),
        with(1, ActionResult::RolledBack, "v1"),
        said(2, ActionResult::AlreadyCurrent, "v2"),
    ]);
    let view = view(&evidence, &[], &[]);
    assert_eq!(state(&view, 0), HostState::Succeeded, "a note is no failure");
    assert_eq!(state(&view, 1), HostState::RolledBack);
    let notes: Vec<usize> = view.hosts.iter().map(|host| host.notes.len()).collect();
    assert_eq!((notes, &view.hosts[1].notes[0]), (vec![1, 1, 0], &note));
}

#[test]
fn a_tag_that_was_pushed_again_is_two_versions() {
    let with = |n: usize, digest: &str| {
        let report = ActionReport {
            digest: Some(digest.to_owned()),
            ..report(n, ActionResult::Deployed, "v2")
        };
        invocation(n, Status::Success, Output::Report(report))
    };
    let evidence = evidence(vec![with(0, "sha256:a"), with(1, "sha256:a"), with(2, "sha256:b")]);
    let view = view(&evidence, &[], &[]);
    assert_eq!(view.digests, ["sha256:a", "sha256:b"]);
    assert_eq!((state(&view, 0), state(&view, 2)), (HostState::Succeeded, HostState::Refused));
    assert_eq!(view.verdict(false), State::Partial);
}

/// Everything that a beginning does on a world where nothing goes wrong, until it is accepted.
pub(crate) fn begin(world: &mut World, wish: &Start) -> (Started, Vec<Call>) {
    let mut seen = Seen::default();
    let mut made = Vec::new();
    loop {
        match start(wish, world.now(), &seen) {
            Ok(calls) => {
                for call in calls {
                    made.push(call.clone());
                    seen.take(world.call(call));
                }
            }
            Err(started) => return (started, made),
        }
    }
}

pub(crate) fn wish(key: &str, version: &str) -> Start {
    Start {
        key: Key::of_hash(key),
        attempt: Key::of_hash("000000000001"),
        kind: Kind::Deploy,
        image_tag: Some(tag(version)),
        strategy: Strategy::Canary,
        force: false,
        by: None,
        why: None,
        build: Default::default(),
        hosts: None,
    }
}

#[test]
fn what_is_about_to_be_sent_is_written_down_before_it_is_sent() {
    let mut world = World::new(1, 3, Luck::default());
    let (started, calls) = begin(&mut world, &wish("aaaaaaaaaaaa", "v2"));
    assert!(matches!(started, Started::Accepted { .. }), "{started:?}");
    let names: Vec<&str> = calls
        .iter()
        .map(|call| match call {
            Call::CreateRecord { .. } => "reserve",
            Call::Send(_) => "send",
            Call::Write { .. } => "write",
            _ => "look",
        })
        .filter(|name| *name != "look")
        .collect();
    assert_eq!(names, ["reserve", "send", "write"]);
}

#[test]
fn more_than_fifty_hosts_are_ordered_by_their_group() {
    for (hosts, by_id) in [(50, true), (51, false)] {
        let mut world = World::new(1, hosts, Luck::default());
        let (_, calls) = begin(&mut world, &wish("aaaaaaaaaaaa", "v2"));
        let sent = calls
            .iter()
            .find_map(|call| if let Call::Send(sending) = call { Some(sending) } else { None });
        let sent = sent.expect("sent");
        assert_eq!(matches!(&sent.targets, Targets::Hosts(hosts) if hosts.len() == 50), by_id);
        assert_eq!(sent.targets == Targets::Group, !by_id);
    }
}

#[test]
fn one_rollout_at_a_time_and_one_for_each_key() {
    let mut world = World::new(1, 3, Luck::default());
    let (first, _) = begin(&mut world, &wish("aaaaaaaaaaaa", "v2"));
    let Started::Accepted { id, .. } = first else { panic!("{first:?}") };
    let (again, _) = begin(&mut world, &wish("aaaaaaaaaaaa", "v2"));
    assert!(matches!(&again, Started::Accepted { id: same, .. } if *same == id), "{again:?}");
    let (other, _) = begin(&mut world, &wish("bbbbbbbbbbbb", "v3"));
    assert_eq!(other, Started::Conflict { running: Some(id.clone()) });
    let (reused, _) = begin(&mut world, &wish("aaaaaaaaaaaa", "v3"));
    assert_eq!(reused, Started::KeyReused { id: Some(id) });
    assert_eq!(world.sends, 1);
}

#[test]
fn a_record_that_the_second_of_two_has_written_over_is_looked_for_until_it_is_back() {
    for key in ["aaaaaaaaaaaa", "bbbbbbbbbbbb"] {
        for (back_after_looks, begins) in [(1, true), (3, true), (100, false)] {
            let luck = Luck { restore_s: back_after_looks, ..Luck::default() };
            let mut world = World::new(1, 3, luck);
            let (ours, now) = (wish("aaaaaaaaaaaa", "v2"), world.now());
            let mut seen = Seen::default();
            let started = loop {
                let calls = match start(&ours, now, &seen) {
                    Ok(calls) => calls,
                    Err(started) => break started,
                };
                for call in calls {
                    if let Call::CreateRecord { record, version } = &call {
                        let mut second = (**record).clone();
                        second.key = Key::of_hash(key);
                        second.attempt = Some(Key::of_hash("000000000002"));
                        let version = *version;
                        seen.take(world.call(call));
                        world.call(Call::CreateRecord { record: Box::new(second), version });
                    } else {
                        seen.take(world.call(call));
                        world.step(1);
                    }
                }
            };
            match started {
                Started::Accepted { .. } => assert!(begins, "{key} {back_after_looks}"),
                Started::Unsure { .. } => assert!(!begins, "{key} {back_after_looks}"),
                other => panic!("{key} {back_after_looks}: {other:?}"),
            }
            assert_eq!(world.sends, u32::from(begins));
        }
    }
}

#[test]
fn an_order_that_ssm_refused_leaves_nothing_behind() {
    let mut world = World::new(1, 3, Luck::default());
    let wish = wish("aaaaaaaaaaaa", "v2");
    let mut seen = Seen::default();
    let started = loop {
        match start(&wish, world.now(), &seen) {
            Ok(calls) => {
                for call in calls {
                    let answer = match call {
                        Call::Send(_) => {
                            Answer::Sent(SendResult::Refused { detail: "throttled".to_owned() })
                        }
                        call => world.call(call),
                    };
                    seen.take(answer);
                }
            }
            Err(started) => break started,
        }
    };
    assert_eq!(started, Started::Unavailable { detail: "throttled".to_owned() });
    assert_eq!(world.record(), None);
}

#[test]
fn while_nothing_rolls_a_pass_is_one_call() {
    let mut world = World::new(1, 3, Luck::default());
    let mut inputs = Inputs::new(true, Limits::default(), world.now(), None);
    let first = decide(&inputs);
    assert_eq!(first.calls, [Call::ReadStored]);
    inputs.seen.take(world.call(Call::ReadStored));
    let second = decide(&inputs);
    assert_eq!((second.calls, second.because), (vec![], Reason::Idle));
}

#[test]
fn a_record_is_rebuilt_from_its_first_command() {
    let root = evidence(vec![said(0, ActionResult::Deployed, "v2")]).command;
    let record = Record::rebuild(&root, None, 7, UnixMs(5)).expect("a rollout");
    assert_eq!((record.id(), record.image_tag.as_str()), (Some(&root.id), "v2"));
    assert_eq!(record.expected, root.targets);
    let part = Part::Later { step: Step::Undo, round: 1, of: root.id.clone() };
    let later = Command { order: RolloutOrder { part, ..root.order.clone() }, ..root.clone() };
    assert_eq!(Record::rebuild(&later, None, 7, UnixMs(5)), None);
    let cleanup =
        Command { order: RolloutOrder { kind: Kind::Cleanup, ..root.order.clone() }, ..root };
    assert_eq!(Record::rebuild(&cleanup, None, 7, UnixMs(5)), None);
}

proptest! {
    /// Two requests with one key, in the same millisecond, whoever gets how far before the other
    /// goes on; a third may have died between its reservation and its order.
    #[test]
    fn two_requests_are_one_order_however_they_meet(
        died in any::<bool>(),
        same in any::<bool>(),
        restore_s in 0i64..4,
        turns in prop::collection::vec(0usize..3, 60),
    ) {
        let mut world = World::new(1, 3, Luck { restore_s, ..Luck::default() });
        if died {
            let mut seen = Seen::default();
            while world.record().is_none() {
                let calls = start(&wish("aaaaaaaaaaaa", "v2"), world.now(), &seen).expect("it goes on");
                calls.into_iter().for_each(|call| seen.take(world.call(call)));
            }
            world.step(31);
        }
        let now = world.now();
        let second = if same { "aaaaaaaaaaaa" } else { "bbbbbbbbbbbb" };
        let asked = [("000000000002", "aaaaaaaaaaaa"), ("000000000003", second)];
        let mut requests = asked.map(|(attempt, key)| {
            let wish = Start { attempt: Key::of_hash(attempt), ..wish(key, "v2") };
            (wish, Seen::default(), Vec::new(), None)
        });
        // The third is the time that passes until what was overwritten is put back.
        for turn in turns.into_iter().chain([0, 1, 2].repeat(40)) {
            let Some((wish, seen, calls, end)) = requests.get_mut(turn) else {
                world.step(1);
                continue;
            };
            if calls.is_empty() && end.is_none() {
                match start(wish, now, seen) {
                    Ok(next) => *calls = next,
                    Err(started) => *end = Some(started),
                }
            } else if end.is_none() {
                seen.take(world.call(calls.remove(0)));
            }
        }
        prop_assert!(world.sends <= 1, "{} were sent", world.sends);
        for (wish, _, _, end) in &requests {
            if matches!(end, Some(Started::Accepted { .. })) {
                let standing = world.record().map(|record| &record.key);
                prop_assert_eq!(standing, Some(&wish.key), "{:?}", end);
            }
        }
        let ends = requests.map(|(.., end)| end.expect("it ends"));
        let mut ids: Vec<_> = ends.iter().filter_map(|end| match end {
            Started::Accepted { id, .. } => Some(id.clone()),
            _ => None,
        }).collect();
        prop_assert_eq!(!ids.is_empty(), world.sends == 1, "{:?}", ends);
        ids.dedup();
        prop_assert!(ids.len() <= 1, "{:?}", ends);
        for end in ends {
            let refused = !same && matches!(end, Started::Conflict { .. });
            let known = matches!(end, Started::Accepted { .. } | Started::Unsure { .. });
            prop_assert!(refused || known, "{:?}", end);
        }
    }

    /// Whatever SSM and hosts say: a whole success means that every host in service said it itself.
    #[test]
    fn success_means_that_every_host_in_service_said_so(
        words in prop::collection::vec(
            (0usize..8, 0usize..10, any::<bool>(), any::<bool>(), any::<bool>()),
            1..12,
        )
    ) {
        let statuses = [
            Status::Pending, Status::Running, Status::Success, Status::Failed, Status::Unreached,
            Status::TimedOut, Status::Cancelled, Status::NotStarted,
        ];
        let outcomes = [
            ActionResult::Deployed, ActionResult::AlreadyCurrent, ActionResult::RolledBack,
            ActionResult::Down, ActionResult::Failed, ActionResult::Busy, ActionResult::Refused,
            ActionResult::Leaving, ActionResult::Done,
            ActionResult::Unknown,
        ];
        type Words = (usize, usize, bool, bool, bool);
        let answer = |(n, (status, outcome, right, speaks, _)): (usize, &Words)| {
            let runs = if *right { "v2" } else { "v1" };
            let report = || Output::Report(report(n, outcomes[*outcome], runs));
            invocation(n, statuses[*status], if *speaks { report() } else { Output::None })
        };
        let invocations: Vec<Invocation> = words.iter().enumerate().map(answer).collect();
        let left: Vec<(usize, &str)> =
            words.iter().enumerate().filter(|(_, word)| word.4).map(|(n, _)| (n, "")).collect();
        let evidence = evidence(invocations);
        let view = view(&evidence, &[], &left);
        if view.verdict(false) == State::Succeeded {
            for (n, (status, outcome, right, speaks, left)) in words.iter().enumerate() {
                let says = matches!(
                    outcomes[*outcome],
                    ActionResult::Deployed | ActionResult::AlreadyCurrent | ActionResult::Done
                );
                let proved = *speaks && *right && statuses[*status] == Status::Success && says;
                prop_assert!(
                    proved || *left || outcomes[*outcome] == ActionResult::Leaving,
                    "host {n} of {words:?}"
                );
            }
        }
        for host in &view.hosts {
            let good = matches!(host.state, HostState::Succeeded | HostState::AlreadyCurrent);
            prop_assert!(!good || host.version_after.as_deref() == Some("v2"), "{host:?}");
        }
    }

    /// Nothing that is kept outgrows its parameter, and it comes back as it was.
    #[test]
    fn an_order_survives_its_comment(key in "[0-9a-f]{12}", why in "[ -~]{0,120}", n in 0usize..5, m in 0usize..4) {
        let why = Some(why.trim().to_owned()).filter(|why| !why.is_empty());
        let by = Some("1a2b3c4d".to_owned());
        let part = Part::Root { key: Key::of_hash(&key), by, why: why.clone() };
        let order = RolloutOrder { kind: Kind::ALL[n], strategy: Strategy::ALL[m], part };
        let comment = order.comment();
        prop_assert!(comment.chars().count() <= 100);
        let read = RolloutOrder::read(&comment).expect("ours");
        let known = (read.kind, read.strategy, read.key());
        prop_assert_eq!(known, (order.kind, order.strategy, order.key()));
    }
}
