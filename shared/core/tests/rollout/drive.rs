//! Single passes over a world in which nothing goes wrong but what a test does to it.

use crate::rules::{begin, wish};
use crate::world::{Luck, World, tag};
use fleet_core::rollout::{Call, Ended, Inputs, Key, Reason, Started, State, decide};
use fleet_protocol::ids::{CommandId, InstanceId};

fn first(world: &World) -> InstanceId {
    world.hosts.keys().next().expect("a host").clone()
}

fn agent_comes(world: &mut World, host: &InstanceId, at_s: i64) {
    world.hosts.get_mut(host).expect("a host").agent_from = at_s;
}

fn started(world: &mut World, key: &str, version: &str) -> CommandId {
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
    let mut inputs = Inputs::new(true, world.now(), None);
    until(world, &mut inputs, |_| false).expect_err("no call is held up")
}

/// Passes until the rollout is over, and what it came to.
fn ended(world: &mut World, id: &CommandId) -> Ended {
    for _ in 0..1000 {
        pass(world);
        if world.record.is_none() {
            let stable = world.stable.as_ref().expect("a pointer");
            return stable.ended(id).expect("it is remembered").clone();
        }
        world.step(5);
    }
    panic!("it comes to no end: {:?}", world.record)
}

/// The first pass that is about to make such a call.
fn held(world: &mut World, stop: fn(&Call) -> bool) -> (Inputs, Call) {
    for _ in 0..1000 {
        let mut inputs = Inputs::new(true, world.now(), None);
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
    assert_eq!(world.sends, 1);
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
    let stored = world.stable.clone();
    slow.seen.take(world.call(call));
    let because = until(&mut world, &mut slow, |_| false).expect_err("no call is held up");
    assert_eq!((because, &world.stable), (Reason::WebhookTaken, &stored));
    assert!(
        stored.is_some_and(|stored| stored.webhook_pending
            && stored.pointer.deployment_id.as_ref() == Some(&newer))
    );
    pass(&mut world);
    assert!(
        world
            .stable
            .is_some_and(|stable| !stable.webhook_pending && stable.pointer.image_tag == tag("v3"))
    );
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
    assert_eq!(pass(&mut world), Reason::Idle, "it ends at once");
    let stable = world.stable.clone().expect("a pointer");
    assert_eq!(stable.ended(&id).map(|ended| ended.state), Some(State::Cancelled));
    // It was for that rollout and for no other.
    agent_comes(&mut world, &late, 0);
    let next = started(&mut world, "bbbbbbbbbbbb", "v2");
    assert_eq!(ended(&mut world, &next).state, State::Succeeded);
    assert_eq!(Key::of_hash("bbbbbbbbbbbb"), world.stable.expect("a pointer").ended[0].key);
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
