//! Names of things in the outside world, as types, so that a worker is never mistaken for an
//! instance.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
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
    InstanceId
}
name_type! {
    /// An Auto Scaling group.
    GroupName
}
name_type! {
    /// A worker as its registry row and its targeted queue call it. The old workers use their
    /// instance id.
    WorkerId
}
name_type! {
    /// A command of SSM Run Command. The first command of a rollout is the rollout's id.
    CommandId
}
