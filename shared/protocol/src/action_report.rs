//! What a host says when an order of a rollout, or another of the control plane's, ends.

use crate::action::Action;
use crate::host_order::HostOrder;
use crate::ids::InstanceId;
use crate::image_tag::ImageTag;
use crate::line;
use serde::{Deserialize, Serialize};

/// The form of the report that this version writes and knows.
pub const FORM: u32 = 1;
/// The name of the step in which a deploy waits for the running job.
pub const DRAIN_STEP: &str = "drain-worker";
/// The most bytes of a name, of a sentence and of a line of a log; and the most lines.
const NAME: usize = 140;
const WORDS: usize = 300;
const LINES: usize = 20;
/// The most notes.
const NOTES: usize = 4;

/// The line of JSON that `deploy-server … --fleet` prints. Fields that this version does not need
/// are passed over; what a cut would cost most comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionReport {
    pub v: u32,
    pub instance_id: InstanceId,
    pub action: Action,
    pub result: ActionResult,
    /// The version in service now, as the host sees it after all was done: every service runs it.
    #[serde(default)]
    pub image_tag: Option<String>,
    /// What that tag meant in the registry when the host last pulled it, `sha256:…`; the image in
    /// service is that one. `None` where it came from no registry.
    #[serde(default)]
    pub digest: Option<String>,
    /// The engine's id of the image in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The version that was in service before.
    #[serde(default)]
    pub before: Option<String>,
    /// Where it failed.
    #[serde(default)]
    pub step: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    /// What did not come about and stopped nothing, and what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceReport>,
    /// The host accepts orders and answers for them later; an older one carries them out at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_orders: bool,
    /// The newest order that it accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<HostOrder>,
    /// Jobs that run; `None` where the worker did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_jobs: Option<u32>,
    /// The last lines of a container that failed.
    #[serde(default)]
    pub log: Vec<String>,
}

/// One service of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    pub service: String,
    #[serde(default)]
    pub image_tag: Option<String>,
    /// As the Docker Engine spells it.
    #[serde(default)]
    pub state: Option<String>,
}

/// What became of an order on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionResult {
    Deployed,
    AlreadyCurrent,
    /// It failed, and the previous containers run again.
    RolledBack,
    /// It failed, and the previous containers could not be restored.
    Down,
    /// It failed before anything was touched.
    Failed,
    /// The host holds the order, and carries it out when the running job ends.
    Accepted,
    /// The running job had the job limit and goes on; the order was given up.
    AtLimit,
    /// The order was taken back before anything was stopped.
    TakenBack,
    /// A job runs, and nobody wanted to end it.
    Busy,
    /// Something else is in progress on the host.
    Refused,
    /// The host is on its way out of the group.
    Leaving,
    /// An order other than a deploy is done.
    Done,
    /// The host's server did not answer, or a word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ActionResult {
    /// The host only puts the order off: it says nothing against the version and stops no other
    /// host, so the command ends with exit code 0.
    #[must_use]
    pub fn is_put_off(self) -> bool {
        matches!(self, ActionResult::Busy | ActionResult::Refused | ActionResult::Leaving)
    }
}

impl ActionReport {
    /// A report that names no version yet.
    #[must_use]
    pub fn new(instance_id: InstanceId, action: Action, result: ActionResult) -> ActionReport {
        ActionReport {
            v: FORM,
            instance_id,
            action,
            result,
            image_tag: None,
            digest: None,
            image_id: None,
            before: None,
            step: None,
            message: None,
            notes: Vec::new(),
            services: Vec::new(),
            takes_orders: false,
            order: None,
            active_jobs: None,
            log: Vec::new(),
        }
    }

    /// Finds the report in what a command printed: the first line that is a JSON object.
    ///
    /// # Errors
    /// What was printed instead, shortened.
    pub fn find(output: &str) -> Result<ActionReport, String> {
        line::find(output).map(ActionReport::shortened)
    }

    /// The line that a host prints, at most [`line::LIMIT`] bytes.
    pub fn line(&self) -> String {
        line::write(&mut self.clone().shortened(), ActionReport::drop_least)
    }

    /// Whether it says that `tag` is in service.
    #[must_use]
    pub fn runs(&self, tag: &ImageTag) -> bool {
        self.image_tag.as_deref() == Some(tag.as_str())
    }

    fn shortened(self) -> ActionReport {
        let name = |text: Option<String>| text.map(|text| line::clip(&text, NAME));
        let log = self.log.iter().rev().take(LINES).rev();
        let services = self.services.into_iter().take(4).map(|service| ServiceReport {
            service: line::clip(&service.service, NAME),
            image_tag: name(service.image_tag),
            state: name(service.state),
        });
        ActionReport {
            image_tag: name(self.image_tag),
            digest: name(self.digest),
            image_id: name(self.image_id),
            before: name(self.before),
            step: name(self.step),
            message: self.message.map(|message| line::clip(&message, WORDS)),
            notes: line::notes(&self.notes, NOTES),
            services: services.collect(),
            log: log.map(|text| line::clip(text, WORDS)).collect(),
            ..self
        }
    }

    /// Takes away what is missed least: the log's first lines, because the last ones say most; then
    /// all notes but the first; then words; then what is said elsewhere in the report.
    fn drop_least(&mut self) -> bool {
        if !self.log.is_empty() {
            self.log.remove(0);
            return true;
        }
        if self.notes.len() > 1 {
            return self.notes.pop().is_some();
        }
        match &mut self.message {
            Some(message) if message.len() > 1 => *message = line::clip(message, message.len() / 2),
            _ if !self.services.is_empty() => self.services.clear(),
            _ => return self.notes.pop().is_some(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = include_str!("../fixtures/action-report.json");

    #[test]
    fn this_versions_line_is_the_one_on_file() {
        let report = ActionReport::find(REPORT).unwrap();
        assert_eq!(report.line(), REPORT.trim());
        assert_eq!((report.v, report.result), (FORM, ActionResult::RolledBack));
    }

    #[test]
    fn an_older_hosts_report_is_read() {
        let report =
            ActionReport::find(include_str!("../fixtures/action-report-older.json")).unwrap();
        assert_eq!(
            (report.v, report.action, report.result),
            (1, Action::Deploy, ActionResult::Deployed)
        );
        assert_eq!((report.image_tag.as_deref(), report.image_id), (Some("v2"), None));
    }

    #[test]
    fn a_newer_hosts_words_are_unknown_and_not_success() {
        let report =
            ActionReport::find(include_str!("../fixtures/action-report-newer.json")).unwrap();
        assert_eq!((report.v, report.action), (FORM + 1, Action::Unknown));
        assert_eq!(report.result, ActionResult::Unknown);
    }

    #[test]
    fn an_older_control_plane_reads_this_versions_report() {
        /// As it was before there were shared types.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "that they can be read is what counts")]
        struct Older {
            v: u32,
            instance_id: String,
            action: String,
            result: String,
            step: Option<String>,
            message: Option<String>,
            image_tag: Option<String>,
            digest: Option<String>,
            before: Option<String>,
            log: Vec<String>,
        }
        let older: Older = serde_json::from_str(REPORT).unwrap();
        assert_eq!(
            (older.v, older.action.as_str(), older.result.as_str()),
            (1, "deploy", "rolled_back")
        );
    }

    #[test]
    fn the_report_is_found_among_other_lines() {
        let output = format!("a shell's word\n{REPORT}\n----------ERROR-------\nnoise");
        let report = ActionReport::find(&output).unwrap();
        assert!(report.runs(&ImageTag::parse("v1").unwrap()));
        assert_eq!(ActionReport::find(" \n"), Err("it printed nothing".to_owned()));
        assert!(ActionReport::find("sh: not found").unwrap_err().contains("not found"));
        assert!(ActionReport::find("{\"v\":1}").unwrap_err().contains("cannot be read"));
        assert!(ActionReport::find(&REPORT[..40]).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn notes_come_with_the_report_and_an_older_hosts_report_has_none() {
        let note = "ghosthands-worker.leftover-0123456789ab cannot be removed";
        let mut report = ActionReport::find(REPORT).unwrap();
        assert_eq!(report.notes, [""; 0]);
        report.notes = vec![note.to_owned()];
        report.log = vec!["x".repeat(300); 20];
        let read = ActionReport::find(&report.line()).unwrap();
        assert_eq!((read.notes, read.result), (vec![note.to_owned()], ActionResult::RolledBack));
    }

    #[test]
    fn a_report_of_any_words_fits_and_loses_its_log_first() {
        let report = ActionReport::find(REPORT).unwrap();
        for words in ["\u{1}\"ä".repeat(9000), "\\\"".repeat(9000), "\u{1f600}".repeat(9000)] {
            let long = ActionReport {
                message: Some(words.clone()),
                step: Some(words.clone()),
                before: Some(words.clone()),
                notes: vec![words.clone(); 9],
                log: (0..100).map(|n| format!("{n} {words}")).collect(),
                ..report.clone()
            };
            let line = long.line();
            assert!(line.len() <= line::LIMIT, "{}", line.len());
            let read = ActionReport::find(&line).unwrap();
            assert_eq!((read.result, &read.digest), (report.result, &report.digest));
            assert!(
                read.log.last().is_none_or(|last| last.starts_with("99 ")),
                "the last lines stay"
            );
        }
    }
}
