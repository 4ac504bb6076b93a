//! Which version a host has proved to run, from what its commands printed.

use crate::text::cut;
use fleet_protocol::host_reply::{HostOutput, HostReply, HostStatus, ServiceStatus};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// A tag's own length.
const TAG_CHARS: usize = 128;

/// A host's own word about what it runs, and when it gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub at: UnixMs,
    pub runs: Runs,
}

/// The longest between asking a host and its word: an order's own time, and SSM's for handing it
/// over.
const LONGEST_S: u32 = 960;

/// How long a word counts where every host is asked so often: two questions in a row may be lost
/// before a version that nobody changed is unknown. The minutes are for the way and the answer.
#[must_use]
pub fn counts_for_s(survey_minutes: u32) -> u32 {
    (2 * survey_minutes + 2) * 60
}

impl Proof {
    /// The word that a command brought. Its end is by the host's clock, which may be wrong, so it
    /// is kept near the request, which is by AWS's: a clock that is ahead makes no word last.
    #[must_use]
    pub fn new(requested: UnixMs, ended: Option<UnixMs>, runs: Runs) -> Proof {
        let latest = requested.plus_seconds(LONGEST_S);
        Proof { at: ended.map_or(requested, |ended| ended.clamp(requested, latest)), runs }
    }

    /// Whether it counts at this moment. Somebody may have changed the host since.
    #[must_use]
    pub fn counts(&self, now: UnixMs, life_s: u32) -> bool {
        now <= self.at.plus_seconds(life_s)
    }
}

/// Whether words of commands that were requested before `oldest` can change nothing: each of these
/// hosts gave its newest one later than such a command may end.
#[must_use]
pub fn settled(
    hosts: &BTreeSet<InstanceId>,
    proofs: &BTreeMap<InstanceId, Proof>,
    oldest: UnixMs,
) -> bool {
    let latest = oldest.plus_seconds(LONGEST_S);
    hosts.iter().all(|host| proofs.get(host).is_some_and(|proof| proof.at > latest))
}

/// Why no version of a host is known, in words.
pub(super) fn unproven(proof: Option<&Proof>, now: UnixMs, life_s: u32) -> Option<String> {
    let Some(proof) = proof else {
        return Some("it has not said which version it runs".to_owned());
    };
    let at = proof.at;
    let minutes = life_s / 60;
    match (&proof.runs, proof.counts(now, life_s)) {
        (Runs::Version(_), true) => None,
        (Runs::Version(tag), false) => Some(format!(
            "it last said that it runs {} at {at}, which is more than {minutes} minutes ago",
            cut(tag, TAG_CHARS)
        )),
        (Runs::Nothing, true) => Some(format!("at {at} it said that nothing runs")),
        (Runs::Unsaid, true) => Some(format!("at {at} it did not say what it runs")),
        (Runs::Nothing | Runs::Unsaid, false) => {
            Some(format!("it was last heard of at {at}, which is more than {minutes} minutes ago"))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    Version(String),
    /// Its last deploy left nothing running.
    Nothing,
    /// Its last deploy ended without a word that can be read: it may run the old or the new
    /// version.
    Unsaid,
}

/// What one command's output says of the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Runs(Runs),
    /// It is about something else.
    Other,
    /// There is no line of JSON in it.
    Unreadable,
}

/// What a command of the host document printed: the one line that `deploy-server … --fleet` writes,
/// or `--json`. The first has looked what is in service after all was done, and names a version
/// only where every service runs it.
#[must_use]
pub fn word_of(output: &str) -> Word {
    match HostOutput::find(output) {
        None => Word::Unreadable,
        Some(HostOutput::Report(report)) => Word::Runs(version_or_unsaid(report.image_tag)),
        Some(HostOutput::Deploy(reply)) => Word::Runs(after_deploy(reply)),
        Some(HostOutput::Status(reply)) => {
            Word::Runs(in_status(reply.services.as_deref().unwrap_or_default()))
        }
        Some(HostOutput::Unreadable) => Word::Runs(Runs::Unsaid),
        Some(HostOutput::Other) => Word::Other,
    }
}

fn version_or_unsaid(tag: Option<String>) -> Runs {
    tag.filter(|tag| !tag.is_empty()).map_or(Runs::Unsaid, Runs::Version)
}

/// `deploy`, `rollback` and `bootstrap` print the deploy's record. What did not come about leaves
/// what was there before.
fn after_deploy(reply: HostReply) -> Runs {
    match reply.status {
        Some(HostStatus::Deployed) => version_or_unsaid(reply.image_tag),
        Some(HostStatus::RolledBack | HostStatus::Failed) => {
            version_or_unsaid(reply.previous.and_then(|previous| previous.image_tag))
        }
        Some(HostStatus::Down) => Runs::Nothing,
        Some(HostStatus::Running | HostStatus::Ok | HostStatus::Degraded | HostStatus::Unknown)
        | None => Runs::Unsaid,
    }
}

/// `status` lists the services. The version is the worker's, if it runs.
fn in_status(services: &[ServiceStatus]) -> Runs {
    match services.iter().find(|service| service.service == "worker") {
        Some(worker) if worker.is_running() => version_or_unsaid(worker.image_tag.clone()),
        _ => Runs::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(tag: &str) -> Word {
        Word::Runs(Runs::Version(tag.to_owned()))
    }

    #[test]
    fn a_deploy_proves_what_runs_after_it() {
        for (said, word) in [
            (r#"{"deployId":"d","status":"deployed","imageTag":"v2","success":true}"#, runs("v2")),
            (
                r#"{"deployId":"d","status":"rolled_back","imageTag":"v2","previous":{"imageTag":"v1","imageId":"i"}}"#,
                runs("v1"),
            ),
            (
                r#"{"deployId":"d","status":"failed","imageTag":"v2","previous":{"imageTag":"v1","imageId":"i"}}"#,
                runs("v1"),
            ),
            (
                r#"{"deployId":"d","status":"failed","imageTag":"v2","previous":null}"#,
                Word::Runs(Runs::Unsaid),
            ),
            (r#"{"deployId":"d","status":"down","imageTag":"v2"}"#, Word::Runs(Runs::Nothing)),
            (r#"{"deployId":"d","status":"running","imageTag":"v2"}"#, Word::Runs(Runs::Unsaid)),
            (r#"{"deployId":"d","status":"deployed","imageTag":""}"#, Word::Runs(Runs::Unsaid)),
        ] {
            assert_eq!(word_of(said), word, "{said}");
        }
    }

    #[test]
    fn a_status_proves_what_the_worker_runs_and_not_the_api() {
        let said = |state: &str| {
            format!(
                r#"{{"status":"ok","services":[{{"service":"api","imageTag":"v9","state":"running"}},{{"service":"worker","imageTag":"v3","state":"{state}"}}],"lastDeploy":null}}"#
            )
        };
        assert_eq!(word_of(&said("running")), runs("v3"));
        assert_eq!(word_of(&said("exited")), Word::Runs(Runs::Nothing));
        assert_eq!(word_of(r#"{"services":[]}"#), Word::Runs(Runs::Nothing));
    }

    #[test]
    fn a_rollouts_order_proves_what_every_service_runs_whatever_it_was() {
        let said = |action: &str, result: &str, tag: &str| {
            format!(
                r#"{{"v":1,"instanceId":"i-1","action":"{action}","result":"{result}","imageTag":{tag},"before":"v1","services":[{{"service":"worker","imageTag":"v2","state":"running"}}],"log":[]}}"#
            )
        };
        assert_eq!(word_of(&said("deploy", "deployed", "\"v2\"")), runs("v2"));
        assert_eq!(word_of(&said("deploy", "rolled_back", "\"v1\"")), runs("v1"));
        assert_eq!(word_of(&said("cleanup", "done", "\"v2\"")), runs("v2"));
        assert_eq!(word_of(&said("deploy", "down", "null")), Word::Runs(Runs::Unsaid));
    }

    #[test]
    fn a_report_whose_values_this_version_cannot_read_names_no_version() {
        for said in [
            r#"{"deployId":"d","status":"deployed","imageTag":{"name":"v2"}}"#,
            r#"{"v":1,"action":"deploy","result":"deployed","imageTag":"v2"}"#,
            r#"{"services":[{"state":"running","imageTag":"v2"}]}"#,
        ] {
            assert_eq!(word_of(said), Word::Runs(Runs::Unsaid), "{said}");
        }
    }

    #[test]
    fn anything_else_proves_nothing() {
        for said in [
            r#"{"drained":true,"activeJobs":0,"accepting":false,"terminating":true}"#,
            r#"{"success":false,"message":"Another deploy is running"}"#,
            r#"{"success":true,"output":"freed 2 GB","targets":[]}"#,
        ] {
            assert_eq!(word_of(said), Word::Other, "{said}");
        }
        // SSM cuts what it lists after 2,500 characters.
        for said in
            ["", "deployed v2", "{", r#"{"deployId":"d","status":"deployed","imageT"#, "[1]"]
        {
            assert_eq!(word_of(said), Word::Unreadable, "{said:?}");
        }
        let noisy = "retrying\n {\"deployId\":\"d\",\"status\":\"deployed\",\"imageTag\":\"v2\"}\n----------ERROR-------\n";
        assert_eq!(word_of(noisy), runs("v2"));
    }
}
