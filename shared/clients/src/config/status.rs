//! The settings of the fleet-status function. `docs/CONFIGURATION.md` lists them.

use super::lookup::Lookup;
use super::reader::Reader;
use super::{
    AwsConfig, ConfigError, DatabaseConfig, QueueConfig, checks, read_aws, read_database_url,
    read_secret_ids, read_tick, read_tokens,
};
use crate::tokens::Token;
use fleet_core::status::{Prices, Site, counts_for_s};
use fleet_protocol::ids::GroupName;
use std::num::NonZeroU32;

/// Every variable that the fleet-status function knows.
pub const STATUS_NAMES: [&str; 42] = [
    "AUTOSCALE_ASG_ENABLED",
    "AUTOSCALE_BOOT_SECONDS",
    // Not read, nor is the other of the two: both functions may be given the same settings.
    "AUTOSCALE_HOLD_MIN_SECONDS",
    "AUTOSCALE_IDLE_CONFIRM_SECONDS",
    "AUTOSCALE_MAX",
    "AUTOSCALE_MIN",
    "AUTOSCALE_STATE_PARAMETER",
    "AUTOSCALE_TICK_SECONDS",
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
    "COST_FIXED_MONTH_MICROS",
    "COST_INSTANCE_HOUR_MICROS",
    "COST_VOLUME_MONTH_MICROS",
    "DATABASE_CA",
    // Not read: the migrations' own, often set beside ours, so it is let be.
    "DATABASE_DIRECT_URL",
    "DATABASE_SECRET_ID",
    "DATABASE_URL",
    "DRY_RUN",
    "FLEET_DOCUMENT",
    "FLEET_OPERATOR_TOKEN",
    "FLEET_READER_TOKEN",
    "FLEET_SECRET_ID",
    "FLEET_STABLE_PARAMETER",
    "FLEET_SURVEY_MINUTES",
    "FLEET_TICKER_TOKEN",
    "FLEET_TOKENS",
    "GH_ENVIRONMENT",
    "PGBOSS_GROUP_CONCURRENCY",
    "PGBOSS_QUEUE",
    "PGBOSS_SCHEMA",
    "RUST_LOG",
    "WAIT_TARGET_SECONDS",
];
const PREFIXES: [&str; 6] = ["AUTOSCALE_", "AWS_ASG_", "COST_", "DATABASE_", "FLEET_", "PGBOSS_"];

/// Everything the fleet-status function is told from outside. Secrets are in secret types, so
/// `Debug` shows none.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// What the scaling function is told too.
    pub site: Site,
    /// Jobs that become due within this time are told apart from those that become due later.
    pub boot_s: u32,
    /// Seconds between two ticks of the scaling function.
    pub tick_s: u32,
    /// The SSM parameter that holds the scaling function's memory.
    pub state_parameter: String,
    /// The SSM parameter that holds the version that hosts boot to.
    pub stable_parameter: String,
    /// The SSM document that hosts understand.
    pub document: String,
    pub queue: QueueConfig,
    pub database: DatabaseConfig,
    /// The secret with the callers' tokens, by name or ARN.
    pub secret_id: String,
    /// The callers' tokens from the environment, which win over the secret's.
    pub tokens: Option<Vec<Token>>,
    pub aws: AwsConfig,
}

impl StatusConfig {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// Every problem at once, misspelled names included. No secret's value is in it.
    pub fn from_env(env: &impl Lookup) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self::read(&mut reader);
        reader.finish(config, &STATUS_NAMES, &PREFIXES).map(|(config, _)| config)
    }

    /// `None` only after a problem was noted. Every setting is read before the first `?`, so that
    /// all problems are found.
    fn read(reader: &mut Reader<'_, impl Lookup>) -> Option<Self> {
        let environment = reader.required("GH_ENVIRONMENT", checks::environment);
        // The names below derive from it; a stand-in lets their own problems be found in the same
        // run.
        let name = environment.as_deref().unwrap_or("environment").to_owned();
        let state_parameter = reader.text(
            "AUTOSCALE_STATE_PARAMETER",
            format!("/ghosthands/{name}/autoscale/state"),
            checks::parameter,
        );
        let stable_parameter = reader.text(
            "FLEET_STABLE_PARAMETER",
            fleet_protocol::stable::parameter(&name),
            checks::parameter,
        );
        let document =
            reader.text("FLEET_DOCUMENT", "GhostHands-Host".to_owned(), checks::document);
        let (secret_id, database_secret_id) = read_secret_ids(reader, &name);
        let site = read_site(reader, environment);
        let boot_s = reader.number("AUTOSCALE_BOOT_SECONDS", 95, 1..=600);
        let tick_s = read_tick(reader);
        let schema = reader.text("PGBOSS_SCHEMA", "pgboss".to_owned(), checks::schema);
        let queue = reader.text("PGBOSS_QUEUE", "gh_apply_job".to_owned(), checks::queue);
        let group_limit = reader.number("PGBOSS_GROUP_CONCURRENCY", 0, 0..=1000);
        let ca_pem = reader.certificates("DATABASE_CA");
        let url = read_database_url(reader, ca_pem.as_deref());
        let tokens = read_tokens(reader);
        let aws = read_aws(reader);
        Some(Self {
            site: site?,
            boot_s: boot_s?,
            tick_s: tick_s?,
            state_parameter: state_parameter?,
            stable_parameter: stable_parameter?,
            document: document?,
            queue: QueueConfig {
                schema: schema?,
                name: queue?,
                group_limit: NonZeroU32::new(group_limit?),
            },
            database: DatabaseConfig { url, secret_id: database_secret_id?, ca_pem },
            secret_id: secret_id?,
            tokens,
            aws: aws?,
        })
    }

    /// The version of this program.
    #[must_use]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

fn read_site(reader: &mut Reader<'_, impl Lookup>, environment: Option<String>) -> Option<Site> {
    let group = reader.required("AWS_ASG_NAME", checks::group);
    let enabled = reader.flag("AUTOSCALE_ASG_ENABLED");
    let dry_run = reader.flag("DRY_RUN");
    let min = reader.number("AUTOSCALE_MIN", 1, 0..=1000);
    let max = reader.number("AUTOSCALE_MAX", 10, 0..=1000);
    let wait_target_s = reader.number("WAIT_TARGET_SECONDS", 180, 1..=86_400);
    let usual = Prices::default();
    let survey_minutes = reader.number("FLEET_SURVEY_MINUTES", 15, 5..=240);
    // Up to a thousand dollars.
    let mut price = |name, usual| reader.number(name, usual, 0..=1_000_000_000);
    let instance_hour = price("COST_INSTANCE_HOUR_MICROS", usual.instance_hour);
    let volume_month = price("COST_VOLUME_MONTH_MICROS", usual.volume_month);
    let fixed_month = price("COST_FIXED_MONTH_MICROS", usual.fixed_month);
    Some(Site {
        environment: environment?,
        group: GroupName::new(group?),
        enabled: enabled?,
        dry_run: dry_run?,
        min: min?,
        max: max?,
        prices: Prices {
            instance_hour: instance_hour?,
            volume_month: volume_month?,
            fixed_month: fixed_month?,
        },
        wait_target_s: wait_target_s?,
        proof_life_s: counts_for_s(survey_minutes?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    #[test]
    fn the_defaults_are_the_scaling_functions_and_the_seeds_prices() {
        let config = StatusConfig::from_env(&env(&[])).unwrap();
        assert_eq!((config.site.min, config.site.max, config.boot_s), (1, 10, 95));
        assert_eq!((config.tick_s, config.site.prices), (20, Prices::default()));
        assert_eq!(config.site.wait_target_s, 180);
        assert_eq!(config.state_parameter, "/ghosthands/staging/autoscale/state");
        assert_eq!(config.stable_parameter, "/ghosthands/staging/stable");
        assert_eq!(config.document, "GhostHands-Host");
        assert_eq!(config.site.proof_life_s, 32 * 60, "two surveys may be lost");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn every_bad_setting_is_named_with_the_fix_and_all_at_once() {
        let bad = [
            ("AUTOSCALE_MAX", "ten"),
            ("AUTOSCALE_TICK_SECONDS", "25"),
            ("AWS_ASG_NAME", ""),
            ("COST_INSTANCE_HOUR_MICROS", "0.0832"),
            ("COST_INSTANCE_HOUR_MICRO", "1"),
            ("FLEET_DOCUMENT", "Run;This"),
            ("FLEET_READER_TOKEN", "short"),
            ("FLEET_STABLE_PARAMETER", "stable"),
            ("RUST_LOG", "x=loudly"),
        ];
        let error = StatusConfig::from_env(&env(&bad)).unwrap_err();
        assert_eq!(error.problems.len(), bad.len(), "{error}");
        for (name, _) in bad {
            let named = error.problems.iter().any(|problem| problem.variable == name);
            assert!(named, "{name}: {error}");
        }
        assert!(error.to_string().contains("Did you mean COST_INSTANCE_HOUR_MICROS?"), "{error}");
    }

    #[test]
    fn every_variable_is_documented() {
        let page = include_str!("../../../../docs/CONFIGURATION.md");
        for name in STATUS_NAMES {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/CONFIGURATION.md");
        }
    }
}
