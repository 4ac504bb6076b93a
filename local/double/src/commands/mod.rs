//! SSM Run Command as a pure state machine: calls, agents and the passing of time go in; runs to
//! begin, runs to kill and status changes come out.
//!
//! Where AWS's documentation is silent or leaves room, the double takes the reading that is harder
//! on the caller:
//! - One host gets a command first, then waves of 2, 4, … up to `MaxConcurrency`, which from then
//!   on is a sliding window.
//! - The delivery window (`TimeoutSeconds`) of an invocation begins when rate control lets it go.
//!   Not picked up by then, it never runs and is `DeliveryTimedOut`, or `Undeliverable` when its
//!   machine is gone.
//! - `ExpiresAfter`, the request's time plus delivery window plus execution limit, holds for the
//!   command as a whole: whatever is pending, delayed or in progress then is `DeliveryTimedOut`,
//!   hosts whose wave never came included.
//! - An agent that dies with a command in its hands leaves it `InProgress` until then.
//! - A tag that nobody has gives a command that succeeded nowhere.

mod agents;
mod document;
mod flow;
mod limits;
mod model;
#[cfg(test)]
mod properties;
mod send;
#[cfg(test)]
mod send_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use document::Document;
pub use model::{Command, CommandOutput, CommandState, Invocation, InvocationState};
pub(crate) use send::{Machine, SendRequest};

use crate::error::ApiError;
use crate::ids::Ids;

/// How the transport of commands behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSettings {
    /// From sending to the agent's pick-up.
    pub delivery: Duration,
    /// How long a new command is in no listing and "does not exist".
    pub listed_after: Duration,
    /// Most entries on a page, whatever the caller allows.
    pub page_size: usize,
    /// AWS's words for `DeliveryTimedOut` ("before the total timeout expired") allow that it shows
    /// only when the whole command expires: true tests that reading. Nothing starts after its
    /// delivery window either way.
    pub timeout_verdict_at_expiry: bool,
    /// AWS's documents show `StatusDetails` with and without spaces: true answers
    /// "Delivery Timed Out", false `DeliveryTimedOut`.
    pub spaced_details: bool,
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            delivery: Duration::ZERO,
            listed_after: Duration::ZERO,
            page_size: 50,
            timeout_verdict_at_expiry: false,
            spaced_details: false,
        }
    }
}

/// Longest time a setting may be: with AWS's own limits added it stays far from the end of time.
const LONGEST: Duration = Duration::from_secs(86_400);

impl CommandSettings {
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        for (field, time) in [("delivery", self.delivery), ("listed_after", self.listed_after)] {
            if time > LONGEST {
                return Err(ApiError::validation(format!(
                    "{field} must be at most 86400 seconds, not {}",
                    time.as_secs()
                )));
            }
        }
        match self.page_size {
            0 => Err(ApiError::validation("page_size must be at least 1, not 0")),
            _ => Ok(()),
        }
    }
}

/// What goes wrong with one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CommandFault {
    /// Never delivered: `Undeliverable` when its window ends.
    Undeliverable,
    /// Picked up twice; the first result counts.
    DeliverTwice,
    /// Runs and ends, its output is empty.
    LoseOutput,
    /// Runs, and nothing is ever heard of it.
    LoseReport,
    /// `Delayed`, and picked up only so much later.
    Delay {
        /// Seconds.
        seconds: u32,
    },
}

/// Which run of which invocation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunKey {
    /// Number of the command.
    pub(crate) seq: u64,
    pub(crate) instance: String,
    /// 1, or 2 for the second delivery.
    pub(crate) delivery: u32,
}

/// A change of status that AWS makes an event of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) at: Timestamp,
    pub(crate) seq: u64,
    /// None for the command itself.
    pub(crate) instance: Option<String>,
    pub(crate) status: &'static str,
}

/// Runs that hosts have to begin and to end.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) begin: Vec<RunKey>,
    pub(crate) kill: Vec<RunKey>,
}

/// Documents, agents and commands of the account and region.
#[derive(Debug)]
pub(crate) struct RunCommand {
    now: Timestamp,
    account: String,
    ids: Ids,
    pub(crate) settings: CommandSettings,
    documents: BTreeMap<String, (Document, Timestamp)>,
    /// By number, from 1.
    commands: Vec<Command>,
    /// Those that are not over.
    open: BTreeSet<u64>,
    by_instance: BTreeMap<String, Vec<u64>>,
    /// Agents that lost their connection, and when.
    offline: BTreeMap<String, Timestamp>,
    /// Machines that ended.
    gone: BTreeSet<String>,
    faults: Vec<(String, CommandFault)>,
    notices: Vec<Notice>,
    runs: Runs,
}

impl RunCommand {
    pub(crate) fn new(account: &str, seed: u64, now: Timestamp) -> Self {
        let mut new = Self {
            now,
            account: account.to_owned(),
            ids: Ids::new(seed, 7),
            settings: CommandSettings::default(),
            documents: BTreeMap::new(),
            commands: Vec::new(),
            open: BTreeSet::new(),
            by_instance: BTreeMap::new(),
            offline: BTreeMap::new(),
            gone: BTreeSet::new(),
            faults: Vec::new(),
            notices: Vec::new(),
            runs: Runs::default(),
        };
        let own = Document::parse("AWS-RunShellScript", &document::run_shell_script().to_string());
        new.documents.extend(own.ok().map(|d| (d.name.clone(), (d, now))));
        new
    }

    /// `CreateDocument`
    pub(crate) fn create_document(&mut self, name: &str, content: &str) -> Result<(), ApiError> {
        if self.documents.contains_key(name) {
            return Err(ApiError::new(
                "DocumentAlreadyExists",
                format!("Document with same name {name} already exists"),
            ));
        }
        let document = Document::parse(name, content)?;
        self.documents.insert(name.to_owned(), (document, self.now));
        Ok(())
    }

    /// `DeleteDocument`
    pub(crate) fn delete_document(&mut self, name: &str) -> Result<(), ApiError> {
        self.document(name)?;
        self.documents.remove(name);
        Ok(())
    }

    /// A document and when it was created.
    pub(crate) fn document(&self, name: &str) -> Result<&(Document, Timestamp), ApiError> {
        self.documents.get(name).ok_or_else(|| {
            ApiError::new("InvalidDocument", format!("Document with name {name} does not exist."))
        })
    }

    /// Every command, oldest first.
    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The commands that listings show by now, newest first: all of them, or those of one host.
    pub(crate) fn listed<'a>(
        &'a self,
        instance: Option<&str>,
    ) -> impl Iterator<Item = &'a Command> + use<'a> {
        let seen = move |c: &&Command| c.requested + self.settings.listed_after <= self.now;
        let seqs: Vec<u64> = match instance {
            Some(instance) => self.by_instance.get(instance).cloned().unwrap_or_default(),
            None => (1..=self.commands.len() as u64).collect(),
        };
        seqs.into_iter().rev().filter_map(|seq| self.command(seq)).filter(seen)
    }

    pub(crate) fn command(&self, seq: u64) -> Option<&Command> {
        self.commands.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// Since when an agent has lost its connection.
    pub(crate) fn offline_since(&self, instance: &str) -> Option<Timestamp> {
        self.offline.get(instance).copied()
    }

    /// Plans a fault for the next invocation sent to this host, or to anyone for `*`.
    pub(crate) fn plan_fault(&mut self, instance: &str, fault: CommandFault) {
        self.faults.push((instance.to_owned(), fault));
    }

    /// The status changes since the last call, oldest first.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What hosts have to begin and to end since the last call.
    pub(crate) fn take_runs(&mut self) -> Runs {
        std::mem::take(&mut self.runs)
    }

    /// True when nothing is due at `now` and no host has anything to begin or to end.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        self.runs.begin.is_empty()
            && self.runs.kill.is_empty()
            && self.next_deadline().is_none_or(|at| at > now)
    }

    fn strike(&mut self, instance: &str) -> Option<CommandFault> {
        let at = self.faults.iter().position(|(who, _)| who == instance || who == "*")?;
        Some(self.faults.remove(at).1)
    }
}
