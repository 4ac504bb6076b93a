//! What a host says when its drain ends.

use crate::ids::InstanceId;
use crate::line;
use serde::{Deserialize, Serialize};

/// The form of the report that this version writes and knows. A later form may mean something else
/// by the same words.
pub const FORM: u32 = 1;
/// A report's words are kept up to this length, in bytes.
const WORDS: usize = 300;
/// The most notes.
const NOTES: usize = 4;

/// The line of JSON that `deploy-server drain --terminating --json` prints. Fields that this
/// version does not need are passed over; what a cut would cost most comes first. The default says
/// that nothing is known, and proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainReport {
    /// The report's form; one without is of the first.
    #[serde(default)]
    pub v: Option<u32>,
    pub drained: bool,
    /// `None` where the worker could not be asked: unknown is not zero.
    pub active_jobs: Option<u32>,
    /// `None` from a worker that does not say whether it takes more work.
    pub accepting: Option<bool>,
    /// The drain cannot be undone by a restart, a deploy or a new container.
    pub terminating: bool,
    #[serde(default)]
    pub instance_id: Option<InstanceId>,
    /// No worker runs: it was stopped by the drain, or there was none.
    #[serde(default)]
    pub worker_stopped: bool,
    /// Jobs that a worker which cannot close its intake took between its last idle answer and its
    /// end.
    #[serde(default)]
    pub caught_jobs: u32,
    /// Jobs that ran when the worker was stopped because its time was up; `None` where it could not
    /// be asked.
    #[serde(default)]
    pub stopped_jobs: Option<u32>,
    /// How long the drain took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
    /// The kernel's id of this boot of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When the worker was last looked at, by the host's clock, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<String>,
    /// The predecessor's word for `drained`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    #[serde(default)]
    pub message: String,
    /// What did not come about and stopped nothing, and what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl DrainReport {
    /// Finds the report in what a command printed: the first line that is a JSON object.
    ///
    /// # Errors
    /// What was printed instead, shortened.
    pub fn find(output: &str) -> Result<DrainReport, String> {
        line::find(output).map(DrainReport::shortened)
    }

    /// The line that a host prints, at most [`line::LIMIT`] bytes.
    #[must_use]
    pub fn line(&self) -> String {
        line::write(&mut self.clone().shortened(), |report| {
            let cut = line::clip(&report.message, report.message.len() / 2);
            report.notes.pop().is_some() || !std::mem::replace(&mut report.message, cut).is_empty()
        })
    }

    fn shortened(self) -> DrainReport {
        DrainReport {
            message: line::clip(&self.message, WORDS),
            notes: line::notes(&self.notes, NOTES),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = include_str!("../fixtures/drain-report.json");

    #[test]
    fn this_versions_line_is_the_one_on_file() {
        let report = DrainReport::find(REPORT).unwrap();
        assert_eq!(report.line(), REPORT.trim());
        assert_eq!((report.v, report.drained, report.active_jobs), (Some(FORM), true, Some(0)));
    }

    #[test]
    fn an_older_hosts_report_is_read() {
        let older = include_str!("../fixtures/drain-report-older.json");
        let report = DrainReport::find(older).unwrap();
        assert_eq!((report.v, report.active_jobs, report.accepting), (None, Some(1), None));
        assert_eq!((report.stopped_jobs, report.instance_id), (None, None));
    }

    #[test]
    fn a_newer_hosts_report_is_read() {
        let newer = include_str!("../fixtures/drain-report-newer.json");
        let report = DrainReport::find(newer).unwrap();
        assert_eq!((report.v, report.drained), (Some(FORM + 1), true));
    }

    #[test]
    fn an_older_control_plane_reads_this_versions_report() {
        /// As it was before there were shared types.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "that they can be read is what counts")]
        struct Older {
            v: Option<u32>,
            drained: bool,
            active_jobs: Option<u32>,
            accepting: Option<bool>,
            terminating: bool,
            instance_id: Option<String>,
            worker_stopped: bool,
            caught_jobs: u32,
            stopped_jobs: Option<u32>,
            message: String,
        }
        let older: Older = serde_json::from_str(REPORT).unwrap();
        assert_eq!((older.v, older.active_jobs, older.accepting), (Some(1), Some(0), Some(false)));
    }

    #[test]
    fn a_report_of_any_words_fits_and_loses_only_words() {
        let report = DrainReport::find(REPORT).unwrap();
        for words in ["\u{1}\"ä".repeat(9000), "\\".repeat(9000), "\u{1f600}".repeat(9000)] {
            let notes = vec![words.clone(); 9];
            let long = DrainReport {
                message: words.clone(),
                boot_id: Some(words),
                notes,
                ..report.clone()
            };
            let line = DrainReport { boot_id: None, ..long }.line();
            assert!(line.len() <= line::LIMIT, "{}", line.len());
            let read = DrainReport::find(&line).unwrap();
            assert_eq!((read.drained, read.instance_id), (true, report.instance_id.clone()));
        }
    }
}
