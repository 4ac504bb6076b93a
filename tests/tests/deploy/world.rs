//! A group whose hosts are scripts, and the function that rolls versions out over them.

use aws_double::{
    ClockMode, CommandOutput, CommandRun, Double, DoubleConfig, Function, GroupSpec, HttpApi,
    LifecycleState,
};
use fleet_local::template::Template;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const GROUP: &str = "ghosthands-worker-asg";
pub(crate) const SECRET: &str = "ghosthands/test/fleet";
pub(crate) const STABLE: &str = "/ghosthands/test/stable";
/// Records take turns between these two.
pub(crate) const RECORDS: [&str; 2] = ["/ghosthands/test/rollout", "/ghosthands/test/rollout-2"];
pub(crate) const CANCELLED: &str = "/ghosthands/test/rollout-cancelled";
pub(crate) const OPERATOR: &str = "an-operators-token-for-tests";
pub(crate) const READER: &str = "a-readers-token-for-tests";
pub(crate) const WEBHOOK_KEY: &str = "a-webhook-key-for-tests";
pub(crate) const ROUTES: &str = "/api/v1/admin/deployments";
/// Longer than any rollout of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a host does with an order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mood {
    Good,
    /// This version fails and goes back.
    RollsBack(&'static str),
    /// This version fails, and nothing runs any more.
    Down(&'static str),
    /// A job runs: an order waits for it.
    Busy,
    /// It reports success and did nothing.
    Lies,
    /// It succeeds and prints nothing, so many times.
    Mute(u32),
    /// It is at it until the test gives it another mood.
    Held,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) runs: String,
    pub(crate) mood: Mood,
    /// Orders that it took.
    pub(crate) orders: Vec<String>,
    held: Option<HeldOrder>,
}

/// The newest order of a rollout.
#[derive(Clone, Debug)]
struct HeldOrder {
    id: String,
    tag: String,
    /// What it came to.
    result: Option<String>,
    /// What was in service when it came.
    before: String,
}

impl Host {
    fn new(runs: &str) -> Host {
        Host { runs: runs.to_owned(), mood: Mood::Good, orders: Vec::new(), held: None }
    }

    /// The swap for the version, as far as the mood lets it end: its exit code, result and step.
    fn swap(&mut self, tag: &str) -> (i32, &'static str, Option<&'static str>) {
        match &self.mood {
            Mood::RollsBack(bad) if *bad == tag => (10, "rolled_back", Some("start-services")),
            Mood::Down(bad) if *bad == tag => {
                self.runs = String::new();
                (11, "down", Some("start-services"))
            }
            Mood::Lies => (0, "deployed", None),
            _ if self.runs == tag => (0, "already_current", None),
            Mood::Busy => (0, "accepted", Some("drain-worker")),
            _ => {
                tag.clone_into(&mut self.runs);
                (0, "deployed", None)
            }
        }
    }

    /// Carries out an order; the same one again only tells what became of it.
    fn order(&mut self, id: &str, tag: &str) -> (i32, &'static str, Option<&'static str>) {
        let before = self.runs.clone();
        if let Some(HeldOrder { id: held, result: Some(result), .. }) = &self.held
            && held == id
        {
            return match result.as_str() {
                "rolled_back" => (10, "rolled_back", Some("start-services")),
                "down" => (11, "down", Some("start-services")),
                "already_current" => (0, "already_current", None),
                _ => (0, "deployed", None),
            };
        }
        let swap = self.swap(tag);
        let result = (swap.1 != "accepted").then(|| swap.1.to_owned());
        self.held = Some(HeldOrder { id: id.to_owned(), tag: tag.to_owned(), result, before });
        swap
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Arc<Mutex<BTreeMap<String, Host>>>);

impl Hosts {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One order on one host, as `deploy-server … --fleet` carries it out.
    async fn run(self, run: CommandRun, first: String) -> CommandOutput {
        let parameter = |name: &str| {
            run.parameters.get(name).and_then(|values| values.first()).cloned().unwrap_or_default()
        };
        let (action, tag, id) = (parameter("Action"), parameter("ImageTag"), parameter("Order"));
        {
            let mut hosts = self.lock();
            let host = hosts.entry(run.instance.clone()).or_insert_with(|| Host::new(&first));
            if action != "status" {
                host.orders.push(format!("{action} {tag}").trim().to_owned());
            }
        }
        while action != "status" && self.lock()[&run.instance].mood == Mood::Held {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut hosts = self.lock();
        let host = hosts.get_mut(&run.instance).expect("it took the order");
        let (code, result, step) = match action.as_str() {
            "deploy" => host.order(&id, &tag),
            "take-back" => {
                if let Some(HeldOrder { result: result @ None, .. }) = &mut host.held {
                    *result = Some("taken_back".to_owned());
                }
                (0, "done", None)
            }
            "status" => {
                // The job has ended meanwhile.
                if let Some(HeldOrder { id, tag, result: None, .. }) = host.held.clone() {
                    host.order(&id, &tag);
                }
                (0, "done", None)
            }
            _ => (0, "done", None),
        };
        if let (Mood::Mute(times), "deploy") = (&host.mood, action.as_str()) {
            let times = *times;
            host.mood = if times > 1 { Mood::Mute(times - 1) } else { Mood::Good };
            return CommandOutput::exit(0);
        }
        let ended = host.held.as_ref().filter(|order| order.result.is_some());
        let before = ended.map(|order| order.before.clone());
        let order = host.held.as_ref().map(|order| {
            json!({
                "id": order.id, "imageTag": order.tag,
                "acceptedAt": "2026-11-25T00:00:00Z", "limitAt": "2026-11-25T04:00:00Z",
                "state": if order.result.is_some() { "ended" } else { "waiting" },
                "result": order.result,
            })
        });
        let log = if code == 0 { vec![] } else { vec!["the version's last words"] };
        let line = json!({
            "v": 1, "instanceId": run.instance, "action": action, "result": result, "step": step,
            "message": format!("{action} {result}"), "imageTag": host.runs, "before": before, "log": log,
            "takesOrders": true, "order": order, "activeJobs": u32::from(host.mood == Mood::Busy),
        });
        CommandOutput::exit(code).stdout(format!("{line}\n"))
    }
}

pub(crate) struct World {
    pub(crate) double: Double,
    pub(crate) function: Mutex<Function>,
    pub(crate) api: HttpApi,
    pub(crate) hosts: Hosts,
}

/// What a test wants to be different.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) hosts: u32,
    pub(crate) settings: Vec<(String, String)>,
    /// Neither events nor a schedule wake the function.
    pub(crate) asleep: bool,
    /// No version was ever proven.
    pub(crate) fresh: bool,
}

impl World {
    /// So many hosts that run v1, which is stable.
    pub(crate) async fn start(hosts: u32) -> World {
        World::with(Setup { hosts, ..Setup::default() }).await
    }

    pub(crate) async fn with(setup: Setup) -> World {
        let double =
            Double::start(DoubleConfig { clock: ClockMode::Real, ..DoubleConfig::default() });
        let double = double.await.expect("starts");
        let secret = json!({
            "FLEET_OPERATOR_TOKEN": OPERATOR, "FLEET_READER_TOKEN": READER,
            "VALET_DEPLOY_WEBHOOK_SECRET": WEBHOOK_KEY,
        });
        double.put_secret(SECRET, &secret.to_string()).expect("kept");
        if !setup.fresh {
            let stable = json!({ "image_tag": "v1", "deployment_id": "by-hand", "at": "2026-11-25T00:00:00Z" });
            double.put_parameter(STABLE, &stable.to_string()).expect("kept");
        }
        let template = Template::read(GROUP).expect("it is YAML");
        double.create_document("GhostHands-Host", &template.host_document()).expect("a document");
        double
            .create_document("GhostHands-Host-Survey", &template.survey_document())
            .expect("a document");
        let hosts = Hosts::default();
        let (scripts, reader) = (hosts.clone(), double.clone());
        double.set_runner(move |run| {
            // A new instance boots to the stable version.
            let stable =
                reader.parameter(STABLE).and_then(|text| serde_json::from_str::<Value>(&text).ok());
            let first = stable.and_then(|stable| stable["image_tag"].as_str().map(str::to_owned));
            scripts.clone().run(run, first.unwrap_or_else(|| "v0".to_owned()))
        });
        double
            .create_group(
                GroupSpec::new(GROUP, 0, 200)
                    .desired(setup.hosts)
                    .boot(Duration::ZERO)
                    .shutdown(Duration::ZERO),
            )
            .expect("a valid group");
        let settings = [("GH_ENVIRONMENT", "test"), ("AWS_ASG_NAME", GROUP)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = settings.into_iter().chain(setup.settings);
        let function = template.start("deploy", &double, settings).await.expect("starts");
        if setup.asleep {
            double
                .disturb("*", aws_double::Disturbance { lose: 1.0, ..Default::default() })
                .expect("valid");
        } else {
            double.schedule("deploy", "rate(1 second)", "deploy").expect("a rate");
        }
        let api = double.http_api(template.routes("deploy"), 0).await.expect("listens");
        let world = World { double, function: Mutex::new(function), api, hosts };
        world
            .until("the hosts are in service", || world.in_service().len() == setup.hosts as usize)
            .await;
        let first = if setup.fresh { "v0" } else { "v1" };
        for id in world.in_service() {
            world.hosts.lock().insert(id, Host::new(first));
        }
        world
    }

    /// Who is in service, in the order in which orders go out.
    pub(crate) fn in_service(&self) -> Vec<String> {
        let group = self.double.group(GROUP).expect("it is there");
        let in_service = group.instances.iter().filter(|i| i.state == LifecycleState::InService);
        let mut ids: Vec<String> = in_service.map(|instance| instance.id.clone()).collect();
        ids.sort();
        ids
    }

    pub(crate) fn mood(&self, id: &str, mood: Mood) {
        self.hosts.lock().get_mut(id).expect("a host").mood = mood;
    }

    pub(crate) fn all(&self, mood: &Mood) {
        self.hosts.lock().values_mut().for_each(|host| host.mood = mood.clone());
    }

    /// How many hosts in service run this version.
    pub(crate) fn run(&self, version: &str) -> usize {
        let in_service = self.in_service();
        let hosts = self.hosts.lock();
        hosts.iter().filter(|(id, host)| in_service.contains(id) && host.runs == version).count()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request, by curl: a client that is not ours.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        token: &str,
        key: Option<&str>,
        body: &str,
    ) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "-w", "\n%{http_code}", "--data-binary", body]);
        curl.args(["-H", "Content-Type: application/json", "-H"]);
        curl.arg(format!("Authorization: Bearer {token}"));
        if let Some(key) = key {
            curl.arg("-H").arg(format!("Idempotency-Key: {key}"));
        }
        curl.arg(format!("{}{path}", self.api.endpoint()));
        let output = tokio::task::spawn_blocking(move || curl.output().expect("curl runs"));
        let text = String::from_utf8(output.await.expect("joins").stdout).expect("UTF-8");
        let (body, status) = text.rsplit_once('\n').expect("the last line is the status");
        (status.parse().expect("a number"), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> (u16, Value) {
        self.request("POST", path, OPERATOR, Some(key), &body.to_string()).await
    }

    pub(crate) async fn get(&self, id: &str) -> Value {
        let (status, body) = self.request("GET", &format!("{ROUTES}/{id}"), READER, None, "").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Begins a rollout and returns its id.
    pub(crate) async fn deploy(&self, key: &str, body: Value) -> String {
        let (status, body) = self.post(ROUTES, key, body).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    /// The rollout once it is over and another one may begin.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        self.until("the rollout is over", || self.record().is_none()).await;
        let view = self.get(id).await;
        assert_ne!(view["state"], "in_progress", "{view}");
        view
    }

    /// The record of the rollout in progress.
    pub(crate) fn record(&self) -> Option<Value> {
        self.records().into_iter().map(|(_, record)| record).next().filter(|r| r["over"].is_null())
    }

    /// The records, each with its parameter, the newest rollout's first.
    pub(crate) fn records(&self) -> Vec<(&'static str, Value)> {
        let read = |name| Some((name, serde_json::from_str(&self.double.parameter(name)?).ok()?));
        let mut records: Vec<(&str, Value)> = RECORDS.into_iter().filter_map(read).collect();
        records.sort_by_key(|(_, record)| std::cmp::Reverse(record["number"].as_u64()));
        records
    }

    /// How many rollouts were begun.
    pub(crate) fn begun(&self) -> usize {
        self.double.commands().iter().filter(|command| command.comment.contains(" key=")).count()
    }

    pub(crate) fn stable(&self) -> Value {
        let text = self.double.parameter(STABLE).expect("it is kept");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Kills the function in whatever it is doing; the next event gets a new environment.
    pub(crate) async fn restart_function(&self) {
        let old = self.function.lock().unwrap_or_else(PoisonError::into_inner).clone();
        old.stop().await;
        let new = Function::start(old.config().clone()).await.expect("the Runtime API starts");
        self.double.add_function(&new);
        *self.function.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// The state of every host of a view, by its id.
pub(crate) fn states(view: &Value) -> BTreeMap<String, String> {
    let hosts = view["hosts"].as_array().expect("hosts").iter();
    hosts
        .map(|host| {
            let text = |field: &str| host[field].as_str().expect("a text").to_owned();
            (text("instance_id"), text("state"))
        })
        .collect()
}

/// How many hosts of a view are in this state.
pub(crate) fn count(view: &Value, state: &str) -> u64 {
    view["counts"][state].as_u64().unwrap_or(0)
}
