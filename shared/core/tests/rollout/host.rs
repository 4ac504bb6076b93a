//! One host of the simulation: its jobs, the order that it holds, and what it says. It knows the
//! truth.

use crate::world::tag;
use fleet_core::rollout::{ActionReport, ActionResult, HostOrder, OrderId, OrderState};
use fleet_protocol::action::Action;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;

/// What a swap takes: the new container has to be healthy for ten seconds.
const SWAP_S: i64 = 20;
/// What a running job may take.
pub(crate) const JOB_LIMIT_S: i64 = 4 * 3600;

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) lifecycle: &'static str,
    pub(crate) online: bool,
    /// What really runs there.
    pub(crate) runs: ImageTag,
    /// This version goes down or rolls back here.
    pub(crate) rejects: Option<(ImageTag, ActionResult)>,
    /// It carries orders out at once, as hosts of the former version do.
    pub(crate) old: bool,
    pub(crate) boots_until: i64,
    /// SSM knows it from then on.
    pub(crate) agent_from: i64,
    /// Its jobs follow each other without a pause and take this long each; 0 is a host without
    /// jobs.
    pub(crate) job_s: i64,
    pub(crate) job_until: Option<i64>,
    pub(crate) order: Option<Held>,
    /// It ever stopped its containers for the version v2.
    pub(crate) touched: bool,
    /// Jobs that ended because of us.
    pub(crate) interrupted: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: OrderId,
    pub(crate) tag: ImageTag,
    force: bool,
    accepted: i64,
    swap_until: Option<i64>,
    pub(crate) result: Option<ActionResult>,
}

impl Host {
    pub(crate) fn new(runs: ImageTag) -> Host {
        Host {
            lifecycle: "InService",
            online: true,
            runs,
            rejects: None,
            old: false,
            boots_until: 0,
            agent_from: 0,
            job_s: 0,
            job_until: None,
            order: None,
            touched: false,
            interrupted: 0,
        }
    }

    /// It holds an order that has not ended, so it takes no other job.
    pub(crate) fn is_closed(&self) -> bool {
        self.order.as_ref().is_some_and(|held| held.result.is_none())
    }

    /// Takes an order; the same one again changes nothing.
    pub(crate) fn accept(&mut self, id: &OrderId, tag: &ImageTag, force: bool, now: i64) {
        if self.order.as_ref().is_some_and(|held| held.id == *id) {
            return;
        }
        // What is being swapped is swapped back afterwards.
        let after =
            self.order.as_ref().and_then(|held| held.swap_until.filter(|_| held.result.is_none()));
        if after.is_some() {
            return;
        }
        let result = (self.runs == *tag).then_some(ActionResult::AlreadyCurrent);
        self.order = Some(Held {
            id: id.clone(),
            tag: tag.clone(),
            force,
            accepted: now,
            swap_until: None,
            result,
        });
    }

    pub(crate) fn take_back(&mut self) {
        if let Some(held) = &mut self.order
            && held.swap_until.is_none()
        {
            held.result.get_or_insert(ActionResult::TakenBack);
        }
    }

    /// Time passes until `now`.
    pub(crate) fn live(&mut self, from: i64, now: i64) {
        let mut at = from;
        while at < now {
            if let Some(until) = self.job_until {
                if until > now && !self.limit(now) {
                    return;
                }
                at = until.min(now).max(at);
                self.job_until = None;
            }
            match &mut self.order {
                Some(held) if held.result.is_none() => {
                    let until = *held.swap_until.get_or_insert(at + SWAP_S);
                    self.touched |= held.tag == tag("v2");
                    if until > now {
                        return;
                    }
                    at = until.max(at);
                    self.finish();
                }
                _ if self.job_s > 0 => self.job_until = Some(at + self.job_s),
                _ => return,
            }
        }
    }

    /// A job that had the limit is left alone and the order given up; only a forced one ends the
    /// job, and true says so.
    fn limit(&mut self, now: i64) -> bool {
        let limited =
            |held: &&mut Held| held.result.is_none() && now - held.accepted >= JOB_LIMIT_S;
        let Some(held) = self.order.as_mut().filter(limited) else { return false };
        if !held.force {
            held.result = Some(ActionResult::AtLimit);
            return false;
        }
        self.interrupted += 1;
        true
    }

    fn finish(&mut self) {
        let Some(held) = &mut self.order else { return };
        let rejected = self.rejects.as_ref().filter(|(rejected, _)| *rejected == held.tag);
        let outcome = rejected.map_or(ActionResult::Deployed, |(_, outcome)| *outcome);
        match outcome {
            ActionResult::Deployed => self.runs = held.tag.clone(),
            ActionResult::Down => self.runs = tag("nothing"),
            _ => {}
        }
        held.result = Some(outcome);
    }

    pub(crate) fn report(
        &self,
        id: &InstanceId,
        action: Action,
        result: ActionResult,
    ) -> ActionReport {
        let order = self.order.as_ref().filter(|_| !self.old).map(|held| HostOrder {
            id: held.id.clone(),
            image_tag: held.tag.clone(),
            state: match (held.result, held.swap_until) {
                (Some(_), _) => OrderState::Ended,
                (None, Some(_)) => OrderState::Swapping,
                (None, None) => OrderState::Waiting,
            },
            accepted_at: held.accepted.to_string(),
            limit_at: None,
            result: held.result,
        });
        ActionReport {
            image_tag: Some(self.runs.to_string()),
            takes_orders: !self.old,
            order,
            active_jobs: Some(u32::from(self.job_until.is_some())),
            ..ActionReport::new(id.clone(), action, result)
        }
    }
}
