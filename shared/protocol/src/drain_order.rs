//! What a host is told, and the facts that travel from one command to the next.

use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How the comment of our commands begins. Commands without it are somebody else's.
const MARK: &str = "ghosthands leave";

/// One command to a host that is leaving: take no more work, wait for the job, and say how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainOrder {
    /// How long the host waits before it answers.
    pub window_s: u32,
    /// Stop the worker when the window is over and it still works.
    pub stop: bool,
    pub chain: Chain,
}

/// What earlier commands to the same host established. The comment of each command holds it, so the
/// newest one tells everything, and no table of ours has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// When the first command was sent, by AWS's clock.
    pub asked: Option<UnixMs>,
    /// When the first command was sent that closed the intake: after it no job begins.
    pub closed: Option<UnixMs>,
    /// When the worker has to be stopped because the machine is taken away.
    pub until: Option<UnixMs>,
}

impl Chain {
    /// The facts of both; of each moment the earlier one.
    #[must_use]
    pub fn join(self, other: Chain) -> Chain {
        let earlier = |left: Option<UnixMs>, right: Option<UnixMs>| match (left, right) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        };
        Chain {
            asked: earlier(self.asked, other.asked),
            closed: earlier(self.closed, other.closed),
            until: earlier(self.until, other.until),
        }
    }
}

impl DrainOrder {
    /// The comment of the command, at most 100 characters.
    #[must_use]
    pub fn comment(&self) -> String {
        let mut comment = format!("{MARK} w={}", self.window_s);
        if self.stop {
            comment.push_str(" stop");
        }
        let Chain { asked, closed, until } = self.chain;
        for (name, at) in [("asked", asked), ("closed", closed), ("until", until)] {
            if let Some(at) = at {
                write!(comment, " {name}={}", at.0).expect("writing to a string cannot fail");
            }
        }
        comment
    }

    /// Reads a comment; `None` where the command is not one of these. A word that a later version
    /// added is passed over.
    pub fn read(comment: &str) -> Option<DrainOrder> {
        let words = comment.strip_prefix(MARK)?;
        let mut order = DrainOrder { window_s: 0, stop: false, chain: Chain::default() };
        for word in words.split_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                order.stop |= word == "stop";
                continue;
            };
            let at = value.parse().ok().map(UnixMs);
            match name {
                "w" => order.window_s = value.parse().ok()?,
                "asked" => order.chain.asked = at,
                "closed" => order.chain.closed = at,
                "until" => order.chain.until = at,
                _ => {}
            }
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_from_its_comment() {
        let late = Some(UnixMs(9_999_999_999_999));
        let order = DrainOrder {
            window_s: 240,
            stop: true,
            chain: Chain { asked: late, closed: late, until: late },
        };
        assert!(order.comment().len() <= 100, "{}", order.comment());
        assert_eq!(DrainOrder::read(&order.comment()), Some(order));
        let first = DrainOrder { window_s: 240, stop: false, chain: Chain::default() };
        assert_eq!(first.comment(), "ghosthands leave w=240");
        assert_eq!(DrainOrder::read(&first.comment()), Some(first));
    }

    #[test]
    fn a_strange_comment_is_somebody_elses() {
        for comment in ["", "deploy v1", "ghosthands", "ghosthands leave w=soon"] {
            assert_eq!(DrainOrder::read(comment), None, "{comment:?}");
        }
        let newer =
            DrainOrder::read("ghosthands leave w=1 then=rest asked=5 closed=x").expect("ours");
        assert_eq!(newer.chain, Chain { asked: Some(UnixMs(5)), ..Chain::default() });
    }
}
