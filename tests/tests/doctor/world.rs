//! A fleet in which nothing is wrong, and what doctor says of it.

use aws_double::{
    Alarm, ClockMode, CommandOutput, CommandRun, Double, DoubleConfig, Fault, Function, GroupSpec,
    HookSpec, HttpApi,
};
use fleet_local::paths;
use fleet_local::pgboss;
use fleet_local::pgbouncer::{self, PgBouncer};
use fleet_local::postgres::Postgres;
use fleet_local::template::Template;
use fleet_tests::{new_database, shared_server};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const GROUP: &str = "ghosthands-worker-asg";
pub(crate) const QUEUE: &str = "gh_apply_job";
pub(crate) const FLEET_SECRET: &str = "ghosthands/test/fleet";
pub(crate) const HOST_SECRET: &str = "ghosthands/test";
pub(crate) const STABLE: &str = "/ghosthands/test/stable";
pub(crate) const HOOK: &str = "ghosthands-drain-hook";
pub(crate) const OPERATOR: &str = "an-operators-token-for-tests";
pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:fleet-alarms";
/// What the host's password is; it may be nowhere in what doctor prints.
const HOSTS_VALUE: &str = "s3cret-of-hosts";
const ALARMS: usize = 29;
/// Instances are no longer young by then.
const LIVED: Duration = Duration::from_secs(430);

pub(crate) struct World {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) database: String,
    pub(crate) boss: pgboss::Boss,
    pub(crate) double: Double,
    pub(crate) pooler: PgBouncer,
    pub(crate) url: String,
    api: HttpApi,
    _functions: Vec<Function>,
}

/// How a world is to differ.
pub(crate) struct Setup {
    pub(crate) group: GroupSpec,
    /// AWS's clock begins so much in the past.
    pub(crate) ago: Duration,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            group: group().hook(HookSpec::terminating(HOOK, 300)).retain_on_abandon(),
            ago: Duration::ZERO,
            settings: Vec::new(),
        }
    }
}

/// A group of two, with no hook.
pub(crate) fn group() -> GroupSpec {
    GroupSpec::new(GROUP, 0, 10).desired(2).boot(Duration::from_secs(30))
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl World {
    pub(crate) async fn start() -> World {
        World::of(Setup::default()).await
    }

    pub(crate) async fn of(setup: Setup) -> World {
        let postgres = shared_server();
        let database = new_database(&postgres, "doctor");
        let package = pgboss::install(pgboss::DEFAULT_VERSION).expect("pg-boss installs");
        let direct = postgres.app_url_in(&database);
        let mut boss = package.start(&direct, &postgres.ca_file()).expect("pg-boss starts");
        boss.create_queue(QUEUE, json!({})).expect("the queue is created");
        let pooler = PgBouncer::start(&postgres, pgbouncer::Options::default()).expect("starts");
        let url =
            direct.replace(&format!(":{}/", postgres.port()), &format!(":{}/", port(&pooler)));
        let clock = ClockMode::Manual(jiff::Timestamp::now() - LIVED - setup.ago);
        let double =
            Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.expect("starts");
        double.create_group(setup.group).expect("a valid group");
        double.advance(LIVED).await.expect("a manual clock");
        let template = Template::read(GROUP).expect("the template is there");
        furnish(&double, &template, &url);
        let mut settings: Vec<(String, String)> = [
            ("AUTOSCALE_ASG_ENABLED", "true"),
            ("AWS_ASG_NAME", GROUP),
            ("AUTOSCALE_MIN", "2"),
            ("AUTOSCALE_MAX", "10"),
            ("GH_ENVIRONMENT", "test"),
            ("DATABASE_CA", pooler.ca_pem()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in setup.settings {
            settings.retain(|(known, _)| known != name);
            settings.push((name.to_owned(), value.to_owned()));
        }
        let mut functions = Vec::new();
        for name in ["fleet-status", "autoscale"] {
            let started = template.start(name, &double, settings.clone()).await;
            functions.push(started.expect("the function starts"));
        }
        let routes = [template.routes("fleet-status"), template.routes("autoscale")].concat();
        let api = double.http_api(routes, 0).await.expect("listens");
        let world =
            World { postgres, database, boss, double, pooler, url, api, _functions: functions };
        let instances = world.instances();
        world.register(&instances);
        world.survey(&instances, "v1").await;
        world.tick().await;
        world.double.clear_calls();
        world
    }

    pub(crate) fn api(&self) -> String {
        self.api.endpoint()
    }

    pub(crate) fn instances(&self) -> Vec<String> {
        let group = self.double.group(GROUP).expect("the group is there");
        group.instances.iter().map(|instance| instance.id.to_string()).collect()
    }

    /// Registers a worker that keeps the contract on each of these instances.
    pub(crate) fn register(&self, instances: &[String]) {
        let row = |id: &String| format!("('{id}', '{id}', '{{\"accepting\": true}}')");
        let rows: Vec<String> = instances.iter().map(row).collect();
        self.sql(&format!(
            "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id, metadata) VALUES {}",
            rows.join(", ")
        ));
    }

    pub(crate) fn sql(&self, statements: &str) {
        self.postgres.execute(&self.database, statements).expect("the statements run");
    }

    /// Has these hosts say that they run this version.
    pub(crate) async fn survey(&self, hosts: &[String], tag: &str) {
        let tag = tag.to_owned();
        self.double.set_runner(move |run: CommandRun| {
            let said = json!({
                "v": 1, "instanceId": run.instance, "action": "status", "result": "done",
                "imageTag": tag, "services": [], "log": [],
            });
            std::future::ready(CommandOutput::exit(0).stdout(said.to_string()))
        });
        // SSM takes fifty ids at a time.
        for hosts in hosts.chunks(50) {
            let order = json!({
                "DocumentName": "GhostHands-Host-Survey", "InstanceIds": hosts,
                "TimeoutSeconds": 60, "MaxConcurrency": "100%", "MaxErrors": "100%",
            });
            let target = ["-H", "X-Amz-Target: AmazonSSM.SendCommand"];
            self.aws("ssm", &target, &order.to_string()).await;
        }
        self.double.advance(Duration::from_secs(5)).await.expect("a manual clock");
    }

    /// Calls Auto Scaling by its Query protocol.
    pub(crate) async fn auto_scaling(&self, action: &str, parameters: &str) {
        let body =
            format!("Action={action}&Version=2011-01-01&AutoScalingGroupName={GROUP}{parameters}");
        self.aws("autoscaling", &[], &body).await;
    }

    async fn aws(&self, service: &str, more: &[&str], body: &str) {
        let kind = if body.starts_with('{') {
            "Content-Type: application/x-amz-json-1.1"
        } else {
            "Content-Type: application/x-www-form-urlencoded"
        };
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--user", "test:test", &self.double.endpoint()]);
        curl.args(["--aws-sigv4", &format!("aws:amz:us-east-1:{service}"), "-H", kind]);
        curl.args(more).args(["-d", body]);
        let output = tokio::task::spawn_blocking(move || curl.output().expect("curl runs"));
        let output = output.await.expect("joins");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Makes a tick, as `ghfleet explain --now` does.
    pub(crate) async fn tick(&self) {
        let ran = self.run(&["explain", "--now"], &[]).await;
        assert_eq!(ran.code, 0, "{}", ran.text);
    }

    /// Lets every call of this action be refused so.
    pub(crate) fn refuse(&self, action: &str, status: u16, code: &str) {
        let (code, message) = (code.to_owned(), "not you".to_owned());
        self.double.faults().add(action, 1000, Fault::Fail { status, code, message });
    }

    /// What doctor finds, with its exit code.
    pub(crate) async fn doctor(&self) -> Findings {
        self.doctor_with(&[], &[]).await
    }

    pub(crate) async fn doctor_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Findings {
        let arguments = [&["doctor", "--json"], arguments].concat();
        let ran = self.run(&arguments, environment).await;
        Findings::read(&ran)
    }

    /// Runs `ghfleet` with the double's AWS, this API and its operator's token; variables may be
    /// set otherwise, and an empty one counts as unset.
    pub(crate) async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(paths::built("ghfleet", "ghfleet").expect("it is built"));
        command.args(arguments).env_clear().env("HOME", "/nonexistent").env("PATH", "/nonexistent");
        command.env("GHFLEET_URL", self.api()).env("GHFLEET_TOKEN", OPERATOR);
        command.env("GHFLEET_DATABASE_CA", self.pooler.ca_pem());
        command.envs(self.double.aws_env()).envs(environment.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
        let output = output.await.expect("joins");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        for secret in [OPERATOR, HOSTS_VALUE, password(&self.url)] {
            assert!(!text.contains(secret) && !error.contains(secret), "{text}{error}");
        }
        Ran { code: output.status.code().expect("no signal"), text: text + &error }
    }
}

/// What doctor found.
pub(crate) struct Findings {
    pub(crate) code: i32,
    all: Vec<Value>,
}

impl Findings {
    fn read(ran: &Ran) -> Findings {
        let document: Value =
            serde_json::from_str(&ran.text).unwrap_or_else(|error| panic!("{error}: {}", ran.text));
        assert_eq!(document["code"], ran.code, "the document says how it ended");
        let all = document["findings"].as_array().expect("a list").clone();
        Findings { code: ran.code, all }
    }

    /// State and finding of the checks of this name, worst first.
    pub(crate) fn of(&self, area: &str, check: &str) -> (String, String, String) {
        let found = self.all.iter().filter(|it| it["area"] == area && it["check"] == check);
        let worst = found.max_by_key(|it| usize::from(it["state"] != "ok"));
        let worst = worst.unwrap_or_else(|| panic!("{area}/{check} is among {:#?}", self.all));
        let text = |name: &str| worst[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("looked_at").is_empty(), "{worst}");
        (text("state"), text("finding"), text("fix"))
    }

    /// That this check found a fault which says so, and how to mend it.
    #[track_caller]
    pub(crate) fn names(&self, area: &str, check: &str, says: &str, fix: &str) {
        self.is("fault", area, check, says, fix);
    }

    #[track_caller]
    pub(crate) fn is(&self, state: &str, area: &str, check: &str, says: &str, fix: &str) {
        let (found, finding, mends) = self.of(area, check);
        assert_eq!(found, state, "{area}/{check}: {finding}");
        assert!(finding.contains(says), "{area}/{check}: {finding}");
        assert!(mends.contains(fix), "{area}/{check}: {mends}");
    }

    /// The checks that are not ok.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let bad = self.all.iter().filter(|it| it["state"] != "ok");
        let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
        let word = |it: &Value| {
            format!(
                "{} {}/{}: {}",
                text(it, "state"),
                text(it, "area"),
                text(it, "check"),
                text(it, "finding")
            )
        };
        bad.map(word).collect()
    }
}

/// Everything that a fleet has beside its group.
fn furnish(double: &Double, template: &Template, url: &str) {
    let documents = [
        ("GhostHands-Host", template.host_document()),
        ("GhostHands-Host-Survey", template.survey_document()),
    ];
    for (name, content) in documents {
        double.create_document(name, &content).expect("a valid document");
    }
    let fleet = json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": OPERATOR });
    double.put_secret(FLEET_SECRET, &fleet.to_string()).expect("kept");
    double.put_secret(HOST_SECRET, &host_secret(&[]).to_string()).expect("kept");
    double.put_parameter(STABLE, &json!({ "image_tag": "v1" }).to_string()).expect("kept");
    for number in 0..ALARMS {
        double.put_alarm(alarm(&format!("ghosthands-test-{number}"), "OK"));
    }
    double.subscribe_to(TOPIC, "email", true);
}

/// What hosts read, without some of its keys.
pub(crate) fn host_secret(without: &[&str]) -> Value {
    let keys = [
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "GH_SERVICE_SECRET",
        "GH_CREDENTIAL_KEY",
        "GH_DEPLOY_SECRET",
        "NODE_ENV",
    ];
    let kept = keys.into_iter().filter(|key| !without.contains(key));
    kept.map(|key| (key.to_owned(), json!(HOSTS_VALUE))).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) fn alarm(name: &str, state: &str) -> Alarm {
    Alarm {
        name: name.to_owned(),
        state: state.to_owned(),
        reason: "Threshold Crossed".to_owned(),
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
    }
}

/// The port in the pooler's own address.
fn port(pooler: &PgBouncer) -> String {
    let url = pooler.app_url();
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next());
    port.expect("an address with a port").to_owned()
}

pub(crate) fn password(url: &str) -> &str {
    let credentials = url.split("://").nth(1).and_then(|rest| rest.split('@').next());
    credentials.and_then(|it| it.split(':').nth(1)).expect("an address with a password")
}
