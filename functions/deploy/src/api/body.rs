//! What requests carry, checked: everything that is wrong is named, with what to do about it.

use fleet_core::rollout::{Build, Key, Strategy};
use fleet_lambda::Problem;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const KEY: &str = "send 1 to 255 printable ASCII characters without spaces, the same for every repetition of this request";
const REASON: usize = 200;
/// CI may send a whole commit message; the beginning of it is kept.
const BUILD: usize = 4096;
/// What SSM takes by id.
const HOSTS: usize = 50;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deploy {
    pub(super) image_tag: Tag,
    #[serde(default)]
    pub(super) strategy: Pace,
    #[serde(default)]
    pub(super) force: bool,
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_sha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_url: Option<String>,
}

impl Deploy {
    /// What CI says of the version, for the deploy webhook.
    pub(super) fn build(&self) -> Result<Build, Problem> {
        let text = |name: &str, given: &Option<String>| {
            let text = given.as_deref().unwrap_or_default();
            if text.len() > BUILD {
                return Err(bad(format!("{name}: use at most {BUILD} bytes")));
            }
            Ok(text.to_owned())
        };
        let build = Build {
            commit_sha: text("commit_sha", &self.commit_sha)?,
            commit_message: text("commit_message", &self.commit_message)?,
            branch: text("branch", &self.branch)?,
            repository: text("repository", &self.repository)?,
            run_url: text("run_url", &self.run_url)?,
        };
        Ok(build.bounded())
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBack {
    #[serde(default)]
    pub(super) strategy: Pace,
    #[serde(default)]
    pub(super) force: bool,
    pub(super) reason: Option<String>,
}

/// An action for every host.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct All {
    pub(super) reason: Option<String>,
}

/// An action for named hosts.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) instance_ids: Vec<String>,
    pub(super) reason: Option<String>,
}

/// An image tag as a request spells it: refused here with its field's name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Tag(pub(super) ImageTag);

impl TryFrom<String> for Tag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ImageTag::parse(&text).map(Tag).map_err(|wrong| format!("image_tag: {wrong}"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pace(pub(super) Strategy);

impl TryFrom<String> for Pace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Strategy::parse(&text).map(Pace).map_err(|wrong| format!("strategy: {wrong}"))
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

fn bad(detail: impl AsRef<str>) -> Problem {
    Problem::bad_request(detail)
}

/// The body as JSON; none at all counts as an object without fields.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    if !text.trim_start().starts_with('{') {
        return Err(bad("the body has to be a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| bad(format!("the body cannot be taken: {error}")))
}

/// The `Idempotency-Key`, as what stands for it.
pub(super) fn key(header: Option<&str>) -> Result<Key, Problem> {
    let key = header.ok_or_else(|| bad(format!("Idempotency-Key is missing: {KEY}")))?;
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad(format!("Idempotency-Key cannot be used: {KEY}")));
    }
    Ok(hashed(key))
}

/// The same where it may be left out: then the request stands for itself alone.
pub(super) fn key_or(header: Option<&str>, request_id: &str) -> Result<Key, Problem> {
    if header.is_some() { key(header) } else { Ok(hashed(request_id)) }
}

/// Twelve digits that stand for the text.
pub(super) fn hashed(text: &str) -> Key {
    let hash = Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    });
    Key::of_hash(&hash)
}

/// A reason is shown to people and kept in a comment.
pub(super) fn reason(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if text.chars().count() > REASON || text.chars().any(char::is_control) {
        return Err(bad(format!("reason: use at most {REASON} characters on one line")));
    }
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Named hosts, each once.
pub(super) fn hosts(ids: &[String]) -> Result<Vec<InstanceId>, Problem> {
    if ids.is_empty() || ids.len() > HOSTS {
        return Err(bad(format!("instance_ids: name 1 to {HOSTS} instances")));
    }
    let mut hosts = Vec::new();
    for id in ids {
        let digits = id.strip_prefix("i-").unwrap_or_default();
        let fits =
            (8..=17).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !fits {
            let shown: String = id.chars().take(60).collect();
            return Err(bad(format!(
                "instance_ids: {shown:?} is no instance id such as i-0a1b2c3d4e5f60718"
            )));
        }
        let host = InstanceId::new(id.as_str());
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            "[]",
            "\"v1\"",
            "{",
            "{}",
            r#"{"imageTag":"v1"}"#,
            r#"{"image_tag":"a b"}"#,
            r#"{"image_tag":1}"#,
            r#"{"image_tag":"v1","strategy":"yolo"}"#,
            r#"{"image_tag":"v1","force":"yes"}"#,
            r#"{"image_tag":"v1","image_tag":"v2"}"#,
        ];
        let said = wrong.map(|body| read::<Deploy>(body.as_bytes()).expect_err(body).detail);
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn keys_reasons_and_hosts() {
        for wrong in [None, Some(""), Some("ä"), Some("a b"), Some(&*"x".repeat(256))] {
            assert_eq!(key(wrong).expect_err("no key").status, 400);
        }
        let one = key(Some("one")).unwrap();
        assert_eq!((one.as_str().len(), &one), (12, &key(Some("one")).unwrap()));
        assert_ne!(one, key(Some("two")).unwrap());
        assert_eq!(key_or(Some("one"), "r").unwrap(), one);
        assert_ne!(key_or(None, "r").unwrap(), key_or(None, "s").unwrap());
        key_or(Some(""), "r").expect_err("an empty one is no key");
        assert_eq!(reason(Some("  fix ")).unwrap().as_deref(), Some("fix"));
        reason(Some("a\nb")).expect_err("two lines");
        reason(Some(&"x".repeat(201))).expect_err("too long");
        let ids = ["i-0a1b2c3d4e5f60718".to_owned(), "i-0a1b2c3d4e5f60718".to_owned()];
        assert_eq!(hosts(&ids).unwrap().len(), 1);
        for wrong in [
            vec![],
            vec!["i-1; id".to_owned()],
            vec!["x".to_owned()],
            vec!["i-12345678".to_owned(); 51],
        ] {
            hosts(&wrong).expect_err("refused");
        }
    }
}
