//! Versions that are judged by their jobs.

use crate::drive::started;
use crate::random::Random;
use crate::world::{Luck, World, tag};
use fleet_core::rollout::{
    Call, Ended, Inputs, Judging, Limits, Outcomes, Reason, State, Tally, Verdict,
};
use fleet_protocol::ids::{CommandId, InstanceId};
use std::collections::BTreeSet;

const DAY_S: u32 = 86_400;
/// Of a thousand jobs of a good version, and of one that fails.
const GOOD: u64 = 50;
const FAILING: u64 = 300;

/// A fleet whose workers' jobs are counted as the autoscale function does.
struct Site {
    world: World,
    random: Random,
    judging: Judging,
    /// Jobs that end in a thousand seconds on one host, in thousandths.
    pace: u64,
    /// Of a thousand jobs of the version v2.
    fails: u64,
    /// Jobs that ran on v2.
    tried: u32,
    outcomes: Option<Outcomes>,
    touched: BTreeSet<InstanceId>,
}

impl Site {
    fn new(seed: u64, hosts: u32, judging: Judging, fails: u64) -> Site {
        Site {
            world: World::new(seed, hosts, Luck::default()),
            random: Random::new(seed),
            judging,
            // Jobs of ten minutes.
            pace: 1_666,
            fails,
            tried: 0,
            outcomes: None,
            touched: BTreeSet::new(),
        }
    }

    /// What one pass says, in order.
    fn pass(&mut self) -> Vec<Reason> {
        let limits = Limits { judging: self.judging, ..Limits::default() };
        let inputs = Inputs::new(true, limits, self.world.now(), None);
        self.world.whole_pass(inputs)
    }

    /// A minute passes, and the jobs that ended in it are counted.
    fn minute(&mut self) -> Vec<Reason> {
        self.world.step(60);
        let hosts: Vec<(InstanceId, bool)> = self
            .world
            .in_service()
            .map(|(id, host)| (id.clone(), host.runs == tag("v2")))
            .collect();
        self.touched.extend(hosts.iter().filter(|(_, new)| *new).map(|(id, _)| id.clone()));
        let record = self.world.record().cloned();
        let id = record.as_ref().and_then(|record| record.id().cloned());
        let trial = record.as_ref().and_then(|record| record.trial_to_count()).cloned();
        let trial = trial.zip(id);
        if let Some((trial, id)) = &trial
            && self.outcomes.as_ref().is_none_or(|it| !it.are_of(Some(id), trial))
        {
            self.outcomes = Some(Outcomes {
                rollout: id.clone(),
                since: trial.since,
                at: trial.since,
                new: Tally::default(),
                beside: Tally::default(),
                before: Tally { completed: 950, failed: 50 },
            });
        }
        for (host, new) in hosts {
            if !self.random.permille(60 * self.pace / 1000) {
                continue;
            }
            let failed = self.random.permille(if new { self.fails } else { GOOD });
            self.tried += u32::from(new);
            if let (Some((trial, _)), Some(outcomes)) = (&trial, &mut self.outcomes) {
                let watched = trial.hosts.is_empty() || trial.hosts.contains(&host);
                let tally = if watched { &mut outcomes.new } else { &mut outcomes.beside };
                tally.failed += u32::from(failed);
                tally.completed += u32::from(!failed);
                outcomes.at = self.world.now();
            }
        }
        self.world.stored.outcomes = self.outcomes.clone();
        self.pass()
    }

    fn until_over(&mut self, id: &CommandId, minutes: u32) -> Ended {
        for _ in 0..minutes {
            self.minute();
            if self.world.record().is_none() {
                return self.world.stable().ended(id).expect("it is remembered").clone();
            }
        }
        panic!("it comes to no end: {:?}", self.world.record())
    }

    /// Minutes until a pass says what `is` waits for.
    fn until(&mut self, minutes: u32, is: fn(&Reason) -> bool) -> Reason {
        for _ in 0..minutes {
            if let Some(because) = self.minute().into_iter().find(is) {
                return because;
            }
        }
        panic!("it never says so: {:?}", self.world.record())
    }

    fn runs(&self, version: &str) -> usize {
        self.world.in_service().filter(|(_, host)| host.runs == tag(version)).count()
    }
}

fn bake(bake_s: u32) -> Judging {
    Judging { bake_s, watch_s: 0 }
}

fn needs_decision(because: &Reason) -> bool {
    matches!(because, Reason::NeedsDecision { .. })
}

/// Asks after each job, which stops the most good versions that can be.
fn judged(random: &mut Random, fails: u64, before: Tally) -> (Verdict, u32) {
    let at = fleet_protocol::time::UnixMs(1);
    let mut outcomes = Outcomes {
        rollout: CommandId::new("c"),
        since: at,
        at,
        new: Tally::default(),
        beside: Tally::default(),
        before,
    };
    for jobs in 1..=1000 {
        let failed = random.permille(fails);
        outcomes.new.failed += u32::from(failed);
        outcomes.new.completed += u32::from(!failed);
        match outcomes.verdict() {
            Verdict::TooFew => {}
            verdict => return (verdict, jobs),
        }
    }
    (Verdict::TooFew, 1000)
}

/// What the fleet did the day before, as one draw of so many jobs.
fn day(random: &mut Random, jobs: u32, fails: u64) -> Tally {
    let failed = (0..jobs).filter(|_| random.permille(fails)).count();
    let failed = u32::try_from(failed).expect("small");
    Tally { completed: jobs - failed, failed }
}

#[test]
fn at_most_one_good_version_in_a_hundred_is_stopped_for_its_jobs() {
    let mut random = Random::new(3);
    for (jobs, fails) in [(100, GOOD), (1000, GOOD), (100, 200), (1000, 200), (1000, 10)] {
        let stopped = (0..4000)
            .filter(|_| {
                let before = day(&mut random, jobs, fails);
                judged(&mut random, fails, before).0 == Verdict::Bad
            })
            .count();
        println!("{jobs} jobs before, {fails} of 1,000 fail: {stopped} of 4,000 stopped");
        assert!(stopped <= 40, "{jobs} jobs before, {fails} of 1,000 fail: {stopped}");
    }
}

#[test]
fn a_version_that_fails_six_times_as_many_jobs_is_stopped_after_some_twenty() {
    let mut random = Random::new(4);
    let mut taken: Vec<u32> = Vec::new();
    for _ in 0..4000 {
        let before = day(&mut random, 1000, GOOD);
        let (verdict, jobs) = judged(&mut random, FAILING, before);
        if verdict == Verdict::Bad {
            taken.push(jobs);
        }
    }
    taken.sort_unstable();
    let at = |percent: usize| taken[taken.len() * percent / 100];
    println!("{} of 4,000 stopped, after {} jobs (p50), {} (p95)", taken.len(), at(50), at(95));
    assert!(taken.len() >= 3800, "{}", taken.len());
    assert!(at(50) <= 22 && at(95) <= 60, "{} {}", at(50), at(95));
}

/// The bar: at most five in a hundred of a day's jobs, the rollback included.
#[test]
fn a_version_that_fails_jobs_ran_few_of_a_days_jobs_when_it_is_gone() {
    let (hosts, mut worst, mut sum, mut missed, mut alone) = (20, 0, 0, 0, 0);
    // Twenty hosts end 2,880 jobs of ten minutes a day.
    let share = 2_880 / 20;
    for seed in 0..100 {
        let judging = Judging { bake_s: DAY_S, watch_s: DAY_S };
        let mut site = Site::new(seed, hosts, judging, FAILING);
        let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
        let ended = site.until_over(&id, 4000);
        assert_eq!(ended.state, State::RolledBack, "seed {seed}");
        assert_eq!(site.runs("v1"), 20, "seed {seed}");
        assert_eq!(site.world.stable().pointer.image_tag, tag("v1"), "seed {seed}");
        let numbers = ended.failed_jobs.expect("the numbers are remembered");
        assert_eq!(numbers.verdict(), Verdict::Bad);
        (worst, sum) = (worst.max(site.tried), sum + site.tried);
        missed += u32::from(site.tried > share);
        alone += u32::from(site.touched.len() == 1);
    }
    println!(
        "of 100 rollouts {} jobs on average, {worst} at most; {missed} over {share}; {alone} by the canary alone",
        sum / 100
    );
    assert!(alone >= 90, "{alone} of 100 were stopped by the canary");
    // The canary of one in twenty passes by luck; the watch of all hosts finds it then.
    assert!(missed <= 5, "{missed} of 100 ran more than {share} jobs");
}

#[test]
fn a_good_version_waits_for_its_canarys_jobs_and_then_goes_everywhere() {
    let mut site = Site::new(1, 10, bake(DAY_S), GOOD);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(60, |because| matches!(because, Reason::Baking { .. }));
    for _ in 0..60 {
        site.minute();
        assert!(site.touched.len() <= 1, "the canary is alone while its jobs are judged");
    }
    assert_eq!(site.world.stable().pointer.image_tag, tag("v1"));
    assert_eq!(site.until_over(&id, 2000).state, State::Succeeded);
    assert_eq!(site.runs("v2"), 10);
    assert!(site.world.stable().webhook_pending || site.world.webhooks > 0);
}

#[test]
fn too_few_jobs_end_in_a_question_and_never_silently() {
    for (go_on, state) in [(true, State::Succeeded), (false, State::Cancelled)] {
        let mut site = Site::new(1, 5, bake(1800), GOOD);
        site.pace = 0;
        let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
        // A word that was given before anything was asked decides nothing.
        site.world.call(Call::RequestContinue { id: id.clone(), at: site.world.now() });
        let because = site.until(120, needs_decision);
        assert!(
            because.to_string().contains("continue the rollout, or cancel it and roll back"),
            "{because}"
        );
        for _ in 0..600 {
            site.minute();
        }
        let stored = &site.world.stored;
        let limits = Limits { judging: site.judging, ..Limits::default() };
        let record = site.world.record().expect("it waits for ever");
        assert!(stored.needs_decision(record, &limits, site.world.now()));
        assert_eq!(site.touched.len(), 1);
        let at = site.world.now();
        site.world.call(match go_on {
            true => Call::RequestContinue { id: id.clone(), at },
            false => Call::RequestCancel { id: id.clone() },
        });
        assert_eq!(site.until_over(&id, 600).state, state);
    }
}

#[test]
fn one_host_is_its_own_canary() {
    let mut site = Site::new(1, 1, bake(1800), GOOD);
    site.pace = 0;
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(120, needs_decision);
    assert_eq!(site.world.stable().pointer.image_tag, tag("v1"));
    site.world.call(Call::RequestContinue { id: id.clone(), at: site.world.now() });
    assert_eq!(site.until_over(&id, 60).state, State::Succeeded);
}

#[test]
fn a_canary_that_leaves_the_group_is_followed_by_another() {
    let mut site = Site::new(1, 5, bake(7200), GOOD);
    site.pace = 0;
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(60, |because| matches!(because, Reason::Baking { .. }));
    let canary = site.touched.first().expect("one").clone();
    site.world.hosts.remove(&canary);
    site.until(60, |because| matches!(because, Reason::Baking { .. }));
    let trial = site.world.record().and_then(|record| record.trial.clone()).expect("another one");
    assert!(!trial.hosts.contains(&canary) && site.touched.len() == 2, "{trial:?}");
    site.world.call(Call::RequestCancel { id: id.clone() });
    assert_eq!(site.until_over(&id, 60).state, State::Cancelled);
}

#[test]
fn a_version_that_begins_to_fail_when_it_is_everywhere_goes_back_with_its_pointer() {
    let mut site = Site::new(1, 10, Judging { bake_s: 0, watch_s: 7200 }, GOOD);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(300, |because| matches!(because, Reason::Watching { .. }));
    assert_eq!((site.runs("v2"), &site.world.stable().pointer.image_tag), (10, &tag("v2")));
    assert_eq!(site.world.webhooks, 0, "nobody is told before the watch is over");
    site.fails = 600;
    assert_eq!(site.until_over(&id, 300).state, State::RolledBack);
    assert_eq!((site.runs("v1"), &site.world.stable().pointer.image_tag), (10, &tag("v1")));
}

#[test]
fn a_watch_that_finds_nothing_ends_in_success() {
    let mut site = Site::new(1, 10, Judging { bake_s: 0, watch_s: 3600 }, GOOD);
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(300, |because| matches!(because, Reason::Watching { .. }));
    let since = site.world.now_s;
    assert_eq!(site.until_over(&id, 300).state, State::Succeeded);
    assert!(site.world.now_s - since >= 3500, "{}", site.world.now_s - since);
}

#[test]
fn numbers_of_another_rollout_or_of_an_earlier_trial_say_nothing() {
    let mut site = Site::new(1, 3, bake(3600), GOOD);
    site.pace = 0;
    let id = started(&mut site.world, "aaaaaaaaaaaa", "v2");
    site.until(60, |because| matches!(because, Reason::Baking { .. }));
    site.minute();
    let bad =
        Outcomes { new: Tally { completed: 0, failed: 99 }, ..site.outcomes.clone().unwrap() };
    let earlier = fleet_protocol::time::UnixMs(bad.since.0 - 1);
    for foreign in [
        Outcomes { rollout: CommandId::new("other"), ..bad.clone() },
        Outcomes { since: earlier, ..bad.clone() },
    ] {
        site.world.stored.outcomes = Some(foreign);
        site.world.step(20);
        site.pass();
        assert!(site.world.record().is_some_and(|record| !record.undo));
    }
    site.world.stored.outcomes = Some(bad);
    site.world.step(20);
    site.pass();
    assert!(site.world.record().is_none_or(|record| record.undo), "{id}");
}
