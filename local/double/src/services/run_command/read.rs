//! The List, Get and Describe actions, their filters and pages.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::render;
use crate::account::Account;
use crate::commands::Command;
use crate::error::ApiError;

/// A filter of commands; lower-case members are the wire's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct List {
    command_id: Option<String>,
    instance_id: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    /// Of `ListCommandInvocations` alone.
    details: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct GetInvocation {
    command_id: String,
    instance_id: String,
    plugin_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceFilter {
    key: String,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct DescribeInstances {
    #[serde(default)]
    filters: Vec<InstanceFilter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// A condition on a command and the status of it or of one invocation.
enum Condition {
    After(Timestamp),
    Before(Timestamp),
    Status(String),
    Document(String),
    Over(bool),
}

impl Condition {
    fn read(filter: &Filter) -> Result<Self, ApiError> {
        let time = || {
            filter.value.parse::<Timestamp>().map_err(|_| {
                ApiError::new(
                    "ValidationException",
                    format!(
                        "Filter {} needs a time as 2026-01-01T00:00:00Z, not {}",
                        filter.key, filter.value
                    ),
                )
            })
        };
        Ok(match filter.key.as_str() {
            "InvokedAfter" => Self::After(time()?),
            "InvokedBefore" => Self::Before(time()?),
            "Status" => Self::Status(filter.value.clone()),
            "DocumentName" => Self::Document(filter.value.clone()),
            "ExecutionStage" if filter.value == "Executing" => Self::Over(false),
            "ExecutionStage" if filter.value == "Complete" => Self::Over(true),
            _ => {
                return Err(ApiError::new(
                    "InvalidFilterKey",
                    format!("There is no filter {} = {}", filter.key, filter.value),
                ));
            }
        })
    }

    fn holds(&self, c: &Command, status: &str, over: bool) -> bool {
        match self {
            Self::After(at) => c.requested >= *at,
            Self::Before(at) => c.requested < *at,
            Self::Status(wanted) => wanted == status,
            Self::Document(name) => c.document == *name,
            Self::Over(wanted) => *wanted == over,
        }
    }
}

impl List {
    fn conditions(&self) -> Result<Vec<Condition>, ApiError> {
        if let Some(id) = self.command_id.as_ref().filter(|id| id.len() != 36) {
            return Err(ApiError::new("InvalidCommandId", format!("{id} is not a command id")));
        }
        self.filters.iter().map(Condition::read).collect()
    }

    fn names(&self, c: &Command) -> bool {
        self.command_id.as_ref().is_none_or(|id| *id == c.id)
    }

    fn page_size(&self, most: usize) -> Result<usize, ApiError> {
        page_size(self.max_results, 1, most)
    }
}

fn page_size(asked: Option<usize>, least: usize, most: usize) -> Result<usize, ApiError> {
    match asked {
        Some(n) if !(least..=50).contains(&n) => Err(ApiError::new(
            "ValidationException",
            format!("Value '{n}' at 'maxResults' must be between {least} and 50"),
        )),
        asked => Ok(asked.unwrap_or(50).min(most)),
    }
}

/// A page of what is sorted by descending keys, and the token of the next. The token is the last
/// key of this page, so that what is added meanwhile moves nothing.
fn page<K: Ord + Copy>(
    items: Vec<(K, Value)>,
    after: Option<K>,
    size: usize,
    token: impl Fn(K) -> String,
) -> (Vec<Value>, Option<String>) {
    let left: Vec<(K, Value)> =
        items.into_iter().filter(|(key, _)| after.is_none_or(|after| *key < after)).collect();
    let more = left.len() > size;
    let page: Vec<(K, Value)> = left.into_iter().take(size).collect();
    let next = page.last().filter(|_| more).map(|(key, _)| token(*key));
    (page.into_iter().map(|(_, value)| value).collect(), next)
}

fn invalid_token(token: &str) -> ApiError {
    ApiError::new("InvalidNextToken", format!("The token '{token}' is not valid."))
}

fn with_token(mut answer: Value, token: Option<String>) -> Value {
    if let Some(token) = token {
        answer["NextToken"] = json!(token);
    }
    answer
}

pub(super) fn commands(list: &List, account: &Account) -> Result<Value, ApiError> {
    let conditions = list.conditions()?;
    if list.details.is_some() {
        return Err(ApiError::new("ValidationException", "Details is of ListCommandInvocations"));
    }
    if list.instance_id.is_some()
        && conditions.iter().any(|c| matches!(c, Condition::Status(s) if s == "Pending"))
    {
        return Err(ApiError::new(
            "InvalidFilterKey",
            "InstanceId cannot be combined with Status = Pending: the command has not reached the instance",
        ));
    }
    let after = match &list.next_token {
        None => None,
        Some(token) => Some(token.parse::<u64>().map_err(|_| invalid_token(token))?),
    };
    account.with_commands(|c| {
        let size = list.page_size(c.settings.page_size)?;
        let found = c
            .listed(list.instance_id.as_deref())
            .filter(|command| list.names(command))
            .filter(|command| {
                let over = command.count(|s| !s.is_terminal()) == 0;
                conditions.iter().all(|f| f.holds(command, command.state.status(), over))
            })
            .map(|command| (command.seq, render::command(command, c.settings.spaced_details)))
            .collect();
        let (page, token) = page(found, after, size, |seq| seq.to_string());
        Ok(with_token(json!({ "Commands": page }), token))
    })
}

pub(super) fn invocations(list: &List, account: &Account) -> Result<Value, ApiError> {
    let conditions = list.conditions()?;
    if conditions.iter().any(|c| matches!(c, Condition::Over(_))) {
        return Err(ApiError::new(
            "InvalidFilterKey",
            "ExecutionStage is a filter of ListCommands",
        ));
    }
    let after = match &list.next_token {
        None => None,
        Some(token) => {
            let parts = token.split_once('-').and_then(|(seq, left)| {
                Some((seq.parse::<u64>().ok()?, left.parse::<usize>().ok()?))
            });
            Some(parts.ok_or_else(|| invalid_token(token))?)
        }
    };
    account.with_commands(|c| {
        let size = list.page_size(c.settings.page_size)?;
        let mut found = Vec::new();
        for command in c.listed(list.instance_id.as_deref()).filter(|c| list.names(c)) {
            // Counted from the end: keys fall from the first invocation on.
            let keys = (0..command.invocations.len()).rev();
            for (left, v) in keys.zip(&command.invocations) {
                let here = list.instance_id.as_ref().is_none_or(|id| *id == v.instance);
                let (status, over) = (v.state.status(), v.state.is_terminal());
                if here && conditions.iter().all(|f| f.holds(command, status, over)) {
                    let details = list.details.unwrap_or(false);
                    let value = render::invocation(command, v, details, c.settings.spaced_details);
                    found.push(((command.seq, left), value));
                }
            }
        }
        let (page, token) = page(found, after, size, |(seq, left)| format!("{seq}-{left}"));
        Ok(with_token(json!({ "CommandInvocations": page }), token))
    })
}

pub(super) fn invocation(which: &GetInvocation, account: &Account) -> Result<Value, ApiError> {
    account.with_commands(|c| {
        let found = c
            .listed(Some(&which.instance_id))
            .find(|command| command.id == which.command_id)
            .and_then(|command| {
                let v = command.invocations.iter().find(|v| v.instance == which.instance_id)?;
                Some((command, v))
            });
        let Some((command, v)) = found else {
            return Err(ApiError::new(
                "InvocationDoesNotExist",
                format!("Command {} has no invocation on {}", which.command_id, which.instance_id),
            ));
        };
        if let Some(name) = which.plugin_name.as_ref().filter(|name| **name != command.step) {
            return Err(ApiError::new(
                "InvalidPluginName",
                format!("The document has the step {}, not {name}", command.step),
            ));
        }
        Ok(render::single(command, v, c.settings.spaced_details))
    })
}

pub(super) fn instances(list: &DescribeInstances, account: &Account) -> Result<Value, ApiError> {
    let size = page_size(list.max_results, 5, 50)?;
    let from = match &list.next_token {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| invalid_token(token))?,
    };
    for filter in &list.filters {
        let known = ["InstanceIds", "PingStatus"].contains(&filter.key.as_str())
            || filter.key.starts_with("tag:");
        if !known {
            return Err(ApiError::new(
                "InvalidFilterKey",
                format!(
                    "The double models the filters InstanceIds, PingStatus and tag:NAME, not {}",
                    filter.key
                ),
            ));
        }
    }
    let machines = account.machines();
    let now = account.clock.now();
    account.with_commands(|c| {
        let found: Vec<Value> = machines
            .iter()
            .filter(|m| m.managed)
            .map(|m| (m, c.offline_since(&m.id)))
            .filter(|(m, offline)| {
                list.filters.iter().all(|f| match f.key.as_str() {
                    "InstanceIds" => f.values.contains(&m.id),
                    "PingStatus" => f.values.iter().any(|v| v == render::ping_status(*offline)),
                    tag => tag
                        .strip_prefix("tag:")
                        .and_then(|name| m.tags.get(name))
                        .is_some_and(|value| f.values.contains(value)),
                })
            })
            .map(|(m, offline)| render::instance(m, offline, now))
            .collect();
        let next = (found.len() > from + size).then(|| (from + size).to_string());
        let page: Vec<Value> = found.into_iter().skip(from).take(size).collect();
        Ok(with_token(json!({ "InstanceInformationList": page }), next))
    })
}
