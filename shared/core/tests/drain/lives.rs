//! Tens of thousands of whole lives of instances, each under one fault or two, and what holds for
//! every one of them.

use crate::sim::draw::Window;
use crate::sim::ours::{LIMIT_S, policy};
use crate::sim::replay::Replay;
use crate::sim::{
    Fault, Kill, Life, Lifecycled, Loss, NodeTerminationHandler, OldSystem, Ours, Reconciler,
    Scenario, World, crowd, live, live_in, percentile,
};

/// Lives of each pair of faults.
const OF_EACH_PAIR: u64 = 80;
/// Lives of each single fault.
const OF_EACH_FAULT: u64 = 200;

/// How long a host works on one command.
const WINDOW_S: i64 = 240;
/// After which time a command counts as lost.
const LOST_S: i64 = WINDOW_S + 90;

/// Lives one life of ours.
fn lived(replay: &Replay) -> Life {
    let mut reconciler = replay.kill.map_or_else(Ours::new, Ours::killed);
    live(&replay.scenario, &mut reconciler)
}

/// Lives that went wrong.
#[derive(Default)]
struct Wrong(Vec<(Replay, String)>);

impl Wrong {
    /// Lives it and looks what it broke.
    fn check(&mut self, replay: Replay) -> Life {
        let life = lived(&replay);
        if let Some(wrong) = wrong(&replay.scenario, &life) {
            self.0.push((replay, wrong));
        }
        life
    }
}

impl Drop for Wrong {
    /// The first that went wrong is lived again, for its trace.
    fn drop(&mut self) {
        let Some((first, _)) = self.0.first() else { return };
        let scenario = Scenario { traced: true, ..first.scenario.clone() };
        let trace = lived(&Replay { scenario, ..first.clone() }).trace.join("\n");
        let list = self.0.iter().take(30).map(|(replay, wrong)| format!("{replay}: {wrong}\n"));
        panic!(
            "{trace}\n\n{} lives went wrong; above is the first:\n{}\nAgain: \
             DRAIN_SIM_REPLAY={first} cargo test -p fleet-core --test drain replay",
            self.0.len(),
            list.collect::<String>()
        );
    }
}

/// When the instance has to be gone: the job limit and all grace after it was told, or after things
/// calmed down.
fn latest(scenario: &Scenario, life: &Life) -> i64 {
    let has = |fault| scenario.faults.contains(&fault);
    let told = life.closed_at.or(life.asked_at).unwrap_or(0).max(life.calm_after);
    let grace = i64::from(policy().give_up_after_s());
    // The last call to a host that never answered, the command before it, and a tick for each step.
    let steps = WINDOW_S + LOST_S + 4 * 60;
    // Commands that die with their agent are found out one after the other.
    let lost = if has(Fault::AgentDies) || has(Fault::Lies) { 3 * LOST_S } else { 0 };
    // Half of all passes die: twenty in a row are one in a million.
    let died = if has(Fault::Crashes) { 20 * 60 } else { 0 };
    // Of a machine that SSM does not know only the group tells since when it leaves, and that
    // begins anew with each wait.
    let waits = if has(Fault::NeverManaged) { i64::from(life.waits) } else { 1 };
    told + waits * (i64::from(LIMIT_S) + grace + steps) + lost + died
}

/// What of the promise this life broke.
fn wrong(scenario: &Scenario, life: &Life) -> Option<String> {
    let has = |fault| scenario.faults.contains(&fault);
    for (at, loss) in &life.losses {
        // A job that hangs, or whose machine AWS takes back, is stopped so that it can be released;
        // and a machine that cannot be told at all is let go when no job may run any longer.
        // Everything else is a job that we killed.
        let excused = match loss {
            Loss::BeyondUs => scenario.faults.iter().any(|fault| fault.is_beyond_us()),
            Loss::Stopped => has(Fault::Spot) || has(Fault::JobHangs),
            Loss::GaveUp => has(Fault::JobHangs) || has(Fault::NeverManaged),
            Loss::Released | Loss::HookRanOut => false,
        };
        if !excused {
            return Some(format!("a job was killed after {at} s: {loss:?}"));
        }
    }
    let Some(over) = life.over_at else { return Some("the instance never went".into()) };
    if over > latest(scenario, life) {
        let latest = latest(scenario, life);
        return Some(format!("it went after {over} s and should have by {latest} s"));
    }
    let ended_by_others = has(Fault::HookIgnored) || has(Fault::OperatorCompletes);
    let completions = if ended_by_others { 0..=1 } else { 1..=1 };
    if !completions.contains(&life.completions) {
        return Some(format!("{} completions took effect", life.completions));
    }
    None
}

fn seeds(of: u64, salt: u64) -> impl Iterator<Item = u64> {
    (0..of).map(move |n| salt * 1_000_000 + n)
}

#[test]
fn every_single_fault() {
    let mut wrong = Wrong::default();
    for (salt, fault) in (0..).zip(Fault::ALL) {
        for seed in seeds(OF_EACH_FAULT, salt) {
            let mut scenario = Scenario::new(seed, &[*fault]);
            scenario.watcher = seed % 2 == 1;
            wrong.check(Replay { scenario, kill: None });
        }
    }
}

fn pairs() -> Vec<[Fault; 2]> {
    let all = Fault::ALL;
    let later = |index: usize| all[index + 1..].iter().map(move |other| [all[index], *other]);
    (0..all.len()).flat_map(later).collect()
}

/// A part of all pairs, so that both cores have something to do.
fn pairs_of(part: usize) {
    let pairs = pairs();
    let mut wrong = Wrong::default();
    assert_eq!(pairs.len(), Fault::ALL.len() * (Fault::ALL.len() - 1) / 2);
    for (salt, faults) in (1000..).zip(&pairs).skip(part).step_by(4) {
        for seed in seeds(OF_EACH_PAIR, salt) {
            let mut scenario = Scenario::new(seed, faults);
            scenario.watcher = seed % 2 == 1;
            wrong.check(Replay { scenario, kill: None });
        }
    }
}

#[test]
fn every_pair_of_faults_1() {
    pairs_of(0);
}

#[test]
fn every_pair_of_faults_2() {
    pairs_of(1);
}

#[test]
fn every_pair_of_faults_3() {
    pairs_of(2);
}

#[test]
fn every_pair_of_faults_4() {
    pairs_of(3);
}

/// Every call of every life under one fault at most, and the function dies before it or after it.
fn killed_everywhere(seed: u64) {
    let mut wrong = Wrong::default();
    let mut kills = 0;
    let alone = Fault::ALL.iter().map(std::slice::from_ref);
    for faults in alone.chain([&[][..]]) {
        let mut scenario = Scenario::new(seed, faults);
        scenario.watcher = seed % 2 == 1;
        let calls = wrong.check(Replay { scenario: scenario.clone(), kill: None }).calls;
        for call in 0..calls {
            for after in [false, true] {
                let kill = Some(Kill { call, after });
                wrong.check(Replay { scenario: scenario.clone(), kill });
                kills += 1;
            }
        }
    }
    assert!(kills > 1_000, "only {kills} places to die at");
}

#[test]
fn the_function_dies_before_and_after_each_of_its_calls_1() {
    killed_everywhere(7);
}

#[test]
fn the_function_dies_before_and_after_each_of_its_calls_2() {
    killed_everywhere(8);
}

#[test]
fn every_fault_makes_a_difference() {
    for fault in Fault::ALL {
        let differs = |seed: u64| {
            let of = |faults: &[Fault]| {
                let scenario = Scenario { traced: true, ..Scenario::new(seed, faults) };
                lived(&Replay { scenario, kill: None }).trace
            };
            of(&[*fault]) != of(&[])
        };
        assert!((0..50).any(differs), "{fault:?} changes nothing");
    }
}

#[test]
fn a_life_replays_from_one_word() {
    let word = "77:Outage,AgentDies:watcher:after=12";
    let replay = Replay::read(word).expect("a scenario");
    assert_eq!(replay.to_string(), word);
    assert_eq!(lived(&replay), lived(&Replay::read(word).expect("the same")));
    assert_eq!(Replay::read("5:").expect("no fault").to_string(), "5:");
    assert!(
        Replay::read("5:Flood").expect_err("no such fault").starts_with("\"Flood\" is none of")
    );
    assert!(Replay::read("x:Spot").expect_err("no seed").contains("write seed:Fault,Fault"));
    #[expect(clippy::disallowed_methods, reason = "whoever replays a life names it there")]
    if let Ok(word) = std::env::var("DRAIN_SIM_REPLAY") {
        let mut replay = Replay::read(&word).expect("DRAIN_SIM_REPLAY");
        replay.scenario.traced = true;
        let life = lived(&replay);
        println!("{}\n{:?}", life.trace.join("\n"), Life { trace: vec![], ..life.clone() });
        assert_eq!(wrong(&replay.scenario, &life), None);
    }
}

#[test]
fn all_events_dropped_for_an_hour_no_job_is_lost_and_the_tick_does_it_alone() {
    let mut wrong = Wrong::default();
    let mut waits = Vec::new();
    for seed in seeds(2_000, 1) {
        let scenario = Scenario::new(seed, &[Fault::EventsLost]);
        let life = wrong.check(Replay { scenario, kill: None });
        assert_eq!(life.losses, [], "{seed}");
        waits.extend(life.released_at.zip(life.idle_at).map(|(went, idle)| went - idle));
    }
    assert_eq!(waits.len(), 2_000);
    assert!(percentile(&waits, 99) <= 65, "drained to completed: {} s", percentile(&waits, 99));
}

/// A job may begin at any moment before the intake is closed, and take all the time that a job may
/// take.
#[test]
fn row_20_a_job_that_begins_while_the_worker_cannot_be_reached_has_all_its_time() {
    // Within the very command that closes the intake, nobody knows when: so much less than the
    // limit is promised.
    let longest = i64::from(LIMIT_S) - LOST_S;
    let mut long = 0;
    for seed in seeds(1_000, 7) {
        let mut world = World::new(&Scenario::new(seed, &[]));
        world.draw.next_job_s = longest;
        let to = i64::try_from(seed % 1_200).expect("a second") + 60;
        world.draw.put(Fault::WorkerUnreachable, Window { from: 0, to });
        let life = live_in(world, &mut Ours::new());
        assert_eq!((&life.losses, life.completions), (&vec![], 1), "{seed}");
        long += u32::from(life.over_at.expect("gone") > longest);
    }
    assert!(long > 300, "only {long} lives had a long job");
}

#[test]
fn row_07_without_a_single_tick_the_events_do_it() {
    for seed in seeds(500, 5) {
        let mut world = World::new(&Scenario::new(seed, &[]));
        world.draw.put(Fault::TicksLost, Window { from: 0, to: i64::MAX });
        let life = live_in(world, &mut Ours::new());
        assert_eq!((life.losses, life.completions, life.retained), (vec![], 1, false), "{seed}");
    }
}

#[test]
fn row_46_commands_whose_ends_wake_the_function_do_not_keep_it_running_in_a_circle() {
    for seed in seeds(200, 6) {
        let scenario = Scenario::new(seed, &[Fault::OutputLost]);
        let life = live(&scenario, &mut Ours::new());
        let minutes = life.over_at.expect("gone") / 60 + 1;
        let commands = i64::from(life.commands);
        assert!(commands <= 3 * minutes, "{seed}: {commands} commands in {minutes} minutes");
    }
}

#[test]
fn with_events_an_instance_goes_within_seconds_of_its_last_job() {
    let waits = seeds(500, 2).map(|seed| {
        let life = live(&Scenario::new(seed, &[]), &mut Ours::new());
        life.released_at.expect("gone") - life.idle_at.expect("at rest")
    });
    assert!(percentile(&waits.collect::<Vec<_>>(), 99) <= 5);
    assert_eq!(Ours::calls_of_an_idle_minute(), 1);
}

#[test]
fn the_controller_is_down_for_an_hour_and_the_machine_is_kept_until_it_is_back() {
    let mut retained = 0;
    for seed in seeds(1_000, 3) {
        let mut world = World::new(&Scenario::new(seed, &[]));
        let from = i64::try_from(seed % 900).expect("a second");
        let back = from + 3_600;
        world.draw.put(Fault::Outage, Window { from, to: back });
        let life = live_in(world, &mut Ours::new());
        assert_eq!(life.losses, [], "{seed}");
        let gone = life.over_at.expect("swept");
        // A tick, a command whose window is over at once for a worker at rest, and the hook once
        // more.
        let latest = life.idle_at.expect("at rest").max(back) + 2 * 60 + WINDOW_S;
        assert!(gone <= latest, "{seed}: gone after {gone} s, at rest and back by {latest} s");
        retained += u32::from(life.retained);
    }
    assert!(retained > 500, "the hook ran out in {retained} lives only");
}

#[test]
fn a_hundred_at_once_are_all_held_in_time_and_none_is_lost() {
    let scenarios: Vec<Scenario> = seeds(100, 4).map(|seed| Scenario::new(seed, &[])).collect();
    for life in crowd(&scenarios, Ours::paced(PASSES, CALLS_A_SECOND)) {
        assert_eq!(life.losses, []);
        assert!(life.margin_s.expect("held") >= 180, "held with {:?} s left", life.margin_s);
        assert_eq!(life.completions, 1);
    }
}

/// The function's reserved concurrency.
const PASSES: usize = 1;
/// Sixteen under way at a time, each answered within a quarter of a second.
const CALLS_A_SECOND: usize = 64;

#[test]
fn an_old_worker_loses_what_it_takes_in_its_last_instant_and_it_is_counted() {
    let mut wrong = Wrong::default();
    let (mut lives, mut caught, mut drawn) = (0, 0, 0);
    let others = Fault::ALL.iter().filter(|fault| **fault != Fault::OldWorker);
    let alone = others.map(|fault| vec![Fault::OldWorker, *fault]);
    for (salt, faults) in (5..).zip(alone.chain([vec![Fault::OldWorker]])) {
        for seed in seeds(60, salt) {
            let scenario = Scenario::new(seed, &faults);
            drawn += u32::from(World::new(&scenario).draw.caught);
            caught += wrong.check(Replay { scenario, kill: None }).caught;
            lives += 1;
        }
    }
    println!(
        "old worker: {caught} jobs caught in its last instant in {lives} scale-ins ({drawn} drawn)"
    );
    assert!(caught > 0 && caught <= drawn, "{caught} of {drawn}");
}

/// Jobs lost by the reconciler, of as many lives under single faults as there are seeds.
fn lost(of: u64, retain: bool, old: bool, reconciler: &dyn Fn() -> Box<dyn Reconciler>) -> usize {
    let mut lost = 0;
    for (salt, fault) in (300..).zip(Fault::ALL) {
        let faults = if old { vec![*fault, Fault::OldWorker] } else { vec![*fault] };
        for seed in seeds(of, salt) {
            let scenario = Scenario { retain, ..Scenario::new(seed, &faults) };
            let life = live(&scenario, &mut *reconciler());
            let ours = |loss: Loss| matches!(loss, Loss::Released | Loss::HookRanOut);
            lost += life.losses.iter().filter(|(_, loss)| ours(*loss)).count();
        }
    }
    lost
}

#[test]
fn on_the_same_faults_the_others_lose_jobs_and_ours_with_retain_none() {
    let of = 30;
    let ours = lost(of, true, false, &|| Box::new(Ours::new()));
    let classic = lost(of, false, false, &|| Box::new(Ours::new()));
    let lifecycled = lost(of, false, false, &|| Box::new(Lifecycled::default()));
    let nth = lost(of, false, false, &|| Box::new(NodeTerminationHandler::default()));
    let old = lost(of, false, true, &|| Box::new(OldSystem));
    println!("lost: {ours} ours, {classic} classic, {lifecycled} lifecycled, {nth} nth, {old} old");
    assert_eq!(ours, 0);
    assert!(0 < classic && classic < lifecycled.min(nth), "only retain saves all");
    assert!(lifecycled.max(nth) < old, "whoever is told loses less than who is not");
}
