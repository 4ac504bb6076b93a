//! The stable pointer: the version that the fleet has proven, and that new hosts boot to.

use crate::ids::CommandId;
use crate::image_tag::ImageTag;
use serde::{Deserialize, Deserializer, Serialize};

/// The parameter of SSM's Parameter Store that holds it.
#[must_use]
pub fn parameter(environment: &str) -> String {
    format!("/ghosthands/{environment}/stable")
}

/// What hosts and people read of the parameter. The control plane keeps more beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StablePointer {
    pub image_tag: ImageTag,
    /// What the tag meant in the registry when it was proven, `sha256:…`; `None` where the image
    /// came from none. A tag may move, and a host may hold this very image without asking anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The rollout that proved it; `None` where a person wrote the pointer, or wrote no id here: a
    /// host boots to the version, whoever proved it.
    #[serde(default, deserialize_with = "id_if_it_is_one")]
    pub deployment_id: Option<CommandId>,
    /// When it was proven, in RFC 3339.
    #[serde(default)]
    pub at: Option<String>,
    /// The version before, to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ImageTag>,
}

impl StablePointer {
    /// Reads the parameter's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<StablePointer, String> {
        serde_json::from_str(text).map_err(|error| format!("it is no stable version: {error}"))
    }
}

fn id_if_it_is_one<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CommandId>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| CommandId::parse(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_newer_pointers_are_read() {
        let older = r#"{"image_tag":"v1","deployment_id":"d","at":"2026-11-25T08:00:00Z"}"#;
        let read = StablePointer::parse(older).unwrap();
        assert_eq!((read.image_tag.as_str(), &read.digest, &read.before), ("v1", &None, &None));
        assert_eq!(serde_json::to_string(&read).unwrap(), older);
        let newer = r#"{"image_tag":"v2","digest":"sha256:ab","deployment_id":"d","at":"x","before":"v1","kind":"deploy","signature":{"by":1}}"#;
        assert_eq!(StablePointer::parse(newer).unwrap().digest.as_deref(), Some("sha256:ab"));
    }

    #[test]
    fn a_pointer_without_a_rollouts_id_still_names_the_version() {
        for id in ["\"\"", "null", "\"by hand, on Monday\""] {
            let text = format!(r#"{{"image_tag":"v1","deployment_id":{id}}}"#);
            let read = StablePointer::parse(&text).unwrap();
            assert_eq!((read.image_tag.as_str(), read.deployment_id), ("v1", None));
        }
    }

    #[test]
    fn what_is_no_pointer_says_why() {
        assert!(StablePointer::parse(r#"{"image_tag":"v1"}"#).is_ok(), "written by a person");
        for text in ["v2", "{}", r#"{"image_tag":"a b","deployment_id":"d","at":"x"}"#] {
            assert!(
                StablePointer::parse(text).unwrap_err().starts_with("it is no stable version: ")
            );
        }
    }
}
