//! The small texts that are kept in SSM's Parameter Store.
//!
//! The stable pointer says what is proven, and hosts boot to it. The record is there while a
//! rollout is in progress; it can be rebuilt from the rollout's first command. Beside them are the
//! ids of the rollouts that somebody cancelled and paused last.
//!
//! SSM has no compare-and-swap, asks for 30 s between deleting a parameter and creating it again,
//! and may answer a read with what was there before. So nothing is ever deleted: a record that is
//! over says so. Records take turns between two parameters by their number: whoever closes one late
//! cannot reach the next one's. Every write learns its version, and so whether somebody else wrote
//! since; what was read with a lower version is not believed over what was written.

use super::{Build, Command, FiredAlarm, Key, Kind, Outcomes, Part, State, Step, Strategy, Trial};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// What SSM takes as a parameter's value, with some room.
const ROOM: usize = 3900;
/// Beyond this many hosts a command is for the whole group and the record holds no list.
pub(super) const LISTED: usize = 50;

/// `/ghosthands/{environment}/stable`: the version that every host is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stable {
    /// What hosts read.
    #[serde(flatten)]
    pub pointer: StablePointer,
    #[serde(default = "deploy")]
    pub kind: Kind,
    /// VALET has not taken the deploy webhook of it yet. Older versions wrote `untold`.
    #[serde(default, alias = "untold", skip_serializing_if = "is_false")]
    pub webhook_pending: bool,
    /// What CI said of it.
    #[serde(default, skip_serializing_if = "Build::is_empty")]
    pub build: Build,
    /// Rollouts that are over, newest first, as many as fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
}

/// A rollout that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub id: CommandId,
    pub key: Key,
    pub state: State,
    pub at: UnixMs,
    /// Its later commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Sent>,
    /// Hosts that no command could be sent to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<InstanceId>,
    /// The numbers by which the version was found to fail jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_jobs: Option<Outcomes>,
    /// The alarm that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<FiredAlarm>,
}

/// `/ghosthands/{environment}/rollout` and `/ghosthands/{environment}/rollout-2` in turn: the
/// rollout in progress, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// One more than that of the rollout before.
    #[serde(default)]
    pub number: u32,
    /// How it ended; the next rollout may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<State>,
    pub key: Key,
    /// The invocation that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Key>,
    pub kind: Kind,
    pub image_tag: ImageTag,
    pub strategy: Strategy,
    #[serde(default)]
    pub force: bool,
    /// When it was asked for, by the function's clock.
    pub at: UnixMs,
    /// The stable version then.
    pub before: Option<ImageTag>,
    /// What CI said of the version.
    #[serde(default, skip_serializing_if = "Build::is_empty")]
    pub build: Build,
    /// The rest of the stable pointer then, to put it back where the version fails later on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
    /// The hosts that were in service then; empty where they were too many to list.
    #[serde(default)]
    pub expected: Vec<InstanceId>,
    /// Its commands, the first one first: the newest that ask, and orders of which no later answer
    /// tells what became.
    pub commands: Vec<Sent>,
    /// The first command's id, which is the rollout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// The highest number that a command of it had.
    #[serde(default)]
    pub last: u16,
    /// The most hosts that had proven it at a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub proven: u32,
    /// When that was, or when its hosts began to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_at: Option<UnixMs>,
    /// The version failed: its hosts go back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub undo: bool,
    /// The stable pointer named the version until it failed, so instances may have booted to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub moved: bool,
    /// A command was dropped that told of hosts whose later answers are missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forgot: bool,
    /// Since when nothing moves and a host is missed: it is in service, it has to be asked, and its
    /// agent is not online or it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<UnixMs>,
    /// Whose jobs the version is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The numbers by which it was found to fail jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_jobs: Option<Outcomes>,
    /// The alarm that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<FiredAlarm>,
}

/// What the stable pointer said beside its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<CommandId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ImageTag>,
    pub kind: Kind,
}

/// A command that was sent, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub step: Step,
    /// Its number among the rollout's commands.
    #[serde(default)]
    pub round: u16,
    /// `None` between the intent and SSM's answer. A command by this comment may exist all the
    /// same.
    pub id: Option<CommandId>,
    pub at: UnixMs,
}

impl Record {
    /// The rollout's id, once its first command is known.
    #[must_use]
    pub fn id(&self) -> Option<&CommandId> {
        let first = self.commands.first().filter(|sent| sent.round == 0);
        self.id.as_ref().or_else(|| first.and_then(|sent| sent.id.as_ref()))
    }

    /// Takes note of the id of the command that was about to be sent. False where none was.
    pub(super) fn name(&mut self, id: &CommandId) -> bool {
        let Some(sent) = self.commands.iter_mut().find(|sent| sent.id.is_none()) else {
            return false;
        };
        sent.id = Some(id.clone());
        if sent.round == 0 {
            self.id = Some(id.clone());
        }
        true
    }

    /// The number of the next command.
    pub(super) fn next_round(&self) -> u16 {
        let used = self.commands.iter().map(|sent| sent.round).max().unwrap_or(0);
        self.last.max(used).saturating_add(1)
    }

    /// A rollout that was asked for at `at` and of which nothing has happened yet.
    #[must_use]
    pub fn begun(
        number: u32,
        key: Key,
        kind: Kind,
        image_tag: ImageTag,
        strategy: Strategy,
        at: UnixMs,
    ) -> Record {
        Record {
            number,
            over: None,
            key,
            attempt: None,
            kind,
            image_tag,
            strategy,
            force: false,
            at,
            before: None,
            build: Build::default(),
            former: None,
            expected: Vec::new(),
            commands: Vec::new(),
            id: None,
            last: 0,
            proven: 0,
            progress_at: None,
            undo: false,
            moved: false,
            forgot: false,
            missed: None,
            trial: None,
            failed_jobs: None,
            alarm: None,
        }
    }

    /// The record of a rollout whose first command is all that is left of it.
    pub fn rebuild(
        root: &Command,
        stable: Option<&Stable>,
        number: u32,
        now: UnixMs,
    ) -> Option<Record> {
        let Part::Root { key, .. } = &root.order.part else { return None };
        if !root.order.kind.is_rollout() {
            return None;
        }
        let before =
            stable.filter(|stable| stable.pointer.deployment_id.as_ref() != Some(&root.id));
        let (kind, strategy) = (root.order.kind, root.order.strategy);
        let image_tag = root.image_tag.clone()?;
        Some(Record {
            force: root.force,
            before: match before {
                Some(stable) => Some(stable.pointer.image_tag.clone()),
                None => stable.and_then(|stable| stable.pointer.before.clone()),
            },
            former: before.map(Stable::former),
            expected: root.targets.clone(),
            commands: vec![Sent {
                step: Step::Survey,
                round: 0,
                id: Some(root.id.clone()),
                at: now,
            }],
            id: Some(root.id.clone()),
            ..Record::begun(number, key.clone(), kind, image_tag, strategy, now)
        })
    }

    /// As the parameter holds it.
    #[must_use]
    pub fn write(&self) -> String {
        let text = serde_json::to_string(self).expect("a record is plain data");
        if text.len() <= ROOM {
            return text;
        }
        // The hosts themselves say what was ordered of them.
        let short = Record { expected: Vec::new(), ..self.clone() };
        serde_json::to_string(&short).expect("a record is plain data")
    }
}

impl Stable {
    /// As the parameter holds it: the oldest of what is over goes first.
    #[must_use]
    pub fn write(&self) -> String {
        let mut stored = self.clone();
        loop {
            let text = serde_json::to_string(&stored).expect("a pointer is plain data");
            if text.len() <= ROOM || stored.ended.pop().is_none() {
                return text;
            }
        }
    }

    /// The rollout of this id, if it is over and still remembered.
    #[must_use]
    pub fn ended(&self, id: &CommandId) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.id == *id)
    }

    /// The rollout with this key, likewise.
    #[must_use]
    pub fn ended_with(&self, key: &Key) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.key == *key)
    }

    pub(super) fn former(&self) -> Former {
        Former {
            deployment_id: self.pointer.deployment_id.clone(),
            digest: self.pointer.digest.clone(),
            before: self.pointer.before.clone(),
            kind: self.kind,
        }
    }

    pub(super) fn with(&self, ended: Ended) -> Stable {
        let mut stable = self.clone();
        stable.ended.retain(|known| known.id != ended.id);
        stable.ended.insert(0, ended);
        stable
    }
}

/// The version to go back to from the new one: deploying the same version twice does not forget the
/// one before it.
pub(super) fn before(record: &Record, old: Option<&Stable>) -> Option<ImageTag> {
    match old {
        Some(old) if old.pointer.image_tag == record.image_tag => old.pointer.before.clone(),
        Some(old) => Some(old.pointer.image_tag.clone()),
        None => None,
    }
}

/// A moment in RFC 3339.
pub(super) fn moment(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}

fn deploy() -> Kind {
    Kind::Deploy
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Tally;

    fn id(n: usize) -> CommandId {
        CommandId::new(format!("{n:08}-1234-1234-1234-123456789012"))
    }

    fn sent(n: usize) -> Sent {
        Sent { step: Step::Apply, round: 60_003, id: Some(id(n)), at: UnixMs(1_795_478_400_000) }
    }

    #[test]
    fn fifty_hosts_and_every_round_fit_into_a_parameter() {
        let tally = Tally { completed: 100_000, failed: 100_000 };
        let record = Record {
            number: 4_000_000_000,
            over: Some(State::RolledBack),
            key: Key::of_hash("abcdef012345"),
            attempt: Some(Key::of_hash("012345abcdef")),
            kind: Kind::Rollback,
            image_tag: ImageTag::parse(&format!("sha256:{}", "a".repeat(64))).unwrap(),
            strategy: Strategy::OneAtATime,
            force: true,
            at: UnixMs(1_795_478_400_000),
            before: Some(ImageTag::parse(&"b".repeat(128)).unwrap()),
            build: Build { commit_sha: "a".repeat(64), ..Build::default() },
            former: Some(Former {
                deployment_id: Some(id(9)),
                digest: Some(format!("sha256:{}", "d".repeat(64))),
                before: Some(ImageTag::parse(&"c".repeat(128)).unwrap()),
                kind: Kind::Deploy,
            }),
            expected: (0..LISTED).map(|n| InstanceId::new(format!("i-{n:017}"))).collect(),
            commands: (0..13).map(sent).collect(),
            id: Some(id(1)),
            last: 60_003,
            proven: 1000,
            progress_at: Some(UnixMs(1_795_478_400_000)),
            undo: true,
            moved: true,
            forgot: true,
            missed: Some(UnixMs(1_795_478_400_000)),
            trial: Some(Trial {
                hosts: (0..3).map(|n| InstanceId::new(format!("i-{n:017}"))).collect(),
                since: UnixMs(1_795_478_400_000),
                passed: Some(UnixMs(1_795_478_400_000)),
            }),
            failed_jobs: Some(Outcomes {
                rollout: id(1),
                since: UnixMs(1_795_478_400_000),
                at: UnixMs(1_795_478_400_000),
                new: tally,
                beside: tally,
                before: tally,
            }),
            alarm: None,
        };
        // One of the two stops it.
        let alarm = FiredAlarm {
            name: "a".repeat(FiredAlarm::NAME),
            since: UnixMs(1_795_478_400_000),
            reason: "r".repeat(FiredAlarm::REASON),
        };
        let by_alarm = Record { failed_jobs: None, alarm: Some(alarm), ..record.clone() };
        for record in [record, by_alarm] {
            let text = record.write();
            assert!(text.len() <= ROOM, "{}", text.len());
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        }
    }

    #[test]
    fn a_record_of_the_former_version_is_read() {
        let text = r#"{"key":"abcdef012345","kind":"deploy","image_tag":"v2","strategy":"canary","at":5,"before":"v1",
            "expected":["i-1"],"commands":[{"step":"apply","round":0,"id":"c-1","at":5},{"step":"sweep","round":1,"id":"c-2","at":9}]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(
            (record.number, record.over, record.id()),
            (0, None, Some(&CommandId::new("c-1")))
        );
        assert_eq!(record.commands[1].step, Step::Apply);
        assert_eq!(record.next_round(), 2);
    }

    #[test]
    fn the_pointer_forgets_the_oldest_first() {
        let ended = |n| Ended {
            id: id(n),
            key: Key::of_hash("abcdef012345"),
            state: State::RolledBack,
            at: UnixMs(1),
            then: vec![sent(n)],
            unreached: vec![],
            failed_jobs: None,
            alarm: None,
        };
        let stable = Stable {
            pointer: StablePointer {
                image_tag: ImageTag::parse("v1").unwrap(),
                digest: None,
                deployment_id: Some(id(0)),
                at: Some("2026-11-25T08:00:00Z".to_owned()),
                before: None,
            },
            kind: Kind::Deploy,
            webhook_pending: false,
            build: Build::default(),
            ended: (0..100).map(ended).collect(),
        };
        let text = stable.write();
        assert!(text.len() <= ROOM);
        let read: Stable = serde_json::from_str(&text).unwrap();
        assert!(read.ended.len() > 10 && read.ended[0] == ended(0));
        assert_eq!(read.with(ended(3)).ended[0], ended(3));
    }

    #[test]
    fn a_pointer_of_the_former_version_keeps_its_pending_webhook() {
        let text =
            r#"{"image_tag":"v1","deployment_id":"d","at":"2026-11-25T08:00:00Z","untold":true}"#;
        let stable: Stable = serde_json::from_str(text).unwrap();
        assert!(stable.webhook_pending);
        assert!(stable.write().contains(r#""webhook_pending":true"#));
    }

    #[test]
    fn a_pointer_of_three_fields_is_enough() {
        let text = r#"{"image_tag":"v1","deployment_id":"d","at":"2026-11-25T08:00:00Z"}"#;
        let stable: Stable = serde_json::from_str(text).unwrap();
        assert_eq!(
            (stable.kind, stable.webhook_pending, stable.write().as_str()),
            (
                Kind::Deploy,
                false,
                r#"{"image_tag":"v1","deployment_id":"d","at":"2026-11-25T08:00:00Z","kind":"deploy"}"#
            )
        );
    }
}
