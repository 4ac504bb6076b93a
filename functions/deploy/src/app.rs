//! Everything the function needs from outside, built once for each environment.

use fleet_clients::alarms::Alarms;
use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::Aws;
use fleet_clients::config::{DeployConfig, WEBHOOK_KEY};
use fleet_clients::rollouts::Rollouts;
use fleet_clients::secrets::{SecretError, Secrets};
use fleet_clients::webhook::Webhook;
use fleet_lambda::Gate;
use secrecy::SecretString;
use std::sync::Arc;

pub(crate) struct App {
    pub(crate) config: DeployConfig,
    pub(crate) alarms: Alarms,
    pub(crate) auto_scaling: AutoScaling,
    pub(crate) rollouts: Rollouts,
    pub(crate) gate: Gate,
    /// `None`: VALET is told nothing.
    pub(crate) webhook: Option<Webhook>,
    secrets: Arc<Secrets>,
}

impl App {
    pub(crate) fn new(config: DeployConfig) -> App {
        let aws = Aws::new(&config.aws);
        let secrets = Arc::new(Secrets::new(&aws, config.secret_id.clone()));
        let (environment, document) = (&config.environment, config.document.clone());
        let webhook = config.webhook_url.clone();
        App {
            alarms: Alarms::new(&config.aws),
            auto_scaling: AutoScaling::new(&aws),
            rollouts: Rollouts::new(&aws, environment, config.group.clone(), document),
            gate: Gate::new(config.tokens.clone(), Arc::clone(&secrets)),
            webhook: webhook.map(|url| Webhook::new(url, environment.clone())),
            secrets,
            config,
        }
    }

    /// What the webhook is signed with.
    pub(crate) async fn webhook_key(&self) -> Result<SecretString, SecretError> {
        match &self.config.webhook_key {
            Some(key) => Ok(key.clone()),
            None => self.secrets.value(WEBHOOK_KEY).await,
        }
    }
}
