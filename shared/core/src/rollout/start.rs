//! Begins a deployment: once for each `Idempotency-Key`, and one rollout at a time.

use super::decide::{UNLISTED_S, targets};
use super::record::LISTED;
use super::{
    Build, Call, Command, Ended, Key, Kind, LockResult, Part, Record, RolloutOrder, Seen,
    SendResult, Sending, Sent, Stable, State, Step, StoredState, Strategy, Targets,
};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// A first command so young, of which nothing else is known, lost its record on the way.
const LOST_S: u32 = 300;
/// How far back SSM's list is searched for a key; rollouts are remembered longer.
const SEARCHED_S: i64 = 3600;
/// How often a request whose record was written over looks for it: who came second puts it back,
/// which takes three calls.
const LOOKS: u32 = 7;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub key: Key,
    /// Stands for this one invocation of the function, and never for another: so it knows its own
    /// record again.
    pub attempt: Key,
    pub kind: Kind,
    /// The version; `None` for what is not about one.
    pub image_tag: Option<ImageTag>,
    pub strategy: Strategy,
    pub force: bool,
    /// Whose token it was, by the beginning of its hash.
    pub by: Option<String>,
    /// The reason; as much of it as fits is kept in the command's comment.
    pub why: Option<String>,
    /// What CI said of the version.
    #[serde(default)]
    pub build: Build,
    /// The hosts that a drain names; `None` means all that are in service.
    pub hosts: Option<Vec<InstanceId>>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs, or it did: the same key gets the same answer.
    Accepted {
        id: CommandId,
        hosts: Vec<InstanceId>,
        /// The version; `None` also where SSM has forgotten the command.
        image_tag: Option<ImageTag>,
    },
    /// Another rollout is in progress; its id, where it is known already.
    Conflict { running: Option<CommandId> },
    /// The key stands for another request.
    KeyReused { id: Option<CommandId> },
    /// Hosts that are not in service, or that SSM does not know.
    NoHosts { missing: Vec<InstanceId> },
    /// It may have begun. The same request again tells, after so many seconds.
    Unsure { retry_s: u32, detail: String },
    /// Nothing was begun.
    Unavailable { detail: String },
}

/// The next calls, or what came of it.
///
/// # Errors
/// The end, which is no error: there is nothing left to call.
pub fn start(wish: &Start, now: UnixMs, seen: &Seen) -> Result<Vec<Call>, Started> {
    Begin { wish, now, seen }.next()
}

struct Begin<'a> {
    wish: &'a Start,
    now: UnixMs,
    seen: &'a Seen,
}

impl Begin<'_> {
    fn next(&self) -> Result<Vec<Call>, Started> {
        let questions = self.questions();
        if !questions.is_empty() {
            return Ok(questions);
        }
        let stored = known(self.seen.stored.as_ref()).map_err(|why| self.reserved_or(why))?;
        let recent = known(self.seen.recent.as_ref())?;
        if let Some(SendResult::Sent { id }) = &self.seen.sent {
            return self.sent(stored, id);
        }
        if self.wish.kind.is_rollout() { self.rollout(stored, recent) } else { self.action(recent) }
    }

    fn questions(&self) -> Vec<Call> {
        let seen = self.seen;
        let mut calls = Vec::new();
        if seen.stored.is_none() {
            calls.push(Call::ReadStored);
        }
        if seen.recent.is_none() {
            calls.push(Call::ListRecent { since: UnixMs(self.now.0 - SEARCHED_S * 1000) });
        }
        if seen.members.is_none() {
            calls.push(Call::DescribeGroup);
        }
        if seen.managed.is_none() {
            calls.push(Call::DescribeManaged);
        }
        calls
    }

    /// Once the record is created, something was begun, and the same request again tells what
    /// became of it.
    fn reserved_or(&self, why: Started) -> Started {
        match why {
            Started::Unavailable { detail } if self.seen.lock.is_some() => {
                Started::Unsure { retry_s: UNLISTED_S, detail }
            }
            why => why,
        }
    }

    fn rollout(&self, stored: &StoredState, recent: &[Command]) -> Result<Vec<Call>, Started> {
        let wish = self.wish;
        if let Some(record) = stored.record() {
            return self.beside(stored, record, recent);
        }
        if let Some(ended) = self.ended(stored) {
            return self.over(ended, recent);
        }
        match &self.seen.lock {
            Some(LockResult::Held) if self.seen.looks < 2 => return Ok(vec![Call::ReadStored]),
            // Somebody was first, and is over already.
            Some(LockResult::Held) => return Err(Started::Conflict { running: None }),
            Some(LockResult::Failed { detail }) => {
                return Err(Started::Unsure { retry_s: 1, detail: detail.clone() });
            }
            // It was ours, the order was refused, and the record is gone again.
            Some(LockResult::Acquired) => {
                let gone = || "its record was deleted meanwhile".to_owned();
                let detail = self.seen.call_error.clone().unwrap_or_else(gone);
                return Err(Started::Unavailable { detail });
            }
            None => {}
        }
        let root =
            |command: &&Command| command.order.key().is_some() && command.order.kind.is_rollout();
        let number = stored.next_number();
        let version = stored.version(number);
        if let Some(known) = recent.iter().filter(root).find(|c| c.order.key() == Some(&wish.key)) {
            let over = stored.newest().is_some_and(|newest| newest.key == wish.key);
            let young = self.now < known.requested.plus_seconds(LOST_S);
            let lost = Record::rebuild(known, stored.stable.as_ref(), number, self.now);
            return match lost.filter(|_| young && !over) {
                Some(lost) => Ok(vec![Call::CreateRecord { record: Box::new(lost), version }]),
                None => Err(self.replay(known)),
            };
        }
        let (_, expected) = self.hosts()?;
        let Some(image_tag) = wish.image_tag.clone() else {
            return Err(Started::Unavailable { detail: "a rollout needs an image tag".to_owned() });
        };
        let key = wish.key.clone();
        let record = Record {
            attempt: Some(wish.attempt.clone()),
            force: wish.force,
            before: stored.stable.as_ref().map(|stable| stable.pointer.image_tag.clone()),
            build: wish.build.clone(),
            former: stored.stable.as_ref().map(Stable::former),
            expected: if expected.len() <= LISTED { expected } else { Vec::new() },
            commands: vec![Sent { step: Step::Survey, round: 0, id: None, at: self.now }],
            ..Record::begun(number, key, wish.kind, image_tag, wish.strategy, self.now)
        };
        Ok(vec![Call::CreateRecord { record: Box::new(record), version }])
    }

    /// A rollout is in progress: it is this one, or it is in the way.
    fn beside(
        &self,
        stored: &StoredState,
        record: &Record,
        recent: &[Command],
    ) -> Result<Vec<Call>, Started> {
        let wish = self.wish;
        let root = recent.iter().find(|command| command.order.key() == Some(&record.key));
        let id = record.id().or_else(|| root.map(|root| &root.id)).cloned();
        let overwritten = self.seen.lock == Some(LockResult::Acquired)
            && record.attempt.as_ref() != Some(&wish.attempt);
        if overwritten && self.seen.call_error.is_none() && self.seen.looks < LOOKS {
            return Ok(vec![Call::ReadStored]);
        }
        if record.key != wish.key {
            // A proven one only waits for instances that boot; the next rollout brings those along.
            let ended = stored.stable.as_ref().zip(id.as_ref()).and_then(|(s, id)| s.ended(id));
            let proven = ended.is_some_and(|ended| ended.state == State::Succeeded);
            return if proven && self.seen.call_error.is_none() {
                Ok(close(stored, record, State::Succeeded))
            } else if overwritten {
                let detail = "another request began at the same moment".to_owned();
                Err(Started::Unsure { retry_s: 5, detail })
            } else {
                Err(Started::Conflict { running: id })
            };
        }
        let same = Some(&record.image_tag) == wish.image_tag.as_ref()
            && (record.kind, record.strategy, record.force)
                == (wish.kind, wish.strategy, wish.force);
        if !same {
            return Err(Started::KeyReused { id });
        }
        if let Some(id) = record.id() {
            return Err(Started::Accepted {
                id: id.clone(),
                hosts: record.expected.clone(),
                image_tag: Some(record.image_tag.clone()),
            });
        }
        match &self.seen.sent {
            Some(SendResult::Refused { detail })
                if self.seen.call_error.as_ref() == Some(detail) =>
            {
                // Nothing was sent: what was written down is taken back.
                return Ok(close(stored, record, State::Failed));
            }
            Some(SendResult::Lost { detail }) => {
                return Err(Started::Unsure { retry_s: UNLISTED_S, detail: detail.clone() });
            }
            _ => {}
        }
        if let Some(trouble) = &self.seen.call_error {
            return Err(Started::Unsure { retry_s: UNLISTED_S, detail: trouble.clone() });
        }
        if let Some(id) = id {
            let mut named = record.clone();
            named.name(&id);
            let version = stored.version(named.number);
            return Ok(vec![Call::Write { record: Box::new(named), version }]);
        }
        // Who came second has no lock, even where its record stands: the first one may have sent.
        let held = self.seen.lock == Some(LockResult::Held);
        if held || record.attempt.as_ref() != Some(&wish.attempt) {
            return self.take_over(stored, record);
        }
        // A whole rollout with this key may have passed between the first look and the lock.
        if self.seen.looks < 2 {
            return Ok(vec![Call::ReadStored]);
        }
        if let Some(ended) = self.ended(stored) {
            return Ok(close(stored, record, ended.state));
        }
        let (hosts, _) = self.hosts()?;
        Ok(vec![self.sending(hosts)])
    }

    /// Somebody reserved it with this key and died, perhaps after sending: SSM's list tells, in a
    /// while. Then it is written down whose it is now, so that of two who come for it one sends.
    fn take_over(&self, stored: &StoredState, record: &Record) -> Result<Vec<Call>, Started> {
        let intended = record.commands.first().map_or(record.at, |sent| sent.at);
        let wait_s = i64::from(UNLISTED_S) - self.now.since(intended) / 1000;
        if wait_s > 0 || self.seen.lock == Some(LockResult::Held) {
            let wait_s = wait_s.max(1);
            return Err(Started::Unsure {
                // Where it is at work, it is done in seconds.
                retry_s: u32::try_from(wait_s).unwrap_or(UNLISTED_S).min(5),
                detail: "an earlier attempt with this key may have begun it".to_owned(),
            });
        }
        let mut ours = Record { attempt: Some(self.wish.attempt.clone()), ..record.clone() };
        if let Some(first) = ours.commands.first_mut() {
            first.at = self.now;
        }
        let version = stored.version(ours.number);
        Ok(vec![Call::CreateRecord { record: Box::new(ours), version }])
    }

    /// The rollout with this key, where it is over.
    fn ended<'k>(&self, stored: &'k StoredState) -> Option<&'k Ended> {
        stored.stable.as_ref()?.ended_with(&self.wish.key)
    }

    /// The key's rollout is over. Its command tells whether this request is the one that began it.
    fn over(&self, ended: &Ended, recent: &[Command]) -> Result<Vec<Call>, Started> {
        if let Some(root) = recent.iter().find(|command| command.id == ended.id) {
            return Err(self.replay(root));
        }
        match self.seen.commands.get(&ended.id) {
            None => Ok(vec![Call::ReadCommand { id: ended.id.clone() }]),
            Some(Reading::Known(Some(root))) => Err(self.replay(&root.command)),
            Some(Reading::Known(None)) => {
                Err(Started::Accepted { id: ended.id.clone(), hosts: Vec::new(), image_tag: None })
            }
            Some(Reading::Unknown(source)) => {
                Err(Started::Unavailable { detail: source.detail.clone() })
            }
        }
    }

    fn action(&self, recent: &[Command]) -> Result<Vec<Call>, Started> {
        if let Some(known) = recent.iter().find(|c| c.order.key() == Some(&self.wish.key)) {
            return Err(self.replay(known));
        }
        match &self.seen.sent {
            Some(SendResult::Refused { detail }) => {
                Err(Started::Unavailable { detail: detail.clone() })
            }
            Some(SendResult::Lost { detail }) => {
                Err(Started::Unsure { retry_s: UNLISTED_S, detail: detail.clone() })
            }
            _ => {
                let (hosts, _) = self.hosts()?;
                Ok(vec![self.sending(hosts)])
            }
        }
    }

    /// An earlier request with this key went through.
    fn replay(&self, known: &Command) -> Started {
        let wish = self.wish;
        let same = known.image_tag == wish.image_tag
            && (known.order.kind, known.order.strategy, known.force)
                == (wish.kind, wish.strategy, wish.force);
        let id = known.id.clone();
        if same {
            let image_tag = known.image_tag.clone();
            Started::Accepted { id, hosts: known.targets.clone(), image_tag }
        } else {
            Started::KeyReused { id: Some(id) }
        }
    }

    /// The command has its id, which is written down before anybody is told.
    fn sent(&self, stored: &StoredState, id: &CommandId) -> Result<Vec<Call>, Started> {
        if let Some(record) =
            stored.record().filter(|_| self.seen.unsaved && self.seen.call_error.is_none())
        {
            return Ok(vec![Call::Write {
                record: Box::new(record.clone()),
                version: stored.version(record.number),
            }]);
        }
        // Where that failed, the next pass finds the command by its comment.
        let hosts = self.hosts().map_or_else(|_| Vec::new(), |(hosts, _)| hosts);
        Err(Started::Accepted { id: id.clone(), hosts, image_tag: self.wish.image_tag.clone() })
    }

    /// The hosts that an order can be sent to now, and those that are in service.
    fn hosts(&self) -> Result<(Vec<InstanceId>, Vec<InstanceId>), Started> {
        let members = known(self.seen.members.as_ref())?;
        let managed = known(self.seen.managed.as_ref())?;
        let in_service =
            members.iter().filter(|(_, state)| state.takes_rollouts()).map(|(id, _)| id.clone());
        let in_service: Vec<InstanceId> = in_service.collect();
        let can = |id: &&InstanceId| managed.get(*id) == Some(&true);
        let wanted = self.wish.hosts.as_ref().unwrap_or(&in_service);
        let named = self.wish.hosts.is_some();
        let missing: Vec<InstanceId> = wanted
            .iter()
            .filter(|id| named && !(in_service.contains(id) && can(id)))
            .cloned()
            .collect();
        let hosts: Vec<InstanceId> = wanted.iter().filter(can).cloned().collect();
        if hosts.is_empty() || !missing.is_empty() {
            return Err(Started::NoHosts { missing });
        }
        Ok((hosts, in_service))
    }

    fn sending(&self, hosts: Vec<InstanceId>) -> Call {
        let Start { key, kind, image_tag, strategy, force, by, why, .. } = self.wish;
        // An order to named hosts is for nobody else.
        let targets =
            if self.wish.hosts.is_some() { Targets::Hosts(hosts) } else { targets(hosts) };
        let part = Part::Root { key: key.clone(), by: by.clone(), why: why.clone() };
        Call::Send(Box::new(Sending {
            order: RolloutOrder { kind: *kind, strategy: *strategy, part },
            image_tag: image_tag.clone(),
            force: *force,
            host_order: None,
            job_limit_s: None,
            targets,
        }))
    }
}

fn close(stored: &StoredState, record: &Record, state: State) -> Vec<Call> {
    let version = stored.version(record.number);
    let closed = Record { over: Some(state), ..record.clone() };
    vec![Call::Write { record: Box::new(closed), version }]
}

fn known<T>(reading: Option<&Reading<T>>) -> Result<&T, Started> {
    match reading {
        Some(Reading::Known(value)) => Ok(value),
        Some(Reading::Unknown(source)) => {
            Err(Started::Unavailable { detail: source.detail.clone() })
        }
        None => Err(Started::Unavailable { detail: "it was not looked at".to_owned() }),
    }
}
