//! Names of things in the outside world, as types, so that a worker is never mistaken for an
//! instance.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $fits:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        // Shared: a decision copies names far more often than anybody makes one.
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name that is known to be one: AWS's own answer, or a literal. What a client
            /// or a host says is read with [`Self::parse`], and so is JSON.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// Reads a name.
            ///
            /// # Errors
            /// What it has to look like.
            pub fn parse(text: &str) -> Result<Self, String> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    return Ok(Self(text.into()));
                }
                let shown = crate::line::clip(text, 80);
                Err(format!(concat!("{:?} is no ", $rule), shown))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// An EC2 instance, `i-…`.
    InstanceId,
    |text| text.len() <= 64
        && text.strip_prefix("i-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_word)),
    "instance id: use i- and letters and digits, as EC2 gives it"
}
name_type! {
    /// An Auto Scaling group.
    GroupName,
    |text| is_short(text, 255),
    "group name: use 1 to 255 characters"
}
name_type! {
    /// A worker as its registry row and its targeted queue call it. The old workers use their
    /// instance id.
    WorkerId,
    |text| is_short(text, 255),
    "worker id: use 1 to 255 characters"
}
name_type! {
    /// A command of SSM Run Command. The first command of a rollout is the rollout's id.
    CommandId,
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_word),
    "command id: use the letters, digits and hyphens that SSM gave"
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn is_short(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_checked() {
        for good in ["i-1", "i-0a1b2c3d4e5f60718"] {
            assert_eq!(InstanceId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "i-", "w1", "i-1 ", "i-1;id", "i-ä", &format!("i-{}", "1".repeat(64))] {
            InstanceId::parse(bad).expect_err(bad);
            serde_json::from_value::<InstanceId>(bad.into()).expect_err("JSON is checked too");
        }
        let why = InstanceId::parse("w1").unwrap_err();
        assert_eq!(why, "\"w1\" is no instance id: use i- and letters and digits, as EC2 gives it");
        CommandId::parse("12345678-1234-1234-1234-123456789012").unwrap();
        CommandId::parse("a b").unwrap_err();
        WorkerId::parse("w 1").unwrap();
        WorkerId::parse("w\n1").unwrap_err();
        GroupName::parse("").unwrap_err();
        let id = InstanceId::new("i-1");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"i-1\"");
    }
}
