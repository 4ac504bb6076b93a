//! One order of a rollout as its host holds it: accepted at once, kept durably, carried out when
//! the running job ends, and answered for from then on.

use crate::action_report::ActionResult;
use crate::image_tag::ImageTag;
use crate::rollout_order::{Key, Step};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an order is called on its host: the rollout's key, what it is for, and which attempt it is.
/// The same id twice is one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(String);

impl OrderId {
    #[must_use]
    pub fn new(key: &Key, step: Step, attempt: u8) -> OrderId {
        let step = if step == Step::Undo { "undo" } else { "apply" };
        OrderId(format!("{}.{step}.{attempt}", key.as_str()))
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<OrderId> {
        Some(OrderId(text.to_owned())).filter(|id| id.parts().is_some())
    }

    fn parts(&self) -> Option<(&str, Step, u8)> {
        let mut parts = self.0.split('.');
        let (key, step, attempt) = (parts.next()?, parts.next()?, parts.next()?);
        let step = match step {
            "apply" => Step::Apply,
            "undo" => Step::Undo,
            _ => return None,
        };
        let attempt = attempt.parse().ok().filter(|_| parts.next().is_none())?;
        (!key.is_empty()).then_some((key, step, attempt))
    }

    #[must_use]
    pub fn is_of(&self, key: &Key) -> bool {
        self.parts().is_some_and(|(of, ..)| of == key.as_str())
    }

    /// What it is for and which attempt it is: later orders of one rollout compare greater.
    #[must_use]
    pub fn rank(&self) -> (Step, u8) {
        self.parts().map_or((Step::Survey, 0), |(_, step, attempt)| (step, attempt))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An order as its host reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostOrder {
    pub id: OrderId,
    pub image_tag: ImageTag,
    pub state: OrderState,
    /// When the host accepted it, by the host's clock, in RFC 3339.
    pub accepted_at: String,
    /// When the running job has had the job limit, and the order is given up or, with `force`, the
    /// worker is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_at: Option<String>,
    /// What became of it, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The image is pulled and the containers are made; nothing is stopped.
    Preparing,
    /// The intake is closed, and a job runs.
    Waiting,
    Swapping,
    Ended,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How an order ended, as its host says again whenever the rollout asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderEnd {
    pub result: ActionResult,
    #[serde(default)]
    pub step: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub digest: Option<String>,
    /// The version that was in service before.
    #[serde(default)]
    pub before: Option<String>,
    /// What did not come about and stopped nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The last lines of a container that failed.
    #[serde(default)]
    pub log: Vec<String>,
}

impl OrderEnd {
    /// An end of which there is no more to say.
    #[must_use]
    pub fn new(result: ActionResult) -> OrderEnd {
        OrderEnd {
            result,
            step: None,
            message: None,
            digest: None,
            before: None,
            notes: Vec::new(),
            log: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_rollout_and_later_attempts_are_greater() {
        let key = Key::of_hash("abcdef012345");
        let id = OrderId::new(&key, Step::Apply, 2);
        assert_eq!(OrderId::parse(&id.to_string()), Some(id.clone()));
        assert!(id.is_of(&key) && !id.is_of(&Key::of_hash("abcdef")));
        assert!(OrderId::new(&key, Step::Undo, 1).rank() > id.rank());
        assert!(OrderId::new(&key, Step::Apply, 3).rank() > id.rank());
        for text in ["", "x", "k.apply", "k.apply.x", ".apply.1", "k.apply.1.2", "k.deploy.1"] {
            assert_eq!(OrderId::parse(text), None, "{text}");
        }
    }
}
