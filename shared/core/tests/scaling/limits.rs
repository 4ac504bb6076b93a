//! Demand of a database that holds more, or something else, than a fleet's queue.

use crate::fleet::*;
use crate::properties::{any_inputs, any_row};
use fleet_core::scaling::*;
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;

fn decided(queue: QueueSnapshot, desired: u32) -> Decision {
    decide(&inputs(released(desired), queue, group(desired))).decision
}

fn targeted(worker: &str, counts: QueueCounts) -> TargetedQueue {
    TargetedQueue { worker: WorkerId::new(worker), counts }
}

/// Three desktop workers claim jobs from their own queues with leases of hours, beside three idle
/// workers of ours.
#[test]
fn jobs_of_workers_outside_the_group_are_a_number_of_their_own() {
    let mut queue = queue(0, 0, 3);
    let outside = ["desktop-1", "desktop-2", "desktop-3"];
    queue.targeted = outside.map(|worker| targeted(worker, counts(0, 1))).into();
    queue.targeted.push(targeted(instance(2).as_str(), counts(0, 1)));
    queue.workers = Reading::Known((0..3).map(|n| row(n, n == 2)).collect());
    let decision = decided(queue.clone(), 3);
    let demand = decision.demand.expect("known");
    assert_eq!((demand.active, demand.elsewhere, decision.need), (1, 3, Some(1)));
    assert!(matches!(decision.action, ScalingAction::Terminate { .. }), "{decision:?}");
    assert!(!decision.notes.iter().any(|note| matches!(note, Note::OrphanedPins { .. })));
    // Without the registry nobody knows whose queues these are.
    queue.workers =
        Reading::Unknown(Unknown { cause: UnknownCause::Missing, detail: "none".to_owned() });
    assert_eq!(decided(queue, 3).demand.map(|demand| demand.active), Some(4));
}

/// The application moved to another schema of pg-boss: the old one reads as empty.
#[test]
fn more_busy_workers_than_active_jobs_forbid_scaling_in() {
    let mut moved = queue(0, 0, 3);
    moved.workers = Reading::Known((0..3).map(|n| row(n, n == 0)).collect());
    let decision = decided(moved.clone(), 3);
    assert_eq!(decision.action, ScalingAction::Nothing);
    assert_eq!(decision.because, Reason::BusyElsewhere { busy: 1, active: 0 });
    moved.general = counts(0, 1);
    assert!(matches!(decided(moved, 3).action, ScalingAction::Terminate { .. }));
}

#[test]
fn a_heartbeat_of_the_future_proves_nobody_idle() {
    let mut queue = queue(0, 0, 2);
    for (ahead, idle) in [(1_000, true), (3_000, false), (31_000, false), (i64::MAX / 4, false)] {
        let rows =
            (0..2).map(|n| WorkerRow { last_heartbeat: UnixMs(NOW.0 + ahead), ..row(n, false) });
        queue.workers = Reading::Known(rows.collect());
        let terminated = decided(queue.clone(), 2).action != ScalingAction::Nothing;
        assert_eq!(terminated, idle, "{ahead} ms ahead");
    }
}

#[test]
fn what_was_not_read_forbids_scaling_in_and_is_said() {
    let mut queue = queue(0, 0, 2);
    queue.omitted.workers = 96_000;
    let decision = decided(queue.clone(), 2);
    assert_eq!(decision.because, Reason::RegistryPartlyRead { rows: 96_000 });
    assert!(decision.notes.contains(&Note::WorkersOmitted { rows: 96_000 }));
    queue.omitted = Omitted { active_jobs: true, ..Omitted::default() };
    assert!(matches!(decided(queue.clone(), 2).because, Reason::ActiveUnknown { .. }));
    queue.omitted = Omitted { waiting_jobs: true, ..Omitted::default() };
    queue.general = counts(10_000, 0);
    let decision = decided(queue, 2);
    assert_eq!(decision.action, ScalingAction::SetDesired { desired: 10 });
    assert!(decision.notes.contains(&Note::CountStopped { jobs: 10_000 }));
}

#[test]
fn ten_names_and_a_number_in_any_sentence() {
    let mut crowded = queue(0, 0, 2);
    let worker = |n: u32| format!("orphan-{n:05}-{}", "x".repeat(100));
    crowded.targeted = (0..500).map(|n| targeted(&worker(n), counts(1, 0))).collect();
    crowded.omitted.queues = 99_500;
    for n in 0..500 {
        crowded.unreadable.add(3, vec![worker(n)], || "last_heartbeat".to_owned());
    }
    let decision = decided(crowded, 2);
    let words: Vec<String> = decision.notes.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|note| note.contains("and 99990 more")), "{words:?}");
    assert!(words.iter().any(|note| note.contains("and 1490 more")), "{words:?}");
    assert!(words.iter().all(|note| note.len() < 2_000), "{words:?}");
}

proptest! {
    /// A record holds the rows of the group's workers only, and is decided alike.
    #[test]
    fn rows_of_strangers_decide_nothing(
        mut inputs in any_inputs(),
        strangers in proptest::collection::vec((any_row(), any::<bool>()), 0..9),
    ) {
        if let Reading::Known(queue) = &mut inputs.observation.queue
            && let Reading::Known(rows) = &mut queue.workers
        {
            for (n, (row, nowhere)) in strangers.into_iter().enumerate() {
                let instance = (!nowhere).then(|| InstanceId::new(format!("i-stranger-{n}")));
                let worker = WorkerId::new(format!("stranger-{n}"));
                rows.push(WorkerRow { worker, target: None, instance, ..row });
            }
        }
        let before = decide(&inputs);
        inputs.observation = inputs.observation.without_strangers();
        prop_assert_eq!(decide(&inputs), before);
    }
}
