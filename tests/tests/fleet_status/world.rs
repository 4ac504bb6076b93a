//! A fleet with a queue, workers, decisions and versions, and the function that tells of it.

use aws_double::{
    ClockMode, CommandOutput, CommandRun, Double, DoubleConfig, Function, GroupSpec, HttpApi,
};
use fleet_local::pgboss;
use fleet_local::postgres::Postgres;
use fleet_local::template::Template;
use fleet_tests::{new_database, shared_server};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const GROUP: &str = "ghosthands-worker-asg";
pub(crate) const QUEUE: &str = "gh_apply_job";
pub(crate) const SECRET: &str = "ghosthands/test/fleet";
pub(crate) const STATE: &str = "/ghosthands/test/autoscale/state";
pub(crate) const STABLE: &str = "/ghosthands/test/stable";
pub(crate) const OPERATOR: &str = "an-operators-token-for-tests";
pub(crate) const READER: &str = "a-readers-token-for-tests";
pub(crate) const STATUS: &str = "/api/v1/admin/fleet-status";
pub(crate) const METRICS: &str = "/api/v1/admin/metrics";
pub(crate) const CAPACITY: &str = "/api/v1/admin/capacity";
const DOCUMENT: &str = "GhostHands-Host";
const SURVEY_DOCUMENT: &str = "GhostHands-Host-Survey";
const BOOT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) database: String,
    pub(crate) boss: pgboss::Boss,
    pub(crate) double: Double,
    pub(crate) function: Function,
    api: HttpApi,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

impl World {
    /// A group of so many instances in service, and nothing else.
    pub(crate) async fn start(instances: u32) -> World {
        World::of(instances, shared_server()).await
    }

    /// The same, with a function that only observes.
    pub(crate) async fn observing(instances: u32) -> World {
        World::set(instances, shared_server(), Duration::ZERO, &[("DRY_RUN", "true")]).await
    }

    pub(crate) async fn of(instances: u32, postgres: Arc<Postgres>) -> World {
        World::set(instances, postgres, Duration::ZERO, &[]).await
    }

    /// The same, where AWS is so far in the past until it is moved on.
    pub(crate) async fn ago(instances: u32, ago: Duration) -> World {
        World::set(instances, shared_server(), ago, &[]).await
    }

    async fn set(
        instances: u32,
        postgres: Arc<Postgres>,
        ago: Duration,
        more: &[(&str, &str)],
    ) -> World {
        let database = new_database(&postgres, "status");
        let package = pgboss::install(pgboss::DEFAULT_VERSION).expect("pg-boss installs");
        let url = postgres.app_url_in(&database);
        let mut boss = package.start(&url, &postgres.ca_file()).expect("pg-boss starts");
        boss.create_queue(QUEUE, json!({})).expect("the queue is created");
        let clock = ClockMode::Manual(jiff::Timestamp::now() - ago);
        let double =
            Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.expect("starts");
        let group = GroupSpec::new(GROUP, 0, 300).desired(instances).boot(BOOT);
        double.create_group(group).expect("a valid group");
        double.advance(BOOT).await.expect("a manual clock");
        let secret = json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": OPERATOR, "FLEET_READER_TOKEN": READER });
        double.put_secret(SECRET, &secret.to_string()).expect("kept");
        let settings = [
            ("AUTOSCALE_ASG_ENABLED", "true"),
            ("AWS_ASG_NAME", GROUP),
            ("AUTOSCALE_MIN", "1"),
            ("AUTOSCALE_MAX", "250"),
            ("GH_ENVIRONMENT", "test"),
            ("DATABASE_CA", postgres.ca_pem()),
        ];
        let settings = settings.iter().chain(more);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Vec<(String, String)> = settings.collect();
        let template = Template::read(GROUP).expect("the template is there");
        let function =
            template.start("fleet-status", &double, settings).await.expect("the function starts");
        let api = double.http_api(template.routes("fleet-status"), 0).await.expect("listens");
        World { postgres, database, boss, double, function, api }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Reply {
        self.send("GET", path, token, None).await
    }

    pub(crate) async fn put(&self, token: Option<&str>, body: &str) -> Reply {
        self.send("PUT", CAPACITY, token, Some(body)).await
    }

    /// Asks with curl, a client that is not ours.
    async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Reply {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "-X", method, &format!("{}{path}", self.api.endpoint())]);
        if let Some(token) = token {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d", body]);
        }
        let output = tokio::task::spawn_blocking(move || curl.output().expect("curl runs"));
        let text = String::from_utf8(output.await.expect("joins").stdout).expect("UTF-8");
        let (headers, text) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
        Reply {
            status: status.expect("a status"),
            headers: headers.to_lowercase(),
            text: text.to_owned(),
        }
    }

    /// The status as a reader gets it.
    pub(crate) async fn status(&self) -> Value {
        let reply = self.get(STATUS, Some(READER)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    pub(crate) fn instances(&self) -> Vec<String> {
        let group = self.double.group(GROUP).expect("the group is there");
        group.instances.iter().map(|instance| instance.id.to_string()).collect()
    }

    /// Registers a worker on each of these instances.
    pub(crate) fn register(&self, instances: &[String], busy: bool) {
        let job = if busy { "(SELECT id FROM gh_automation_jobs LIMIT 1)" } else { "NULL" };
        let rows: Vec<String> =
            instances.iter().map(|id| format!("('{id}', '{id}', {job})")).collect();
        self.sql(&format!(
            "INSERT INTO gh_automation_jobs DEFAULT VALUES; \
             INSERT INTO gh_worker_registry (worker_id, ec2_instance_id, current_job_id) VALUES {}",
            rows.join(", ")
        ));
    }

    pub(crate) fn enqueue(&mut self, jobs: u32) {
        self.boss
            .insert(QUEUE, jobs, json!({}), json!({ "expireInSeconds": 14_400 }))
            .expect("sent");
    }

    pub(crate) fn sql(&self, statements: &str) {
        self.postgres.execute(&self.database, statements).expect("the statements run");
    }

    /// Sends a command of the host document to these hosts; each prints what `says` makes of its
    /// id.
    pub(crate) async fn command(
        &self,
        hosts: &[String],
        says: impl Fn(&str) -> CommandOutput + Send + Sync + 'static,
    ) {
        self.of_document(DOCUMENT, hosts, says).await;
    }

    /// The same with the document of surveys.
    pub(crate) async fn survey(
        &self,
        hosts: &[String],
        says: impl Fn(&str) -> CommandOutput + Send + Sync + 'static,
    ) {
        self.of_document(SURVEY_DOCUMENT, hosts, says).await;
    }

    async fn of_document(
        &self,
        document: &str,
        hosts: &[String],
        says: impl Fn(&str) -> CommandOutput + Send + Sync + 'static,
    ) {
        if self.double.commands().is_empty() {
            let content = json!({
                "schemaVersion": "2.2", "description": "A host.",
                "mainSteps": [{ "name": "run", "action": "aws:runShellScript", "inputs": { "runCommand": ["true"] } }],
            });
            for name in [DOCUMENT, SURVEY_DOCUMENT] {
                self.double.create_document(name, &content.to_string()).expect("a valid document");
            }
        }
        self.double.set_runner(move |run: CommandRun| std::future::ready(says(&run.instance)));
        for hosts in hosts.chunks(50) {
            let order = json!({
                "DocumentName": document, "InstanceIds": hosts, "TimeoutSeconds": 60,
                "MaxConcurrency": "100%", "MaxErrors": "100%",
            });
            let endpoint = self.double.endpoint();
            let run = move || {
                let mut curl = Command::new("curl");
                curl.args(["-sS", "--fail-with-body", "--user", "test:test", &endpoint]);
                curl.args(["--aws-sigv4", "aws:amz:us-east-1:ssm"]);
                curl.args(["-H", "X-Amz-Target: AmazonSSM.SendCommand"]);
                curl.args(["-H", "Content-Type: application/x-amz-json-1.1"]);
                curl.args(["-d", &order.to_string()]).output().expect("curl runs")
            };
            let output = tokio::task::spawn_blocking(run).await.expect("joins");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        self.double.advance(Duration::from_secs(30)).await.expect("a manual clock");
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
}

/// What `deploy-server deploy --json` prints at its end.
pub(crate) fn deployed(tag: &str) -> CommandOutput {
    let said = json!({
        "deployId": "d-1", "generation": 1, "kind": "deploy", "status": "deployed", "imageTag": tag,
        "previous": null, "success": true, "message": format!("Deploy successful: {tag}"),
    });
    CommandOutput::exit(0).stdout(said.to_string())
}

/// What `deploy-server status --fleet` prints.
pub(crate) fn surveyed(host: &str, tag: &str) -> CommandOutput {
    let said = json!({
        "v": 1, "instanceId": host, "action": "status", "result": "done", "imageTag": tag,
        "services": [], "log": [],
    });
    CommandOutput::exit(0).stdout(said.to_string())
}

/// Which sources the status says are down, and why.
pub(crate) fn unavailable(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = status["unavailable"].as_array().expect("a list");
    list.iter().map(|one| (text(&one["source"]), text(&one["reason"]))).collect()
}
