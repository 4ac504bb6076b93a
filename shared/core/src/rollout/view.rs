//! One rollout as it stands: every host, by everything that is known.

use super::host::{Standing, Wanted};
use super::{Evidence, Host, HostState, Kind, State, Step};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::lifecycle::LifecycleState;
use std::collections::BTreeMap;

/// The instances of the group, each with its lifecycle state.
pub type Members = BTreeMap<InstanceId, LifecycleState>;

/// What a view is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub kind: Kind,
    pub image_tag: Option<&'a ImageTag>,
    /// The version to go back to.
    pub before: Option<&'a ImageTag>,
    /// The hosts that were in service when the rollout began.
    pub expected: &'a [InstanceId],
    /// Its commands, oldest first.
    pub commands: &'a [(Step, &'a Evidence)],
    /// The group now; `None` leaves out what only it can tell.
    pub members: Option<&'a Members>,
    /// It is over: instances of later are none of its business.
    pub over: bool,
}

/// Every host of a rollout, by its id.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub hosts: Vec<Host>,
    /// Two images under the same tag, where that was seen.
    pub digests: Vec<String>,
}

impl View {
    pub fn of(known: &Known<'_>) -> View {
        let mut hosts: BTreeMap<InstanceId, Host> = BTreeMap::new();
        for (step, evidence) in known.commands {
            let undo = *step == Step::Undo;
            let tag = if undo { known.before } else { known.image_tag };
            let wanted = Wanted { action: known.kind.action(), tag };
            for invocation in &evidence.invocations {
                let new = Host::judge(invocation, wanted);
                let old = hosts.remove(&invocation.instance);
                let host = if undo { undone(old, new, known) } else { later(old, new) };
                hosts.insert(invocation.instance.clone(), host);
            }
        }
        let begun = !known.commands.is_empty();
        for id in known.expected {
            hosts.entry(id.clone()).or_insert_with(|| {
                if begun {
                    let host = Host::new(id, HostState::Unreachable, Standing::Lacks).saying(
                        "no order could be sent: SSM does not know it, or its agent is not online",
                    );
                    Host { ordered: false, ..host }
                } else {
                    Host::new(id, HostState::Pending, Standing::Open)
                }
            });
        }
        if let Some(members) = known.members {
            overlay(&mut hosts, members, known);
        }
        let mut view = View { hosts: hosts.into_values().collect(), digests: Vec::new() };
        view.compare_digests();
        view
    }

    /// A tag may be pushed again in the middle of a rollout: the hosts then prove the same name and
    /// different images.
    fn compare_digests(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let proven =
            self.hosts.iter().filter(|host| host.live && host.standing == Standing::Proven);
        for digest in proven.filter_map(|host| host.digest.clone()) {
            *counts.entry(digest).or_default() += 1;
        }
        let Some(most) =
            counts.iter().max_by_key(|(_, count)| **count).map(|(digest, _)| digest.clone())
        else {
            return;
        };
        if counts.len() < 2 {
            return;
        }
        for host in &mut self.hosts {
            let other = host.digest.as_ref().filter(|digest| **digest != most);
            if let (true, Standing::Proven, Some(digest)) = (host.live, host.standing, other) {
                host.message = Some(format!(
                    "it runs {digest} under this tag, most others {most}: the tag was pushed again meanwhile"
                ));
                host.state = HostState::Refused;
                host.standing = Standing::Unsure;
            }
        }
        self.digests = counts.into_keys().collect();
    }

    /// How many hosts are in each state.
    pub fn counts(&self) -> BTreeMap<HostState, u32> {
        let mut counts = BTreeMap::new();
        for host in &self.hosts {
            *counts.entry(host.state).or_default() += 1;
        }
        counts
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.live)
    }

    /// Every host that counts proved the version, and there is at least one.
    pub(super) fn is_proven(&self) -> bool {
        self.live().next().is_some() && self.live().all(|host| host.standing == Standing::Proven)
    }

    /// What a rollout came to, by its hosts alone.
    pub fn verdict(&self, cancelled: bool) -> State {
        let any = |standing| self.hosts.iter().any(|host| host.standing == standing);
        let counts = |host: &&Host| host.state != HostState::Terminated;
        let mut counted = self.hosts.iter().filter(counts).peekable();
        if counted.clone().any(|host| host.standing == Standing::Open) {
            State::InProgress
        } else if cancelled {
            State::Cancelled
        } else if any(Standing::NotUndone) {
            State::Failed
        } else if any(Standing::Undone) {
            State::RolledBack
        } else if counted.peek().is_some() && counted.all(|host| host.standing == Standing::Proven)
        {
            State::Succeeded
        } else if any(Standing::Proven) {
            State::Partial
        } else {
            State::Failed
        }
    }
}

/// What a newer command adds to what is known. An order that came to nothing takes away no proof.
fn later(old: Option<Host>, new: Host) -> Host {
    let Some(old) = old else { return new };
    let keeps = match new.standing {
        Standing::Lacks => !matches!(old.standing, Standing::Lacks | Standing::Open),
        Standing::Open => old.standing == Standing::Proven,
        _ => false,
    };
    if keeps {
        return old;
    }
    Host { version_before: old.version_before.or_else(|| new.version_before.clone()), ..new }
}

/// What an order to go back adds to what is known.
fn undone(old: Option<Host>, new: Host, known: &Known<'_>) -> Host {
    let text = |tag: Option<&ImageTag>| tag.map(ToString::to_string);
    let to = text(known.before).unwrap_or_default();
    match new.standing {
        Standing::Proven => Host {
            state: HostState::RolledBack,
            standing: Standing::Undone,
            message: Some(format!("it was brought back to {to}")),
            version_before: text(known.image_tag),
            digest: None,
            ..new
        },
        Standing::Open => Host {
            state: HostState::InProgress,
            step: Some("roll-back".to_owned()),
            message: Some(format!("it goes back to {to}")),
            ..new
        },
        // An earlier order brought it back already.
        Standing::Lacks if old.as_ref().is_some_and(|old| old.standing == Standing::Undone) => {
            old.unwrap_or(new)
        }
        _ => {
            let why = new.message.clone().unwrap_or_else(|| "it does not say why".to_owned());
            let base = match old {
                Some(old) if new.state != HostState::FailedDown => old,
                _ => new,
            };
            Host { standing: Standing::NotUndone, ..base }
                .saying(format!("it was to go back to {to} and did not: {why}"))
        }
    }
}

/// What the group says: who left, who came, and whose version counts.
fn overlay(hosts: &mut BTreeMap<InstanceId, Host>, members: &Members, known: &Known<'_>) {
    for host in hosts.values_mut() {
        let lifecycle = members.get(&host.instance_id);
        host.live = lifecycle.is_some_and(LifecycleState::takes_rollouts);
        let boots = lifecycle.is_some_and(LifecycleState::is_booting);
        let open = matches!(host.standing, Standing::Open | Standing::Lacks | Standing::Unsure);
        if !host.live && !boots && open {
            host.state = HostState::Terminated;
            host.standing = Standing::Lacks;
            host.message = Some(match lifecycle {
                Some(state) => format!("it is {state} in its group and does not count"),
                None => "it left the group meanwhile and does not count".to_owned(),
            });
        }
    }
    let born = members.iter().filter(|(_, lifecycle)| lifecycle.takes_rollouts() && !known.over);
    // Too many hosts are not listed, and then nobody knows who was there before.
    let why = if known.expected.is_empty() {
        "no order has reached it yet"
    } else {
        "it came into service during the rollout"
    };
    for (id, _) in born {
        hosts.entry(id.clone()).or_insert_with(|| {
            let host = Host::new(id, HostState::Pending, Standing::Lacks).saying(why);
            Host { ordered: false, ..host }
        });
    }
}
