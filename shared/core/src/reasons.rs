//! Reasons and notes: for a machine by their tag and fields, for a person in a sentence.

/// An enum whose variants each carry their sentence.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident {
        $(
            $(#[$vdoc:meta])*
            $variant:ident $({ $($(#[$fmeta:meta])* $field:ident: $type:ty),* $(,)? })?
                => $text:literal $(, $arg:expr)*;
        )*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "rule", rename_all = "snake_case")]
        pub enum $name {
            $($(#[$vdoc])* $variant $({ $($(#[$fmeta])* $field: $type),* })?,)*
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $($name::$variant $({ $($field),* })? => write!(f, $text $(, $arg)*),)*
                }
            }
        }
    };
}

pub(crate) use reasons;
