//! Events nobody can rely on: lost, doubled, late and out of order, on request and reproducibly.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::ids::Ids;

/// An event that was held back to arrive out of order comes this much later at the latest.
pub(crate) const HELD_AT_MOST: Duration = Duration::from_secs(60);

/// How badly deliveries of one kind of event go. The default is not at all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disturbance {
    /// Share of deliveries that never come, 0 to 1.
    pub lose: f64,
    /// Share of deliveries that come twice, each with a delay of its own, 0 to 1.
    pub duplicate: f64,
    /// Least and greatest delay in seconds, evenly spread.
    pub delay_seconds: (f64, f64),
    /// Share of deliveries that come after the next one of their kind, or a minute later when there
    /// is none, 0 to 1.
    pub reorder: f64,
}

/// A refused disturbance.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum DisturbanceError {
    /// A share is none.
    #[error("{0} must be between 0 and 1, not {1}")]
    Share(&'static str, f64),
    /// The delays are no range.
    #[error("delay_seconds must be two rising numbers between 0 and 86400, not {0} and {1}")]
    Delay(f64, f64),
}

impl Disturbance {
    fn check(&self) -> Result<(), DisturbanceError> {
        for (field, share) in
            [("lose", self.lose), ("duplicate", self.duplicate), ("reorder", self.reorder)]
        {
            if !(0.0..=1.0).contains(&share) {
                return Err(DisturbanceError::Share(field, share));
            }
        }
        let (least, most) = self.delay_seconds;
        if !(0.0..=86_400.0).contains(&most) || !(0.0..=most).contains(&least) {
            return Err(DisturbanceError::Delay(least, most));
        }
        Ok(())
    }
}

/// How one delivery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) delay: Duration,
    /// It waits for the next of its kind.
    pub(crate) held: bool,
}

/// The plan, by detail-type; `*` for every kind that has none of its own, schedules excepted.
#[derive(Debug)]
pub(crate) struct Disturbances {
    plan: BTreeMap<String, Disturbance>,
    random: Ids,
}

impl Disturbances {
    pub(crate) fn new(seed: u64) -> Self {
        Self { plan: BTreeMap::new(), random: Ids::new(seed, 8) }
    }

    pub(crate) fn set(
        &mut self,
        detail_type: &str,
        disturbance: Disturbance,
    ) -> Result<(), DisturbanceError> {
        disturbance.check()?;
        self.plan.insert(detail_type.to_owned(), disturbance);
        Ok(())
    }

    /// Takes a whole plan in place of the old one, or none of it.
    pub(crate) fn replace(
        &mut self,
        plan: BTreeMap<String, Disturbance>,
    ) -> Result<(), DisturbanceError> {
        plan.values().try_for_each(Disturbance::check)?;
        self.plan = plan;
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.plan.clear();
    }

    /// The deliveries that one event to one target becomes: none, one or two.
    pub(crate) fn fates(&mut self, detail_type: &str) -> Vec<Fate> {
        let scheduled = detail_type == "Scheduled Event";
        let general = self.plan.get("*").filter(|_| !scheduled);
        let Some(d) = self.plan.get(detail_type).or(general).copied() else {
            return vec![Fate { delay: Duration::ZERO, held: false }];
        };
        // Every draw is made for every event, so that one share does not shift the luck of another.
        let (lose, duplicate) = (self.random.fraction(), self.random.fraction());
        let mut fates: Vec<Fate> = (0..2)
            .map(|_| {
                let (least, most) = d.delay_seconds;
                let delay = least + (most - least) * self.random.fraction();
                Fate {
                    delay: Duration::from_secs_f64(delay),
                    held: self.random.fraction() < d.reorder,
                }
            })
            .collect();
        fates.truncate(if lose < d.lose {
            0
        } else if duplicate < d.duplicate {
            2
        } else {
            1
        });
        fates
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Disturbance, Disturbances};

    fn shares(disturbance: Disturbance) -> (usize, usize, usize) {
        let mut plan = Disturbances::new(5);
        plan.set("*", disturbance).expect("legal");
        let fates: Vec<_> = (0..1000).map(|_| plan.fates("x")).collect();
        let count = |n| fates.iter().filter(|f| f.len() == n).count();
        (count(0), count(2), fates.iter().flatten().filter(|f| f.held).count())
    }

    #[test]
    fn shares_are_met_and_reproducible() {
        assert_eq!(shares(Disturbance::default()), (0, 0, 0));
        assert_eq!(shares(Disturbance { lose: 1.0, ..Disturbance::default() }), (1000, 0, 0));
        assert_eq!(
            shares(Disturbance { duplicate: 1.0, reorder: 1.0, ..Disturbance::default() }),
            (0, 1000, 2000)
        );
        let half = Disturbance { lose: 0.5, duplicate: 0.2, ..Disturbance::default() };
        let (lost, doubled, _) = shares(half);
        assert!((450..550).contains(&lost) && (70..130).contains(&doubled), "{lost} {doubled}");
        assert_eq!(shares(half), shares(half), "the same seed, the same luck");
    }

    #[test]
    fn delays_stay_in_bounds_and_schedules_are_disturbed_by_name_only() {
        let mut plan = Disturbances::new(5);
        plan.set("*", Disturbance { lose: 1.0, ..Disturbance::default() }).expect("legal");
        plan.set("late", Disturbance { delay_seconds: (2.0, 3.0), ..Disturbance::default() })
            .expect("legal");
        for _ in 0..100 {
            let delay = plan.fates("late")[0].delay;
            assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&delay));
        }
        assert!(plan.fates("other").is_empty());
        assert_eq!(plan.fates("Scheduled Event").len(), 1);
        plan.clear();
        assert_eq!(plan.fates("other").len(), 1);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let refused = |bad: Disturbance| bad.check().expect_err("refused").to_string();
        assert_eq!(
            refused(Disturbance { reorder: 1.5, ..Disturbance::default() }),
            "reorder must be between 0 and 1, not 1.5"
        );
        let falling = Disturbance { delay_seconds: (5.0, 1.0), ..Disturbance::default() };
        assert!(refused(falling).starts_with("delay_seconds must be"));
        let rising = Disturbance { delay_seconds: (1.0, 5.0), ..Disturbance::default() };
        assert_eq!(rising.check(), Ok(()));
    }
}
