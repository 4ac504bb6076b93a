//! `SendCommand` and `CancelCommand`: what is refused, whom it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::RunCommand;
use super::limits::Rate;
use super::model::{Command, CommandState, Invocation, InvocationState};
use crate::error::ApiError;

/// Most explicit instances, and most values of a target.
const MOST: usize = 50;
/// AWS's bounds of `TimeoutSeconds`.
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 30..=2_592_000;

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendRequest {
    pub(crate) document: String,
    pub(crate) instance_ids: Vec<String>,
    /// Key and values.
    pub(crate) targets: Vec<(String, Vec<String>)>,
    pub(crate) parameters: BTreeMap<String, Vec<String>>,
    pub(crate) comment: String,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) max_concurrency: Option<String>,
    pub(crate) max_errors: Option<String>,
}

/// A machine as Run Command sees it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: String,
    /// Its agent has registered and the machine runs.
    pub(crate) managed: bool,
    pub(crate) tags: BTreeMap<String, String>,
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

impl SendRequest {
    fn check(&self) -> Result<(), ApiError> {
        if self.comment.chars().count() > 100 {
            return Err(validation(
                "Value at 'comment' must have length less than or equal to 100",
            ));
        }
        if self.timeout_seconds.is_some_and(|s| !TIMEOUT_SECONDS.contains(&s)) {
            return Err(validation("Value at 'timeoutSeconds' must be between 30 and 2592000"));
        }
        match (self.instance_ids.is_empty(), self.targets.is_empty()) {
            (false, false) => {
                return Err(validation("InstanceIds and Targets exclude each other"));
            }
            (true, true) => return Err(validation("One of InstanceIds and Targets is required")),
            _ => {}
        }
        if self.instance_ids.len() > MOST {
            return Err(validation(format!(
                "Value at 'instanceIds' must have length less than or equal to {MOST}"
            )));
        }
        let unique: BTreeSet<&String> = self.instance_ids.iter().collect();
        if unique.len() != self.instance_ids.len() {
            return Err(ApiError::new("DuplicateInstanceId", "An instance is named twice"));
        }
        if self.targets.len() > 5 || self.targets.iter().any(|(_, v)| v.len() > MOST) {
            return Err(validation(format!(
                "At most 5 Targets can be given, each with at most {MOST} Values"
            )));
        }
        for (key, values) in &self.targets {
            let known = key == "InstanceIds"
                || key == "tag-key"
                || key.strip_prefix("tag:").is_some_and(|name| !name.is_empty());
            if !known {
                return Err(ApiError::new(
                    "InvalidTarget",
                    format!(
                        "The double models the target keys InstanceIds, tag-key and tag:NAME, not {key}"
                    ),
                ));
            }
            if values.is_empty() {
                return Err(ApiError::new("InvalidTarget", format!("Target {key} needs Values")));
            }
        }
        Ok(())
    }

    /// The hosts that are meant, in the order of the machines for targets.
    fn resolve(&self, machines: &[Machine], account: &str) -> Result<Vec<String>, ApiError> {
        let named = self
            .targets
            .iter()
            .filter(|(key, _)| key == "InstanceIds")
            .flat_map(|(_, values)| values)
            .chain(&self.instance_ids);
        let strangers: Vec<&str> = named
            .filter(|id| !machines.iter().any(|m| m.id == **id && m.managed))
            .map(String::as_str)
            .collect();
        if !strangers.is_empty() {
            return Err(ApiError::new(
                "InvalidInstanceId",
                format!(
                    "Instances [[{}]] not in a valid state for account {account}",
                    strangers.join(", ")
                ),
            ));
        }
        if !self.instance_ids.is_empty() {
            return Ok(self.instance_ids.clone());
        }
        let matches = |m: &Machine, (key, values): &(String, Vec<String>)| match key.as_str() {
            "InstanceIds" => values.contains(&m.id),
            "tag-key" => m.tags.keys().any(|k| values.contains(k)),
            tag => tag
                .strip_prefix("tag:")
                .and_then(|name| m.tags.get(name))
                .is_some_and(|value| values.contains(value)),
        };
        Ok(machines
            .iter()
            .filter(|m| m.managed && self.targets.iter().all(|t| matches(m, t)))
            .map(|m| m.id.clone())
            .collect())
    }
}

impl RunCommand {
    /// `SendCommand`. Returns the number of the command.
    pub(crate) fn send(
        &mut self,
        request: SendRequest,
        machines: &[Machine],
    ) -> Result<u64, ApiError> {
        request.check()?;
        let (document, _) = self.document(&request.document)?;
        let rendered = document.render(&request.parameters)?;
        let linux = document.is_linux();
        let hosts = request.resolve(machines, &self.account)?;
        let max_concurrency = request.max_concurrency.unwrap_or_else(|| "50".to_owned());
        let max_errors = request.max_errors.unwrap_or_else(|| "0".to_owned());
        let rate = Rate::new(&max_concurrency, &max_errors, hosts.len())?;
        let timeout_seconds = request.timeout_seconds.unwrap_or(3600);
        let seq = self.commands.len() as u64 + 1;
        for host in &hosts {
            // A machine that runs again under its name is a machine again.
            self.gone.remove(host);
            self.by_instance.entry(host.clone()).or_default().push(seq);
        }
        let nobody = hosts.is_empty();
        self.commands.push(Command {
            seq,
            id: self.ids.uuid(),
            document: request.document,
            comment: request.comment,
            parameters: request.parameters,
            instance_ids: request.instance_ids,
            targets: request.targets,
            max_concurrency,
            max_errors,
            requested: self.now,
            expires: self.now + Duration::from_secs(timeout_seconds.into()) + rendered.execution,
            timeout_seconds,
            state: if nobody { CommandState::NoInstancesInTag } else { CommandState::Pending },
            invocations: hosts.into_iter().map(Invocation::new).collect(),
            effective: rendered.parameters,
            execution: rendered.execution,
            script: rendered.script,
            directory: rendered.directory,
            step: rendered.step,
            linux,
            rate,
            cancelled: false,
        });
        if nobody {
            self.tell(seq);
        } else {
            self.open.insert(seq);
        }
        Ok(seq)
    }

    /// `CancelCommand`: what was not picked up is cancelled, what runs is killed; none named means
    /// all.
    pub(crate) fn cancel(&mut self, id: &str, instances: &[String]) -> Result<(), ApiError> {
        let unique: BTreeSet<&String> = instances.iter().collect();
        if unique.len() != instances.len() {
            return Err(ApiError::new("DuplicateInstanceId", "An instance is named twice"));
        }
        let command = self.commands.iter().find(|c| c.id == id).ok_or_else(|| {
            ApiError::new("InvalidCommandId", format!("Command {id} does not exist"))
        })?;
        let seq = command.seq;
        if let Some(stranger) =
            instances.iter().find(|i| !command.invocations.iter().any(|v| v.instance == **i))
        {
            return Err(ApiError::new(
                "InvalidInstanceId",
                format!("Command {id} was not sent to {stranger}"),
            ));
        }
        let hit: Vec<(usize, InvocationState)> = command
            .invocations
            .iter()
            .enumerate()
            .filter(|(_, v)| instances.is_empty() || instances.contains(&v.instance))
            .map(|(index, v)| (index, v.state))
            .collect();
        if instances.is_empty() {
            self.cancel_whole(seq);
        }
        for (index, state) in hit {
            match state {
                InvocationState::Pending | InvocationState::Delayed => {
                    self.change(seq, index, InvocationState::Cancelled);
                }
                InvocationState::InProgress => {
                    self.change(seq, index, InvocationState::Cancelling);
                    // Best effort: an agent that is away does not hear of it, and its result comes
                    // as cancelled.
                    if self.hears(seq, index) {
                        self.kill(seq, index);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
