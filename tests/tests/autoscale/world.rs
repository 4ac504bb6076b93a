//! A database with a queue, a group, and the function that looks at both.

use aws_double::{
    ClockMode, Double, DoubleConfig, Function, FunctionConfig, Group, GroupSpec, LifecycleState,
};
use fleet_local::postgres::{Options, Postgres};
use fleet_local::{functions, pgboss};
use fleet_tests::{new_database, shared_server};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) const GROUP: &str = "ghosthands-worker-asg";
pub(crate) const QUEUE: &str = "gh_apply_job";
pub(crate) const SECRET: &str = "ghosthands/test/fleet";
pub(crate) const STATE: &str = "/ghosthands/test/autoscale/state";
pub(crate) const TOKEN: &str = "an-operators-token-for-tests";
pub(crate) const SCHEDULE: &[u8] = include_bytes!("../../../events/autoscale-schedule.json");
const BOOT: Duration = Duration::from_secs(30);

/// What a test wants to be different.
pub(crate) struct Setup {
    pub(crate) desired: u32,
    pub(crate) env: Vec<(String, String)>,
    /// A PostgreSQL of its own, to be stopped and killed.
    pub(crate) own_server: bool,
    /// Function processes at a time.
    pub(crate) concurrency: usize,
    /// The kernel refuses the function more memory than this, as Lambda would end it.
    pub(crate) memory_mib: Option<u32>,
}

impl Setup {
    pub(crate) fn desired(desired: u32) -> Setup {
        Setup { desired, env: vec![], own_server: false, concurrency: 1, memory_mib: None }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn own_server(self) -> Setup {
        Setup { own_server: true, ..self }
    }

    pub(crate) fn concurrency(self, concurrency: usize) -> Setup {
        Setup { concurrency, ..self }
    }
}

pub(crate) struct World {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) database: String,
    pub(crate) boss: pgboss::Boss,
    pub(crate) double: Double,
    pub(crate) function: Function,
}

impl World {
    pub(crate) async fn start(setup: Setup) -> World {
        let postgres = if setup.own_server {
            Arc::new(Postgres::start(Options::default()).expect("PostgreSQL starts"))
        } else {
            shared_server()
        };
        let database = new_database(&postgres, "autoscale");
        let package = pgboss::install(pgboss::DEFAULT_VERSION).expect("pg-boss installs");
        let url = postgres.app_url_in(&database);
        let mut boss = package.start(&url, &postgres.ca_file()).expect("pg-boss starts");
        boss.create_queue(QUEUE, json!({})).expect("the queue is created");
        let clock = ClockMode::Manual(jiff::Timestamp::now());
        let double =
            Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.expect("starts");
        double
            .create_group(GroupSpec::new(GROUP, 0, 20).desired(setup.desired).boot(BOOT))
            .expect("a valid group");
        double.advance(BOOT).await.expect("a manual clock");
        let secret = json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": TOKEN }).to_string();
        double.put_secret(SECRET, &secret).expect("kept");
        let binary = functions::binary("autoscale").expect("it is built");
        let binary = setup.memory_mib.map_or_else(|| binary.clone(), |mib| limited(&binary, mib));
        let mut config = FunctionConfig::new("autoscale", binary)
            .timeout(Duration::from_secs(55))
            .concurrency(setup.concurrency);
        for (name, value) in
            double.aws_env().into_iter().chain(settings(&postgres)).chain(setup.env)
        {
            config = config.env(name, value);
        }
        let function = Function::start(config).await.expect("the Runtime API starts");
        double.add_function(&function);
        World { postgres, database, boss, double, function }
    }

    /// Kills the function, in whatever it is doing; the next tick is made by a new environment.
    pub(crate) async fn restart_function(&mut self) {
        self.function.stop().await;
        let config = self.function.config().clone();
        self.function = Function::start(config).await.expect("the Runtime API starts");
    }

    /// One tick by the schedule: the record without its inputs, as the caller of the function gets
    /// it.
    pub(crate) async fn tick(&self) -> Value {
        let answer = self.function.invoke(SCHEDULE).await.expect("the function answers");
        serde_json::from_slice(&answer).expect("a JSON answer")
    }

    /// The newest line of this type that the function printed, with everything in it.
    pub(crate) async fn line(&self, kind: &str) -> Value {
        self.printed(|line| line["type"] == kind).await.pop().expect("at least one")
    }

    /// The lines like this that the function printed, as soon as there are any: the pipe may bring
    /// them a moment after the answer.
    pub(crate) async fn printed(&self, like: impl Fn(&Value) -> bool) -> Vec<Value> {
        for _ in 0..600 {
            let lines = self.function.logs();
            let parsed = lines.iter().filter_map(|line| serde_json::from_str(&line.text).ok());
            let found: Vec<Value> = parsed.filter(&like).collect();
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such line was printed")
    }

    /// Two environments of the function, both warm, so that two ticks can begin in the same moment.
    pub(crate) async fn warm_up_two(&self) {
        tokio::join!(self.tick(), self.tick());
        assert_eq!(self.function.cold_starts(), 2);
    }

    /// The function's password for the database.
    pub(crate) fn password(&self) -> String {
        let url = self.postgres.app_url_in(&self.database);
        let user = url.split('@').next().expect("a user");
        let password = user.rsplit(':').next().expect("a password");
        assert!(password.len() > 3, "too short to be looked for");
        password.to_owned()
    }

    pub(crate) fn group(&self) -> Group {
        self.double.group(GROUP).expect("the group is there")
    }

    pub(crate) fn in_service(&self) -> Vec<String> {
        let group = self.group();
        let in_service = group.instances.iter().filter(|i| i.state == LifecycleState::InService);
        in_service.map(|instance| instance.id.to_string()).collect()
    }

    /// The AWS calls that changed something, other than the function's own memory.
    pub(crate) fn changes(&self) -> Vec<String> {
        let calls = self.double.calls();
        let changing =
            calls.iter().filter(|call| call.is_mutating() && call.action != "PutParameter");
        changing.map(|call| call.action.clone()).collect()
    }

    /// Waits until somebody made this call.
    pub(crate) async fn called(&self, action: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.double.calls().iter().any(|call| call.action == action) {
            assert!(Instant::now() < deadline, "nobody called {action}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An Auto Scaling call as an operator would make it, on our group.
    pub(crate) async fn aws(&self, action: &str, parameters: &[(&str, &str)]) {
        let group = [("AutoScalingGroupName", GROUP)];
        let own = if action.ends_with("Tags") { &[][..] } else { &group[..] };
        let parameters: Vec<(&str, &str)> = own.iter().chain(parameters).copied().collect();
        fleet_tests::auto_scaling(&self.double.endpoint(), action, &parameters).await;
    }

    /// Tags the group, as the console would.
    pub(crate) async fn tag(&self, key: &str, value: &str) {
        let parameters = [
            ("Tags.member.1.ResourceId", GROUP),
            ("Tags.member.1.ResourceType", "auto-scaling-group"),
            ("Tags.member.1.Key", key),
            ("Tags.member.1.Value", value),
            ("Tags.member.1.PropagateAtLaunch", "false"),
        ];
        self.aws("CreateOrUpdateTags", &parameters).await;
    }

    /// Registers a worker on each of these instances, with a heartbeat of just now.
    pub(crate) fn heartbeat(&self, instances: &[String], busy: bool) {
        for instance in instances {
            let job = if busy { "(SELECT id FROM gh_automation_jobs LIMIT 1)" } else { "NULL" };
            self.sql(&format!(
                "INSERT INTO gh_automation_jobs DEFAULT VALUES; \
                 INSERT INTO gh_worker_registry (worker_id, target_worker_id, ec2_instance_id, current_job_id) \
                 VALUES ('{instance}', '{instance}', '{instance}', {job}) \
                 ON CONFLICT (worker_id) DO UPDATE SET last_heartbeat = now(), current_job_id = EXCLUDED.current_job_id"
            ));
        }
    }

    /// Makes every running job look as if it had begun a minute ago: the workers' heartbeats are
    /// later.
    pub(crate) fn age_running_jobs(&self) {
        self.sql(
            "UPDATE pgboss.job SET started_on = now() - interval '1 minute' WHERE state = 'active'",
        );
    }

    pub(crate) fn send(&mut self, jobs: u32) {
        self.boss
            .insert(QUEUE, jobs, json!({}), json!({ "expireInSeconds": 14_400 }))
            .expect("sent");
    }

    pub(crate) fn sql(&self, statements: &str) {
        self.postgres.execute(&self.database, statements).expect("the statements run");
    }
}

/// Scaling in as soon as it is safe, so that a test need not wait for holds.
pub(crate) fn settings(postgres: &Postgres) -> Vec<(String, String)> {
    let pairs = [
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("AWS_ASG_NAME", GROUP),
        ("AUTOSCALE_MIN", "1"),
        ("AUTOSCALE_MAX", "10"),
        ("WAIT_VALUE", "0"),
        ("AUTOSCALE_IDLE_CONFIRM_SECONDS", "1"),
        // One instance a tick, so that a test can look in between.
        ("AUTOSCALE_MAX_IN_PERCENT", "1"),
        // One tick an invocation, whose answer a test need not wait for.
        ("AUTOSCALE_TICK_SECONDS", "60"),
        ("GH_ENVIRONMENT", "test"),
        ("DATABASE_CA", postgres.ca_pem()),
    ];
    pairs.map(|(name, value)| (name.into(), value.into())).into()
}

/// A program that becomes the function with no more than `mib` of writable memory.
fn limited(binary: &Path, mib: u32) -> PathBuf {
    static SCRIPT: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let script = binary.with_file_name(format!("autoscale-{mib}-mib"));
        let new = script.with_extension(std::process::id().to_string());
        let text = format!("#!/bin/sh\nulimit -d {}\nexec {}\n", mib * 1024, binary.display());
        std::fs::write(&new, text).expect("the script is written");
        std::fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("executable");
        std::fs::rename(&new, &script).expect("in place");
        script
    };
    SCRIPT.get_or_init(write).clone()
}

pub(crate) fn rule(record: &Value) -> &str {
    record["decision"]["because"]["rule"].as_str().unwrap_or_else(|| panic!("no rule in {record}"))
}

pub(crate) fn plan(record: &Value) -> &str {
    record["decision"]["plan"]["do"].as_str().unwrap_or_else(|| panic!("no plan in {record}"))
}

/// Past `AUTOSCALE_IDLE_CONFIRM_SECONDS` of the tests.
pub(crate) async fn past_confirmation() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}
