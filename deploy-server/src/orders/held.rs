//! The order on the disk.

use std::time::Duration;

use fleet_protocol::action_report::ActionResult;
use fleet_protocol::host_order::{OrderEnd, OrderId};
use fleet_protocol::image_tag::ImageTag;
use serde::{Deserialize, Serialize};

use crate::state::{Entry, StateDir, StateError};

const FILE: &str = "order.json";

/// An order of a rollout, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub id: OrderId,
    pub image_tag: ImageTag,
    /// Stop the worker when its job has had the job limit, and replace what is up to date.
    pub force: bool,
    /// What the running job may take. The fleet's setting, which came with the order.
    #[serde(default = "super::usual_job_limit_s")]
    pub job_limit_s: u32,
    /// By this host's clock.
    pub accepted_ms: i64,
    #[serde(default)]
    pub ended: Option<OrderEnd>,
}

impl Held {
    pub(super) fn job_limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.job_limit_s))
    }
}

/// The end of an order whose deploy came to this.
pub(super) fn end_of(result: ActionResult, entry: &Entry) -> OrderEnd {
    OrderEnd {
        step: entry.failed_step.clone(),
        message: entry.error.clone(),
        digest: entry.digest.clone(),
        notes: entry.notes.clone(),
        before: entry.previous.as_ref().map(|version| version.image_tag.clone()),
        log: entry.log.clone(),
        ..OrderEnd::new(result)
    }
}

impl StateDir {
    /// The order that an earlier process held. One that cannot be read is none: the rollout asks
    /// again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn order(&self) -> Result<Option<Held>, StateError> {
        let Some(bytes) = self.read(FILE)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(held) => Ok(Some(held)),
            Err(error) => {
                tracing::warn!(error = %error, file = FILE, "the rollout's order on the disk cannot be read: it counts as none, and the rollout sends it again");
                Ok(None)
            }
        }
    }

    /// Writes the order, durably.
    ///
    /// # Errors
    /// When the disk refuses; what was held before is then still there.
    pub(super) fn hold_order(&self, held: &Held) -> Result<(), StateError> {
        self.replace(FILE, &serde_json::to_vec(held).expect("an order is plain data"))
    }
}

#[cfg(test)]
mod tests {
    use super::Held;
    use crate::state::StateDir;
    use fleet_protocol::action_report::ActionResult;
    use fleet_protocol::host_order::{OrderEnd, OrderId};
    use fleet_protocol::image_tag::ImageTag;

    #[test]
    fn an_order_outlives_the_process_and_a_garbled_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.order().unwrap(), None);
        let held = Held {
            id: OrderId::parse("abcdef012345.apply.1").unwrap(),
            image_tag: ImageTag::parse("v2").unwrap(),
            force: false,
            job_limit_s: 60,
            accepted_ms: 5,
            ended: Some(OrderEnd::new(ActionResult::AtLimit)),
        };
        state.hold_order(&held).unwrap();
        assert_eq!(state.order().unwrap(), Some(held));
        std::fs::write(state.file("order.json"), b"{").unwrap();
        assert_eq!(state.order().unwrap(), None);
    }
}
