//! The double's handle on EC2's announcements and on the events nobody can rely on.

use std::time::Duration;

use serde_json::Value;

use super::Double;
use crate::disturb::{Disturbance, DisturbanceError};
use crate::error::ApiError;

impl Double {
    /// EC2 announces that it takes a spot machine back: the warning goes out now, the metadata show
    /// it, and the machine dies at the end of `notice` (AWS: two minutes) unless it has ended by
    /// itself.
    ///
    /// # Errors
    /// No such instance, or its machine does not run.
    pub fn reclaim_instance(&self, id: &str, notice: Duration) -> Result<(), ApiError> {
        self.account.reclaim_instance(id, notice)
    }

    /// EC2 announces that a spot machine is at elevated risk. Nothing else happens to it.
    ///
    /// # Errors
    /// No such instance, or its machine does not run.
    pub fn recommend_rebalance(&self, id: &str) -> Result<(), ApiError> {
        self.account.recommend_rebalance(id)
    }

    /// How deliveries of events with this detail-type go from now on: `*` for all that have no
    /// disturbance of their own, schedules excepted, which are disturbed as `Scheduled Event` only.
    /// The default disturbance is none.
    ///
    /// # Errors
    /// A share is not between 0 and 1, or the delays are not two rising numbers.
    pub fn disturb(
        &self,
        detail_type: &str,
        disturbance: Disturbance,
    ) -> Result<(), DisturbanceError> {
        self.account.with_bus(|bus, _| bus.disturbances.set(detail_type, disturbance))
    }

    /// Events arrive once and at once again. What is late already stays late.
    pub fn clear_disturbances(&self) {
        self.account.with_bus(|bus, _| bus.disturbances.clear());
    }

    /// The asynchronous invocations that Lambda gave up, oldest first, as it tells an on-failure
    /// destination.
    #[must_use]
    pub fn given_up(&self) -> Vec<Value> {
        self.account.with_bus(|bus, _| bus.given_up().to_vec())
    }
}
