//! What one pass was told and has seen so far.

use super::policy::HOOK_EVERY_S;
use super::{Invocation, Policy, notes};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything a pass depends on: with the same inputs it decides the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub policy: Policy,
    /// The function's clock when the pass began. Ages are not taken by it but by AWS's, see
    /// [`Group::at`].
    pub now: UnixMs,
    pub memory: Memory,
    /// What the event said. It is where to look first, and never a fact about the group.
    pub hints: Vec<Hint>,
    pub seen: Seen,
}

/// What a warm environment knows of its own last passes. It saves calls; losing it costs a few.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// When each waiting instance was last held by a heartbeat.
    pub held: BTreeMap<InstanceId, UnixMs>,
    /// Whom the last pass could not tell anything: it is not left to the next pass's luck, however
    /// lately it was held.
    #[serde(rename = "untold")]
    pub unreached: BTreeSet<InstanceId>,
    /// When each was last sent a command.
    pub sent: BTreeMap<InstanceId, UnixMs>,
    /// When this environment last looked at the hook and found nothing wrong, by its own clock: the
    /// look comes before AWS's.
    pub hook_seen: Option<UnixMs>,
}

/// An instance that an event named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub instance: InstanceId,
    pub kind: HintKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HintKind {
    /// Something happened to it.
    Look,
    /// AWS takes the machine back: when notice was given, where the event says so.
    Spot { noticed: Option<UnixMs> },
    /// AWS is likelier than usual to take the machine back soon.
    Rebalance,
    /// AWS stops, retires or ends the machine on a day that it has announced.
    Retirement,
}

/// The answers so far. `None` is a question that was not asked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub group: Option<Reading<Group>>,
    /// How often the group was looked at in this pass.
    pub looks: u32,
    pub hook: Option<Reading<Hook>>,
    pub machines: Option<Reading<BTreeMap<InstanceId, Machine>>>,
    pub activities: Option<Reading<Activities>>,
    pub instances: BTreeMap<InstanceId, Evidence>,
}

/// What is known of one instance, and what was done to it in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub held: Option<CallResult>,
    pub commands: Option<Reading<Vec<Invocation>>>,
    pub sent: Option<CallResult>,
    pub completions: Vec<CallResult>,
    pub replaced: Option<CallResult>,
}

/// The group as far as leaving goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: GroupName,
    /// AWS's clock at the answer. Everything that is compared with it was dated by AWS too.
    pub at: UnixMs,
    pub members: Vec<Member>,
    /// An instance whose hook ran out is kept running instead of ended (`TerminateHookAbandon` is
    /// `retain`).
    pub retains: bool,
    /// The group itself replaces instances that AWS may take back.
    pub rebalances: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: InstanceId,
    pub lifecycle: LifecycleState,
}

/// The lifecycle hook that this function owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub heartbeat_s: u32,
    /// The longest that an instance can be held, however many heartbeats it gets.
    pub global_s: u32,
    /// `ABANDON` or `CONTINUE`, as AWS spells it.
    pub default_result: String,
    /// It is a hook of `autoscaling:EC2_INSTANCE_TERMINATING`.
    pub terminating: bool,
}

/// What the group's newest scaling activities tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activities {
    /// When the group began to end each instance that it is still ending.
    pub ending: BTreeMap<InstanceId, UnixMs>,
    /// When the group began to launch each instance. Whoever is not in it is older than all that
    /// was read.
    pub launched: BTreeMap<InstanceId, UnixMs>,
    /// When the group last began to end an instance, whether or not it is gone by now.
    pub last_ending: Option<UnixMs>,
}

/// A machine's state as EC2 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    Running,
    /// `shutting-down`, `terminated`, `stopping` or `stopped`: no job runs on it any more, or will
    /// in a moment.
    Gone(String),
    /// `pending`, or a word that this version does not know.
    Other(String),
}

/// What a call that changes something came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CallResult {
    Done,
    /// Auto Scaling knows no action of our hook on this instance: completed, run out, another
    /// hook's, or not there yet.
    NoAction,
    /// SSM does not know the instance: its agent never registered, or the machine does not run.
    NotManaged,
    /// On purpose not done.
    DryRun,
    Failed {
        detail: String,
    },
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Group(Reading<Group>),
    Hook(Reading<Hook>),
    Machines(Reading<BTreeMap<InstanceId, Machine>>),
    Activities(Reading<Activities>),
    Commands(InstanceId, Reading<Vec<Invocation>>),
    Held(InstanceId, CallResult),
    Sent(InstanceId, CallResult),
    Completed(InstanceId, CallResult),
    Replaced(InstanceId, CallResult),
}

impl Machine {
    /// The state's name as EC2 spells it.
    #[must_use]
    pub fn read(state: &str) -> Machine {
        match state {
            "running" => Machine::Running,
            "shutting-down" | "terminated" | "stopping" | "stopped" => {
                Machine::Gone(state.to_owned())
            }
            other => Machine::Other(other.to_owned()),
        }
    }
}

impl Seen {
    fn of(&mut self, instance: InstanceId) -> &mut Evidence {
        self.instances.entry(instance).or_default()
    }
}

impl Inputs {
    /// A pass that has seen nothing yet.
    #[must_use]
    pub fn new(policy: Policy, now: UnixMs, memory: Memory, hints: Vec<Hint>) -> Inputs {
        Inputs { policy, now, memory, hints, seen: Seen::default() }
    }

    /// Takes an answer in.
    pub fn take(&mut self, answer: Answer) {
        let seen = &mut self.seen;
        match answer {
            Answer::Group(group) => {
                seen.group = Some(group);
                seen.looks = seen.looks.saturating_add(1);
            }
            Answer::Hook(hook) => seen.hook = Some(hook),
            Answer::Machines(machines) => seen.machines = Some(machines),
            Answer::Activities(activities) => seen.activities = Some(activities),
            Answer::Commands(instance, commands) => seen.of(instance).commands = Some(commands),
            Answer::Held(instance, done) => seen.of(instance).held = Some(done),
            Answer::Sent(instance, done) => seen.of(instance).sent = Some(done),
            Answer::Completed(instance, done) => seen.of(instance).completions.push(done),
            Answer::Replaced(instance, done) => seen.of(instance).replaced = Some(done),
        }
    }

    /// AWS's clock, or the function's while AWS has not answered.
    #[must_use]
    pub fn clock(&self) -> UnixMs {
        self.group().map_or(self.now, |group| group.at)
    }

    /// Whether nothing was wrong with the hook a short time ago: a hook that is right rarely
    /// changes.
    pub(super) fn is_hook_known(&self) -> bool {
        let ago = self.memory.hook_seen.map(|at| self.now.since(at));
        ago.is_some_and(|ago| (0..i64::from(HOOK_EVERY_S) * 1000).contains(&ago))
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.seen.group.as_ref().and_then(Reading::known)
    }

    /// What the environment remembers after this pass. Instances that left the group are forgotten.
    #[must_use]
    pub fn remember(&self) -> Memory {
        let now = self.clock();
        let mut memory = self.memory.clone();
        for (instance, evidence) in &self.seen.instances {
            if evidence.held == Some(CallResult::Done) {
                memory.held.insert(instance.clone(), now);
            }
            if matches!(evidence.sent, Some(CallResult::NotManaged | CallResult::Failed { .. })) {
                memory.unreached.insert(instance.clone());
            } else {
                memory.unreached.remove(instance);
            }
            if evidence.sent == Some(CallResult::Done) {
                memory.sent.insert(instance.clone(), now);
            }
        }
        if let Some(group) = self.group() {
            let is_member = |instance: &InstanceId| group.members.iter().any(|m| m.id == *instance);
            let waits = |instance: &InstanceId| {
                group
                    .members
                    .iter()
                    .any(|m| m.id == *instance && m.lifecycle.waits_on_terminate_hook())
            };
            // Whoever ran out of its hook and waits again does so on a new hook, whatever the last
            // one had left.
            memory.held.retain(|instance, _| waits(instance));
            memory.unreached.retain(&is_member);
            memory.sent.retain(|instance, _| is_member(instance));
            if !notes::about_hook(self, group).is_empty() {
                memory.hook_seen = None;
            } else if self.seen.hook.is_some() {
                memory.hook_seen = Some(self.now);
            }
        }
        memory
    }
}
