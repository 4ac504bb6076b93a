//! What a rollout needs next.

use super::host::{Host, Progress};
use super::record::LISTED;
use super::strategy::{enough, window};
use super::view::View;
use super::{FiredAlarm, Limits, Members, Outcomes, Record, Stable, State, Step, Trial};
use crate::count::count;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::{Reading, Unknown};
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// How often one host is ordered the same.
pub(super) const ATTEMPTS: u8 = 3;
/// An instance that boots while the pointer moves may have read the old one, and one in service may
/// be ahead of its agent: each is waited for this long.
const BOOT_S: u32 = 600;
/// A rollout in which no more hosts prove it for this much longer than a job may take comes to no
/// better end.
const STALLED_AFTER_JOB_S: u32 = 3600;
/// Between two orders of the same: whatever kept a host from the first may need a moment.
const PAUSE_S: u32 = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Hosts hold orders that have not ended; so many of them wait for their job.
    Run {
        open: u32,
        waiting: u32,
    },
    /// An operator paused it.
    Pause {
        open: u32,
    },
    /// Instances boot.
    Boot {
        booting: u32,
    },
    /// Hosts in service have to be asked, and they or their agents do not answer.
    Miss {
        hosts: u32,
    },
    /// Between two attempts.
    Rest {
        wait_s: i64,
    },
    Send {
        step: Step,
        attempt: u8,
        hosts: Vec<InstanceId>,
    },
    /// Whether an alarm fires has to be known before anything goes on.
    AwaitAlarms {
        source: Unknown,
    },
    /// The version failed: from now on its hosts go back.
    BeginUndo,
    MoveStable {
        hosts: u32,
    },
    RevertStable,
    /// A trial begins, or was passed.
    Judge(Trial),
    /// The canary's jobs are judged for so long at most.
    Bake {
        wait_s: i64,
    },
    /// They do not suffice for a verdict.
    NeedDecision,
    /// The jobs of all hosts are judged for so long.
    Watch {
        wait_s: i64,
    },
    /// Every host proved it.
    Succeed {
        hosts: u32,
    },
    End(State),
}

/// Everything that the next step depends on.
pub(super) struct NextInputs<'a> {
    pub(super) record: &'a Record,
    pub(super) stable: Option<&'a Stable>,
    pub(super) view: &'a View,
    pub(super) members: &'a Members,
    pub(super) online: &'a BTreeMap<InstanceId, bool>,
    pub(super) limits: Limits,
    pub(super) cancelled: bool,
    pub(super) paused: bool,
    /// When a person let it go on last.
    pub(super) continued: Option<UnixMs>,
    /// How the jobs of the trial under way end, as counted last.
    pub(super) outcomes: Option<&'a Outcomes>,
    /// The alarms that fire, of those that stop a rollout; `None` where none does.
    pub(super) alarms: Option<&'a Reading<Vec<FiredAlarm>>>,
    /// When the hosts were asked last.
    pub(super) asked: UnixMs,
    pub(super) now: UnixMs,
}

impl NextInputs<'_> {
    pub(super) fn next(&self) -> Next {
        if self.record.undo {
            return self.undo();
        }
        if self.has_succeeded() {
            return self.settle();
        }
        let failed = |host: &Host| matches!(host.progress, Progress::Failed | Progress::Down);
        let stopped = self.failed_jobs().is_some() || self.fired_alarm().is_some();
        if self.view.hosts.iter().any(failed) || stopped {
            return Next::BeginUndo;
        }
        if let Some(source) = self.alarms_unknown()
            && !self.cancelled
        {
            return Next::AwaitAlarms { source: source.clone() };
        }
        let live = count(self.view.live());
        let bake = self.bake();
        // A cancellation that came too late changes nothing any more.
        if self.view.is_proven() && bake.is_none() {
            return self.watch(live);
        }
        if self.cancelled {
            return self.cancel();
        }
        if let Some(next) = bake {
            return next;
        }
        let proven = self.view.count(Progress::Proven);
        if !self.is_moved() && proven > 0 && proven >= enough(self.record.strategy, live) {
            return Next::MoveStable { hosts: proven };
        }
        self.apply(live, proven)
    }

    /// The pointer names this rollout.
    pub(super) fn is_moved(&self) -> bool {
        self.record.id().is_some_and(|id| {
            self.stable.is_some_and(|stable| stable.pointer.deployment_id.as_ref() == Some(id))
        })
    }

    /// It is remembered as a success: only instances that were born meanwhile are left.
    fn has_succeeded(&self) -> bool {
        let ended = self.record.id().and_then(|id| self.stable?.ended(id));
        ended.is_some_and(|ended| ended.state == State::Succeeded)
    }

    fn apply(&self, live: u32, proven: u32) -> Next {
        let open = count(self.view.live().filter(|host| host.progress.is_open()));
        let waiting = self.view.count(Progress::Waits);
        if self.paused {
            return Next::Pause { open };
        }
        if self.is_stalled() {
            return self.give_up();
        }
        let window = window(self.record.strategy, live, proven, self.limits.share);
        // Who may have the version and has not proven it is somebody's turn still.
        let unsure = self.view.count(Progress::Unsure);
        let room = window.saturating_sub(open.saturating_add(unsure));
        if let Some(next) = self.order(Step::Apply, room, |host| {
            matches!(host.progress, Progress::Unordered | Progress::Lacks | Progress::Silent)
        }) {
            return next;
        }
        if let Some(next) =
            self.order(Step::Apply, u32::MAX, |host| host.progress == Progress::Unsure)
        {
            return next;
        }
        if open > 0 && !self.is_stuck() {
            return Next::Run { open, waiting };
        }
        let missing = self.view.live().filter(|host| {
            let lacks = matches!(
                host.progress,
                Progress::Unordered | Progress::Silent | Progress::Lacks | Progress::Unsure
            );
            lacks && !self.is_exhausted(host) || host.progress.is_open()
        });
        let missing = count(missing);
        if missing > 0 && self.record.missed.is_none_or(|missed| self.waits(missed)) {
            return Next::Miss { hosts: missing };
        }
        // A host that never proves anything, however often it is asked, may hide a version that
        // does not work; so may one that fell silent with its order in hand.
        let hides = |host: &Host| host.progress == Progress::Unsure || host.progress.is_open();
        if self.view.live().any(hides) {
            return Next::BeginUndo;
        }
        Next::End(self.mixed())
    }

    /// Nothing has come nearer to the end for longer than any job may take.
    fn is_stalled(&self) -> bool {
        let since = self.record.progress_at.unwrap_or(self.record.at);
        self.now >= since.plus_seconds(self.limits.job_limit_s.saturating_add(STALLED_AFTER_JOB_S))
    }

    /// Takes back what waits, and ends with what there is.
    fn give_up(&self) -> Next {
        let unsure = |host: &Host| host.progress == Progress::Unsure;
        match self.take_back() {
            Some(next) => next,
            None if self.view.live().any(unsure) => Next::BeginUndo,
            None => Next::End(self.mixed()),
        }
    }

    /// Every order that has not ended is in the hands of a host that does not answer any more.
    fn is_stuck(&self) -> bool {
        self.view.live().filter(|host| host.progress.is_open()).all(|host| !host.answers)
            && self.now >= self.asked.plus_seconds(45)
    }

    fn is_exhausted(&self, host: &Host) -> bool {
        host.rank.0 == Step::Apply && host.rank.1 >= ATTEMPTS
    }

    /// An order for at most `room` of the hosts that are `due` and can take one: those that lack
    /// the version before those that have it, idle ones before busy ones.
    fn order(&self, step: Step, room: u32, due: impl Fn(&Host) -> bool) -> Option<Next> {
        let attempt = |host: &Host| if host.rank.0 == step { host.rank.1 + 1 } else { 1 };
        let is_online = |host: &&Host| self.online.get(&host.instance_id) == Some(&true);
        let mut hosts: Vec<&Host> = self
            .view
            .live()
            .filter(|host| due(host) && host.answers && attempt(host) <= ATTEMPTS)
            .filter(is_online)
            .collect();
        let first = hosts.iter().map(|host| attempt(host)).min()?;
        hosts.retain(|host| attempt(host) == first);
        if room == 0 {
            return None;
        }
        if first > 1 {
            let last = self.record.commands.iter().filter(|sent| sent.step == step);
            let last = last.map(|sent| sent.at).max().unwrap_or(self.record.at);
            let wait_s = i64::from(PAUSE_S) - self.now.since(last) / 1000;
            if wait_s > 0 {
                return Some(Next::Rest { wait_s });
            }
        }
        hosts.sort_by_key(|host| {
            let busy = host.active_jobs.map_or(1, |jobs| if jobs == 0 { 0 } else { 2 });
            (host.has_it, busy, host.instance_id.clone())
        });
        let most = LISTED.min(usize::try_from(room).unwrap_or(LISTED));
        let hosts = hosts.into_iter().take(most).map(|host| host.instance_id.clone()).collect();
        Some(Next::Send { step, attempt: first, hosts })
    }

    /// Orders that wait for a job are taken back; what is being swapped ends by itself.
    fn cancel(&self) -> Next {
        match self.take_back() {
            Some(next) => next,
            None => Next::End(State::Cancelled),
        }
    }

    /// Takes back what waits, and waits for what swaps. `None`: no host holds an order.
    fn take_back(&self) -> Option<Next> {
        let open: Vec<&Host> = self.view.live().filter(|host| host.progress.is_open()).collect();
        if open.is_empty() {
            return None;
        }
        let last = self.record.commands.iter().filter(|sent| sent.step == Step::TakeBack);
        let asked_since = last.map(|sent| sent.at).max().is_none_or(|at| at < self.asked);
        let waits = open.iter().filter(|host| host.progress == Progress::Waits && host.answers);
        let hosts: Vec<InstanceId> =
            waits.take(LISTED).map(|host| host.instance_id.clone()).collect();
        if asked_since && !hosts.is_empty() {
            return Some(Next::Send { step: Step::TakeBack, attempt: 1, hosts });
        }
        if self.is_stuck() {
            if self.record.missed.is_none_or(|missed| self.waits(missed)) {
                return Some(Next::Miss { hosts: count(open.iter()) });
            }
            return None;
        }
        Some(Next::Run { open: count(open.iter()), waiting: self.view.count(Progress::Waits) })
    }

    /// The version failed somewhere: bring the hosts back that may have it.
    fn undo(&self) -> Next {
        if self.is_moved() {
            return Next::RevertStable;
        }
        if self.is_stalled() {
            return Next::End(State::Failed);
        }
        // There is nothing to go back to, or it is what was being deployed.
        let back = self.record.before.as_ref().filter(|before| **before != self.record.image_tag);
        if back.is_some() {
            let share = self.limits.share.of(count(self.view.live()));
            let undoing = |host: &&Host| host.progress.is_open() && host.rank.0 == Step::Undo;
            let room = share.saturating_sub(count(self.view.live().filter(undoing)));
            // A host without a worker takes no room from anybody.
            let down = self.order(Step::Undo, u32::MAX, |host| host.progress == Progress::Down);
            let next = down.or_else(|| self.order(Step::Undo, room, Host::has_to_go_back));
            if let Some(next @ Next::Send { .. }) = next {
                return next;
            }
            if let Some(next) = self.take_back() {
                return next;
            }
            if let Some(next) = next {
                return next;
            }
        } else if let Some(next) = self.take_back() {
            return next;
        }
        // Whoever booted while the pointer named the version may run it, and has to say so; so does
        // whoever may have been ordered to.
        let unknown = self.record.moved || self.record.forgot;
        let hidden = |host: &&Host| unknown && host.progress == Progress::Silent;
        // So may one that fell silent with its order in hand.
        let is_left =
            |host: &&Host| host.has_to_go_back() || host.progress.is_open() || hidden(host);
        let left: Vec<&Host> = self.view.live().filter(is_left).collect();
        let silent = |host: &&Host| !host.answers;
        let exhausted = |host: &&Host| host.rank.0 == Step::Undo && host.rank.1 >= ATTEMPTS;
        let waited = left.iter().copied().filter(|host| !exhausted(host));
        let missing = if back.is_some() { count(waited.filter(silent)) } else { 0 };
        if missing > 0 && self.record.missed.is_none_or(|missed| self.waits(missed)) {
            return Next::Miss { hosts: missing };
        }
        if back.is_none() {
            return Next::End(self.mixed());
        }
        let booting = count(self.members.values().filter(|state| state.is_booting()));
        if self.record.moved
            && booting > 0
            && self.record.progress_at.is_some_and(|at| self.waits(at))
        {
            return Next::Boot { booting };
        }
        if !left.is_empty() {
            return Next::End(State::Failed);
        }
        let undone = self.view.hosts.iter().any(|host| host.progress == Progress::Undone);
        Next::End(if undone { State::RolledBack } else { self.mixed() })
    }

    /// It is proven. Hosts that were born before that may have begun with the version before.
    fn settle(&self) -> Next {
        if self.cancelled {
            return Next::End(State::Succeeded);
        }
        let due = |host: &Host| {
            matches!(host.progress, Progress::Unordered | Progress::Lacks | Progress::Unsure)
                && !host.has_it
        };
        let ended = self.record.id().and_then(|id| self.stable?.ended(id)).map(|ended| ended.at);
        if !self.waits(ended.unwrap_or(self.now)) {
            return Next::End(State::Succeeded);
        }
        let share = self.limits.share.of(count(self.view.live()));
        if let Some(next @ Next::Send { .. }) = self.order(Step::Apply, share, due) {
            return next;
        }
        let open = count(self.view.live().filter(|host| host.progress.is_open()));
        if open > 0 {
            return Next::Run { open, waiting: self.view.count(Progress::Waits) };
        }
        let booting = count(self.members.values().filter(|state| state.is_booting()));
        let born = |host: &&Host| {
            !host.has_it && host.progress != Progress::Proven && !self.is_exhausted(host)
        };
        let booting = booting + count(self.view.live().filter(born));
        if booting > 0 { Next::Boot { booting } } else { Next::End(State::Succeeded) }
    }

    /// Whether the wait that began at `since` goes on.
    fn waits(&self, since: UnixMs) -> bool {
        self.now < since.plus_seconds(BOOT_S)
    }

    /// The name of an end without proof.
    fn mixed(&self) -> State {
        if self.view.live().any(|host| host.progress == Progress::Proven) {
            State::Partial
        } else {
            State::Failed
        }
    }
}
