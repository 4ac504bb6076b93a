//! Hosts that follow a script on the double's clock, in place of deploy-servers.

use aws_double::{CommandFuture, CommandOutput, CommandRun, CommandRunner, Double};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a worker and its host do.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// When the running job ends; None is an idle worker.
    pub(crate) job_ends: Option<Timestamp>,
    /// Takes the next job, of so many seconds, whenever it is idle and its intake is open.
    pub(crate) next_jobs: Option<i64>,
    /// What the command prints in place of the truth.
    pub(crate) says: Option<Says>,
    /// When the worker is told to end.
    pub(crate) stop_at: Option<Timestamp>,
    /// The intake is closed for good.
    pub(crate) marker: bool,
    /// Jobs that a stop cut off.
    pub(crate) interrupted: u32,
    /// How often it was told.
    pub(crate) told: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// As the old system did: success, and nothing was done.
    Success404,
    /// The worker does not answer its host.
    Unreachable,
    /// The deploy-server is down.
    NoServer,
}

impl Script {
    pub(crate) fn idle() -> Script {
        Script {
            job_ends: None,
            next_jobs: None,
            says: None,
            stop_at: None,
            marker: false,
            interrupted: 0,
            told: 0,
        }
    }

    /// Whether a job runs at this moment; new ones are taken and stops come as time goes on.
    pub(crate) fn is_busy(&mut self, now: Timestamp) -> bool {
        let cut_off =
            |ends: &Timestamp| self.stop_at.is_some_and(|stop| stop <= now && stop < *ends);
        if self.job_ends.as_ref().is_some_and(cut_off) {
            self.job_ends = None;
            self.interrupted += 1;
        }
        while let Some(ends) = self.job_ends.filter(|ends| *ends <= now) {
            let next = self.next_jobs.filter(|_| !self.marker);
            self.job_ends = next.map(|seconds| ends + Duration::from_secs(seconds.unsigned_abs()));
        }
        self.job_ends.is_some()
    }
}

/// All hosts of a group.
#[derive(Clone)]
pub(crate) struct Hosts {
    scripts: Arc<Mutex<BTreeMap<String, Script>>>,
    double: Double,
}

impl Hosts {
    pub(crate) fn new(double: &Double) -> Hosts {
        Hosts { scripts: Arc::default(), double: double.clone() }
    }

    /// Gives an instance a host with an agent.
    pub(crate) fn add(&self, instance: &str, script: Script) {
        self.all().insert(instance.to_owned(), script);
        self.double.set_runner_of(instance, self.clone());
    }

    pub(crate) fn all(&self) -> MutexGuard<'_, BTreeMap<String, Script>> {
        self.scripts.lock().expect("no test panics with it")
    }

    /// How it is by now.
    pub(crate) fn of(&self, instance: &str) -> Script {
        let mut hosts = self.all();
        let script = hosts.get_mut(instance).expect("a host");
        script.is_busy(self.double.now());
        script.clone()
    }

    pub(crate) fn change(&self, instance: &str, change: impl FnOnce(&mut Script)) {
        change(self.all().get_mut(instance).expect("a host"));
    }
}

impl CommandRunner for Hosts {
    fn run(&self, run: CommandRun) -> CommandFuture {
        let now = self.double.now();
        let mut hosts = self.all();
        let script = hosts.get_mut(&run.instance).expect("a host");
        Box::pin(std::future::ready(answer(script, &run, now)))
    }
}

/// What `deploy-server drain --terminating --json` does and prints.
fn answer(script: &mut Script, run: &CommandRun, now: Timestamp) -> CommandOutput {
    assert_eq!(run.parameters["Action"], ["drain"]);
    let window: u64 = run.parameters["TimeoutSeconds"][0].parse().expect("seconds");
    let stop = run.parameters["Stop"] == ["true"];
    script.told += 1;
    match script.says {
        Some(Says::Success404) => {
            return CommandOutput::exit(0).stdout(r#"{"success":true,"message":"Drain complete"}"#);
        }
        Some(Says::NoServer) => {
            return CommandOutput::exit(69).stderr("deploy-server: the server does not answer");
        }
        Some(Says::Unreachable) | None => {}
    }
    script.is_busy(now);
    script.marker = true;
    if script.says == Some(Says::Unreachable) {
        let took = Duration::from_secs(window);
        return report(run, false, None, 0, "the worker does not answer").took(took);
    }
    let until = now + Duration::from_secs(window);
    match script.job_ends {
        None => report(run, true, Some(0), 0, "drained"),
        Some(ends) if ends <= until => {
            let took = ends.duration_since(now).unsigned_abs();
            report(run, true, Some(0), 0, "drained").took(took)
        }
        Some(_) if stop => {
            script.stop_at = Some(until);
            report(run, true, Some(0), 1, "stopped").took(Duration::from_secs(window))
        }
        Some(_) => report(run, false, Some(1), 0, "busy").took(Duration::from_secs(window)),
    }
}

fn report(
    run: &CommandRun,
    drained: bool,
    jobs: Option<u32>,
    stopped: u32,
    says: &str,
) -> CommandOutput {
    let report = json!({
        "success": drained, "drained": drained, "activeJobs": jobs, "accepting": jobs.map(|_| false),
        "terminating": true, "instanceId": run.instance, "workerStopped": stopped > 0, "caughtJobs": 0,
        "stoppedJobs": stopped, "message": says,
    });
    let code = match jobs {
        _ if drained => 0,
        Some(_) => 75,
        None => 69,
    };
    CommandOutput::exit(code).stdout(report.to_string())
}
