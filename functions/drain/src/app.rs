//! Everything a pass needs from outside, built once for each environment.

use fleet_clients::aws::Aws;
use fleet_clients::config::DrainConfig;
use fleet_clients::ec2::Ec2;
use fleet_clients::lifecycle::Lifecycle;
use fleet_clients::run_command::DrainCommands;
use fleet_core::drain::Memory;
use tokio::sync::Mutex;

pub(crate) struct App {
    pub(crate) config: DrainConfig,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) commands: DrainCommands,
    pub(crate) ec2: Ec2,
    /// What this environment knows of its last passes: it saves calls, and nothing depends on it.
    pub(crate) warm: Mutex<Memory>,
}

impl App {
    pub(crate) fn new(config: DrainConfig) -> App {
        let aws = Aws::new(&config.aws);
        App {
            lifecycle: Lifecycle::new(&aws, config.group.clone(), config.hook.clone()),
            commands: DrainCommands::new(&aws, config.document.clone()),
            ec2: Ec2::new(&config.aws),
            warm: Mutex::default(),
            config,
        }
    }
}
