//! What a rollout needs once nothing of it runs any more.

use super::host::{Host, Standing};
use super::record::LISTED;
use super::view::View;
use super::{HostState, Members, Record, Stable, State, Step, Targets};
use crate::count::count;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// How often hosts are asked again, and how often they are told to go back.
pub(super) const ROUNDS: u8 = 3;
/// An instance that boots while the pointer moves may have read the old one, and one in service may
/// be ahead of its agent: each is waited for this long.
const BOOT_S: u32 = 600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Instances boot.
    Wait {
        booting: u32,
    },
    /// Hosts in service have to be asked, and their agents are not online.
    Miss {
        hosts: u32,
    },
    Send {
        step: Step,
        round: u8,
        hosts: Vec<InstanceId>,
    },
    MoveStable {
        hosts: u32,
    },
    End(State),
}

/// Everything that the step after the last command depends on.
pub(super) struct Case<'a> {
    pub(super) record: &'a Record,
    pub(super) stable: Option<&'a Stable>,
    pub(super) view: &'a View,
    pub(super) members: &'a Members,
    pub(super) cancelled: bool,
    pub(super) now: UnixMs,
}

impl Case<'_> {
    /// The step, where `online` is asked only if a command would follow. `None`: it has to be known
    /// first.
    pub(super) fn next(&self, online: Option<&BTreeMap<InstanceId, bool>>) -> Option<Next> {
        let record = self.record;
        if self.is_moved() {
            return self.settle(online);
        }
        // A cancellation that came too late changes nothing any more.
        if self.view.is_proven() && record.rounds(Step::Undo) == 0 {
            return Some(Next::MoveStable { hosts: count(self.view.live()) });
        }
        if self.cancelled {
            return Some(Next::End(State::Cancelled));
        }
        if record.rounds(Step::Undo) > 0 {
            return self.undo_again(online);
        }
        let failed = |host: &Host| matches!(host.standing, Standing::Failed | Standing::Down);
        if self.view.hosts.iter().any(failed) {
            return self.undo(online);
        }
        let swept = self.sweep(online)?;
        // A host that never proves anything, however often it is asked, may hide a version that
        // does not work.
        let unsure =
            |host: &Host| host.standing == Standing::Unsure && host.state == HostState::Refused;
        match swept {
            Some(sweep) => Some(sweep),
            None if self.view.live().any(unsure) => self.undo(online),
            None => Some(Next::End(self.mixed())),
        }
    }

    pub(super) fn is_moved(&self) -> bool {
        self.record.id().is_some_and(|id| {
            self.stable.is_some_and(|stable| stable.pointer.deployment_id.as_ref() == Some(id))
        })
    }

    /// Whether the wait that began at `since`, or when the pointer moved, if that was later, goes
    /// on.
    fn waits(&self, since: UnixMs) -> bool {
        let stable = self.stable.filter(|_| self.is_moved());
        let moved = stable.zip(self.record.id()).and_then(|(stable, id)| stable.ended(id));
        let since = moved.map_or(since, |moved| moved.at.max(since));
        self.now < since.plus_seconds(BOOT_S)
    }

    /// The version failed somewhere: bring the hosts back that may have it.
    fn undo(&self, online: Option<&BTreeMap<InstanceId, bool>>) -> Option<Next> {
        // There is nothing to go back to, or it is what was being deployed.
        let back = self.record.before.as_ref().filter(|before| **before != self.record.image_tag);
        let hosts: Vec<&Host> = self.view.live().filter(|host| host.may_run_it()).collect();
        if back.is_none() || hosts.is_empty() {
            return Some(Next::End(self.mixed()));
        }
        Some(self.send(Step::Undo, &hosts, online?).unwrap_or(Next::End(State::Failed)))
    }

    fn undo_again(&self, online: Option<&BTreeMap<InstanceId, bool>>) -> Option<Next> {
        let hosts: Vec<&Host> = self.view.live().filter(|host| host.may_run_it()).collect();
        if hosts.is_empty() {
            return Some(Next::End(State::RolledBack));
        }
        Some(self.send(Step::Undo, &hosts, online?).unwrap_or(Next::End(State::Failed)))
    }

    /// Asks the hosts again that lack the version. `Some(None)`: there is nobody left to ask.
    #[expect(clippy::option_option, reason = "not yet known, and known to be nobody")]
    fn sweep(&self, online: Option<&BTreeMap<InstanceId, bool>>) -> Option<Option<Next>> {
        let lacks = |host: &&Host| {
            matches!(host.standing, Standing::Lacks | Standing::Unsure | Standing::Open)
        };
        let hosts: Vec<&Host> = self.view.live().filter(lacks).collect();
        if hosts.is_empty() {
            return Some(None);
        }
        Some(self.send(Step::Sweep, &hosts, online?))
    }

    /// The pointer has moved. Hosts that were born before that may have begun with the version
    /// before.
    fn settle(&self, online: Option<&BTreeMap<InstanceId, bool>>) -> Option<Next> {
        if self.cancelled {
            return Some(Next::End(State::Succeeded));
        }
        if let Some(sweep) = self.sweep(online)? {
            return Some(sweep);
        }
        let booting = count(self.members.values().filter(|state| state.is_booting()));
        // A long command ends long after it was sent: what counts is when the pointer moved.
        let last = self.record.commands.last().map_or(self.record.at, |sent| sent.at);
        if booting > 0 && self.waits(last) {
            return Some(Next::Wait { booting });
        }
        Some(Next::End(State::Succeeded))
    }

    /// A command for those of `hosts` that can get one; `None` where nobody can for a while, or it
    /// was tried often enough.
    fn send(
        &self,
        step: Step,
        hosts: &[&Host],
        online: &BTreeMap<InstanceId, bool>,
    ) -> Option<Next> {
        let round = self.record.rounds(step) + 1;
        let is_online = |host: &&&Host| online.get(&host.instance_id) == Some(&true);
        let reachable: Vec<InstanceId> =
            hosts.iter().filter(is_online).map(|host| host.instance_id.clone()).collect();
        let missing = hosts.len() - reachable.len();
        let waits = self.record.missed.is_none_or(|missed| self.waits(missed));
        if round > ROUNDS {
            None
        } else if missing > 0 && waits && (reachable.is_empty() || round == ROUNDS) {
            // The last round is for all of them.
            Some(Next::Miss { hosts: u32::try_from(missing).unwrap_or(u32::MAX) })
        } else if reachable.is_empty() {
            None
        } else {
            Some(Next::Send { step, round, hosts: reachable })
        }
    }

    /// The name of an end without proof.
    fn mixed(&self) -> State {
        if self.view.live().any(|host| host.standing == Standing::Proven) {
            State::Partial
        } else {
            State::Failed
        }
    }
}

/// By id where SSM takes as many, else the whole group: hosts that have the version already say so
/// at once.
pub(super) fn targets(hosts: Vec<InstanceId>) -> Targets {
    if hosts.len() <= LISTED { Targets::Hosts(hosts) } else { Targets::Group }
}
