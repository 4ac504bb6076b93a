//! Whether a version fails jobs more often than the fleet does otherwise: a sequential test on the
//! numbers of jobs that completed and failed.
//!
//! Who counts them, and where, is another function's work; see [`Outcomes`]. The test is Wald's
//! sequential probability ratio test (Wald, "Sequential Tests of Statistical Hypotheses", 1945)
//! between the usual share of failed jobs and one that is [`MARGIN`] higher. It may be asked after
//! every job, and ends as soon as the numbers suffice.

use fleet_protocol::ids::CommandId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The whole, in hundredths of a percent.
const WHOLE: u64 = 10_000;
/// What makes a version a bad one: so many more of its jobs fail, in hundredths of a percent.
const MARGIN: u64 = 2000;
/// A good version is stopped at most so often, in hundredths of a percent; with what is uncertain
/// in the usual share, it stays below 1 %.
const FALSE_STOP: u64 = 40;
/// A version that is worse by the margin passes so often, in hundredths of a percent.
const MISSED: u64 = 500;
/// With fewer jobs than that nobody knows what is usual.
const LEAST_BEFORE: u32 = 50;
/// So many jobs beside the new version's tell whether something else fails jobs now.
const LEAST_BESIDE: u32 = 20;
/// A usual share is never taken for less, nor for more, in hundredths of a percent.
const LEAST_SHARE: u64 = 200;
const MOST_SHARE: u64 = 7000;

/// Jobs that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub completed: u32,
    pub failed: u32,
}

/// `/ghosthands/{environment}/rollout-outcomes`: how the jobs of the rollout in progress end. The
/// autoscale function, which may read the database, writes it; the deploy function, which may not,
/// reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub rollout: CommandId,
    /// Jobs that started before do not count.
    pub since: UnixMs,
    /// When they were counted, by the database's clock.
    pub at: UnixMs,
    /// Jobs of the watched hosts.
    pub new: Tally,
    /// Jobs of all other workers that started at the same time.
    pub beside: Tally,
    /// Jobs of all workers that started in the day before the rollout.
    pub before: Tally,
}

/// What the numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It fails no more jobs than usual.
    Good,
    /// It fails more by the margin.
    Bad,
    TooFew,
}

impl Tally {
    /// How many jobs ended.
    #[must_use]
    pub fn ended(self) -> u32 {
        self.completed.saturating_add(self.failed)
    }

    /// The share that fails, with one standard deviation on top: little evidence stops no version.
    fn cautious_share(self) -> u64 {
        let jobs = u64::from(self.ended()) + 2;
        let share = (u64::from(self.failed) + 1) * WHOLE / jobs;
        share + (share * (WHOLE - share) / jobs).isqrt()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} jobs failed", self.failed, self.ended())
    }
}

impl Outcomes {
    /// What the numbers say so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.before.ended() < LEAST_BEFORE {
            return Verdict::TooFew;
        }
        let now = Some(self.beside).filter(|beside| beside.ended() >= LEAST_BESIDE);
        // Where jobs fail on the other hosts as well, it is not the version.
        let usual = self.before.cautious_share().max(now.map_or(0, Tally::cautious_share));
        if usual > MOST_SHARE {
            return Verdict::TooFew;
        }
        let usual = usual.max(LEAST_SHARE);
        let bad = usual + MARGIN;
        let evidence = i64::from(self.new.failed) * log2(bad, usual)
            + i64::from(self.new.completed) * log2(WHOLE - bad, WHOLE - usual);
        if evidence >= log2(WHOLE - MISSED, FALSE_STOP) {
            Verdict::Bad
        } else if evidence <= log2(MISSED, WHOLE - FALSE_STOP) {
            Verdict::Good
        } else {
            Verdict::TooFew
        }
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes { new, beside, before, .. } = self;
        write!(
            f,
            "{new} on the new version; beside it {beside}, and {before} in the day before the rollout"
        )
    }
}

/// The binary logarithm of a ratio, in 65,536ths. Whole numbers only, so that a decision comes out
/// the same on every machine.
fn log2(numerator: u64, denominator: u64) -> i64 {
    const ONE: u64 = 1 << 31;
    let mut ratio = (numerator << 31) / denominator.max(1);
    let mut log = 0;
    while ratio < ONE {
        ratio <<= 1;
        log -= 1 << 16;
    }
    while ratio >= 2 * ONE {
        ratio >>= 1;
        log += 1 << 16;
    }
    for bit in (0..16).rev() {
        ratio = (ratio * ratio) >> 31;
        if ratio >= 2 * ONE {
            ratio >>= 1;
            log += 1 << bit;
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failed: u32, ended: u32) -> Tally {
        Tally { completed: ended - failed, failed }
    }

    fn verdict(new: Tally, beside: Tally, before: Tally) -> Verdict {
        let rollout = CommandId::new("c");
        let at = UnixMs(2);
        Outcomes { rollout, since: UnixMs(1), at, new, beside, before }.verdict()
    }

    #[test]
    fn the_logarithm_is_that_of_the_ratio() {
        for (numerator, denominator) in
            [(1_u32, 1_u32), (2, 1), (1, 2), (3, 7), (9999, 1), (1, 9999)]
        {
            let exact = (f64::from(numerator) / f64::from(denominator)).log2() * 65_536.0;
            let found = log2(u64::from(numerator), u64::from(denominator));
            assert!((exact - f64::from(i32::try_from(found).unwrap())).abs() < 4.0, "{found}");
        }
    }

    #[test]
    fn a_version_is_judged_by_its_jobs() {
        let before = tally(50, 1000);
        let none = Tally::default();
        assert_eq!(verdict(none, none, before), Verdict::TooFew);
        assert_eq!(verdict(tally(0, 30), none, before), Verdict::Good);
        assert_eq!(verdict(tally(6, 10), none, before), Verdict::Bad);
        assert_eq!(verdict(tally(2, 10), none, before), Verdict::TooFew);
    }

    #[test]
    fn where_jobs_fail_everywhere_it_is_not_the_version() {
        let before = tally(50, 1000);
        assert_eq!(verdict(tally(10, 30), tally(1, 40), before), Verdict::Bad);
        assert_ne!(verdict(tally(10, 30), tally(14, 40), before), Verdict::Bad);
    }

    #[test]
    fn without_knowing_what_is_usual_nothing_is_judged() {
        let none = Tally::default();
        assert_eq!(verdict(tally(20, 20), none, tally(0, 49)), Verdict::TooFew);
        assert_eq!(verdict(tally(20, 20), none, tally(90, 100)), Verdict::TooFew);
        assert_eq!(verdict(tally(20, 20), none, tally(0, 50)), Verdict::Bad);
    }
}
