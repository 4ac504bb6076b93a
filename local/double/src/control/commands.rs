//! Run Command: who runs commands, what goes wrong with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, answer, span};
use crate::commands::{CommandFault, CommandOutput};
use crate::error::ApiError;
use crate::runner::{CommandRunner, ShellRunner, scripted};

pub(super) async fn commands(State(account): App) -> Json<Value> {
    Json(account.with_commands(|commands| json!(commands.commands())))
}

/// How the command ends, member by member of [`CommandOutput`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Output {
    exit_code: i32,
    stdout: String,
    stderr: String,
    took_seconds: f64,
}

/// One of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRunner {
    instance: Option<String>,
    /// Answers, the last of which stays.
    outputs: Option<Vec<Output>>,
    /// A real shell with these variables.
    shell: Option<BTreeMap<String, String>>,
}

impl Output {
    fn read(self) -> Result<CommandOutput, ApiError> {
        let took = span("took_seconds", self.took_seconds)?;
        let output = CommandOutput::exit(self.exit_code).stdout(self.stdout).stderr(self.stderr);
        Ok(output.took(took))
    }
}

fn build(new: NewRunner) -> Result<Arc<dyn CommandRunner>, ApiError> {
    match (new.outputs, new.shell) {
        (Some(outputs), None) => {
            let outputs = outputs.into_iter().map(Output::read).collect::<Result<_, _>>()?;
            Ok(Arc::new(scripted(outputs)))
        }
        (None, Some(env)) => {
            let shell = ShellRunner::new();
            Ok(Arc::new(env.into_iter().fold(shell, |shell, (key, value)| shell.env(key, value))))
        }
        _ => Err(ApiError::validation("a runner needs either outputs or shell")),
    }
}

pub(super) async fn set_runner(State(account): App, Json(new): Json<NewRunner>) -> Response {
    let instance = new.instance.clone();
    answer(build(new).map(|runner| {
        account.set_runner(instance.as_deref(), runner);
        json!({})
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFault {
    instance: String,
    fault: CommandFault,
}

pub(super) async fn plan_fault(State(account): App, Json(new): Json<NewFault>) -> Json<Value> {
    account.with_commands(|commands| commands.plan_fault(&new.instance, new.fault));
    Json(json!({}))
}

/// What is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSettings {
    delivery_seconds: Option<f64>,
    listed_after_seconds: Option<f64>,
    page_size: Option<usize>,
    timeout_verdict_at_expiry: Option<bool>,
    spaced_details: Option<bool>,
}

pub(super) async fn change_settings(State(account): App, Json(new): Json<NewSettings>) -> Response {
    answer(account.with_commands(|commands| {
        let mut settings = commands.settings;
        let time = |field, seconds: Option<f64>, old: Duration| {
            seconds.map_or(Ok(old), |seconds| span(field, seconds))
        };
        settings.delivery = time("delivery_seconds", new.delivery_seconds, settings.delivery)?;
        settings.listed_after =
            time("listed_after_seconds", new.listed_after_seconds, settings.listed_after)?;
        settings.page_size = new.page_size.unwrap_or(settings.page_size);
        settings.timeout_verdict_at_expiry =
            new.timeout_verdict_at_expiry.unwrap_or(settings.timeout_verdict_at_expiry);
        settings.spaced_details = new.spaced_details.unwrap_or(settings.spaced_details);
        settings.check()?;
        commands.settings = settings;
        Ok(json!({}))
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    online: bool,
}

pub(super) async fn set_agent(
    State(account): App,
    Path(instance): Path<String>,
    Json(new): Json<Connection>,
) -> Json<Value> {
    account.with_commands(|commands| commands.set_online(&instance, new.online));
    Json(json!({}))
}

pub(super) async fn kill_agent(State(account): App, Path(instance): Path<String>) -> Json<Value> {
    account.with_commands(|commands| commands.kill_agent(&instance));
    Json(json!({}))
}
