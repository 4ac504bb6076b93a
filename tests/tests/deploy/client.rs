//! The calls themselves, where AWS answers badly: an order goes out once, and whoever writes second
//! notices.

use crate::world::*;
use fleet_clients::aws::Aws;
use fleet_clients::config::DeployConfig;
use fleet_clients::rollouts::Rollouts;
use fleet_core::rollout::{
    CallResult, Key, Kind, LockResult, Pace, Part, Record, RolloutOrder, SendResult, Sending, Sent,
    Step, Strategy, Targets,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::Reading;
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
        pace: Pace::of(Strategy::Canary, 1),
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
async fn creating_the_record_is_the_lock_and_whoever_writes_second_notices() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    let rollouts = rollouts(&world);
    let record = Record {
        key: Key::of_hash("abcdef012345"),
        attempt: None,
        kind: Kind::Deploy,
        image_tag: ImageTag::parse("v2").expect("a tag"),
        strategy: Strategy::Canary,
        force: false,
        at: UnixMs(1),
        before: None,
        expected: Vec::new(),
        commands: vec![Sent { step: Step::Apply, round: 0, id: None, at: UnixMs(1) }],
        missed: None,
    };
    assert_eq!(rollouts.reserve(&record).await, LockResult::Acquired);
    assert_eq!(rollouts.reserve(&record).await, LockResult::Held);
    let Reading::Known(stored) = rollouts.stored().await else { panic!("it is kept") };
    assert_eq!((stored.record.as_ref(), stored.version), (Some(&record), 1));
    assert_eq!(rollouts.write(&record, 1).await, CallResult::Done);
    let CallResult::Failed { detail } = rollouts.write(&record, 1).await else {
        panic!("somebody wrote meanwhile")
    };
    assert!(detail.contains("somebody else"), "{detail}");
    assert_eq!(rollouts.close().await, CallResult::Done);
    assert_eq!(rollouts.close().await, CallResult::Done, "what is gone is gone");
    world.double.put_parameter(RECORD, "rubbish").expect("kept");
    let Reading::Unknown(unknown) = rollouts.stored().await else { panic!("rubbish is no record") };
    assert!(
        unknown.detail.contains(RECORD) && unknown.detail.contains("delete it"),
        "{}",
        unknown.detail
    );
}
