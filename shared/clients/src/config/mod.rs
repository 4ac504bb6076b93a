//! The settings of the autoscale function, by the names the fleet has always used.
//! `docs/CONFIGURATION.md` lists them.
//!
//! A value that cannot be used is never replaced by a default: it stops the start, and all of them
//! are reported at once.

mod checks;
mod deploy;
mod drain;
mod lookup;
mod names;
mod policy;
mod reader;
mod report;
mod status;
#[cfg(test)]
mod tests;

pub use deploy::{DEPLOY_NAMES, DeployConfig, WEBHOOK_KEY};
pub use drain::{DRAIN_NAMES, DrainConfig};
pub use lookup::{Environment, Lookup};
pub use names::NAMES;
pub use report::{ConfigError, Problem};
pub use status::{STATUS_NAMES, StatusConfig};

use crate::postgres::{DatabaseUrl, Trust};
use crate::tokens::{self, Scope, Token};
use fleet_core::rollout::Judging;
use fleet_core::scaling::Policy;
use fleet_protocol::ids::GroupName;
use policy::read_policy;
use reader::Reader;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroU32;

/// The key of the secret that holds the database's address.
pub const DATABASE_URL_KEY: &str = "DATABASE_URL";
/// The key of the secret that holds the operators' token, and the variable that wins over it.
pub const OPERATOR_TOKEN_KEY: &str = "FLEET_OPERATOR_TOKEN";
/// The same for those who only look.
pub const READER_TOKEN_KEY: &str = "FLEET_READER_TOKEN";
/// The same for those who only have the scaling function tick.
pub const TICKER_TOKEN_KEY: &str = "FLEET_TICKER_TOKEN";
/// The same for named tokens, each with its scopes.
pub const TOKENS_KEY: &str = "FLEET_TOKENS";

/// Everything the autoscale function is told from outside. Secrets are in secret types, so `Debug`
/// shows none.
#[derive(Clone, Debug)]
pub struct AutoscaleConfig {
    /// Whether a tick does anything at all.
    pub enabled: bool,
    /// Decide and record with the same code, and change nothing.
    pub dry_run: bool,
    /// The deployment, such as `staging`: part of the default names of the secret and of the state
    /// parameter.
    pub environment: String,
    pub group: GroupName,
    pub policy: Policy,
    /// Whether, and how long, versions are judged by their jobs: this function counts them.
    pub judging: Judging,
    /// Seconds between two ticks; a scheduled invocation makes all of its minute.
    pub tick_s: u32,
    /// The terminate hook of the drain function, which stands behind an instance that leaves.
    pub hook: String,
    /// The SSM parameter that holds the memory between ticks.
    pub state_parameter: String,
    pub queue: QueueConfig,
    pub database: DatabaseConfig,
    /// The secret with the callers' tokens, by name or ARN.
    pub secret_id: String,
    /// The callers' tokens from the environment, which win over the secret's.
    pub tokens: Option<Vec<Token>>,
    pub aws: AwsConfig,
    hash: String,
}

/// Where pg-boss keeps the jobs.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// A valid SQL identifier that needs no quoting.
    pub schema: String,
    pub name: String,
    /// How many jobs of one group (`group_id`) the workers run at a time; `None` where they do not
    /// limit it.
    pub group_limit: Option<NonZeroU32>,
}

#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The address from the environment, which wins over the secret's [`DATABASE_URL_KEY`].
    pub url: Option<SecretString>,
    /// The secret with the database's address, by name or ARN.
    pub secret_id: String,
    /// The only authorities the database's certificate may come from, in PEM form; `None` trusts
    /// the public ones.
    pub ca_pem: Option<String>,
}

/// How to reach AWS.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    pub region: String,
    pub access_key_id: SecretString,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
    pub endpoints: Endpoints,
    /// Authorities to trust in place of Amazon's own, in PEM form, for a site whose proxy opens
    /// TLS.
    pub ca_bundle_pem: Option<String>,
}

/// Addresses to use in place of AWS's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// For every service without one of its own.
    pub all: Option<String>,
    pub auto_scaling: Option<String>,
    pub ssm: Option<String>,
    pub secrets_manager: Option<String>,
    pub ec2: Option<String>,
}

impl AwsConfig {
    /// Reads and checks how to reach AWS, and nothing else.
    ///
    /// # Errors
    /// Every problem at once. No secret's value is in it.
    pub fn from_env(env: &impl Lookup) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = read_aws(&mut reader);
        let problems = reader.problems;
        config.filter(|_| problems.is_empty()).ok_or(ConfigError { problems })
    }
}

impl AutoscaleConfig {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// Every problem at once, misspelled names included. No secret's value is in it.
    pub fn from_env(env: &impl Lookup) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self::read(&mut reader);
        let (config, settings) = reader.finish(config, &NAMES, &names::PREFIXES)?;
        Ok(Self { hash: hash(&settings), ..config })
    }

    /// `None` only after a problem was noted. Every setting is read before the first `?`, so that
    /// all problems are found.
    fn read(reader: &mut Reader<'_, impl Lookup>) -> Option<Self> {
        let enabled = reader.flag("AUTOSCALE_ASG_ENABLED");
        let dry_run = reader.flag("DRY_RUN");
        let environment = reader.required("GH_ENVIRONMENT", checks::environment);
        // The names below derive from it; a stand-in lets their own problems be found in the same
        // run.
        let name = environment.as_deref().unwrap_or("environment");
        let group = reader.required("AWS_ASG_NAME", checks::group);
        let state_parameter = reader.text(
            "AUTOSCALE_STATE_PARAMETER",
            format!("/ghosthands/{name}/autoscale/state"),
            checks::parameter,
        );
        let (secret_id, database_secret_id) = read_secret_ids(reader, name);
        let policy = read_policy(reader);
        let judging = read_judging(reader);
        let tick_s = read_tick(reader);
        let hook = reader.text("DRAIN_HOOK", "ghosthands-drain-hook".to_owned(), checks::hook);
        let schema = reader.text("PGBOSS_SCHEMA", "pgboss".to_owned(), checks::schema);
        let queue = reader.text("PGBOSS_QUEUE", "gh_apply_job".to_owned(), checks::queue);
        let group_limit = reader.number("PGBOSS_GROUP_CONCURRENCY", 0, 0..=1000);
        let ca_pem = reader.certificates("DATABASE_CA");
        let url = read_database_url(reader, ca_pem.as_deref());
        let tokens = read_tokens(reader);
        let aws = read_aws(reader);
        Some(Self {
            enabled: enabled?,
            dry_run: dry_run?,
            environment: environment?,
            group: GroupName::new(group?),
            policy: policy?,
            judging: judging?,
            tick_s: tick_s?,
            hook: hook?,
            state_parameter: state_parameter?,
            queue: QueueConfig {
                schema: schema?,
                name: queue?,
                group_limit: NonZeroU32::new(group_limit?),
            },
            database: DatabaseConfig { url, secret_id: database_secret_id?, ca_pem },
            secret_id: secret_id?,
            tokens,
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

/// The functions' own secret, which hosts cannot read, and the one with the database's address:
/// the same, unless a site keeps the address from functions that need none.
fn read_secret_ids(
    reader: &mut Reader<'_, impl Lookup>,
    environment: &str,
) -> (Option<String>, Option<String>) {
    let default = format!("ghosthands/{environment}/fleet");
    let own = reader.text("FLEET_SECRET_ID", default.clone(), checks::secret_id);
    let database = own.clone().unwrap_or(default);
    (own, reader.text("DATABASE_SECRET_ID", database, checks::secret_id))
}

/// An address in the environment is taken apart now, so that its problems are in the report; one in
/// the secret, when it is fetched.
fn read_database_url(
    reader: &mut Reader<'_, impl Lookup>,
    ca_pem: Option<&str>,
) -> Option<SecretString> {
    const FIX: &str =
        "Set postgresql://user:password@host:port/database, or remove it to use the secret's";
    let url = reader.secret("DATABASE_URL", |_| Ok(()))?;
    match DatabaseUrl::parse(&url) {
        Ok(parsed) => {
            if let Err(problem) = Trust::load(ca_pem, &parsed) {
                reader.reject("DATABASE_URL", format!("cannot be used: {problem}"), FIX);
            }
        }
        Err(problems) => {
            problems
                .iter()
                .for_each(|problem| reader.reject("DATABASE_URL", problem.to_string(), FIX));
        }
    }
    Some(url)
}

/// Seconds between two ticks.
fn read_tick(reader: &mut Reader<'_, impl Lookup>) -> Option<u32> {
    let tick_s = reader.number("AUTOSCALE_TICK_SECONDS", 20, 10..=60);
    if tick_s.is_some_and(|seconds| 60 % seconds != 0) {
        let fix = "Set 10, 20, 30 or 60";
        reader.reject("AUTOSCALE_TICK_SECONDS", "does not divide a minute", fix);
    }
    tick_s
}

fn read_judging(reader: &mut Reader<'_, impl Lookup>) -> Option<Judging> {
    let bake_s = reader.number("ROLLOUT_BAKE_SECONDS", 0, 0..=172_800);
    let watch_s = reader.number("ROLLOUT_WATCH_SECONDS", 0, 0..=172_800);
    Some(Judging { bake_s: bake_s?, watch_s: watch_s? })
}

/// `None` where the environment has no token. One of them has to be an operator's, because they
/// replace the secret's.
fn read_tokens(reader: &mut Reader<'_, impl Lookup>) -> Option<Vec<Token>> {
    let had = reader.problems.len();
    let mut tokens = Vec::new();
    for (key, name, scope) in tokens::IN_CLEAR {
        let token = reader.secret(key, checks::token);
        tokens.extend(token.map(|token| Token::new(name, scope, token.expose_secret())));
    }
    let named = reader.secret(TOKENS_KEY, |_| Ok(()));
    match named.map(|text| tokens::parse(text.expose_secret())) {
        Some(Ok(named)) => tokens.extend(named),
        Some(Err(wrong)) => reader.reject(TOKENS_KEY, wrong, TOKENS_FIX),
        None => {}
    }
    // A token that cannot be used is a problem of its own; one line about it is enough.
    let operator = tokens.iter().any(|token| token.scopes.allow(Scope::Operate));
    if !operator && !tokens.is_empty() && reader.problems.len() == had {
        let is_set = |name: &str| tokens.iter().any(|token| &*token.name == name);
        let in_clear = tokens::IN_CLEAR.into_iter().find(|(_, name, _)| is_set(name));
        let set = in_clear.map_or(TOKENS_KEY, |(key, ..)| key);
        reader.reject(
            set,
            "is set without FLEET_OPERATOR_TOKEN, and the environment's tokens replace the secret's",
            "Set a token with the scope operate as well, or none at all to use the secret's",
        );
    }
    (!tokens.is_empty()).then_some(tokens)
}

const TOKENS_FIX: &str = "Set for example {\"alice\": {\"sha256\": \"…\", \"scopes\": [\"operate\"]}}, with the hash \
     from: printf %s \"$TOKEN\" | sha256sum";

/// What is wrong with a token in clear, as what to do about it.
pub(crate) fn token_fix(token: &str) -> Result<(), &'static str> {
    checks::token(token)
}

fn read_aws(reader: &mut Reader<'_, impl Lookup>) -> Option<AwsConfig> {
    let region = reader.required("AWS_REGION", checks::region);
    // The key's id is no secret by itself, but the hash has to outlive its rotation.
    let access_key_id = reader.credential("AWS_ACCESS_KEY_ID");
    let secret_access_key = reader.credential("AWS_SECRET_ACCESS_KEY");
    let session_token = reader.secret("AWS_SESSION_TOKEN", |_| Ok(()));
    let endpoints = Endpoints {
        all: reader.optional("AWS_ENDPOINT_URL", checks::endpoint),
        auto_scaling: reader.optional("AWS_ENDPOINT_URL_AUTO_SCALING", checks::endpoint),
        ssm: reader.optional("AWS_ENDPOINT_URL_SSM", checks::endpoint),
        secrets_manager: reader.optional("AWS_ENDPOINT_URL_SECRETS_MANAGER", checks::endpoint),
        ec2: reader.optional("AWS_ENDPOINT_URL_EC2", checks::endpoint),
    };
    let ca_bundle_pem = reader.certificates("AWS_CA_BUNDLE");
    Some(AwsConfig {
        region: region?,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
        endpoints,
        ca_bundle_pem,
    })
}

fn hash(settings: &BTreeMap<&'static str, String>) -> String {
    let mut sha = Sha256::new();
    for (name, value) in settings {
        // Lengths keep two neighbours from being read as one.
        sha.update(format!("{name}={}:{value}\n", value.len()));
    }
    sha.finalize().iter().take(6).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    })
}
