//! One rollout as it stands: every host, by everything that is known.

use super::host::{Goal, Progress, Wanted};
use super::{Evidence, Host, HostState, Key, Kind, State, Step};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::lifecycle::LifecycleState;
use std::collections::{BTreeMap, BTreeSet};

/// The instances of the group, each with its lifecycle state.
pub type Members = BTreeMap<InstanceId, LifecycleState>;

/// What a view is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub kind: Kind,
    /// The rollout's key; `None` for a deployment that is not about a version.
    pub key: Option<&'a Key>,
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
    #[must_use]
    pub fn of(known: &Known<'_>) -> View {
        let mut hosts = surveyed(known);
        let orders =
            known.commands.iter().filter(|(step, _)| matches!(step, Step::Apply | Step::Undo));
        for (step, evidence) in orders {
            let undo = *step == Step::Undo;
            let tag = if undo { known.before } else { known.image_tag };
            let wanted = Wanted { action: known.kind.action(), tag };
            for invocation in &evidence.invocations {
                let new = Host::judge(invocation, wanted, evidence.command.host_order.as_ref());
                let new = if undo { undone(new, known) } else { new };
                let host = match hosts.remove(&invocation.instance) {
                    Some(old) => later(old, new),
                    None => new,
                };
                hosts.insert(invocation.instance.clone(), host);
            }
        }
        let begun = !known.commands.is_empty();
        for id in known.expected {
            hosts.entry(id.clone()).or_insert_with(|| {
                if begun {
                    Host::new(id, HostState::Unreachable, Progress::Silent).saying(
                        "it did not answer: SSM does not know it, or its agent is not online",
                    )
                } else {
                    Host::new(id, HostState::Pending, Progress::Unordered)
                }
            });
        }
        if let Some(members) = known.members {
            overlay(&mut hosts, members, known);
        }
        let mut view = View { hosts: hosts.into_values().collect(), digests: Vec::new() };
        view.compare_digests();
        if known.over
            && view
                .hosts
                .iter()
                .any(|host| host.progress == Progress::Failed || host.progress == Progress::Down)
        {
            view.say_not_started();
        }
        view
    }

    /// Hosts that a failed rollout never came to.
    fn say_not_started(&mut self) {
        for host in self.hosts.iter_mut().filter(|host| host.progress == Progress::Unordered) {
            host.state = HostState::NotStarted;
            host.message = Some("the version failed on another host before its turn".to_owned());
        }
    }

    /// A tag may be pushed again in the middle of a rollout: the hosts then prove the same name and
    /// different images.
    fn compare_digests(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let proven =
            self.hosts.iter().filter(|host| host.live && host.progress == Progress::Proven);
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
            if let (true, Progress::Proven, Some(digest)) = (host.live, host.progress, other) {
                host.message = Some(format!(
                    "it runs {digest} under this tag, most others {most}: the tag was pushed again meanwhile"
                ));
                host.state = HostState::Refused;
                host.progress = Progress::Unsure;
            }
        }
        self.digests = counts.into_keys().collect();
    }

    /// How many hosts are in each state.
    #[must_use]
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

    /// How many hosts in service have not proven it.
    pub(super) fn left(&self) -> u32 {
        crate::count::count(self.live().filter(|host| host.progress != Progress::Proven))
    }

    /// The one digest that hosts proved; `None` where they proved none, or several.
    pub(super) fn digest(&self) -> Option<String> {
        let mut digests = self.live().filter_map(|host| host.digest.clone());
        let first = digests.next().filter(|_| self.digests.is_empty());
        first.filter(|first| digests.all(|other| other == *first))
    }

    /// Live hosts with this progress.
    pub(super) fn count(&self, progress: Progress) -> u32 {
        crate::count::count(self.live().filter(|host| host.progress == progress))
    }

    /// Every host that counts proved the version, and there is at least one.
    pub(super) fn is_proven(&self) -> bool {
        self.live().next().is_some() && self.live().all(|host| host.progress == Progress::Proven)
    }

    /// What a rollout came to, by its hosts alone.
    #[must_use]
    pub fn verdict(&self, cancelled: bool) -> State {
        let any = |progress| self.hosts.iter().any(|host| host.progress == progress);
        let counts = |host: &&Host| host.state != HostState::Terminated;
        let mut counted = self.hosts.iter().filter(counts).peekable();
        if counted.clone().any(|host| host.progress.is_open()) {
            State::InProgress
        } else if cancelled {
            State::Cancelled
        } else if any(Progress::NotUndone) {
            State::Failed
        } else if any(Progress::Undone) {
            State::RolledBack
        } else if counted.peek().is_some() && counted.all(|host| host.progress == Progress::Proven)
        {
            State::Succeeded
        } else if any(Progress::Proven) {
            State::Partial
        } else {
            State::Failed
        }
    }
}

/// Every host by its newest answer to being asked. One that did not answer the newest question may
/// have answered the one before.
fn surveyed(known: &Known<'_>) -> BTreeMap<InstanceId, Host> {
    let mut hosts: BTreeMap<InstanceId, Host> = BTreeMap::new();
    let (Some(key), Some(tag)) = (known.key, known.image_tag) else { return hosts };
    let goal = Goal { key, tag, before: known.before };
    let surveys = known.commands.iter().filter(|(step, _)| *step == Step::Survey);
    for (_, evidence) in surveys {
        // Whoever is not among those asked now has not answered since.
        if !evidence.invocations.is_empty() {
            let asked: BTreeSet<&InstanceId> =
                evidence.invocations.iter().map(|invocation| &invocation.instance).collect();
            for (id, host) in &mut hosts {
                host.answers &= asked.contains(id);
            }
        }
        for invocation in &evidence.invocations {
            let id = &invocation.instance;
            if let Some(host) = Host::asked(invocation, goal) {
                let host = if host.rank.0 == Step::Undo { undone(host, known) } else { host };
                hosts.insert(id.clone(), host);
            } else if let Some(host) = hosts.get_mut(id) {
                host.answers = invocation.status.is_live() && host.answers;
            } else {
                let (state, why) = if invocation.status.is_live() {
                    (HostState::Pending, "it was asked what it runs")
                } else {
                    (HostState::Unreachable, "it has not answered what it runs")
                };
                let host = Host::new(id, state, Progress::Silent).saying(why);
                hosts.insert(id.clone(), host);
            }
        }
    }
    hosts
}

/// What an order adds to what is known. The later order counts, and of one order its end.
fn later(old: Host, new: Host) -> Host {
    let came_to_nothing = matches!(new.progress, Progress::Lacks) && new.version_after.is_none();
    let newer = match new.rank.cmp(&old.rank) {
        // An order that never reached the host takes away no proof.
        std::cmp::Ordering::Greater if came_to_nothing => {
            matches!(old.progress, Progress::Unordered | Progress::Silent | Progress::Lacks)
        }
        std::cmp::Ordering::Greater if new.progress == Progress::Open => {
            !matches!(old.progress, Progress::Proven)
        }
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => {
            old.progress.is_open() && !new.progress.is_open()
                || !old.answers && old.progress == Progress::Unsure
        }
        std::cmp::Ordering::Less => false,
    };
    if !newer {
        return old;
    }
    Host {
        version_before: old.version_before.or_else(|| new.version_before.clone()),
        answers: old.answers,
        held: old.held,
        has_it: old.has_it,
        active_jobs: new.active_jobs.or(old.active_jobs),
        ..new
    }
}

/// What an order to go back means.
fn undone(new: Host, known: &Known<'_>) -> Host {
    let text = |tag: Option<&ImageTag>| tag.map(ToString::to_string);
    let to = text(known.before).unwrap_or_default();
    match new.progress {
        Progress::Proven => Host {
            state: HostState::RolledBack,
            progress: Progress::Undone,
            message: Some(format!("it was brought back to {to}")),
            version_before: text(known.image_tag),
            digest: None,
            ..new
        },
        Progress::Open | Progress::Waits => Host {
            state: HostState::InProgress,
            progress: Progress::Open,
            step: Some("roll-back".to_owned()),
            message: Some(format!("it goes back to {to}")),
            ..new
        },
        _ => {
            let why = new.message.clone().unwrap_or_else(|| "it does not say why".to_owned());
            Host { progress: Progress::NotUndone, ..new }
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
        let open = !matches!(
            host.progress,
            Progress::Proven
                | Progress::Failed
                | Progress::Down
                | Progress::Undone
                | Progress::NotUndone
        );
        if !host.live && !boots && open {
            host.state = HostState::Terminated;
            host.progress = Progress::Lacks;
            host.message = Some(match lifecycle {
                Some(state) => format!("it is {state} in its group and does not count"),
                None => "it left the group meanwhile and does not count".to_owned(),
            });
        }
    }
    let born = members.iter().filter(|(_, lifecycle)| lifecycle.takes_rollouts() && !known.over);
    // Too many hosts are not listed, and then nobody knows who was there before.
    let why = if known.expected.is_empty() {
        "it was not asked yet"
    } else {
        "it came into service during the rollout"
    };
    for (id, _) in born {
        hosts
            .entry(id.clone())
            .or_insert_with(|| Host::new(id, HostState::Pending, Progress::Silent).saying(why));
    }
}
