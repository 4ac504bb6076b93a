//! Secrets on the host: the environment file, the merge at start, and a refresh that rotates.
//!
//! Precedence: what the host itself says wins over Secrets Manager. The host's own variables are
//! those of the process environment, except the ones `pull-secrets` copied out of Secrets Manager:
//! the file it writes lists their names in [`SOURCE`], and systemd hands that list over with them.
//! So a copied value never shields itself from its own rotation, and the server reads no file.

pub mod document;
pub mod dotenv;
pub mod file;
pub mod host_settings;
mod pull;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use self::document::{Stage, Variables};
use crate::aws::{self, Aws};

pub use pull::{PullArgs, PullReport, pull};

/// The variable that lists, separated by commas, which others came from Secrets Manager.
pub const SOURCE: &str = "SECRETS_MANAGER_KEYS";
/// The secret of the HTTP endpoints, and the one it replaced: both are let in while a rotation is
/// under way.
pub const DEPLOY_SECRET: &str = "GH_DEPLOY_SECRET";
/// See [`DEPLOY_SECRET`].
pub const DEPLOY_SECRET_PREVIOUS: &str = "GH_DEPLOY_SECRET_PREVIOUS";
/// The name that VALET and ATM give to the same secret. Read where [`DEPLOY_SECRET`] is not set,
/// and let in beside it where it is.
pub const ATM_DEPLOY_SECRET: &str = "ATM_DEPLOY_SECRET";
/// What lets a caller of the HTTP interface in.
pub const CALLER_SECRETS: [&str; 3] = [DEPLOY_SECRET, DEPLOY_SECRET_PREVIOUS, ATM_DEPLOY_SECRET];
/// A host whose containers wait to be looked after does not wait longer for newer secrets than its
/// file has.
const START_BUDGET: Duration = Duration::from_secs(6);

/// Why secrets could not be read or written. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Which environment this is is unknown.
    #[error("GH_ENVIRONMENT: {0}")]
    Environment(String),
    /// AWS did not answer, or refused.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// The secret's content is not usable.
    #[error("the secret {id}: {problem}")]
    Document {
        /// The secret.
        id: String,
        /// What is wrong and what it should be.
        problem: String,
    },
    /// The environment file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A value has no place in an environment file.
    #[error(transparent)]
    Unwritable(#[from] dotenv::Unwritable),
}

impl Error {
    /// Whether the fault lies with AWS or the way to it, and not with this host's settings or the
    /// secret's content.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        matches!(self, Self::Aws(error) if !matches!(error, aws::Error::Setting { .. }))
    }
}

/// What a refresh did, by name only.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RefreshReport {
    /// Keys with a new value.
    pub changed: Vec<String>,
    /// Keys that were not there.
    pub added: Vec<String>,
    /// Keys the secret no longer has.
    pub removed: Vec<String>,
    /// Keys of the secret that this host sets itself, to another value; the host's stays.
    pub kept: Vec<String>,
    /// How many keys are as they were.
    pub unchanged: usize,
}

/// The environment the server works with: the host's own variables over those of Secrets Manager.
#[derive(Debug)]
pub struct Secrets {
    own: Variables,
    state: RwLock<State>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    fetched: Variables,
    merged: Arc<Variables>,
}

impl Secrets {
    /// Takes over the process environment and asks Secrets Manager. A failure is returned beside
    /// the result, not instead of it: the host then works with what `pull-secrets` left.
    pub async fn at_start(process: BTreeMap<String, String>) -> (Self, Option<Error>) {
        let copied = copied(&process);
        let (fetched, own): (Variables, Variables) = process
            .iter()
            .filter(|(name, _)| name.as_str() != SOURCE)
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str())))
            .partition(|(name, _)| copied.contains(name.as_str()));
        let merged = Arc::new(merge(&fetched, &own, None));
        let secrets = Self {
            own,
            state: RwLock::new(State { fetched, merged }),
            refreshing: tokio::sync::Mutex::new(()),
        };
        let error = match tokio::time::timeout(START_BUDGET, secrets.refresh()).await {
            Ok(result) => result.err(),
            Err(_) => Some(Error::Aws(aws::Error::Unreachable {
                what: "Secrets Manager".to_owned(),
                reason: format!("no answer within {} s", START_BUDGET.as_secs()),
            })),
        };
        (secrets, error)
    }

    /// The environment as it is now.
    #[must_use]
    pub fn environment(&self) -> Arc<Variables> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.merged)
    }

    /// The environment for this server's own settings: what the host itself says, and of Secrets
    /// Manager only what lets callers in. Whoever may write the application's secret must not steer
    /// root by it; see [`host_settings`].
    #[must_use]
    pub fn host_environment(&self) -> BTreeMap<String, String> {
        let plain =
            |name: &str, value: &SecretString| (name.to_owned(), value.expose_secret().to_owned());
        let merged = self.environment();
        let mut own: BTreeMap<String, String> =
            self.own.iter().map(|(name, value)| plain(name, value)).collect();
        own.extend(
            CALLER_SECRETS
                .iter()
                .filter_map(|name| merged.get(*name).map(|value| plain(name, value))),
        );
        own
    }

    /// Settings of this host that only the application's secret has, by name. They reach the
    /// containers and have no effect on the host.
    #[must_use]
    pub fn without_effect_on_the_host(&self) -> Vec<String> {
        let merged = self.environment();
        let ignored =
            |name: &&String| host_settings::is_shared(name) && !self.own.contains_key(*name);
        merged.keys().filter(ignored).cloned().collect()
    }

    /// Fetches the secret and takes over every key the host does not set itself. Containers get new
    /// values when they are next created. Refreshes wait for each other.
    ///
    /// # Errors
    /// [`Error`]; the environment is then as it was.
    pub async fn refresh(&self) -> Result<RefreshReport, Error> {
        let _one_at_a_time = self.refreshing.lock().await;
        let plain = self.host_environment();
        let aws = Aws::from_env(&plain)?;
        let given = plain.get("GH_ENVIRONMENT").map(String::as_str);
        let id = document::id(&document::environment(given, &aws).await?);
        let (current, previous) = tokio::join!(
            document::fetch(&aws, &id, Stage::Current),
            document::fetch(&aws, &id, Stage::Previous),
        );
        let current = current?.unwrap_or_default();
        let previous = match previous {
            // What a mended document was like before must not keep it from being read.
            Err(Error::Document { .. }) => None,
            previous => previous?,
        };

        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let report = compare(&state.fetched, &current, &self.own);
        let replaced = previous
            .and_then(|mut variables| variables.remove(DEPLOY_SECRET))
            .or_else(|| state.merged.get(DEPLOY_SECRET).cloned());
        state.merged = Arc::new(merge(&current, &self.own, replaced));
        state.fetched = current;
        Ok(report)
    }
}

/// The variables of a process's environment that `pull-secrets` copied out of Secrets Manager.
fn copied(process: &BTreeMap<String, String>) -> BTreeSet<&str> {
    let names = process.get(SOURCE).map(|names| names.split(',')).into_iter().flatten();
    names.filter(|name| !name.is_empty()).collect()
}

/// What the host itself says in the environment of a process that takes nothing from the
/// application's secret; see [`host_settings`].
#[must_use]
pub fn own(process: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let copied = copied(process);
    let own = process.iter().filter(|(name, _)| !copied.contains(name.as_str()));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `own` over `fetched`; `replaced` becomes the previous deploy secret where nobody sets one and it
/// differs from the current.
fn merge(fetched: &Variables, own: &Variables, replaced: Option<SecretString>) -> Variables {
    let mut merged = fetched.clone();
    merged.extend(own.clone());
    if let Some(replaced) = replaced
        && !merged.contains_key(DEPLOY_SECRET_PREVIOUS)
        && merged
            .get(DEPLOY_SECRET)
            .is_some_and(|now| now.expose_secret() != replaced.expose_secret())
    {
        merged.insert(DEPLOY_SECRET_PREVIOUS.to_owned(), replaced);
    }
    merged
}

/// What taking over `new` in place of `old` changes, where `own` wins over both.
fn compare(old: &Variables, new: &Variables, own: &Variables) -> RefreshReport {
    let mut report = RefreshReport::default();
    for (name, value) in new {
        let same = |other: &SecretString| other.expose_secret() == value.expose_secret();
        let list = match (own.get(name), old.get(name)) {
            (Some(ours), _) if same(ours) => None,
            (Some(_), _) => Some(&mut report.kept),
            (None, Some(before)) if same(before) => None,
            (None, Some(_)) => Some(&mut report.changed),
            (None, None) => Some(&mut report.added),
        };
        match list {
            Some(list) => list.push(name.clone()),
            None => report.unchanged += 1,
        }
    }
    report.removed = old
        .keys()
        .filter(|name| !new.contains_key(*name) && !own.contains_key(*name))
        .cloned()
        .collect();
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), SecretString::from(*v))).collect()
    }

    #[test]
    fn the_report_names_what_changed() {
        let old = variables(&[("A", "1"), ("B", "2"), ("C", "3"), ("H", "x")]);
        let new = variables(&[("A", "1"), ("B", "two"), ("D", "4"), ("H", "y"), ("I", "z")]);
        let own = variables(&[("H", "host"), ("I", "z")]);
        let report = compare(&old, &new, &own);
        assert_eq!(report.changed, ["B"]);
        assert_eq!(report.added, ["D"]);
        assert_eq!(report.removed, ["C"]);
        assert_eq!(report.kept, ["H"]);
        assert_eq!(report.unchanged, 2);
    }

    #[test]
    fn the_host_wins_and_a_replaced_deploy_secret_stays_valid() {
        let fetched = variables(&[(DEPLOY_SECRET, "new"), ("A", "sm"), ("B", "sm")]);
        let merged = merge(&fetched, &variables(&[("A", "host")]), Some("old".into()));
        assert_eq!(merged["A"].expose_secret(), "host");
        assert_eq!(merged["B"].expose_secret(), "sm");
        assert_eq!(merged[DEPLOY_SECRET_PREVIOUS].expose_secret(), "old");

        let unchanged = merge(&fetched, &Variables::new(), Some("new".into()));
        assert!(!unchanged.contains_key(DEPLOY_SECRET_PREVIOUS));
        let own = variables(&[(DEPLOY_SECRET_PREVIOUS, "theirs")]);
        let given = merge(&fetched, &own, Some("old".into()));
        assert_eq!(given[DEPLOY_SECRET_PREVIOUS].expose_secret(), "theirs");
    }
}
