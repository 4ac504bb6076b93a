//! The deploys that ended, newest last.

use serde::{Deserialize, Serialize};

use super::{StateDir, StateError};
use crate::clock::now_ms;
use crate::deploy::model::{Begin, Kind, Outcome, Version};
use crate::server::rfc3339;

const FILE: &str = "history.jsonl";
/// At ten deploys a day, three weeks.
pub const HISTORY_KEPT: usize = 200;

/// One deploy that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub id: String,
    pub generation: u64,
    pub kind: Kind,
    pub status: Outcome,
    pub image_tag: String,
    pub image_id: Option<String>,
    pub digest: Option<String>,
    pub previous: Option<Version>,
    pub actor: String,
    /// RFC 3339.
    pub started_at: String,
    pub finished_at: String,
    /// Milliseconds.
    pub duration: i64,
    pub failed_step: Option<String>,
    pub failed_service: Option<String>,
    pub error: Option<String>,
    /// What did not come about and stopped nothing, and what else is worth knowing.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The last lines of the container that failed.
    #[serde(default)]
    pub log: Vec<String>,
    /// Jobs that a worker which cannot close its intake took between its last idle answer and its
    /// end.
    #[serde(default)]
    pub caught_jobs: u32,
    #[serde(default)]
    pub drain_waited_ms: u64,
}

impl Entry {
    /// The result of a deploy that could not even be written down. Nothing was done.
    #[must_use]
    pub fn unwritten(begin: &Begin, reason: &str) -> Self {
        let now = rfc3339(now_ms());
        Self {
            id: begin.deploy.clone(),
            generation: begin.generation,
            kind: begin.kind,
            status: Outcome::Failed,
            image_tag: begin.image_tag.clone(),
            image_id: None,
            digest: None,
            previous: begin.previous.clone(),
            actor: begin.actor.clone(),
            started_at: now.clone(),
            finished_at: now,
            duration: 0,
            failed_step: Some("journal".to_owned()),
            failed_service: None,
            error: Some(reason.to_owned()),
            notes: Vec::new(),
            log: Vec::new(),
            caught_jobs: 0,
            drain_waited_ms: 0,
        }
    }

    #[must_use]
    pub fn version(&self) -> Option<Version> {
        Some(Version {
            image_tag: self.image_tag.clone(),
            image_id: self.image_id.clone()?,
            digest: self.digest.clone(),
        })
    }
}

/// Reads a history file; lines that cannot be read are passed over, because the rest is still true.
#[must_use]
pub fn parse_history(bytes: &[u8]) -> Vec<Entry> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// The version to go back to: the newest that was deployed with success and is not what runs now.
#[must_use]
pub fn rollback_target(history: &[Entry], current_image: Option<&str>) -> Option<Version> {
    let another = |version: &Version| Some(version.image_id.as_str()) != current_image;
    history
        .iter()
        .rev()
        .filter(|entry| entry.status == Outcome::Deployed)
        .flat_map(|entry| [entry.version(), entry.previous.clone()])
        .flatten()
        .find(another)
}

impl StateDir {
    /// The history, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn history(&self) -> Result<Vec<Entry>, StateError> {
        Ok(parse_history(&self.read(FILE)?.unwrap_or_default()))
    }

    /// The version that the newest successful deploy put into service or found there. A second tag
    /// of the same image is proven without a new container, so the container's label may have an
    /// older name.
    #[must_use]
    pub fn last_deployed(&self) -> Option<Version> {
        let history = self.history().ok()?;
        history.iter().rev().find(|entry| entry.status == Outcome::Deployed)?.version()
    }

    /// Adds an entry, or replaces the one of the same deploy, and keeps the newest
    /// [`HISTORY_KEPT`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn record(&self, entry: Entry) -> Result<Vec<Entry>, StateError> {
        let mut entries = self.history()?;
        entries.retain(|known| known.id != entry.id);
        entries.push(entry);
        let surplus = entries.len().saturating_sub(HISTORY_KEPT);
        entries.drain(..surplus);
        let mut bytes = Vec::new();
        for entry in &entries {
            serde_json::to_writer(&mut bytes, entry).expect("entries are plain data");
            bytes.push(b'\n');
        }
        self.replace(FILE, &bytes)?;
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, parse_history, rollback_target};
    use crate::deploy::model::{Kind, Outcome, Version};

    fn entry(tag: &str, status: Outcome) -> Entry {
        Entry {
            id: format!("d-{tag}"),
            generation: 1,
            kind: Kind::Deploy,
            status,
            image_tag: tag.to_owned(),
            image_id: Some(format!("sha256:{tag}")),
            digest: None,
            previous: None,
            actor: "http".to_owned(),
            started_at: String::new(),
            finished_at: String::new(),
            duration: 1,
            failed_step: None,
            failed_service: None,
            error: None,
            notes: Vec::new(),
            log: Vec::new(),
            caught_jobs: 0,
            drain_waited_ms: 0,
        }
    }

    #[test]
    fn a_rollback_never_targets_what_runs_now() {
        let history = [
            entry("one", Outcome::Deployed),
            entry("two", Outcome::RolledBack),
            entry("three", Outcome::Deployed),
        ];
        let target = rollback_target(&history, Some("sha256:three")).unwrap();
        assert_eq!(target.image_tag, "one");
        assert_eq!(rollback_target(&history[2..], Some("sha256:three")), None);
    }

    #[test]
    fn what_ran_before_the_first_deploy_is_a_target_too() {
        let mut first = entry("one", Outcome::Deployed);
        let before = Version {
            image_tag: "compose".to_owned(),
            image_id: "sha256:compose".to_owned(),
            digest: None,
        };
        first.previous = Some(before.clone());
        assert_eq!(rollback_target(&[first], Some("sha256:one")), Some(before));
    }

    #[test]
    fn a_damaged_line_costs_only_itself() {
        let mut bytes = serde_json::to_vec(&entry("one", Outcome::Deployed)).unwrap();
        bytes.extend_from_slice(b"\n{\"id\":\n");
        assert_eq!(parse_history(&bytes).len(), 1);
    }
}
