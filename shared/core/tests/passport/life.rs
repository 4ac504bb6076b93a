//! Jobs of made-up lives, whose waits the passport finds again.

use crate::scene::*;
use fleet_core::passport::SegmentKind::{Boot, Claim, Launch, Queue, Tick};
use fleet_core::passport::*;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;

/// How long each part of a wait really took, in milliseconds; a cause is told to the second.
fn lives() -> impl Strategy<Value = [i64; 5]> {
    let tick = 0..20_i64;
    (tick, 0..30_000_i64, 0..200_000_i64, 0..400_000_i64, 0..3_000_i64)
        .prop_map(|(tick, launch, boot, queue, claim)| [tick * 1000, launch, boot, queue, claim])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_parts_of_a_life_that_was_seen_are_found_again(life in lives()) {
        let mut facts = facts();
        let mut ends = [0; 5];
        let mut now = DUE;
        for (end, lasted) in ends.iter_mut().zip(life) {
            now += lasted;
            *end = now;
        }
        let [requested, launched, registered, free, claimed] = ends.map(UnixMs);
        if let Reading::Known(Some(launch)) = &mut facts.launch {
            (launch.launched, launch.cause) = (launched, cause(requested));
        }
        if let Reading::Known(Some(row)) = &mut facts.worker {
            row.registered = Some(registered);
        }
        facts.job_before = Reading::Known(Some(free));
        facts.job.started = Some(claimed);
        facts.job.completed = Some(claimed);
        let passport = job_passport(&facts);
        let found = passport.wait.expect("it waited").segments;
        let found: Vec<(SegmentKind, i64)> = found
            .iter()
            .map(|it| (it.kind, i64::try_from(it.ms).expect("not that long")))
            .collect();
        let parts = [Tick, Launch, Boot, Queue, Claim].into_iter().zip(life);
        let lived: Vec<(SegmentKind, i64)> = parts.filter(|(_, ms)| *ms > 0).collect();
        prop_assert_eq!(found, lived);
    }
}
