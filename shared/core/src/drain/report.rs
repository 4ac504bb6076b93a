//! What a host says when its drain command ends, and what of it is proof.

use fleet_protocol::ids::InstanceId;
use serde::{Deserialize, Serialize};

/// The form that this version knows.
const FORM: u32 = 1;
/// A report's words are kept up to this length.
const WORDS: usize = 200;

/// The line of JSON that `deploy-server drain --terminating --json` prints. Fields that this
/// version does not need are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The report's form; one without is of the first. A later form may mean something else by the
    /// same words.
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
    #[serde(default)]
    pub message: String,
}

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

impl HostReport {
    /// Finds the report in what a command printed: the first line that is a JSON object.
    ///
    /// # Errors
    /// What was printed instead, shortened.
    pub fn find(output: &str) -> Result<HostReport, String> {
        let line = output.lines().map(str::trim).find(|line| line.starts_with('{'));
        let Some(line) = line else {
            return Err(match output.trim() {
                "" => "it printed nothing".to_owned(),
                text => format!("it printed no report but {:?}", clip(text)),
            });
        };
        let report: HostReport = serde_json::from_str(line)
            .map_err(|error| format!("its report cannot be read ({error}): {:?}", clip(line)))?;
        Ok(HostReport { message: clip(&report.message).to_owned(), ..report })
    }

    /// Whether the worker takes no more work, for good, as far as it can be believed. Where the
    /// host could not ask it, or was at something else, the worker may begin jobs still.
    pub(super) fn closed_the_intake(&self) -> bool {
        let contradicts =
            self.drained && (self.active_jobs, self.accepting) != (Some(0), Some(false));
        let closed = self.active_jobs.is_some() && self.accepting != Some(true);
        self.terminating && closed && !contradicts
    }

    /// What the report proves about `instance`.
    pub fn finding(&self, instance: &InstanceId) -> Finding {
        let no_proof = |wrong: String| Finding::NoProof { wrong };
        if let Some(other) = self.instance_id.as_ref().filter(|other| *other != instance) {
            return no_proof(format!("it is about {other}"));
        }
        if let Some(form) = self.v.filter(|form| *form != FORM) {
            return no_proof(format!("it has form {form}, which this version does not know"));
        }
        if !self.terminating {
            return no_proof("the drain that it reports can be undone".to_owned());
        }
        match (self.drained, self.active_jobs, self.accepting) {
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
            (false, ..) => Finding::Unsure { message: self.message.clone() },
        }
    }
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(WORDS).map_or(text, |(end, _)| &text[..end])
}
