//! Everything an answer needs from outside, built once for each environment.

use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::Aws;
use fleet_clients::config::StatusConfig;
use fleet_clients::launches::Launches;
use fleet_clients::parameters::Parameters;
use fleet_clients::proofs::Proofs;
use fleet_clients::queue::QueueAccess;
use fleet_clients::secrets::Secrets;
use fleet_clients::tags::GroupTags;
use fleet_lambda::Gate;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Mutex;

pub(crate) struct App {
    pub(crate) config: StatusConfig,
    pub(crate) auto_scaling: AutoScaling,
    pub(crate) launches: Launches,
    pub(crate) tags: GroupTags,
    pub(crate) parameters: Parameters,
    pub(crate) proofs: Proofs,
    pub(crate) gate: Gate,
    pub(crate) queue: Mutex<QueueAccess>,
    /// Whether the last reading failed: the URL may have been rotated, so it is fetched anew.
    pub(crate) queue_failed: AtomicBool,
}

impl App {
    pub(crate) fn new(config: StatusConfig) -> App {
        let aws = Aws::new(&config.aws);
        let secrets = |id: &String| Arc::new(Secrets::new(&aws, id.clone()));
        let gate = Gate::new(config.tokens.clone(), secrets(&config.secret_id));
        let database = secrets(&config.database.secret_id);
        let queue = QueueAccess::new(config.database.clone(), config.queue.clone(), database);
        App {
            auto_scaling: AutoScaling::new(&aws),
            launches: Launches::new(&aws),
            tags: GroupTags::new(&aws),
            parameters: Parameters::new(&aws),
            proofs: Proofs::new(&aws, config.document.clone()),
            gate,
            queue: Mutex::new(queue),
            queue_failed: AtomicBool::new(false),
            config,
        }
    }
}
