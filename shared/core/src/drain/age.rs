//! How long an instance has been leaving, by the commands that it was sent.

use super::{Chain, Invocation, Policy};
use fleet_protocol::time::UnixMs;

/// What the commands of one instance tell together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    pub chain: Chain,
    pub now: UnixMs,
}

impl Age {
    /// Reads all that is known; `notice` is when the worker has to stop because of an event that
    /// came just now.
    #[must_use]
    pub fn of(invocations: &[Invocation], notice: Option<UnixMs>, now: UnixMs) -> Age {
        let told = Chain { until: notice, ..Chain::default() };
        let chain = invocations.iter().fold(told, |chain, invocation| {
            let own = Chain {
                asked: Some(invocation.requested),
                closed: invocation.closed_the_intake().then_some(invocation.requested),
                until: None,
            };
            chain.join(own).join(invocation.order.chain)
        });
        Age { chain, now }
    }

    /// Milliseconds since the first command was sent; 0 before that.
    #[must_use]
    pub fn waited_ms(&self) -> i64 {
        self.chain.asked.map_or(0, |asked| self.now.since(asked).max(0))
    }

    /// When no job may run any longer. The job limit counts from the moment the host took no more
    /// work, because a job may have begun just before; where the host never said so, from the first
    /// command.
    #[must_use]
    pub fn limit_at(&self, policy: &Policy) -> Option<UnixMs> {
        let since = self.chain.closed.or(self.chain.asked);
        since.map(|since| since.plus_seconds(policy.job_limit_s))
    }

    /// When the worker has to be stopped: at the limit, or before AWS takes the machine back.
    #[must_use]
    pub fn stop_at(&self, policy: &Policy) -> Option<UnixMs> {
        match (self.limit_at(policy), self.chain.until) {
            (Some(limit), Some(until)) => Some(limit.min(until)),
            (limit, until) => limit.or(until),
        }
    }
}
