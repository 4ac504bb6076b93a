//! The handle to a running double.

mod commands;
mod events;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::asg::{Group, GroupSpec, Transition};
use crate::bus::ScheduleError;
use crate::clock::{ClockError, ClockMode};
use crate::control;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::journal::{Call, TransitionStream};
use crate::lambda::{Function, HttpApi, Route, invoke_api};
use crate::pattern::Pattern;
use crate::server::Server;
use crate::services;
use crate::surroundings::Alarm;

/// Most an API call may carry; Lambda's 6 MB is the largest limit of the services.
const REQUEST_BYTES: usize = 6 * 1024 * 1024;

/// How a double is started.
#[derive(Debug, Clone)]
pub struct DoubleConfig {
    /// Port on 127.0.0.1; 0 for a free one.
    pub port: u16,
    /// Region in ARNs and events.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// The same seed and the same calls give the same identifiers.
    pub seed: u64,
    /// Where the time comes from.
    pub clock: ClockMode,
    /// Launch to service, for groups that do not say.
    pub boot: Duration,
    /// End of the hooks to gone, for groups that do not say.
    pub shutdown: Duration,
}

impl Default for DoubleConfig {
    fn default() -> Self {
        Self {
            port: 0,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            seed: 1,
            clock: ClockMode::Real,
            boot: Duration::from_secs(30),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// A running double. Clones are the same double; it ends with the last one, and its functions with
/// it.
#[derive(Debug, Clone)]
pub struct Double {
    account: Arc<Account>,
    running: Arc<Running>,
}

/// Ends what was started.
#[derive(Debug)]
struct Running {
    account: Arc<Account>,
    server: Server,
    engine: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.abort();
        self.account.shut();
    }
}

impl Double {
    /// Starts a double.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn start(config: DoubleConfig) -> io::Result<Self> {
        let (listener, address) = Server::bind(config.port).await?;
        let account = Arc::new(Account::new(config));
        let running = Running {
            server: Server::start(listener, address, router(Arc::clone(&account))),
            engine: tokio::spawn(Arc::clone(&account).run()),
            account: Arc::clone(&account),
        };
        Ok(Self { account, running: Arc::new(running) })
    }

    /// `http://127.0.0.1:port`, for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.running.server.address())
    }

    /// What an AWS client needs in its environment to talk to this double and to nothing else.
    #[must_use]
    pub fn aws_env(&self) -> Vec<(String, String)> {
        let region = &self.account.config.region;
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("AWS_ACCESS_KEY_ID", "double".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "double".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Where an instance finds `/latest/api/token` and `/latest/meta-data/…`.
    #[must_use]
    pub fn imds_endpoint(&self, instance: &str) -> String {
        format!("{}/_double/imds/{instance}", self.endpoint())
    }

    /// The double's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.account.clock.now()
    }

    /// Moves a manual clock. Every boot, hook timeout and schedule on the way happens in order and
    /// at its own time; the functions that are invoked finish before time goes on.
    ///
    /// # Errors
    /// The clock is the machine's, or the step is too long.
    pub async fn advance(&self, by: Duration) -> Result<(), ClockError> {
        self.account.advance(by).await
    }

    /// Waits until no event delivery is due or running and no command runs on any host.
    pub async fn settle(&self) {
        self.account.settle().await;
    }

    /// Creates a group.
    ///
    /// # Errors
    /// What `CreateAutoScalingGroup` would answer.
    pub fn create_group(&self, spec: GroupSpec) -> Result<(), ApiError> {
        self.account.with_groups(|asg| asg.create_simple(spec))
    }

    /// The group as it is now.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<Group> {
        self.account.with_groups(|asg| asg.groups().get(name).cloned())
    }

    /// Changes how long the group's next instances take to boot.
    ///
    /// # Errors
    /// No such group, or longer than a week.
    pub fn set_boot(&self, group: &str, boot: Duration) -> Result<(), ApiError> {
        self.account.with_groups(|asg| asg.set_boot(group, boot.as_secs_f64()))
    }

    /// Ends an instance of a group, as `TerminateInstanceInAutoScalingGroup` does: its hooks run.
    ///
    /// # Errors
    /// What the call would answer.
    pub fn terminate_instance(&self, id: &str, decrement: bool) -> Result<(), ApiError> {
        self.account.with_groups(|asg| asg.terminate_instance(id, decrement).map(drop))
    }

    /// Lets a machine die behind the group's back, as a crash or a spot reclaim does.
    ///
    /// # Errors
    /// No such instance.
    pub fn lose_instance(&self, id: &str) -> Result<(), ApiError> {
        self.account.with_groups(|asg| asg.lose_instance(id))
    }

    /// Creates a secret or gives it a new current value.
    ///
    /// # Errors
    /// The name is not legal.
    pub fn put_secret(&self, name: &str, text: &str) -> Result<(), ApiError> {
        self.account.with_secrets(|secrets, now| secrets.set(name, text, now))
    }

    /// Lets a group's launches fail with these words of AWS; `None` lets them succeed again.
    ///
    /// # Errors
    /// There is no such group.
    pub fn fail_launches(&self, group: &str, message: Option<&str>) -> Result<(), ApiError> {
        self.account.with_groups(|asg| asg.fail_launches(group, message.map(str::to_owned)))
    }

    /// Writes an alarm, in place of one of the same name.
    pub fn put_alarm(&self, alarm: Alarm) {
        let now = self.account.clock.now();
        self.account.with_surroundings(|it| it.put_alarm(alarm, now));
    }

    /// Has a topic tell somebody, by `email` for one, who confirmed it or has not yet.
    pub fn subscribe_to(&self, topic: &str, protocol: &str, confirmed: bool) {
        self.account.with_surroundings(|it| it.subscribe(topic, protocol, confirmed));
    }

    /// Deletes a launch template, whether or not a group names it.
    pub fn delete_launch_template(&self, id: &str) {
        self.account.with_surroundings(|it| it.delete_template(id));
    }

    /// Sets how many invocations Lambda allows at a time.
    pub fn set_account_concurrency(&self, limit: u64) {
        self.account.with_surroundings(|it| it.set_concurrency(limit));
    }

    /// Writes a `String` parameter.
    ///
    /// # Errors
    /// Name or value are not legal.
    pub fn put_parameter(&self, name: &str, value: &str) -> Result<(), ApiError> {
        self.account.with_parameters(|parameters, now| parameters.set(name, value, now))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.account.with_parameters(|parameters, _| parameters.value(name))
    }

    /// Removes a parameter. True when there was one.
    #[must_use]
    pub fn delete_parameter(&self, name: &str) -> bool {
        self.account.with_parameters(|parameters, _| parameters.remove(name))
    }

    /// Every AWS API call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.account.journal.calls()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.account.journal.clear();
    }

    /// The instance transitions numbered above `since`.
    #[must_use]
    pub fn transitions(&self, since: u64) -> Vec<Transition> {
        self.account.transitions.since(since)
    }

    /// All transitions from the first on, one at a time, as they happen.
    #[must_use]
    pub fn subscribe(&self) -> TransitionStream {
        self.account.transitions.subscribe()
    }

    /// Every EventBridge event so far, whether or not anyone asked for it.
    #[must_use]
    pub fn bus_events(&self) -> Vec<Value> {
        self.account.with_bus(|bus, _| bus.events().to_vec())
    }

    /// The plan of faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.account.faults.clone()
    }

    /// Makes a function known: to the Invoke API, schedules, events and HTTP APIs. It replaces one
    /// of the same name.
    pub fn add_function(&self, function: &Function) {
        self.account.add_function(function.clone());
    }

    /// A function by name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        self.account.function(name)
    }

    /// Invokes a function by `rate(…)`, first one interval from now, with EventBridge's scheduled
    /// event.
    ///
    /// # Errors
    /// The expression or the function is unknown.
    pub fn schedule(&self, name: &str, rate: &str, function: &str) -> Result<(), ScheduleError> {
        self.known(function)?;
        self.account.with_bus(|bus, now| bus.schedule(name, rate, function, None, now))
    }

    /// The same with an event of one's own, the target's constant `Input`.
    ///
    /// # Errors
    /// As [`Double::schedule`].
    pub fn schedule_input(
        &self,
        name: &str,
        rate: &str,
        function: &str,
        input: Value,
    ) -> Result<(), ScheduleError> {
        self.known(function)?;
        self.account.with_bus(|bus, now| bus.schedule(name, rate, function, Some(input), now))
    }

    /// Invokes a function on every event of this source and type.
    ///
    /// # Errors
    /// The function is unknown.
    pub fn on_event(
        &self,
        source: &str,
        detail_type: &str,
        function: &str,
    ) -> Result<(), ScheduleError> {
        self.rule(&json!({ "source": [source], "detail-type": [detail_type] }), function)
    }

    /// Invokes a function on every event that matches a rule's `EventPattern`.
    ///
    /// # Errors
    /// The function is unknown, or the pattern cannot be read.
    pub fn rule(&self, pattern: &Value, function: &str) -> Result<(), ScheduleError> {
        self.known(function)?;
        let pattern = Pattern::read(pattern)?;
        self.account.with_bus(|bus, _| bus.add_rule(pattern, function));
        Ok(())
    }

    /// Opens an HTTP API on a port of its own, 0 for a free one.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn http_api(&self, routes: Vec<Route>, port: u16) -> io::Result<HttpApi> {
        HttpApi::start(Arc::clone(&self.account), routes, port).await
    }

    fn known(&self, function: &str) -> Result<(), ScheduleError> {
        match self.account.function(function) {
            Some(_) => Ok(()),
            None => Err(ScheduleError::Function(function.to_owned())),
        }
    }
}

fn router(account: Arc<Account>) -> Router {
    Router::new()
        .nest("/_double", control::router())
        .route("/2015-03-31/functions/{name}/invocations", post(invoke_api::invoke))
        .route("/2016-08-19/account-settings", get(invoke_api::account_settings))
        .fallback(api)
        .layer(axum::extract::DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(account)
}

async fn api(State(account): State<Arc<Account>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match to_bytes(body, REQUEST_BYTES).await {
        Ok(body) => services::handle(account, parts, body).await,
        Err(_) => axum::http::StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}
