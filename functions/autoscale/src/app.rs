//! Everything a tick needs from outside, built once for each environment.

use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::Aws;
use fleet_clients::config::AutoscaleConfig;
use fleet_clients::launches::Launches;
use fleet_clients::parameters::Parameters;
use fleet_clients::queue::QueueAccess;
use fleet_clients::rollouts::Rollouts;
use fleet_clients::secrets::Secrets;
use fleet_core::scaling::State;
use fleet_lambda::Gate;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::sync::Mutex;

pub(crate) struct App {
    pub(crate) config: AutoscaleConfig,
    pub(crate) auto_scaling: AutoScaling,
    pub(crate) launches: Launches,
    pub(crate) parameters: Parameters,
    pub(crate) gate: Gate,
    /// Whose jobs are judged.
    pub(crate) rollouts: Rollouts,
    pub(crate) outcomes_counted: Mutex<Option<Instant>>,
    /// What this environment remembers when the parameter cannot be read, and all that a dry run
    /// remembers.
    pub(crate) warm: Mutex<Option<State>>,
    pub(crate) queue: Mutex<QueueAccess>,
    /// Whether the last reading failed: the URL may have been rotated, so it is fetched anew.
    pub(crate) queue_failed: AtomicBool,
}

impl App {
    pub(crate) fn new(config: AutoscaleConfig) -> App {
        let aws = Aws::new(&config.aws);
        let secrets = |id: &String| Arc::new(Secrets::new(&aws, id.clone()));
        let gate = Gate::new(config.tokens.clone(), secrets(&config.secret_id));
        let database = secrets(&config.database.secret_id);
        let queue = QueueAccess::new(config.database.clone(), config.queue.clone(), database);
        App {
            auto_scaling: AutoScaling::new(&aws),
            launches: Launches::new(&aws),
            parameters: Parameters::new(&aws),
            gate,
            rollouts: Rollouts::new(&aws, &config.environment, config.group.clone(), String::new()),
            outcomes_counted: Mutex::default(),
            warm: Mutex::default(),
            queue: Mutex::new(queue),
            queue_failed: AtomicBool::new(false),
            config,
        }
    }
}
