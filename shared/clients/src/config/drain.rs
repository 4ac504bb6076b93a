//! The settings of the drain function. `docs/CONFIGURATION.md` lists them.

use super::lookup::Lookup;
use super::reader::Reader;
use super::{AwsConfig, ConfigError, checks, hash, read_aws};
use fleet_core::drain::Policy;
use fleet_protocol::ids::GroupName;

/// Every variable that the drain function knows.
pub const DRAIN_NAMES: [&str; 20] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ASG_NAME",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_AUTO_SCALING",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "DRAIN_DOCUMENT",
    "DRAIN_HOOK",
    "DRAIN_JOB_LIMIT_SECONDS",
    "DRAIN_REBALANCE_EVERY_SECONDS",
    "DRAIN_WORKER_GRACE_SECONDS",
    "DRY_RUN",
    "GH_ENVIRONMENT",
    "RUST_LOG",
];
const PREFIXES: [&str; 2] = ["AWS_ASG_", "DRAIN_"];

/// Everything the drain function is told from outside. Secrets are in secret types, so `Debug`
/// shows none.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Decide and record with the same code, and change nothing: not even a heartbeat is sent.
    pub dry_run: bool,
    /// The deployment, such as `staging`.
    pub environment: String,
    pub group: GroupName,
    /// The terminate hook that this function owns.
    pub hook: String,
    /// The SSM document that hosts understand.
    pub document: String,
    pub policy: Policy,
    pub aws: AwsConfig,
    hash: String,
}

impl DrainConfig {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// Every problem at once, misspelled names included. No secret's value is in it.
    pub fn from_env(env: &impl Lookup) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self::read(&mut reader);
        let (config, settings) = reader.finish(config, &DRAIN_NAMES, &PREFIXES)?;
        Ok(Self { hash: hash(&settings), ..config })
    }

    /// `None` only after a problem was noted. Every setting is read before the first `?`, so that
    /// all problems are found.
    fn read(reader: &mut Reader<'_, impl Lookup>) -> Option<Self> {
        let dry_run = reader.flag("DRY_RUN");
        let environment = reader.required("GH_ENVIRONMENT", checks::environment);
        let group = reader.required("AWS_ASG_NAME", checks::group);
        let hook = reader.text("DRAIN_HOOK", "ghosthands-drain-hook".to_owned(), checks::hook);
        let document =
            reader.text("DRAIN_DOCUMENT", "GhostHands-Host".to_owned(), checks::document);
        // A hook holds an instance for at most two days, and the grace has to fit in as well.
        let job_limit_s = reader.number("DRAIN_JOB_LIMIT_SECONDS", 14_400, 60..=169_200);
        // The document gives the host five and a half minutes for everything.
        let worker_grace_s = reader.number("DRAIN_WORKER_GRACE_SECONDS", 60, 1..=240);
        // Half an hour: a replacement boots in minutes, and a wave of advice lasts for hours.
        let rebalance_every_s = reader.number("DRAIN_REBALANCE_EVERY_SECONDS", 1800, 0..=86_400);
        let aws = read_aws(reader);
        Some(Self {
            dry_run: dry_run?,
            environment: environment?,
            group: GroupName::new(group?),
            hook: hook?,
            document: document?,
            policy: Policy {
                job_limit_s: job_limit_s?,
                worker_grace_s: worker_grace_s?,
                rebalance_every_s: rebalance_every_s?,
            },
            aws: aws?,
            hash: String::new(),
        })
    }

    /// Twelve hex digits over every setting that is not a secret: two records with the same hash
    /// were decided under the same settings.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The version of this program.
    #[must_use]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    #[test]
    fn the_defaults_are_the_seeds_hook_and_the_longest_job() {
        let config = DrainConfig::from_env(&env(&[])).unwrap();
        assert_eq!(config.hook, "ghosthands-drain-hook");
        assert_eq!(config.document, "GhostHands-Host");
        let policy = Policy { job_limit_s: 14_400, worker_grace_s: 60, rebalance_every_s: 1800 };
        assert_eq!(config.policy, policy);
        assert!(!config.dry_run);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn every_bad_setting_is_named_with_the_fix_and_all_at_once() {
        let bad = [
            ("DRAIN_JOB_LIMIT_SECONDS", "4h"),
            ("DRAIN_WORKER_GRACE_SECONDS", "0"),
            ("DRAIN_HOOK", "my hook"),
            ("DRAIN_DOCUMENT", "Run;This"),
            ("DRAIN_JOB_LIMIT_SECOND", "5"),
            ("AWS_ASG_NAME", ""),
            ("RUST_LOG", "x=loudly"),
        ];
        let error = DrainConfig::from_env(&env(&bad)).unwrap_err();
        assert_eq!(error.problems.len(), bad.len(), "{error}");
        for (name, _) in bad {
            assert!(
                error.problems.iter().any(|problem| problem.variable == name),
                "{name}: {error}"
            );
        }
        assert!(error.to_string().contains("Did you mean DRAIN_JOB_LIMIT_SECONDS?"), "{error}");
    }

    #[test]
    fn every_variable_is_documented() {
        let page = include_str!("../../../../docs/CONFIGURATION.md");
        for name in DRAIN_NAMES {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/CONFIGURATION.md");
        }
    }
}
