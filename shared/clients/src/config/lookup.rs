//! Where settings come from. Tests hand in a map, the function its environment; nothing else in
//! this crate reads the environment.

use std::collections::BTreeMap;

/// A set of named settings.
pub trait Lookup {
    /// The value of `name`, or `None` where it is not set. A set but empty variable is `Some("")`.
    fn get(&self, name: &str) -> Option<String>;

    /// The names of all settings, so that a misspelled one can be found.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process. A value that is not UTF-8 reads as its lossy form, which no
/// check here accepts.
#[derive(Clone, Copy, Debug)]
pub struct Environment;

impl Lookup for Environment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

impl Lookup for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}
