//! What CI says of a version that it asks to roll out, kept for the deploy webhook.

use serde::{Deserialize, Serialize};

/// The predecessor's fields. VALET reads each of them as a string, so one that nobody gave is the
/// empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit_sha: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit_message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub branch: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_url: String,
}

impl Build {
    /// The most bytes that are kept of each field: with them all a parameter still has room.
    pub const LIMITS: [(&str, usize); 5] = [
        ("commit_sha", 64),
        ("commit_message", 200),
        ("branch", 100),
        ("repository", 140),
        ("run_url", 200),
    ];

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Build::default()
    }

    /// The same, each field cut on a character boundary.
    #[must_use]
    pub fn bounded(self) -> Build {
        let [sha, message, branch, repository, url] = Build::LIMITS.map(|(_, limit)| limit);
        let clip = |text: &str, bytes| text[..text.floor_char_boundary(bytes)].to_owned();
        Build {
            commit_sha: clip(&self.commit_sha, sha),
            commit_message: clip(&self.commit_message, message),
            branch: clip(&self.branch, branch),
            repository: clip(&self.repository, repository),
            run_url: clip(&self.run_url, url),
        }
    }
}
