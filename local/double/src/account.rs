//! One account in one region: all state behind its locks, and the engine that makes time pass.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::asg::{AutoScaling, TransitionKind};
use crate::bus::{Bus, Delivered, Delivery};
use crate::clock::{Clock, ClockError};
use crate::commands::{RunCommand, RunKey};
use crate::double::DoubleConfig;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::imds::Tokens;
use crate::journal::{Journal, TransitionLog};
use crate::lambda::{Function, HttpApi, InvokeError};
use crate::runner::Runners;
use crate::services::secrets::Secrets;
use crate::services::ssm::Parameters;
use crate::surroundings::Surroundings;

const SPOT_WARNING: &str = "EC2 Spot Instance Interruption Warning";
const REBALANCE: &str = "EC2 Instance Rebalance Recommendation";

/// Everything the double knows.
pub(crate) struct Account {
    pub(crate) config: DoubleConfig,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) transitions: Arc<TransitionLog>,
    pub(crate) tokens: Tokens,
    /// HTTP APIs that were opened over the control plane.
    pub(crate) http_apis: Mutex<Vec<HttpApi>>,
    groups: Mutex<AutoScaling>,
    parameters: Mutex<Parameters>,
    secrets: Mutex<Secrets>,
    surroundings: Mutex<Surroundings>,
    bus: Mutex<Bus>,
    functions: Mutex<BTreeMap<String, Function>>,
    pub(crate) commands: Mutex<RunCommand>,
    pub(crate) runners: Mutex<Runners>,
    /// The runs that are going on.
    pub(crate) runs: Mutex<BTreeMap<RunKey, AbortHandle>>,
    request_ids: Mutex<Ids>,
    /// Tells the engine that a deadline may have moved.
    wake: Notify,
    /// Counts what the engine did, for those who wait until it has nothing to do.
    steps: watch::Sender<u64>,
    advancing: tokio::sync::Mutex<()>,
    pub(crate) deliveries: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A lock whose holder panicked still holds usable state: every change is made by one whole call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    pub(crate) fn new(config: DoubleConfig) -> Self {
        let clock = Clock::new(config.clock);
        let now = clock.now();
        let (region, account, seed) = (&config.region, &config.account, config.seed);
        Self {
            faults: Faults::default(),
            journal: Journal::default(),
            transitions: TransitionLog::new(),
            tokens: Tokens::new(seed),
            http_apis: Mutex::default(),
            groups: Mutex::new(AutoScaling::new(
                region,
                account,
                (config.boot, config.shutdown),
                seed,
                now,
            )),
            parameters: Mutex::default(),
            secrets: Mutex::new(Secrets::new(
                format!("arn:aws:secretsmanager:{region}:{account}"),
                seed,
            )),
            surroundings: Mutex::default(),
            bus: Mutex::new(Bus::new(region, account, seed)),
            functions: Mutex::default(),
            commands: Mutex::new(RunCommand::new(account, seed, now)),
            runners: Mutex::default(),
            runs: Mutex::default(),
            request_ids: Mutex::new(Ids::new(seed, 5)),
            wake: Notify::new(),
            steps: watch::Sender::new(0),
            advancing: tokio::sync::Mutex::default(),
            deliveries: Mutex::default(),
            clock,
            config,
        }
    }

    /// `arn:aws:service:region:account`
    pub(crate) fn arn_prefix(&self, service: &str) -> String {
        format!("arn:aws:{service}:{}:{}", self.config.region, self.config.account)
    }

    pub(crate) fn request_id(&self) -> String {
        lock(&self.request_ids).uuid()
    }

    pub(crate) fn with_surroundings<R>(&self, run: impl FnOnce(&mut Surroundings) -> R) -> R {
        run(&mut lock(&self.surroundings))
    }

    /// Runs `change` on the groups as they are now, then whatever follows from it.
    pub(crate) fn with_groups<R>(&self, change: impl FnOnce(&mut AutoScaling) -> R) -> R {
        let mut groups = lock(&self.groups);
        let now = self.clock.now();
        groups.advance(now);
        let result = change(&mut groups);
        groups.advance(now);
        let transitions = groups.take_transitions();
        if !transitions.is_empty() {
            // Under the lock of the groups, so that the log is in the order of events.
            self.transitions.append(&transitions);
            let mut bus = lock(&self.bus);
            for transition in &transitions {
                bus.publish(transition, now);
            }
            drop(bus);
            let mut commands = lock(&self.commands);
            for transition in &transitions {
                // The agent stops with the machine's services.
                if matches!(transition.kind, TransitionKind::ShuttingDown | TransitionKind::Lost) {
                    commands.machine_gone(&transition.instance);
                }
            }
        }
        drop(groups);
        self.wake.notify_one();
        result
    }

    pub(crate) fn with_parameters<R>(
        &self,
        change: impl FnOnce(&mut Parameters, Timestamp) -> R,
    ) -> R {
        change(&mut lock(&self.parameters), self.clock.now())
    }

    pub(crate) fn with_secrets<R>(&self, change: impl FnOnce(&mut Secrets, Timestamp) -> R) -> R {
        change(&mut lock(&self.secrets), self.clock.now())
    }

    /// Runs `change` on the commands as they are now, then whatever follows from it. Must not be
    /// called from within [`Account::with_groups`], which takes the locks in the other order.
    pub(crate) fn with_commands<R>(&self, change: impl FnOnce(&mut RunCommand) -> R) -> R {
        let mut commands = lock(&self.commands);
        let now = self.clock.now();
        commands.advance(now);
        let result = change(&mut commands);
        commands.advance(now);
        let notices = commands.take_notices();
        if !notices.is_empty() {
            let mut bus = lock(&self.bus);
            for notice in notices {
                if let Some(command) = commands.command(notice.seq) {
                    bus.publish_command(&notice, command, now);
                }
            }
        }
        drop(commands);
        self.wake.notify_one();
        result
    }

    pub(crate) fn with_bus<R>(&self, change: impl FnOnce(&mut Bus, Timestamp) -> R) -> R {
        let result = change(&mut lock(&self.bus), self.clock.now());
        self.wake.notify_one();
        result
    }

    /// Warns that EC2 takes a machine back after `notice`.
    pub(crate) fn reclaim_instance(&self, id: &str, notice: Duration) -> Result<(), ApiError> {
        let zone = self.with_groups(|asg| asg.reclaim_instance(id, notice))?;
        let detail = json!({ "instance-action": "terminate" });
        self.with_bus(|bus, now| bus.publish_ec2(SPOT_WARNING, &zone, id, detail, now));
        Ok(())
    }

    /// Recommends to replace a machine.
    pub(crate) fn recommend_rebalance(&self, id: &str) -> Result<(), ApiError> {
        let zone = self.with_groups(|asg| asg.recommend_rebalance(id))?;
        self.with_bus(|bus, now| bus.publish_ec2(REBALANCE, &zone, id, json!({}), now));
        Ok(())
    }

    pub(crate) fn function(&self, name: &str) -> Option<Function> {
        lock(&self.functions).get(name).cloned()
    }

    /// Adds a function; one of the same name is replaced and stopped.
    pub(crate) fn add_function(&self, function: Function) {
        let name = function.config().name.clone();
        if let Some(old) = lock(&self.functions).insert(name, function) {
            old.shut();
        }
    }

    /// Invokes a function asynchronously.
    pub(crate) fn deliver(&self, function: &str, payload: Vec<u8>) {
        self.with_bus(|bus, now| bus.enqueue(function, payload, now));
    }

    /// Makes time pass until the task is aborted: in real time by itself, on a manual clock
    /// whenever something was called.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.run_due();
            let sleep = match self.next_deadline() {
                Some(at) if !self.clock.is_manual() => {
                    Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default()
                }
                _ => Duration::MAX,
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Moves a manual clock from deadline to deadline; at each, waits for the functions that were
    /// invoked.
    pub(crate) async fn advance(self: &Arc<Self>, by: Duration) -> Result<(), ClockError> {
        if !self.clock.is_manual() {
            return Err(ClockError::Real);
        }
        let _one_at_a_time = self.advancing.lock().await;
        let target = self.clock.now().checked_add(by).map_err(|_| ClockError::Range)?;
        loop {
            self.settle().await;
            match self.next_deadline().filter(|at| *at <= target) {
                Some(at) => self.clock.set(at),
                None => break,
            }
        }
        self.clock.set(target);
        self.settle().await;
        Ok(())
    }

    /// Runs what is due and waits until no delivery is due or running.
    pub(crate) async fn settle(self: &Arc<Self>) {
        let mut steps = self.steps.subscribe();
        loop {
            self.run_due();
            steps.borrow_and_update();
            if self.is_idle() {
                return;
            }
            if steps.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops the functions and forgets the deliveries that are running.
    pub(crate) fn shut(&self) {
        for function in lock(&self.functions).values() {
            function.shut();
        }
        lock(&self.functions).clear();
        lock(&self.deliveries).abort_all();
        lock(&self.http_apis).clear();
    }

    fn is_idle(&self) -> bool {
        let now = self.clock.now();
        lock(&self.bus).is_idle(now)
            && lock(&self.commands).is_idle(now)
            && lock(&self.runs).is_empty()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let groups = lock(&self.groups).next_deadline();
        let bus = lock(&self.bus).next_deadline();
        let commands = lock(&self.commands).next_deadline();
        groups.into_iter().chain(bus).chain(commands).min()
    }

    fn run_due(self: &Arc<Self>) {
        if lock(&self.groups).next_deadline().is_some_and(|at| at <= self.clock.now()) {
            self.with_groups(|_| ());
        }
        if lock(&self.commands).next_deadline().is_some_and(|at| at <= self.clock.now()) {
            self.with_commands(|_| ());
        }
        self.start_and_stop_runs();
        let due = lock(&self.bus).take_due(self.clock.now());
        let mut deliveries = lock(&self.deliveries);
        while deliveries.try_join_next().is_some() {}
        for delivery in due {
            deliveries.spawn(Arc::clone(self).make(delivery));
        }
    }

    /// Counts a step of the engine.
    pub(crate) fn step(&self) {
        self.steps.send_modify(|n| *n += 1);
        self.wake.notify_one();
    }

    async fn make(self: Arc<Self>, delivery: Delivery) {
        let how = match self.function(&delivery.function) {
            None => Delivered::Done,
            Some(function) => match function.invoke(&delivery.payload).await {
                Ok(_) | Err(InvokeError::Stopped) => Delivered::Done,
                Err(InvokeError::Throttled) => Delivered::Throttled,
                Err(InvokeError::Function(error)) => {
                    let retries = function.config().async_retries;
                    Delivered::Failed { retries, error }
                }
            },
        };
        lock(&self.bus).settle(delivery, how, self.clock.now());
        self.step();
    }
}
