//! Which version a host has proved to run, from what its commands printed.

use fleet_protocol::time::UnixMs;
use serde_json::Value;

/// A host's own word about what it runs, and when it gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub at: UnixMs,
    pub runs: Runs,
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
pub fn word_of(output: &str) -> Word {
    let lines = output.lines().map(str::trim).filter(|line| line.starts_with('{'));
    let Some(said) = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).next()
    else {
        return Word::Unreadable;
    };
    if said.get("deployId").is_some() {
        return Word::Runs(after_deploy(&said));
    }
    if said.get("action").is_some() && said.get("result").is_some() {
        return Word::Runs(version_or_unsaid(&said["imageTag"]));
    }
    match said.get("services").and_then(Value::as_array) {
        Some(services) => Word::Runs(in_status(services)),
        None => Word::Other,
    }
}

fn version_or_unsaid(tag: &Value) -> Runs {
    match tag.as_str() {
        Some(tag) if !tag.is_empty() => Runs::Version(tag.to_owned()),
        _ => Runs::Unsaid,
    }
}

/// `deploy`, `rollback` and `bootstrap` print the deploy's record. What did not come about leaves
/// what was there before.
fn after_deploy(said: &Value) -> Runs {
    match said["status"].as_str() {
        Some("deployed") => version_or_unsaid(&said["imageTag"]),
        Some("rolled_back" | "failed") => version_or_unsaid(&said["previous"]["imageTag"]),
        Some("down") => Runs::Nothing,
        _ => Runs::Unsaid,
    }
}

/// `status` lists the services. The version is the worker's, if it runs.
fn in_status(services: &[Value]) -> Runs {
    match services.iter().find(|service| service["service"] == "worker") {
        Some(worker) if worker["state"] == "running" => version_or_unsaid(&worker["imageTag"]),
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
