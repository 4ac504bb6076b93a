//! A CloudWatch alarm that a site names stops a version that goes out.

use crate::drive::started;
use crate::rules::{begin, wish};
use crate::world::{Luck, World, tag, unknown};
use fleet_core::rollout::{
    Call, Ended, FiredAlarm, Inputs, Judging, Kind, Limits, Reason, Started, State,
};
use fleet_protocol::ids::CommandId;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

struct Site {
    world: World,
    limits: Limits,
}

impl Site {
    fn new(hosts: u32) -> Site {
        let world = World::new(1, hosts, Luck::default());
        Site { world, limits: Limits::default() }
    }

    fn fire(&mut self, since: UnixMs) {
        let alarm = FiredAlarm { name: "checkout-errors".to_owned(), since, reason: why() };
        self.world.alarms = Reading::Known(vec![alarm]);
    }

    /// What one pass says, in order.
    fn pass(&mut self) -> Vec<Reason> {
        let mut inputs = Inputs::new(true, self.limits, self.world.now(), None);
        inputs.alarms = vec!["checkout-errors".to_owned()];
        self.world.whole_pass(inputs)
    }

    fn until_v2_runs_on(&mut self, hosts: usize) {
        for _ in 0..500 {
            if self.runs("v2") >= hosts {
                return;
            }
            self.world.step(5);
            self.pass();
        }
        panic!("no {hosts} hosts run it: {:?}", self.world.record());
    }

    fn until_over(&mut self, id: &CommandId) -> Ended {
        for _ in 0..1000 {
            self.pass();
            if self.world.record().is_none() {
                return self.world.stable().ended(id).expect("it is remembered").clone();
            }
            self.world.step(5);
        }
        panic!("it comes to no end: {:?}", self.world.record())
    }

    fn runs(&self, version: &str) -> usize {
        self.world.hosts.values().filter(|host| host.runs == tag(version)).count()
    }
}

fn why() -> String {
    "Threshold Crossed: 1 datapoint [7.0] was greater than the threshold (5.0)".to_owned()
}

#[test]
fn an_alarm_that_fires_takes_the_version_back_and_is_named() {
    let mut site = Site::new(10);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until_v2_runs_on(3);
    site.fire(site.world.now());
    let ended = site.until_over(&id);
    assert_eq!((ended.state, site.runs("v1")), (State::RolledBack, 10));
    let alarm = ended.alarm.expect("it is remembered");
    assert_eq!((alarm.name.as_str(), alarm.reason), ("checkout-errors", why()));
    assert_eq!(site.world.stable().pointer.image_tag, tag("v1"));
}

#[test]
fn an_alarm_that_fires_while_the_proven_version_is_watched_takes_the_pointer_back() {
    let mut site = Site::new(4);
    site.limits.judging = Judging { bake_s: 0, watch_s: 7200 };
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until_v2_runs_on(4);
    while site.world.stable().pointer.image_tag != tag("v2") {
        site.world.step(5);
        site.pass();
    }
    site.fire(site.world.now());
    assert_eq!(site.until_over(&id).state, State::RolledBack);
    assert_eq!(site.runs("v1"), 4);
    assert_eq!(site.world.stable().pointer.image_tag, tag("v1"));
}

#[test]
fn an_alarm_of_before_the_rollout_does_not_keep_its_cure_away() {
    let mut site = Site::new(4);
    let before = UnixMs(site.world.now().0 - 1000);
    site.fire(before);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    assert_eq!(site.until_over(&id).state, State::Succeeded);
    assert_eq!(site.runs("v2"), 4);
}

#[test]
fn while_alarms_are_unknown_no_other_host_gets_the_version_and_it_can_be_cancelled() {
    let mut site = Site::new(10);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until_v2_runs_on(1);
    site.world.alarms = unknown();
    let mut told = 0;
    let orders = |site: &Site| site.world.hosts.values().filter(|it| it.order.is_some()).count();
    // What was sent before still arrives.
    for _ in 0..5 {
        site.world.step(20);
        site.pass();
    }
    let ordered = orders(&site);
    assert!(ordered < 10);
    for _ in 0..200 {
        site.world.step(20);
        let said = site.pass();
        told += usize::from(said.iter().any(|it| matches!(it, Reason::AlarmsUnknown { .. })));
    }
    assert_eq!(orders(&site), ordered);
    assert!(told > 50, "{told}");
    site.world.call(Call::RequestCancel { id: id.clone() });
    assert_eq!(site.until_over(&id).state, State::Cancelled);
}

#[test]
fn a_rollback_asks_for_no_alarm() {
    let mut site = Site::new(3);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    assert_eq!(site.until_over(&id).state, State::Succeeded);
    assert!(site.world.alarm_calls > 0);
    site.world.alarm_calls = 0;
    site.fire(site.world.now());
    let mut back = wish("bbbbbbbbbbbb", "v1");
    back.kind = Kind::Rollback;
    let id = match begin(&mut site.world, &back).0 {
        Started::Accepted { id, .. } => id,
        other => panic!("{other:?}"),
    };
    assert_eq!(site.until_over(&id).state, State::Succeeded);
    assert_eq!((site.world.alarm_calls, site.runs("v1")), (0, 3));
}

#[test]
fn while_nothing_rolls_or_no_alarm_is_named_cloudwatch_is_not_asked() {
    let mut site = Site::new(3);
    site.pass();
    assert_eq!(site.world.alarm_calls, 0);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    let inputs = Inputs::new(true, site.limits, site.world.now(), None);
    site.world.whole_pass(inputs);
    assert_eq!(site.world.alarm_calls, 0, "no alarm was named");
    assert_eq!(site.until_over(&id).state, State::Succeeded);
}
