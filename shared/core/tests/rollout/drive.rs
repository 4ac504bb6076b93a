//! Single passes over a world in which nothing goes wrong but what a test does to it.

use crate::rules::{begin, wish};
use crate::world::{Luck, World, tag};
use fleet_core::rollout::{
    ActionResult, Call, Ended, Inputs, Key, Limits, Reason, Started, State, decide,
};
use fleet_protocol::ids::{CommandId, InstanceId};

pub(crate) fn first(world: &World) -> InstanceId {
    world.hosts.keys().next().expect("a host").clone()
}

fn agent_comes(world: &mut World, host: &InstanceId, at_s: i64) {
    world.hosts.get_mut(host).expect("a host").agent_from = at_s;
}

pub(crate) fn started(world: &mut World, key: &str, version: &str) -> CommandId {
    match begin(world, &wish(key, version)).0 {
        Started::Accepted { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

/// Goes on with a pass until it is about to make such a call, or to its end.
fn until(world: &mut World, inputs: &mut Inputs, stop: fn(&Call) -> bool) -> Result<Call, Reason> {
    loop {
        let decision = decide(inputs);
        if decision.calls.is_empty() {
            return Err(decision.because);
        }
        for call in decision.calls {
            if stop(&call) {
                return Ok(call);
            }
            inputs.seen.take(world.call(call));
        }
    }
}

fn pass(world: &mut World) -> Reason {
    let mut inputs = Inputs::new(true, Limits::default(), world.now(), None);
    until(world, &mut inputs, |_| false).expect_err("no call is held up")
}

/// Passes until the rollout is over, and what it came to.
pub(crate) fn ended(world: &mut World, id: &CommandId) -> Ended {
    for _ in 0..1000 {
        pass(world);
        if world.record().is_none() {
            return world.stable().ended(id).expect("it is remembered").clone();
        }
        world.step(5);
    }
    panic!("it comes to no end: {:?}", world.record())
}

/// The first pass that is about to make such a call.
fn held(world: &mut World, stop: fn(&Call) -> bool) -> (Inputs, Call) {
    for _ in 0..1000 {
        let mut inputs = Inputs::new(true, Limits::default(), world.now(), None);
        if let Ok(call) = until(world, &mut inputs, stop) {
            return (inputs, call);
        }
        world.step(5);
    }
    panic!("no such call")
}

#[test]
fn a_key_that_is_over_stands_for_its_own_request_only() {
    let mut world = World::new(1, 3, Luck::default());
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    assert_eq!(ended(&mut world, &id).state, State::Succeeded);
    let sends = world.sends;
    for later_s in [0, 7200] {
        world.step(later_s);
        let again = begin(&mut world, &wish("aaaaaaaaaaaa", "v2")).0;
        let Started::Accepted { id: same, image_tag, .. } = again else { panic!("{again:?}") };
        assert_eq!((same, image_tag), (id.clone(), Some(tag("v2"))));
        let other = begin(&mut world, &wish("aaaaaaaaaaaa", "v3")).0;
        assert_eq!(other, Started::KeyReused { id: Some(id.clone()) });
    }
    // What SSM has forgotten is answered without a version rather than with a wrong one.
    world.forget_commands();
    let forgotten = begin(&mut world, &wish("aaaaaaaaaaaa", "v3")).0;
    assert_eq!(forgotten, Started::Accepted { id, hosts: vec![], image_tag: None });
    assert_eq!(world.sends, sends);
}

#[test]
fn a_pass_that_tells_valet_writes_nothing_that_it_read_before() {
    let mut world = World::new(1, 3, Luck::default());
    started(&mut world, "aaaaaaaaaaaa", "v2");
    let (mut slow, call) = held(&mut world, |call| matches!(call, Call::SendWebhook { .. }));
    let newer = started(&mut world, "bbbbbbbbbbbb", "v3");
    // The next version is proven, and not yet told, when VALET answers.
    held(
        &mut world,
        |call| matches!(call, Call::SendWebhook { stable } if stable.pointer.image_tag == tag("v3")),
    );
    let stored = world.stable().clone();
    slow.seen.take(world.call(call));
    let because = until(&mut world, &mut slow, |_| false).expect_err("no call is held up");
    assert_eq!((because, world.stable()), (Reason::WebhookTaken, &stored));
    assert!(stored.webhook_pending && stored.pointer.deployment_id.as_ref() == Some(&newer));
    pass(&mut world);
    assert!(!world.stable().webhook_pending && world.stable().pointer.image_tag == tag("v3"));
}

#[test]
fn a_host_in_service_may_be_ahead_of_its_agent() {
    for (agent_s, state) in [(300, State::Succeeded), (900, State::Partial)] {
        let mut world = World::new(1, 3, Luck::default());
        let late = first(&world);
        let comes_s = world.now_s + agent_s;
        agent_comes(&mut world, &late, comes_s);
        let id = started(&mut world, "aaaaaaaaaaaa", "v2");
        let ended = ended(&mut world, &id);
        assert_eq!(ended.state, state, "after {agent_s} s");
        assert_eq!(ended.unreached.contains(&late), state == State::Partial);
    }
}

#[test]
fn one_of_many_hosts_that_no_order_reached_is_named() {
    let mut world = World::new(1, 60, Luck::default());
    let dead = first(&world);
    agent_comes(&mut world, &dead, i64::MAX);
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    let ended = ended(&mut world, &id);
    assert_eq!((ended.state, ended.unreached), (State::Partial, vec![dead]));
}

#[test]
fn an_instance_that_booted_while_the_pointer_moved_is_brought_along_after_a_long_command() {
    let mut world = World::new(1, 1, Luck::default());
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    world.step(900);
    let born = world.bear();
    assert_eq!(ended(&mut world, &id).state, State::Succeeded);
    assert_eq!(world.hosts[&born].runs, tag("v2"));
}

#[test]
fn a_pass_that_writes_what_it_read_before_takes_no_cancellation_back() {
    let mut world = World::new(1, 3, Luck::default());
    let late = first(&world);
    agent_comes(&mut world, &late, i64::MAX);
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    let (mut slow, call) = held(&mut world, |call| matches!(call, Call::Write { .. }));
    world.call(Call::RequestCancel { id: id.clone() });
    slow.seen.take(world.call(call));
    assert!(until(&mut world, &mut slow, |_| false).is_err());
    assert_eq!(ended(&mut world, &id).state, State::Cancelled);
    // It was for that rollout and for no other.
    agent_comes(&mut world, &late, 0);
    let next = started(&mut world, "bbbbbbbbbbbb", "v2");
    assert_eq!(ended(&mut world, &next).state, State::Succeeded);
    assert_eq!(Key::of_hash("bbbbbbbbbbbb"), world.stable().ended[0].key);
}

#[test]
fn waiting_before_the_pointer_moves_takes_nothing_from_waiting_after_it() {
    let mut world = World::new(1, 3, Luck::default());
    let late = first(&world);
    let comes_s = world.now_s + 550;
    agent_comes(&mut world, &late, comes_s);
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    for _ in 0..109 {
        pass(&mut world);
        world.step(5);
    }
    let born = world.bear();
    let comes_s = world.now_s + 250;
    agent_comes(&mut world, &born, comes_s);
    assert_eq!(ended(&mut world, &id).state, State::Succeeded);
    assert_eq!(world.hosts[&born].runs, tag("v2"));
}

/// Passes until the pointer names another version or the rollout is over.
fn moved(world: &mut World) {
    for _ in 0..1000 {
        pass(world);
        if world.record().is_none() || world.stable().pointer.image_tag == tag("v2") {
            return;
        }
        world.step(5);
    }
    panic!("the pointer stays: {:?}", world.record())
}

#[test]
fn the_same_version_again_does_not_forget_the_one_before_it() {
    let mut world = World::new(1, 3, Luck::default());
    for key in ["aaaaaaaaaaaa", "bbbbbbbbbbbb"] {
        let id = started(&mut world, key, "v2");
        assert_eq!(ended(&mut world, &id).state, State::Succeeded);
        assert_eq!(world.stable().pointer.before, Some(tag("v1")));
    }
}

#[test]
fn nothing_is_ordered_before_the_first_host_has_proven_it() {
    let mut world = World::new(1, 10, Luck { job_s: 1800, ..Luck::default() });
    started(&mut world, "aaaaaaaaaaaa", "v2");
    for _ in 0..1000 {
        pass(&mut world);
        let proven = world.hosts.values().filter(|host| host.runs == tag("v2")).count();
        let holds = world.hosts.values().filter(|host| host.order.is_some()).count();
        assert!(holds <= 1 || proven >= 1, "{holds} orders, {proven} proofs");
        // Half of the fleet at a time.
        assert!(world.hosts.values().filter(|host| host.is_closed()).count() <= 5);
        world.step(5);
    }
    assert!(world.hosts.values().all(|host| host.runs == tag("v2")));
}

#[test]
fn an_idle_host_is_the_first_one() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10, Luck { job_s: 3600, ..Luck::default() });
        let idle = world.hosts.keys().nth(7).expect("ten hosts").clone();
        let host = world.hosts.get_mut(&idle).expect("it is there");
        (host.job_s, host.job_until) = (0, None);
        started(&mut world, "aaaaaaaaaaaa", "v2");
        while world.hosts.values().all(|host| host.order.is_none()) {
            pass(&mut world);
            world.step(5);
        }
        assert!(world.hosts[&idle].order.is_some(), "seed {seed}");
    }
}

#[test]
fn new_instances_boot_to_the_version_once_three_hosts_have_proven_it() {
    let mut world = World::new(1, 10, Luck { job_s: 600, ..Luck::default() });
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    moved(&mut world);
    let proven = world.hosts.values().filter(|host| host.runs == tag("v2")).count();
    assert!((3..10).contains(&proven), "{proven}");
    assert_eq!(world.stable().pointer.deployment_id, Some(id.clone()));
    assert_eq!(world.stable().ended(&id), None, "it goes on");
    assert!(!world.stable().webhook_pending, "VALET hears of the proof and of nothing earlier");
    let born = world.bear();
    assert_eq!(world.hosts[&born].runs, tag("v2"));
    assert_eq!(ended(&mut world, &id).state, State::Succeeded);
    assert!(world.stable().webhook_pending || world.webhooks == 1);
}

#[test]
fn a_host_that_fails_after_the_pointer_moved_takes_hosts_and_pointer_back() {
    let mut world = World::new(1, 10, Luck { job_s: 600, ..Luck::default() });
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    moved(&mut world);
    for host in world.hosts.values_mut().filter(|host| host.runs == tag("v1")) {
        host.rejects = Some((tag("v2"), ActionResult::RolledBack));
    }
    assert_eq!(ended(&mut world, &id).state, State::RolledBack);
    assert!(world.hosts.values().all(|host| host.runs == tag("v1")));
    let stable = world.stable();
    let first = Some(CommandId::new("first"));
    assert_eq!((&stable.pointer.image_tag, &stable.pointer.deployment_id), (&tag("v1"), &first));
}

#[test]
fn a_cancelled_rollout_takes_waiting_orders_back_and_opens_their_intakes() {
    let mut world = World::new(1, 10, Luck { job_s: 3600, ..Luck::default() });
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    while !world.hosts.values().any(|host| host.is_closed() && host.job_until.is_some()) {
        pass(&mut world);
        world.step(5);
    }
    world.call(Call::RequestCancel { id: id.clone() });
    let asked = world.now_s;
    assert_eq!(ended(&mut world, &id).state, State::Cancelled);
    assert!(world.now_s - asked < 300, "no job is waited for");
    assert!(world.hosts.values().all(|host| !host.is_closed()));
    assert_eq!(world.stable().pointer.image_tag, tag("v1"));
}

#[test]
fn a_paused_rollout_sends_no_new_order_until_it_goes_on() {
    let mut world = World::new(1, 6, Luck::default());
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    while world.hosts.values().all(|host| host.order.is_none()) {
        pass(&mut world);
        world.step(5);
    }
    world.call(Call::RequestPause { id: id.clone() });
    for _ in 0..100 {
        pass(&mut world);
        world.step(20);
    }
    assert!(matches!(
        pass(&mut world),
        Reason::PausedByOperator { open: 0 } | Reason::Asked { .. }
    ));
    assert_eq!(world.hosts.values().filter(|host| host.order.is_some()).count(), 1);
    world.call(Call::RequestContinue { id: id.clone(), at: world.now() });
    assert_eq!(ended(&mut world, &id).state, State::Succeeded);
}

#[test]
fn a_job_that_reaches_the_limit_is_left_alone_and_its_host_is_named() {
    let mut world = World::new(1, 3, Luck::default());
    let stuck = world.hosts.keys().nth(1).expect("three hosts").clone();
    let until = world.now_s + 20 * 3600;
    world.hosts.get_mut(&stuck).expect("it is there").job_until = Some(until);
    let id = started(&mut world, "aaaaaaaaaaaa", "v2");
    for _ in 0..2000 {
        pass(&mut world);
        world.step(20);
    }
    let stable = world.stable();
    assert_eq!(stable.ended(&id).map(|ended| ended.state), Some(State::Partial));
    let host = &world.hosts[&stuck];
    assert_eq!((&host.runs, host.interrupted, host.is_closed()), (&tag("v1"), 0, false));
}

#[test]
fn only_a_forced_rollout_ends_a_job_that_had_the_limit() {
    let mut world = World::new(1, 1, Luck::default());
    let until = world.now_s + 20 * 3600;
    world.hosts.values_mut().for_each(|host| host.job_until = Some(until));
    let forced = fleet_core::rollout::Start { force: true, ..wish("aaaaaaaaaaaa", "v2") };
    let Started::Accepted { id, .. } = begin(&mut world, &forced).0 else { panic!("accepted") };
    for _ in 0..2000 {
        pass(&mut world);
        world.step(20);
    }
    assert_eq!(world.stable().ended(&id).map(|ended| ended.state), Some(State::Succeeded));
    let host = world.hosts.values().next().expect("one host");
    assert_eq!((&host.runs, host.interrupted), (&tag("v2"), 1));
}

#[test]
fn a_rollback_has_a_canary_too() {
    let mut world = World::new(1, 10, Luck::default());
    for host in world.hosts.values_mut() {
        host.rejects = Some((tag("v2"), ActionResult::RolledBack));
    }
    let wish = fleet_core::rollout::Start {
        kind: fleet_core::rollout::Kind::Rollback,
        ..wish("aaaaaaaaaaaa", "v2")
    };
    let Started::Accepted { id, .. } = begin(&mut world, &wish).0 else { panic!("accepted") };
    assert_eq!(ended(&mut world, &id).state, State::Failed);
    assert_eq!(world.hosts.values().filter(|host| host.touched).count(), 1);
}
