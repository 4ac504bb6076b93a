//! The journal: one JSON object per line, on the disk before the side effect that it announces.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::{StateDir, StateError};
use crate::deploy::model::Record;

const FILE: &str = "journal.jsonl";

#[derive(Serialize, Deserialize)]
struct Line {
    /// Milliseconds since the Unix epoch.
    at: i64,
    #[serde(flatten)]
    record: Record,
}

/// The journal of one deploy, open for writing.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: std::path::PathBuf,
}

// === impl Journal ===

impl Journal {
    /// Starts a new journal with its first record; the one before is replaced. Its deploy must have
    /// ended.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(state: &StateDir, at: i64, record: Record) -> Result<Self, StateError> {
        state.replace(FILE, &encode(at, record))?;
        Self::open(state)
    }

    /// Goes on with the journal that is there. What follows its last whole record is cut off first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn resume(state: &StateDir) -> Result<Self, StateError> {
        let bytes = state.read(FILE)?.unwrap_or_default();
        let (_, whole) = whole_records(&bytes);
        let journal = Self::open(state)?;
        if whole < bytes.len() {
            // In place, which needs no space: a full disk must not keep a host from its recovery.
            let cut = journal.file.set_len(whole as u64).and_then(|()| journal.file.sync_data());
            cut.map_err(StateError::at(&journal.path))?;
        }
        Ok(journal)
    }

    fn open(state: &StateDir) -> Result<Self, StateError> {
        let path = state.file(FILE);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(StateError::at(&path))?;
        Ok(Self { file, path })
    }

    /// Writes one record and returns when it is on the disk.
    ///
    /// # Errors
    /// When the disk refuses; the side effect must then not happen.
    pub fn append(&mut self, at: i64, record: Record) -> Result<(), StateError> {
        let line = encode(at, record);
        let before = self.file.metadata().map_err(StateError::at(&self.path))?.len();
        // One write call: a kill leaves all of the line or a torn one, never two halves with
        // something between.
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // A full disk may have taken half of it, and what is written later must be readable
            // behind it.
            self.file.set_len(before).map_err(StateError::at(&self.path))?;
        }
        written.map_err(StateError::at(&self.path))
    }

    /// The records on the disk, with their times.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(state: &StateDir) -> Result<Vec<(i64, Record)>, StateError> {
        Ok(parse_journal(&state.read(FILE)?.unwrap_or_default()))
    }
}

fn encode(at: i64, record: Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Line { at, record }).expect("records are plain data");
    line.push(b'\n');
    line
}

/// Reads a journal. It ends at the first line that is not whole: what follows a torn line was never
/// promised.
#[must_use]
pub fn parse_journal(bytes: &[u8]) -> Vec<(i64, Record)> {
    whole_records(bytes).0
}

/// The records up to the first line that is not whole, and how many bytes they take.
fn whole_records(bytes: &[u8]) -> (Vec<(i64, Record)>, usize) {
    let mut records = Vec::new();
    let mut whole = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let Ok(Line { at, record }) = serde_json::from_slice(line) else { break };
        records.push((at, record));
        whole += line.len();
    }
    (records, whole)
}

#[cfg(test)]
mod tests {
    use super::{Journal, encode, parse_journal};
    use crate::deploy::model::{Begin, DeployStep, Kind, Record};
    use crate::service::ServiceKind;
    use crate::state::StateDir;

    fn begin() -> Record {
        Record::Begin(Begin {
            deploy: "d-1".to_owned(),
            generation: 1,
            kind: Kind::Deploy,
            image_tag: "v1".to_owned(),
            force: false,
            actor: "http".to_owned(),
            previous: None,
        })
    }

    #[test]
    fn the_form_on_disk() {
        let stop = Record::Doing { step: DeployStep::Stop(ServiceKind::Worker) };
        let text = [encode(5, begin()), encode(6, stop)].concat();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r#"
        {"at":5,"record":"begin","deploy":"d-1","generation":1,"kind":"deploy","image_tag":"v1","force":false,"actor":"http","previous":null}
        {"at":6,"record":"doing","step":{"stop":"worker"}}
        "#);
    }

    #[test]
    fn a_torn_line_was_never_written_and_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        drop(Journal::begin(&state, 1, begin()).unwrap());
        let path = state.file("journal.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"at\":2,\"record\":\"doi");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(parse_journal(&bytes).len(), 1);
        // No second file can be made, as on a full disk.
        std::fs::create_dir(state.file("journal.jsonl.new")).unwrap();
        let mut journal = Journal::resume(&state).unwrap();
        journal.append(3, Record::Doing { step: DeployStep::Drain }).unwrap();
        assert_eq!(Journal::read(&state).unwrap().len(), 2);
    }

    #[test]
    fn what_is_garbled_in_the_middle_hides_nothing_that_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        drop(Journal::begin(&state, 1, begin()).unwrap());
        let path = state.file("journal.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"at\":2,\"rec{\"at\":3}\n{\"at\":4}\n");
        std::fs::write(&path, &bytes).unwrap();
        let mut journal = Journal::resume(&state).unwrap();
        journal.append(5, Record::Doing { step: DeployStep::Drain }).unwrap();
        assert_eq!(Journal::read(&state).unwrap().len(), 2);
    }
}
