//! What of a host's drain report is proof.

use fleet_protocol::drain_report::{DrainReport, FORM};
use fleet_protocol::ids::InstanceId;
use serde::{Deserialize, Serialize};

/// What a report comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// Nothing runs, nothing more will be taken, and nothing on the host can change that.
    Drained,
    /// Jobs run.
    Busy { jobs: u32 },
    /// The host answered and does not know.
    Unsure { message: String },
    /// The report contradicts itself, or is about something else. It proves nothing.
    NoProof { wrong: String },
}

/// Whether the worker takes no more work, for good, as far as it can be believed. Where the host
/// could not ask it, or was at something else, the worker may begin jobs still.
pub(super) fn closed_the_intake(report: &DrainReport) -> bool {
    let contradicts =
        report.drained && (report.active_jobs, report.accepting) != (Some(0), Some(false));
    let closed = report.active_jobs.is_some() && report.accepting != Some(true);
    report.terminating && closed && !contradicts
}

impl Finding {
    /// What the report proves about `instance`.
    #[must_use]
    pub fn of(report: &DrainReport, instance: &InstanceId) -> Finding {
        let no_proof = |wrong: String| Finding::NoProof { wrong };
        if let Some(other) = report.instance_id.as_ref().filter(|other| *other != instance) {
            return no_proof(format!("it is about {other}"));
        }
        if let Some(form) = report.v.filter(|form| *form != FORM) {
            return no_proof(format!("it has form {form}, which this version does not know"));
        }
        if !report.terminating {
            return no_proof("the drain that it reports can be undone".to_owned());
        }
        match (report.drained, report.active_jobs, report.accepting) {
            (true, Some(0), Some(false)) => Finding::Drained,
            (true, jobs, accepting) => no_proof(format!(
                "it says drained, and in the same breath {} and {}",
                jobs.map_or_else(|| "jobs unknown".to_owned(), |jobs| format!("{jobs} jobs")),
                match accepting {
                    Some(true) => "accepting",
                    Some(false) => "not accepting",
                    None => "unable to say whether it accepts",
                }
            )),
            (false, Some(jobs), _) if jobs > 0 => Finding::Busy { jobs },
            (false, ..) => Finding::Unsure { message: report.message.clone() },
        }
    }
}
