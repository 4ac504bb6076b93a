//! A deployment as clients see it: SSM's own list, the parameters and the group, put together anew
//! for every question.

use super::{
    Command, Evidence, FiredAlarm, Host, HostState, Kind, Known, Limits, Members, Outcomes, Part,
    Record, Sent, State, Step, StoredState, Strategy, View,
};
use crate::run_command::CommandStatus;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::time::UnixMs;
use serde::Serialize;
use std::collections::BTreeMap;

/// One deployment in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub id: CommandId,
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<ImageTag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    pub state: State,
    /// In RFC 3339, as all moments here.
    pub requested_at: String,
    pub requested_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// One deployment, host by host.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub summary: Summary,
    pub counts: BTreeMap<HostState, u32>,
    /// Hosts in service that have not proven it yet, while it is in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts_left: Option<u32>,
    /// When the last of the jobs that are waited for has had the job limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_limit_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// A person has to say whether it goes on: too few jobs ended to judge the version by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_decision: Option<bool>,
    /// How jobs end, while the version is judged by them, or by which it was found to fail them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// The CloudWatch alarm that stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<FiredAlarm>,
    pub hosts: Vec<Host>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is stored of a deployment beside SSM.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    record: Option<&'a Record>,
    ended: Option<&'a super::Ended>,
}

impl<'a> Standing<'a> {
    /// What is stored of the deployment that this command began.
    #[must_use]
    pub fn of(stored: &'a StoredState, root: &Command) -> Standing<'a> {
        let record = stored.record().filter(|record| root.order.key() == Some(&record.key));
        let ended = stored.stable.as_ref().and_then(|stable| stable.ended(&root.id));
        Standing { record, ended }
    }

    /// Its later commands, oldest first; `None` where nothing is stored of it.
    #[must_use]
    pub fn later(&self, root: &CommandId) -> Option<Vec<CommandId>> {
        let sent: &[Sent] = match (self.record, self.ended) {
            (Some(record), _) => &record.commands,
            (None, Some(ended)) => &ended.then,
            (None, None) => return None,
        };
        let ids = sent.iter().filter_map(|sent| sent.id.clone());
        Some(ids.filter(|id| id != root).collect())
    }

    /// The numbers that it is, or was, judged by.
    fn outcomes(&self, stored: &'a StoredState) -> Option<&'a Outcomes> {
        self.failed_jobs().or_else(|| stored.outcomes_of(self.record?))
    }

    fn failed_jobs(&self) -> Option<&'a Outcomes> {
        let record = self.record.and_then(|record| record.failed_jobs.as_ref());
        record.or_else(|| self.ended.and_then(|ended| ended.failed_jobs.as_ref()))
    }

    fn alarm(&self) -> Option<&'a FiredAlarm> {
        let record = self.record.and_then(|record| record.alarm.as_ref());
        record.or_else(|| self.ended.and_then(|ended| ended.alarm.as_ref()))
    }

    fn state(&self) -> Option<State> {
        match (self.ended, self.record) {
            (Some(ended), _) => Some(ended.state),
            (None, Some(_)) => Some(State::InProgress),
            (None, None) => None,
        }
    }

    fn expected(&self) -> &'a [InstanceId] {
        match (self.record, self.ended) {
            (Some(record), _) => &record.expected,
            (None, Some(ended)) => &ended.unreached,
            (None, None) => &[],
        }
    }
}

impl Summary {
    /// The deployment that `root` began. `evidence` is what came of its commands, where that was
    /// read; without it and without anything stored, an ended command is only as good as SSM says.
    #[must_use]
    pub fn of(stored: &StoredState, root: &Command, evidence: Option<&Evidence>) -> Summary {
        let standing = Standing::of(stored, root);
        let state = standing.state().unwrap_or_else(|| match (root.status, evidence) {
            (CommandStatus::Live | CommandStatus::Unknown, _) | (_, None) => State::InProgress,
            // Nothing is remembered of it, and its first command only asked.
            _ if root.order.kind.is_rollout() && root.order.step() == Step::Survey => State::Failed,
            (status, Some(evidence)) => {
                let commands = [(Step::Apply, evidence)];
                let view = View::of(&known(root, &standing, &commands, None, None));
                view.verdict(status == CommandStatus::Cancelled)
            }
        });
        Summary::with(root, &standing, state)
    }

    fn with(root: &Command, standing: &Standing<'_>, state: State) -> Summary {
        let (mut by, mut reason) = (None, None);
        if let Part::Root { by: who, why, .. } = &root.order.part {
            (by, reason) = (who.as_ref(), why.clone());
        }
        let kind = root.order.kind;
        Summary {
            id: root.id.clone(),
            kind,
            image_tag: root.image_tag.clone(),
            strategy: kind.is_rollout().then_some(root.order.strategy),
            state,
            requested_at: root.requested.to_string(),
            requested_by: by.map_or_else(|| "operator".to_owned(), |by| format!("operator:{by}")),
            reason,
            ended_at: standing.ended.map(|ended| ended.at.to_string()),
        }
    }
}

impl Detail {
    /// The deployment that `root` began, with its later commands, oldest first. `members` is the
    /// group now, or why it is not known. `limits` and `now` tell until when jobs are judged.
    #[must_use]
    pub fn of(
        stored: &StoredState,
        root: &Evidence,
        later: &[Evidence],
        members: Result<&Members, &str>,
        limits: &Limits,
        now: UnixMs,
    ) -> Detail {
        let standing = Standing::of(stored, &root.command);
        let first = root.command.order.step();
        let mut commands = vec![(first, root)];
        commands.extend(later.iter().map(|evidence| (evidence.command.order.step(), evidence)));
        let undo = later.iter().find(|evidence| evidence.command.order.step() == Step::Undo);
        let before = standing.record.and_then(|record| record.before.as_ref());
        let before = before.or_else(|| undo.and_then(|undo| undo.command.image_tag.as_ref()));
        let view = View::of(&known(&root.command, &standing, &commands, before, members.ok()));
        let cancelled = root.command.status == CommandStatus::Cancelled;
        let live = commands.iter().any(|(_, e)| e.command.status.is_live());
        let state = standing
            .state()
            .unwrap_or_else(|| if live { State::InProgress } else { view.verdict(cancelled) });
        let paused =
            standing.record.map(|record| stored.is_paused(record)).filter(|paused| *paused);
        let needs_decision = standing
            .record
            .map(|record| stored.needs_decision(record, limits, now))
            .filter(|needs| *needs);
        let open = standing.record.is_some() && state == State::InProgress;
        let limits = view.hosts.iter().filter_map(|host| host.limit_at.clone());
        Detail {
            summary: Summary::with(&root.command, &standing, state),
            counts: view.counts(),
            hosts_left: open.then(|| view.left()),
            last_limit_at: limits.max().filter(|_| open),
            paused,
            needs_decision,
            outcomes: standing.outcomes(stored).cloned(),
            alarm: standing.alarm().cloned(),
            note: note(&standing, &view, state, (paused, needs_decision), members.err()),
            hosts: view.hosts,
        }
    }
}

fn known<'a>(
    root: &'a Command,
    standing: &Standing<'a>,
    commands: &'a [(Step, &'a Evidence)],
    before: Option<&'a ImageTag>,
    members: Option<&'a Members>,
) -> Known<'a> {
    Known {
        kind: root.order.kind,
        key: root.order.key(),
        image_tag: root.image_tag.as_ref(),
        before,
        expected: standing.expected(),
        commands,
        members,
        // While the record is there, instances that were born meanwhile are brought along.
        over: standing.record.is_none(),
    }
}

/// What the states alone do not tell.
fn note(
    standing: &Standing<'_>,
    view: &View,
    state: State,
    (paused, needs_decision): (Option<bool>, Option<bool>),
    unknown_members: Option<&str>,
) -> Option<String> {
    let mut notes = Vec::new();
    if let Some(detail) = unknown_members {
        notes.push(format!("who is in service is unknown now: {detail}"));
    }
    if paused.is_some() {
        notes.push("it is paused: no host gets a new order".to_owned());
    }
    if needs_decision.is_some() {
        notes.push("it needs a decision: the time to judge the version by its jobs is up, and too few of them have ended; continue it, or cancel it and roll back".to_owned());
    }
    if let Some(outcomes) = standing.failed_jobs() {
        notes.push(format!("the version fails more jobs than usual: {outcomes}"));
    }
    if let Some(alarm) = standing.alarm() {
        notes.push(format!("an alarm stopped the version: {alarm}"));
    }
    if state == State::Succeeded && standing.record.is_some() {
        notes.push(
            "the version is proven; instances that were born meanwhile are brought along"
                .to_owned(),
        );
    }
    if !view.digests.is_empty() {
        notes.push(format!("the tag names several images: {}", view.digests.join(", ")));
    }
    if state == State::InProgress && standing.record.is_some_and(|record| record.undo) {
        notes.push("the version failed; the hosts that have it go back".to_owned());
    }
    if state == State::Partial {
        notes.push("some hosts run it and some do not; new instances boot to the stable version; deploy it again, or roll back".to_owned());
    }
    if state == State::Cancelled {
        notes.push(
            "hosts that had begun may run it; roll back to bring all of them to the stable version"
                .to_owned(),
        );
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// The version to go back to from the rollout `id`, for a request with this key: that before it,
/// where the rollout is what is stable now; else what is stable. The same request again gets the
/// version of the first one.
///
/// # Errors
/// Why there is none, in words for a client.
pub fn version_to_go_back_to(
    stored: &StoredState,
    id: &CommandId,
    key: &super::Key,
    first: Option<&Command>,
) -> Result<Option<ImageTag>, NothingToGoBackTo> {
    let stable = stored.stable.as_ref().ok_or(NothingToGoBackTo::NothingProven)?;
    if let Some(record) = stored.record() {
        return Ok(Some(record.image_tag.clone()));
    }
    if stable.ended_with(key).is_some() {
        // The pointer may have moved since the first such request, whose command has the version.
        return Ok(first.and_then(|first| first.image_tag.clone()));
    }
    if stable.pointer.deployment_id.as_ref() == Some(id) {
        return stable.pointer.before.clone().map(Some).ok_or(NothingToGoBackTo::NothingBefore);
    }
    Ok(Some(stable.pointer.image_tag.clone()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NothingToGoBackTo {
    NothingProven,
    NothingBefore,
}

impl std::fmt::Display for NothingToGoBackTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NothingToGoBackTo::NothingProven => {
                "no version was ever proven, so there is none to go back to: deploy one by its tag"
            }
            NothingToGoBackTo::NothingBefore => {
                "no version was proven before this one: deploy one by its tag"
            }
        })
    }
}
