//! Judging a version by the jobs that it runs: first the canary's, and for a while after the
//! version is everywhere, those of all hosts.

use super::host::Progress;
use super::next::{Next, NextInputs};
use super::{Kind, Limits, Outcomes, Reason, Record, Strategy, Verdict};
use crate::count::count;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Hosts whose jobs are the canary's.
const HOSTS: usize = 3;

/// How long the jobs of a new version are judged, in seconds; 0 leaves that out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judging {
    /// After the canary proved the version, before another host gets it, at most.
    pub bake_s: u32,
    /// After every host proved it, before the rollout has succeeded.
    pub watch_s: u32,
}

/// Whose jobs are judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The canary; none: every host of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<InstanceId>,
    /// Jobs that started before do not count.
    pub since: UnixMs,
    /// The canary's jobs spoke for it, or a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<UnixMs>,
}

impl Judging {
    /// Whether jobs are judged at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.bake_s > 0 || self.watch_s > 0
    }
}

impl Record {
    /// Whose jobs are to be counted now.
    #[must_use]
    pub fn trial_to_count(&self) -> Option<&Trial> {
        let trial = self.trial.as_ref().filter(|_| self.over.is_none() && !self.undo);
        trial.filter(|trial| trial.passed.is_none())
    }

    /// The canary's time is up without a verdict: a person has to say whether it goes on.
    /// `continued`: when a person last let this rollout go on.
    #[must_use]
    pub fn needs_decision(
        &self,
        limits: &Limits,
        outcomes: Option<&Outcomes>,
        continued: Option<UnixMs>,
        now: UnixMs,
    ) -> bool {
        let Some(trial) = self.trial_to_count().filter(|trial| !trial.hosts.is_empty()) else {
            return false;
        };
        let until = trial.since.plus_seconds(limits.judging.bake_s);
        let decided = continued.is_some_and(|at| at >= until);
        let verdict = outcomes.map_or(Verdict::TooFew, Outcomes::verdict);
        now >= until && !decided && verdict == Verdict::TooFew
    }
}

impl Outcomes {
    /// Whether these are the numbers of this very trial.
    #[must_use]
    pub fn are_of(&self, rollout: Option<&CommandId>, trial: &Trial) -> bool {
        Some(&self.rollout) == rollout && self.since == trial.since
    }
}

impl NextInputs<'_> {
    /// The numbers of the trial under way, in words.
    pub(super) fn numbers(&self) -> String {
        let none = || "its jobs have not been counted yet".to_owned();
        self.outcomes.map_or_else(none, ToString::to_string)
    }

    /// What a trial that is written down says.
    pub(super) fn judged(&self, trial: &Trial) -> Reason {
        let Judging { bake_s, watch_s } = self.limits.judging;
        let good = self.outcomes.is_some_and(|it| it.verdict() == Verdict::Good);
        match trial.passed {
            Some(_) if good => Reason::Passed { jobs: self.numbers() },
            Some(_) => Reason::PassedByOperator { jobs: self.numbers() },
            None if trial.hosts.is_empty() => {
                Reason::Judging { hosts: count(self.view.live()), at_most_s: watch_s }
            }
            None => Reason::Judging { hosts: count(trial.hosts.iter()), at_most_s: bake_s },
        }
    }

    /// The numbers by which the version fails jobs.
    pub(super) fn failed_jobs(&self) -> Option<&Outcomes> {
        self.outcomes.filter(|outcomes| outcomes.verdict() == Verdict::Bad)
    }

    /// What has to be known of the canary's jobs before another host gets the version. `None`:
    /// nothing more, or nothing yet.
    pub(super) fn bake(&self) -> Option<Next> {
        let Judging { bake_s, .. } = self.limits.judging;
        let all_at_once = self.record.strategy == Strategy::AllAtOnce;
        if bake_s == 0 || self.record.kind != Kind::Deploy || all_at_once {
            return None;
        }
        let proven: Vec<InstanceId> = self
            .view
            .live()
            .filter(|host| host.progress == Progress::Proven)
            .map(|host| host.instance_id.clone())
            .take(HOSTS)
            .collect();
        let begin = |hosts: Vec<InstanceId>| {
            let trial = Trial { hosts, since: self.now, passed: None };
            (!trial.hosts.is_empty()).then_some(Next::Judge(trial))
        };
        let Some(trial) = &self.record.trial else { return begin(proven) };
        if trial.passed.is_some() || trial.hosts.is_empty() {
            return None;
        }
        // Where the canary left the group, another one takes its place.
        if !self.view.live().any(|host| trial.hosts.contains(&host.instance_id)) {
            return begin(proven);
        }
        let until = trial.since.plus_seconds(bake_s);
        let outcomes = self.outcomes;
        let needs_decision =
            self.record.needs_decision(&self.limits, outcomes, self.continued, self.now);
        let good = outcomes.is_some_and(|outcomes| outcomes.verdict() == Verdict::Good);
        Some(if needs_decision {
            Next::NeedDecision
        } else if good || self.now >= until {
            Next::Judge(Trial { passed: Some(self.now), ..trial.clone() })
        } else {
            Next::Bake { wait_s: until.since(self.now) / 1000 }
        })
    }

    /// What is left to watch once every host has proven the version, `hosts` of them.
    pub(super) fn watch(&self, hosts: u32) -> Next {
        let Judging { watch_s, .. } = self.limits.judging;
        if watch_s == 0 || self.record.kind != Kind::Deploy {
            return Next::Succeed { hosts };
        }
        if !self.is_moved() {
            return Next::MoveStable { hosts };
        }
        let watched = self.record.trial.as_ref().filter(|trial| trial.hosts.is_empty());
        match watched.map(|trial| trial.since.plus_seconds(watch_s)) {
            None => Next::Judge(Trial { hosts: Vec::new(), since: self.now, passed: None }),
            Some(until) if self.now < until => Next::Watch { wait_s: until.since(self.now) / 1000 },
            Some(_) => Next::Succeed { hosts },
        }
    }
}
