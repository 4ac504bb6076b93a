//! What to run, in the registry's own grammar: it ends up in a command line, so nothing else gets
//! in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The grammar as a regular expression. `template.yaml` has it for the hosts' document, where empty
/// means "none".
pub const PATTERN: &str = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}|sha256:[0-9a-f]{64}";

/// An image's tag, or its `sha256:` digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
// Shared, as the names in `ids` are.
pub struct ImageTag(Arc<str>);

impl ImageTag {
    /// Reads a tag or a digest.
    ///
    /// # Errors
    /// What it has to look like.
    pub fn parse(text: &str) -> Result<ImageTag, String> {
        if is_digest(text) || is_tag(text) {
            return Ok(ImageTag(text.into()));
        }
        Err(format!(
            "{text:?} is no image tag: use 1 to 128 letters, digits, _ . and -, beginning with a letter, digit or _, \
             or sha256: and 64 hexadecimal digits; never a registry or a repository"
        ))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageTag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ImageTag::parse(&text)
    }
}

impl From<ImageTag> for String {
    fn from(tag: ImageTag) -> String {
        tag.0.as_ref().to_owned()
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(word)
        && text.len() <= 128
        && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex_lite::Regex;

    #[test]
    fn the_hosts_document_takes_the_same_tags() {
        let template = include_str!("../../../template.yaml");
        assert_eq!(template.matches(&format!("allowedPattern: ^({PATTERN})?$\n")).count(), 1);
    }

    /// Texts near the grammar's edges: its letters, its lengths, and a few that it has not.
    fn texts() -> impl Strategy<Value = String> {
        let digits = (60_usize..68, "[0-9a-f]").prop_map(|(n, digit)| digit.repeat(n));
        let long = (120_usize..136, "[a-zA-Z0-9_.-]").prop_map(|(n, letter)| letter.repeat(n));
        prop_oneof![
            "[A-Za-z0-9_.:/ @$-]{0,12}",
            "[.-]?[A-Za-z0-9_.-]{0,8}[\n\u{e9}\u{0}]?",
            ("(sha256:|sha256|SHA256:|)", digits, "[g:A-F]?").prop_map(|(a, b, c)| a + &b + &c),
            long,
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn the_pattern_and_the_parser_have_one_verdict_on_any_text(text in texts()) {
            // `\z`, because `$` of a regular expression may mean "before the last line's end".
            let pattern = Regex::new(&format!(r"^(?:{PATTERN})\z")).unwrap();
            prop_assert_eq!(pattern.is_match(&text), ImageTag::parse(&text).is_ok());
        }
    }

    #[test]
    fn tags_and_digests_and_nothing_else() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for good in ["v1", "staging-0ecc742", "_x", "1.2.3", digest.as_str()] {
            assert_eq!(ImageTag::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(129);
        let bad = [
            "",
            " v1",
            "v1\n",
            "a:b",
            "a/b",
            "-a",
            ".a",
            "sha256:abc",
            "$(id)",
            "v1;id",
            &long,
            "ä",
        ];
        for bad in bad {
            ImageTag::parse(bad).expect_err(bad);
        }
        serde_json::from_str::<ImageTag>("\"a b\"").expect_err("JSON is checked too");
    }
}
