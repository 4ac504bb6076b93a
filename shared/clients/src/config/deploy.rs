//! The settings of the deploy function. `docs/CONFIGURATION.md` lists them.

use super::lookup::Lookup;
use super::reader::Reader;
use super::{AwsConfig, ConfigError, checks, read_aws, read_judging, read_tokens};
use crate::tokens::Token;
use fleet_core::rollout::{Limits, Share};
use fleet_protocol::ids::GroupName;
use secrecy::SecretString;

/// Every variable that the deploy function knows.
pub const DEPLOY_NAMES: [&str; 28] = [
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
    "DRAIN_JOB_LIMIT_SECONDS",
    "DRY_RUN",
    "FLEET_DOCUMENT",
    "FLEET_OPERATOR_TOKEN",
    "FLEET_READER_TOKEN",
    "FLEET_SECRET_ID",
    "FLEET_TICKER_TOKEN",
    "FLEET_TOKENS",
    "GH_ENVIRONMENT",
    "ROLLOUT_ALARMS",
    "ROLLOUT_BAKE_SECONDS",
    "ROLLOUT_SHARE_PERCENT",
    "ROLLOUT_WATCH_SECONDS",
    "RUST_LOG",
    "VALET_DEPLOY_WEBHOOK_SECRET",
    "VALET_DEPLOY_WEBHOOK_URL",
];
const PREFIXES: [&str; 4] = ["AWS_ASG_", "FLEET_", "ROLLOUT_", "VALET_DEPLOY_"];

/// The key of the secret, and the variable that wins over it, that the deploy webhook is signed
/// with.
pub const WEBHOOK_KEY: &str = "VALET_DEPLOY_WEBHOOK_SECRET";

/// Everything the deploy function is told from outside. Secrets are in secret types, so `Debug`
/// shows none.
#[derive(Clone, Debug)]
pub struct DeployConfig {
    /// The deployment, such as `staging`: part of the names of the six parameters.
    pub environment: String,
    pub group: GroupName,
    /// Look and decide, and change nothing: no order, no parameter, no news to VALET.
    pub dry_run: bool,
    /// The SSM document that hosts understand.
    pub document: String,
    /// The secret with the callers' tokens and the webhook's key, by name or ARN.
    pub secret_id: String,
    /// The callers' tokens from the environment, which win over the secret's.
    pub tokens: Option<Vec<Token>>,
    pub limits: Limits,
    /// The CloudWatch alarms that stop a rollout when they fire.
    pub alarms: Vec<String>,
    /// Where VALET takes the news of a proven version; `None` tells nobody.
    pub webhook_url: Option<String>,
    /// The webhook's key from the environment, which wins over the secret's [`WEBHOOK_KEY`].
    pub webhook_key: Option<SecretString>,
    pub aws: AwsConfig,
}

impl DeployConfig {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// Every problem at once, misspelled names included. No secret's value is in it.
    pub fn from_env(env: &impl Lookup) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self::read(&mut reader);
        reader.finish(config, &DEPLOY_NAMES, &PREFIXES).map(|(config, _)| config)
    }

    /// `None` only after a problem was noted. Every setting is read before the first `?`, so that
    /// all problems are found.
    fn read(reader: &mut Reader<'_, impl Lookup>) -> Option<Self> {
        let environment = reader.required("GH_ENVIRONMENT", checks::environment);
        // The name below derives from it; a stand-in lets its own problem be found in the same run.
        let name = environment.as_deref().unwrap_or("environment");
        let group = reader.required("AWS_ASG_NAME", checks::group);
        let dry_run = reader.flag("DRY_RUN");
        let document =
            reader.text("FLEET_DOCUMENT", "GhostHands-Host".to_owned(), checks::document);
        let secret_id =
            reader.text("FLEET_SECRET_ID", format!("ghosthands/{name}/fleet"), checks::secret_id);
        let share = reader.number("ROLLOUT_SHARE_PERCENT", 50, 1..=100);
        let job_limit_s = reader.number("DRAIN_JOB_LIMIT_SECONDS", 14_400, 60..=169_200);
        let judging = read_judging(reader);
        let alarms = reader.text("ROLLOUT_ALARMS", String::new(), checks::alarms);
        let tokens = read_tokens(reader);
        let webhook_url = reader.optional_or_empty("VALET_DEPLOY_WEBHOOK_URL", checks::webhook);
        let webhook_key = reader.secret(WEBHOOK_KEY, checks::token);
        let aws = read_aws(reader);
        Some(Self {
            environment: environment?,
            group: GroupName::new(group?),
            dry_run: dry_run?,
            document: document?,
            secret_id: secret_id?,
            tokens,
            limits: Limits { share: Share(share?), job_limit_s: job_limit_s?, judging: judging? },
            alarms: names(&alarms?),
            webhook_url,
            webhook_key,
            aws: aws?,
        })
    }

    /// The version of this program.
    #[must_use]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// The names of a list, which commas separate.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    #[test]
    fn the_least_is_enough_and_tells_nobody() {
        let config = DeployConfig::from_env(&env(&[])).unwrap();
        assert_eq!(config.document, "GhostHands-Host");
        assert_eq!(config.secret_id, "ghosthands/staging/fleet");
        assert_eq!(config.webhook_url, None);
        assert!(!config.dry_run);
    }

    #[test]
    fn the_webhook_is_told_over_tls_or_on_this_machine_only() {
        let told = |url| DeployConfig::from_env(&env(&[("VALET_DEPLOY_WEBHOOK_URL", url)]));
        for url in ["https://valet.example/hook", "http://127.0.0.1:8080/", "http://localhost:1/h"]
        {
            assert_eq!(told(url).unwrap().webhook_url.as_deref(), Some(url));
        }
        for url in [
            "http://valet.example/hook",
            "http://127.0.0.1.example/",
            "http://127.0.0.1@valet.example/",
            "http://localhost@valet.example/",
            "https://",
        ] {
            let report = told(url).unwrap_err().to_string();
            assert!(report.contains("https://"), "{url}: {report}");
        }
    }

    #[test]
    fn every_bad_setting_is_named_with_the_fix_and_no_secret_is_shown() {
        let bad = [
            ("VALET_DEPLOY_WEBHOOK_URL", "valet.example"),
            ("VALET_DEPLOY_WEBHOOK_SECRET", "short"),
            ("VALET_DEPLOY_WEBHOOK_SECERT", "geheim"),
            ("FLEET_DOCUMENT", "Run;This"),
        ];
        let error = DeployConfig::from_env(&env(&bad)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.problems.len(), bad.len(), "{text}");
        for (name, _) in bad {
            assert!(text.contains(name), "{text}");
        }
        assert!(text.contains("Did you mean VALET_DEPLOY_WEBHOOK_SECRET?"), "{text}");
        assert!(!text.contains("short") && !text.contains("geheim"), "{text}");
    }

    #[test]
    fn every_variable_is_documented() {
        let page = include_str!("../../../../docs/CONFIGURATION.md");
        for name in DEPLOY_NAMES {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/CONFIGURATION.md");
        }
    }
}
