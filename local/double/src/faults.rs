//! Faults on request: the next calls of an action go wrong in a chosen way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Refused with the throttling error of the service, nothing done.
    Throttle,
    /// Refused with this status, code and message, nothing done.
    Fail {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
        /// Message.
        message: String,
    },
    /// Done, but only after this much real time.
    Delay {
        /// Milliseconds.
        millis: u64,
    },
    /// The connection closes without an answer, nothing done.
    DropConnection,
    /// Done, but the connection closes without an answer.
    LoseReply,
}

/// A fault and how often it still strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// The action's name, as in `SetDesiredCapacity`.
    pub action: String,
    /// Calls that are still to be hit.
    pub times: u32,
    /// What happens to them.
    #[serde(flatten)]
    pub fault: Fault,
}

/// The faults that are planned. Clones share the plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<PlannedFault>>>);

impl Faults {
    /// Adds a fault; those of one action strike in the order in which they were added.
    pub fn add(&self, action: &str, times: u32, fault: Fault) {
        self.lock().push(PlannedFault { action: action.to_owned(), times, fault });
    }

    /// The next `times` calls are throttled.
    pub fn throttle(&self, action: &str, times: u32) {
        self.add(action, times, Fault::Throttle);
    }

    /// The next `times` calls fail.
    pub fn fail(&self, action: &str, times: u32, status: u16, code: &str, message: &str) {
        let (code, message) = (code.to_owned(), message.to_owned());
        self.add(action, times, Fault::Fail { status, code, message });
    }

    /// The next `times` calls are slow.
    pub fn delay(&self, action: &str, times: u32, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.add(action, times, Fault::Delay { millis });
    }

    /// The next `times` calls get no answer and do nothing.
    pub fn drop_connection(&self, action: &str, times: u32) {
        self.add(action, times, Fault::DropConnection);
    }

    /// The next `times` calls work and get no answer.
    pub fn lose_reply(&self, action: &str, times: u32) {
        self.add(action, times, Fault::LoseReply);
    }

    /// Forgets the plan.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// What is still planned.
    #[must_use]
    pub fn planned(&self) -> Vec<PlannedFault> {
        self.lock().clone()
    }

    /// The fault that hits this call, if one does.
    pub(crate) fn strike(&self, action: &str) -> Option<Fault> {
        let mut plan = self.lock();
        let index = plan.iter().position(|p| p.action == action && p.times > 0)?;
        plan[index].times -= 1;
        if plan[index].times == 0 {
            return Some(plan.remove(index).fault);
        }
        Some(plan[index].fault.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PlannedFault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
