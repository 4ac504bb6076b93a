//! The rows of the drain's failure matrix that are scaling's to hold: whoever leaves is no
//! capacity, and whoever works does not leave.

use crate::fleet::*;
use fleet_core::scaling::*;
use fleet_protocol::reading::Reading;

#[test]
fn row_31_an_instance_on_its_way_out_is_no_capacity_and_is_not_ended_again() {
    // Three are left beside it, all busy, and it looks idle.
    let mut leaving = group(4);
    leaving.desired = 3;
    for lifecycle in ["Terminating:Wait", "Terminating:Retained", "Terminating:Proceed"] {
        leaving.instances[3].lifecycle = lifecycle.into();
        let calm = decide(&inputs(released(3), queue(0, 3, 4), leaving.clone())).decision;
        assert_eq!(calm.action, ScalingAction::Nothing, "{lifecycle}: {}", calm.because);
        let busy = decide(&inputs(released(3), queue(1, 3, 4), leaving.clone())).decision;
        assert_eq!(
            busy.action,
            ScalingAction::SetDesired { desired: 4 },
            "{lifecycle}: {}",
            busy.because
        );
    }
}

#[test]
fn row_32_a_busy_instance_is_never_the_one_that_goes() {
    for idle in 0..4 {
        let mut workers = queue(0, 3, 4);
        workers.workers = Reading::Known((0..4).map(|n| row(n, n != idle)).collect());
        let decision = decide(&inputs(released(4), workers, group(4))).decision;
        assert_eq!(decision.action, terminate([idle]));
    }
}

#[test]
fn row_34_nobody_is_ended_at_the_groups_minimum() {
    let mut at_minimum = group(2);
    at_minimum.min = 2;
    let decision = decide(&inputs(released(2), queue(0, 0, 2), at_minimum)).decision;
    assert_eq!(decision.action, ScalingAction::Nothing, "{}", decision.because);
    assert!(matches!(
        decide(&inputs(released(2), queue(0, 0, 2), group(2))).decision.action,
        ScalingAction::Terminate { .. }
    ));
}
