//! What was read, each source by itself.

use super::{Prices, Proof};
use crate::rollout::State;
use crate::scaling::{Group, Memory, QueueSnapshot};
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::reading::Reading;
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Everything that a status is made of.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Our clock when the readings were taken.
    pub now: UnixMs,
    pub site: Site,
    pub group: Reading<Group>,
    pub queue: Reading<QueueSnapshot>,
    /// What the registry says of workers beside what is decided on, where the database's role may
    /// read it.
    pub details: BTreeMap<WorkerId, WorkerDetail>,
    /// What the scaling function remembers.
    pub memory: Reading<Memory>,
    /// The newest word of each host that gave one, which may be too old to count.
    pub proofs: Reading<BTreeMap<InstanceId, Proof>>,
    /// The version that hosts boot to; `None` before the first deployment through this system.
    pub stable: Reading<Option<StablePointer>>,
    /// The rollout that ended last, as the stable pointer's parameter tells; `None` where it tells
    /// of none.
    pub last_rollout: Option<LastRollout>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LastRollout {
    pub state: State,
    pub at: UnixMs,
}

impl LastRollout {
    /// Reads what the stable pointer's parameter keeps beside the pointer.
    #[must_use]
    pub fn read(text: &str) -> Option<LastRollout> {
        #[derive(Deserialize)]
        struct Kept {
            /// Newest first.
            ended: Vec<LastRollout>,
        }
        serde_json::from_str::<Kept>(text).ok()?.ended.into_iter().next()
    }
}

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub environment: String,
    pub group: GroupName,
    /// Whether the fleet is scaled at all, and whether only for show.
    pub enabled: bool,
    pub dry_run: bool,
    pub min: u32,
    pub max: u32,
    pub prices: Prices,
    /// A job that waits for longer is somebody's page.
    pub wait_target_s: u32,
    /// How long a host's word about its version counts.
    pub proof_life_s: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerDetail {
    /// The job in hand, by its id.
    pub job: Option<String>,
    pub registered: Option<UnixMs>,
}
