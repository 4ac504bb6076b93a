//! What the server and the process that cleans files say to each other: one line of JSON each way,
//! over a socket that is root's alone.
//!
//! The process may delete other people's files, which the server may not. So it takes no path and
//! no time of day from the server, and nothing that would make it work without end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FILE_TARGETS, FILES_WITHIN, Target, sweep};

/// A request is never longer: three targets with a place for each level of folders.
pub(super) const LONGEST_REQUEST: u64 = 16 * 1024;
/// Nor an answer: twenty things that stayed, of at most 400 characters each, for four targets.
pub(super) const LONGEST_ANSWER: u64 = 1 << 20;

/// By target: for each level of folders, from which place of its listing the next run goes on.
pub(super) type Places = BTreeMap<String, Vec<i64>>;

/// What the server may ask for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Request {
    pub(super) dry_run: bool,
    /// How long each target of files may take, in milliseconds.
    pub(super) within_ms: u64,
    /// Where the run before stopped.
    pub(super) places: Places,
}

/// What came of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    Done { targets: Vec<Target>, places: Places },
    Refused(String),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it; nothing may be done then.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let request: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let longest = FILES_WITHIN.as_millis();
        if u128::from(request.within_ms) > longest {
            return Err(format!("withinMs {} is more than {longest}", request.within_ms));
        }
        for (target, place) in &request.places {
            if !FILE_TARGETS.contains(&target.as_str()) {
                return Err(format!("places: there is no target {target:?}"));
            }
            if place.len() > sweep::MOST_LEVELS {
                return Err(format!("places: {} levels of folders in {target}", place.len()));
            }
        }
        Ok(request)
    }

    pub(super) fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_path_a_time_or_absurd_values_is_refused() {
        let good = r#"{"dryRun":false,"withinMs":120000,"places":{"tmp_files":[1,-2]}}"#;
        let request = Request::parse(good).expect("what the server sends");
        assert_eq!(request.within(), FILES_WITHIN);
        let deep = format!(
            r#"{{"dryRun":false,"withinMs":1,"places":{{"tmp_files":[{}0]}}}}"#,
            "0,".repeat(sweep::MOST_LEVELS)
        );
        for bad in [
            "",
            "{}",
            "null",
            r#"{"dryRun":false,"withinMs":1,"places":{},"tmp":"/etc"}"#,
            r#"{"dryRun":false,"withinMs":1,"places":{},"nowMs":9999999999999}"#,
            r#"{"dryRun":false,"withinMs":1,"places":{"/etc":[0]}}"#,
            r#"{"dryRun":false,"withinMs":1,"places":{"tmp_files":["/etc"]}}"#,
            r#"{"dryRun":false,"withinMs":120001,"places":{}}"#,
            r#"{"dryRun":false,"withinMs":-1,"places":{}}"#,
            r#"{"dryRun":"/etc","withinMs":1,"places":{}}"#,
            r#"{"dryRun":false,"withinMs":1,"places":{}} {}"#,
            &deep,
        ] {
            assert!(Request::parse(bad).is_err(), "{bad}");
        }
    }
}
