//! The calls themselves, where AWS answers badly: an order goes out once, and whoever writes second
//! notices.

use crate::world::*;
use fleet_clients::aws::Aws;
use fleet_clients::config::DeployConfig;
use fleet_clients::rollouts::Rollouts;
use fleet_core::rollout::{
    CallResult, Key, Kind, LockResult, Part, Record, RolloutOrder, SendResult, Sending, Sent,
    Stable, State, Step, Strategy, Targets,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::Reading;
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

fn rollouts(world: &World) -> Rollouts {
    let names = [("GH_ENVIRONMENT", "test"), ("AWS_ASG_NAME", GROUP)]
        .map(|(n, v)| (n.to_owned(), v.to_owned()));
    let env: BTreeMap<String, String> = world.double.aws_env().into_iter().chain(names).collect();
    let config = DeployConfig::from_env(&env).expect("valid");
    Rollouts::new(&Aws::new(&config.aws), "test", config.group.clone(), config.document)
}

fn sending(world: &World) -> Sending {
    let part =
        Part::Root { key: Key::of_hash("abcdef012345"), by: None, why: Some("why".to_owned()) };
    let hosts: Vec<InstanceId> = world.in_service().into_iter().map(InstanceId::new).collect();
    Sending {
        order: RolloutOrder { kind: Kind::Deploy, strategy: Strategy::Canary, part },
        image_tag: Some(ImageTag::parse("v2").expect("a tag")),
        force: true,
        targets: Targets::Hosts(hosts),
        host_order: None,
        job_limit_s: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_sent_again_only_where_ssm_did_nothing() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    let (rollouts, sending) = (rollouts(&world), sending(&world));
    let faults = world.double.faults();
    faults.throttle("SendCommand", 2);
    let SendResult::Sent { id } = rollouts.send(&sending).await else {
        panic!("throttled is not done")
    };
    assert_eq!(world.double.commands().len(), 1);
    faults.lose_reply("SendCommand", 1);
    assert!(matches!(rollouts.send(&sending).await, SendResult::Lost { .. }));
    assert_eq!(world.double.commands().len(), 2, "it was sent once");
    faults.fail("SendCommand", 1, 500, "InternalServerError", "no");
    assert!(matches!(rollouts.send(&sending).await, SendResult::Lost { .. }));
    let nobody = Sending {
        targets: Targets::Hosts(vec![InstanceId::new("i-0000000000000dead")]),
        ..sending.clone()
    };
    let SendResult::Refused { detail } = rollouts.send(&nobody).await else {
        panic!("nobody is there")
    };
    assert!(detail.contains("InvalidInstanceId"), "{detail}");
    // What SSM lists is what was sent, and an id that it never gave is nothing.
    let Reading::Known(Some(evidence)) = rollouts.evidence(&id).await else {
        panic!("it is listed")
    };
    assert_eq!((evidence.command.order, evidence.command.force), (sending.order, true));
    let stranger = fleet_protocol::ids::CommandId::new("0831e1a8-a1ac-4257-a1fd-c831bb48c7ad");
    assert_eq!(rollouts.evidence(&stranger).await, Reading::Known(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_who_writes_the_record_has_the_lock_and_whoever_writes_second_undoes_it() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    let rollouts = rollouts(&world);
    let record = |key: &str| {
        let (key, tag) = (Key::of_hash(key), ImageTag::parse("v2").expect("a tag"));
        Record {
            commands: vec![Sent { step: Step::Survey, round: 0, id: None, at: UnixMs(1) }],
            ..Record::begun(1, key, Kind::Deploy, tag, Strategy::Canary, UnixMs(1))
        }
    };
    let (first, second) = (record("abcdef012345"), record("012345abcdef"));
    assert_eq!(rollouts.create(&first, 0).await, LockResult::Acquired);
    assert_eq!(rollouts.create(&second, 0).await, LockResult::Held);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!((stored.record(), stored.version(1)), (Some(&first), 3));
    // Of three at once the third one may come before the second one has put anything back.
    world.double.put_parameter(RECORDS[1], &second.write()).expect("kept");
    assert_eq!(rollouts.create(&record("00000000000c"), 0).await, LockResult::Held);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!((stored.record(), stored.version(1)), (Some(&first), 6));
    assert_eq!(rollouts.write(&first, 6).await, CallResult::Done);
    let CallResult::Failed { detail } = rollouts.write(&second, 6).await else {
        panic!("somebody wrote meanwhile")
    };
    assert!(detail.contains("somebody else"), "{detail}");
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!(stored.record(), Some(&first));
    // The first one goes on before the second one has put its record back.
    world.double.put_parameter(RECORDS[1], &second.write()).expect("kept");
    let first = Record { proven: 1, ..first };
    assert_eq!(rollouts.write(&first, stored.version(1)).await, CallResult::Done);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!(stored.record(), Some(&first));
    // The next rollout has the other parameter.
    let over = Record { over: Some(State::Failed), ..first };
    assert_eq!(rollouts.write(&over, stored.version(1)).await, CallResult::Done);
    let next = Record { number: 2, ..second };
    assert_eq!(rollouts.create(&next, 0).await, LockResult::Acquired);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!((stored.record(), stored.newest()), (Some(&next), Some(&next)));
    world.double.put_parameter(RECORDS[0], "rubbish").expect("kept");
    let Reading::Unknown(unknown) = rollouts.stored().await else { panic!("rubbish is no record") };
    let said = unknown.detail;
    assert!(said.contains(RECORDS[0]) && said.contains("delete it"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_that_was_written_by_two_keeps_what_the_first_one_wrote() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    let rollouts = rollouts(&world);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is stored") };
    let (stable, version) = (stored.stable.expect("v1"), stored.stable_version);
    let to = |tag: &str| {
        let image_tag = ImageTag::parse(tag).expect("a tag");
        Stable { pointer: StablePointer { image_tag, ..stable.pointer.clone() }, ..stable.clone() }
    };
    assert_eq!(rollouts.write_stable(&to("v3"), version).await, CallResult::Done);
    let late = rollouts.write_stable(&to("v2"), version).await;
    assert!(matches!(late, CallResult::Failed { .. }), "{late:?}");
    assert_eq!(world.stable()["image_tag"], "v3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_written_down_and_taken_back_without_a_parameter_being_deleted() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    let rollouts = rollouts(&world);
    let id = fleet_protocol::ids::CommandId::new("0831e1a8-a1ac-4257-a1fd-c831bb48c7ad");
    assert_eq!(rollouts.request_pause(&id).await, CallResult::Done);
    let Reading::Known(read) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!((read.paused, read.continued), (Some(id.clone()), None));
    let at = fleet_protocol::time::UnixMs(1_795_478_400_000);
    assert_eq!(rollouts.request_continue(&id, at).await, CallResult::Done);
    let Reading::Known(read) = rollouts.stored().await else { panic!("it is stored") };
    assert_eq!((read.paused, read.continued), (None, Some((id, at))));
    let calls = world.double.calls();
    assert!(calls.iter().all(|call| !format!("{call:?}").contains("DeleteParameter")));
}
