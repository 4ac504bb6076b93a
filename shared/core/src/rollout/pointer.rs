//! What a rollout writes when it moves the stable pointer, puts it back, or ends.

use super::decide::{Pass, over};
use super::host::Progress;
use super::record::{before, moment};
use super::{Build, Decision, Ended, Host, Reason, Record, Stable, State, View};
use fleet_protocol::stable::StablePointer;

/// So many hosts that no command could be sent to are remembered by name.
const UNREACHED: usize = 10;

impl Pass<'_> {
    /// Enough hosts proved it: new instances boot to it from now on.
    pub(super) fn move_stable(&self, record: &Record, view: &View, hosts: u32) -> Decision {
        let Some(id) = record.id() else { return over(Reason::Looking) };
        let old = self.stored.stable.as_ref();
        let stable = Stable {
            pointer: StablePointer {
                image_tag: record.image_tag.clone(),
                digest: view.digest(),
                deployment_id: Some(id.clone()),
                at: Some(moment(self.inputs.now)),
                before: before(record, old),
            },
            kind: record.kind,
            webhook_pending: false,
            build: record.build.clone(),
            ended: old.map(|old| old.ended.clone()).unwrap_or_default(),
        };
        self.write_stable(stable, Reason::StableMoves { hosts })
    }

    /// The version failed after the pointer had moved to it: it goes back with the hosts.
    pub(super) fn revert_stable(&self, record: &Record) -> Decision {
        let (Some(old), Some(before)) = (self.stored.stable.as_ref(), record.before.as_ref())
        else {
            // There was no pointer before: the version stays named, and its hosts as they are.
            return self.end(record, &View::default(), State::Failed);
        };
        let former = record.former.clone();
        let stable = Stable {
            pointer: StablePointer {
                image_tag: before.clone(),
                digest: former.as_ref().and_then(|former| former.digest.clone()),
                deployment_id: former.as_ref().and_then(|former| former.deployment_id.clone()),
                at: Some(moment(self.inputs.now)),
                before: former.as_ref().and_then(|former| former.before.clone()),
            },
            kind: former.map_or(record.kind, |former| former.kind),
            webhook_pending: false,
            build: Build::default(),
            ended: old.ended.clone(),
        };
        self.write_stable(stable, Reason::StableReverts)
    }

    pub(super) fn succeed(&self, record: &Record, view: &View, hosts: u32) -> Decision {
        let Some(ended) = self.ended(record, view, State::Succeeded) else {
            return over(Reason::Looking);
        };
        let old = self.stored.stable.as_ref();
        let moved = old.filter(|old| old.pointer.deployment_id.as_ref() == Some(&ended.id));
        let stable = Stable {
            pointer: StablePointer {
                image_tag: record.image_tag.clone(),
                digest: view.digest(),
                deployment_id: Some(ended.id.clone()),
                at: Some(moment(self.inputs.now)),
                before: match moved {
                    Some(moved) => moved.pointer.before.clone(),
                    None => before(record, old),
                },
            },
            kind: record.kind,
            webhook_pending: self.inputs.webhook,
            build: record.build.clone(),
            ended: old.map(|old| old.ended.clone()).unwrap_or_default(),
        };
        self.write_stable(stable.with(ended), Reason::Proven { hosts })
    }

    /// Remembers what it came to, and lets the next rollout in.
    pub(super) fn end(&self, record: &Record, view: &View, state: State) -> Decision {
        let (Some(stable), Some(ended)) = (&self.stored.stable, self.ended(record, view, state))
        else {
            return self.close(record, state);
        };
        if stable.ended(&ended.id).is_some() {
            return self.close(record, state);
        }
        self.write_stable(stable.with(ended), Reason::Over { state })
    }

    fn ended(&self, record: &Record, view: &View, state: State) -> Option<Ended> {
        let id = record.id()?.clone();
        let unreached = |host: &&Host| host.progress == Progress::Silent;
        Some(Ended {
            key: record.key.clone(),
            state,
            at: self.inputs.now,
            then: record.commands.iter().filter(|sent| sent.id.is_some()).cloned().collect(),
            unreached: view
                .live()
                .filter(unreached)
                .take(UNREACHED)
                .map(|host| host.instance_id.clone())
                .collect(),
            failed_jobs: record.failed_jobs.clone(),
            alarm: record.alarm.clone(),
            id,
        })
    }
}
