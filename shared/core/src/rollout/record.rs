//! The small texts that are kept in SSM's Parameter Store.
//!
//! The stable pointer says what is proven, and hosts boot to it. The record exists while a rollout
//! is in progress: creating it is the lock, and it can be rebuilt from the rollout's first command.
//! Beside them is the id of the rollout that somebody cancelled last.

use super::{Command, Key, Kind, Part, State, Step, Strategy};
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
}

/// `/ghosthands/{environment}/rollout`: the rollout in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
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
    /// The hosts that were in service then; empty where they were too many to list.
    #[serde(default)]
    pub expected: Vec<InstanceId>,
    /// Its commands, the first one first.
    pub commands: Vec<Sent>,
    /// When a host was first missed: it is in service, it has to be asked, and its agent is not
    /// online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<UnixMs>,
}

/// A command that was sent, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub step: Step,
    #[serde(default)]
    pub round: u8,
    /// `None` between the intent and SSM's answer. A command by this comment may exist all the
    /// same.
    pub id: Option<CommandId>,
    pub at: UnixMs,
}

impl Record {
    /// The rollout's id, once its first command is known.
    pub fn id(&self) -> Option<&CommandId> {
        self.commands.first().and_then(|sent| sent.id.as_ref())
    }

    /// How often this step was taken.
    pub(super) fn rounds(&self, step: Step) -> u8 {
        let rounds = self.commands.iter().filter(|sent| sent.step == step).map(|sent| sent.round);
        rounds.max().unwrap_or(0)
    }

    /// The record of a rollout whose first command is all that is left of it.
    pub fn rebuild(root: &Command, stable: Option<&Stable>, now: UnixMs) -> Option<Record> {
        let Part::Root { key, .. } = &root.order.part else { return None };
        if !root.order.kind.is_rollout() {
            return None;
        }
        Some(Record {
            key: key.clone(),
            attempt: None,
            kind: root.order.kind,
            image_tag: root.image_tag.clone()?,
            strategy: root.order.strategy,
            force: root.force,
            at: now,
            before: stable.map(|stable| stable.pointer.image_tag.clone()),
            expected: root.targets.clone(),
            commands: vec![Sent {
                step: Step::Apply,
                round: 0,
                id: Some(root.id.clone()),
                at: now,
            }],
            missed: None,
        })
    }

    /// As the parameter holds it.
    pub fn write(&self) -> String {
        let text = serde_json::to_string(self).expect("a record is plain data");
        if text.len() <= ROOM {
            return text;
        }
        // SSM's own list has the hosts that were sent a command.
        let short = Record { expected: Vec::new(), ..self.clone() };
        serde_json::to_string(&short).expect("a record is plain data")
    }
}

impl Stable {
    /// As the parameter holds it: the oldest of what is over goes first.
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
    pub fn ended(&self, id: &CommandId) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.id == *id)
    }

    /// The rollout with this key, likewise.
    pub fn ended_with(&self, key: &Key) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.key == *key)
    }

    pub(super) fn with(&self, ended: Ended) -> Stable {
        let mut stable = self.clone();
        stable.ended.retain(|known| known.id != ended.id);
        stable.ended.insert(0, ended);
        stable
    }
}

fn deploy() -> Kind {
    Kind::Deploy
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> CommandId {
        CommandId::new(format!("{n:08}-1234-1234-1234-123456789012"))
    }

    fn sent(n: usize) -> Sent {
        Sent { step: Step::Sweep, round: 3, id: Some(id(n)), at: UnixMs(1_795_478_400_000) }
    }

    #[test]
    fn fifty_hosts_and_every_round_fit_into_a_parameter() {
        let record = Record {
            key: Key::of_hash("abcdef012345"),
            attempt: Some(Key::of_hash("012345abcdef")),
            kind: Kind::Rollback,
            image_tag: ImageTag::parse(&format!("sha256:{}", "a".repeat(64))).unwrap(),
            strategy: Strategy::OneAtATime,
            force: true,
            at: UnixMs(1_795_478_400_000),
            before: Some(ImageTag::parse(&"b".repeat(128)).unwrap()),
            expected: (0..LISTED).map(|n| InstanceId::new(format!("i-{n:017}"))).collect(),
            commands: (0..7).map(sent).collect(),
            missed: Some(UnixMs(1_795_478_400_000)),
        };
        let text = record.write();
        assert!(text.len() <= ROOM, "{}", text.len());
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
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
