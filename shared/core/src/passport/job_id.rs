//! The id of a job.

use crate::text::cut;
use serde::Serialize;
use std::fmt;

/// A UUID in lower case, as pg-boss and the application give it to their jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// Reads an id.
    ///
    /// # Errors
    /// What one looks like.
    pub fn parse(text: &str) -> Result<JobId, String> {
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if fits {
            return Ok(JobId(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{:?} is no job id: use the UUID that pg-boss or the application gave the job, such as \
             0f8fad5b-d9cb-469f-a165-70867728950e",
            cut(text, 60)
        ))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_a_job_id_and_nothing_else_is() {
        let id = "0F8FAD5B-d9cb-469f-a165-70867728950e";
        assert_eq!(JobId::parse(id).unwrap().as_str(), id.to_lowercase());
        let long = format!("{id}0");
        for wrong in ["", "17", "x", "0f8fad5bd9cb469fa16570867728950e", &long, "' OR true; --"] {
            assert!(JobId::parse(wrong).unwrap_err().contains("is no job id"), "{wrong}");
        }
        assert!(JobId::parse(&"ä".repeat(18)).is_err());
        assert!(JobId::parse(&"-".repeat(36)).is_err());
    }
}
