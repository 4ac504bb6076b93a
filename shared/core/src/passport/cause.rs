//! What a scaling activity's cause says.
//!
//! AWS documents it by examples: `At 2026-11-24T07:59:00Z a user request explicitly set group
//! desired capacity changing the desired capacity from 1 to 2.  At 2026-11-24T07:59:05Z an instance
//! was started in response to a difference between desired and actual capacity, …`
//! (`AmazonEC2AutoScaling/latest/userguide/ec2-as-verify-scaling-activity.html`).

use fleet_protocol::time::UnixMs;

/// When somebody asked for the capacity for which the instance was launched: for a fleet of ours
/// the tick that decided. `None` where nobody did, such as for the replacement of an unhealthy
/// instance, or where AWS words it in another way.
#[must_use]
pub fn requested_at(cause: &str) -> Option<UnixMs> {
    cause.split("At ").find_map(|sentence| {
        let (at, what) = sentence.split_once(' ')?;
        let asked = what.starts_with("a user request") && what.contains("desired capacity");
        let at = at.parse::<jiff::Timestamp>().ok()?;
        asked.then(|| UnixMs(at.as_millisecond()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_behind_a_launch_is_read_from_its_cause() {
        let asked = "At 2026-11-24T00:00:00Z a user request explicitly set group desired capacity \
                     changing the desired capacity from 1 to 2.  At 2026-11-24T00:00:05Z an \
                     instance was started in response to a difference between desired and actual \
                     capacity, increasing the capacity from 1 to 2.";
        assert_eq!(requested_at(asked), Some(UnixMs(1_795_478_400_000)));
        for other in [
            "",
            "At ",
            "At noon a user request changing the desired capacity from 1 to 2.",
            "At 2026-11-24T00:00:00Z an instance was launched in response to an unhealthy instance \
             needing to be replaced.",
            "At 2026-11-24T00:00:00Z a user request force deleted asg.",
        ] {
            assert_eq!(requested_at(other), None, "{other}");
        }
    }
}
