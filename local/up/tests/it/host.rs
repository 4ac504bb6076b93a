//! Whole hosts: the shipped deploy-server over process containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_double::{ClockMode, CommandRun, CommandRunner as _, Double, DoubleConfig};
use fleet_local::host::{
    Behaviour, Host, HostOptions, InService, Registry, Report, Service, Status, Timing, Version,
    WorkerKind, registry,
};
use fleet_local::http::call;
use fleet_local::paths::Scratch;
use fleet_local::pgboss;
use fleet_local::postgres::{self, Postgres};
use fleet_local::worker::{Event, Source};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

const PATIENCE: Duration = Duration::from_secs(60);

/// Good ones, and one for each way to be broken.
fn images() -> Registry {
    let broken = Version { worker: Behaviour::Crashes, ..Version::new("crashes") };
    let sick = Version { api: Behaviour::NeverHealthy, ..Version::new("sick") };
    let words = Some("toomanyrequests: Rate exceeded".to_owned());
    let breaks = Version { broken_pull: words, ..Version::new("breaks") };
    let short = Behaviour::DiesAfter(Duration::from_secs(10));
    let dies = Version { worker: short, ..Version::new("dies") };
    let good = [Version::new("v1"), Version::new("v2"), Version::old("old")];
    let images = registry(&good).unwrap();
    for version in [broken, sick, breaks, dies] {
        images.push(version.image().unwrap());
    }
    images
}

fn running(tag: &str) -> Host {
    Host::start(HostOptions {
        image_tag: Some(tag.to_owned()),
        ..HostOptions::new("i-0a", images())
    })
    .unwrap()
}

fn both(tag: &str) -> InService {
    InService { api: Some(tag.to_owned()), worker: Some(tag.to_owned()) }
}

async fn get(port: u16, path: &str) -> Value {
    call(port, "GET", path, "").await.unwrap().1
}

/// The newest deploy in the history: its tag, how it ended, and the step that failed.
async fn last_deploy(host: &Host) -> [Value; 3] {
    let deploys = get(host.deploy_port(), "/deploys").await;
    ["imageTag", "status", "failedStep"].map(|field| deploys["deploys"][0][field].clone())
}

#[tokio::test]
async fn a_host_boots_deploys_and_goes_back_from_what_is_broken() {
    let host = running("v1");
    assert_eq!(host.in_service(), both("v1"));
    assert_eq!(get(host.worker_port(), "/worker/health").await["image_tag"], "v1");
    assert_eq!(host.command(&["deploy", "v2"]).unwrap().exit_code, 0, "{}", host.log());
    assert_eq!(host.in_service(), both("v2"));
    assert_eq!(last_deploy(&host).await, [json!("v2"), json!("deployed"), Value::Null]);

    let crashed = host.command(&["deploy", "crashes"]).unwrap();
    assert_eq!(crashed.exit_code, 10, "{crashed:?}");
    let step = json!("start-services");
    assert_eq!(last_deploy(&host).await, [json!("crashes"), json!("rolled_back"), step]);
    assert_eq!(host.in_service(), both("v2"));
    let log = crashed.reply["log"].to_string();
    assert!(log.contains("this version crashes at its start"), "{crashed:?}");

    for (tag, words) in [
        ("missing", "manifest for registry.local/ghosthands:missing not found: manifest unknown"),
        ("breaks", "pull failed: toomanyrequests: Rate exceeded"),
    ] {
        let failed = host.command(&["deploy", tag]).unwrap();
        assert_eq!(failed.exit_code, 13, "{failed:?}");
        assert!(failed.reply["error"].as_str().unwrap().contains(words), "{failed:?}");
    }
    assert_eq!(host.command(&["rollback"]).unwrap().exit_code, 0);
    assert_eq!(host.in_service(), both("v1"));
}

#[tokio::test]
async fn a_version_that_never_gets_healthy_is_taken_back() {
    let timing = Timing { start: Duration::from_secs(15), ..Timing::default() };
    let tag = Some("v1".to_owned());
    let options = HostOptions { image_tag: tag, timing, ..HostOptions::new("i-0b", images()) };
    let host = Host::start(options).unwrap();
    let sick = host.command(&["deploy", "sick"]).unwrap();
    assert_eq!(sick.exit_code, 10, "{sick:?}");
    let why = sick.reply["error"].as_str().unwrap();
    assert!(why.contains("not healthy within 15 s: its health answers 500"), "{why}");
    assert_eq!(host.in_service(), both("v1"));
}

#[tokio::test]
async fn a_committed_worker_that_dies_is_started_again() {
    let host = running("v1");
    let before = host.engine().container(Service::Worker.container()).unwrap();
    host.kill_worker().unwrap();
    let after = until(|| {
        let now = host.engine().container(Service::Worker.container())?;
        (now.status == Status::Running && now.pid != before.pid).then_some(now)
    })
    .await;
    assert_eq!((after.id, after.restart_count), (before.id, 1));
    until_answers(&host).await;

    // One that is told to end stays down, whatever its policy.
    host.power_off(Duration::from_secs(30)).unwrap();
    let down = host.engine().containers();
    assert!(down.iter().all(|container| container.status == Status::Exited), "{down:?}");
    assert_eq!(down.iter().map(|container| container.exit_code).collect::<Vec<_>>(), [0, 0]);
}

#[tokio::test]
async fn a_version_that_dies_after_its_gate_comes_and_goes() {
    let host = running("v1");
    let ran = host.command(&["deploy", "dies"]).unwrap();
    assert_eq!(ran.exit_code, 0, "{ran:?}");
    let worker = || host.engine().container(Service::Worker.container());
    until(|| worker().filter(|worker| worker.restart_count >= 1)).await;
    assert!(
        host.service_log(Service::Worker, 50).contains(&"fleet-standin: this version dies".into())
    );
    assert_eq!(host.command(&["rollback"]).unwrap().exit_code, 0);
    assert_eq!(host.in_service(), both("v1"));
    assert_eq!(host.engine().container(Service::Worker.container()).unwrap().restart_count, 0);
}

#[tokio::test]
async fn secrets_reach_the_services_and_the_deploy_secret_does_not() {
    let double = Double::start(DoubleConfig { clock: ClockMode::Real, ..Default::default() });
    let double = double.await.unwrap();
    let secret = json!({ "ANTHROPIC_API_KEY": "from-the-secret", "GH_COLOUR": "from-the-secret" });
    double.put_secret("ghosthands/staging", &secret.to_string()).unwrap();
    let mut options = HostOptions::new("i-0e", images());
    options.image_tag = Some("v1".to_owned());
    options.aws = double.aws_env();
    options.variables.insert("GH_COLOUR".to_owned(), "the-hosts-own".to_owned());
    assert!(!format!("{options:?}").contains("the-hosts-own"));
    let host = tokio::task::spawn_blocking(|| Host::start(options).unwrap()).await.unwrap();
    let pid = host.engine().container(Service::Worker.container()).unwrap().pid.unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let variables: Vec<&str> = environment.split('\0').collect();
    for expected in [
        "ANTHROPIC_API_KEY=from-the-secret",
        "GH_COLOUR=the-hosts-own",
        "EC2_INSTANCE_ID=i-0e",
        "IMAGE_TAG=v1",
    ] {
        assert!(variables.contains(&expected), "{expected} is not in {variables:?}");
    }
    assert!(!environment.contains(host.secret()));
    assert!(!format!("{host:?}").contains(host.secret()));
}

#[tokio::test]
async fn a_cleanup_stays_inside_the_host() {
    let host = running("v1");
    for tag in ["v2", "old"] {
        assert_eq!(host.command(&["deploy", tag]).unwrap().exit_code, 0);
    }
    let ran = host.command(&["cleanup"]).unwrap();
    assert_eq!(ran.exit_code, 0, "{ran:?}");
    // Nothing is old enough, and the version before stays for a rollback whatever its age.
    assert_eq!(host.command(&["rollback"]).unwrap().exit_code, 0);
    assert_eq!(host.in_service(), both("v2"));
    let journal =
        ran.reply["output"].as_str().unwrap().lines().find(|line| line.contains("journal"));
    assert!(journal.unwrap().contains("skipped"), "{ran:?}");
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let mut options = HostOptions::new("i-0f", Registry::new());
    options.deploy_server = Some(PathBuf::from("/nowhere/deploy-server"));
    let error = Host::start(options).unwrap_err().to_string();
    assert_eq!(
        error,
        "deploy_server /nowhere/deploy-server is missing: name a program that exists"
    );
    let options = HostOptions::new("i-0f", Registry::new());
    let error =
        Host::start(HostOptions { image_tag: Some("v9".to_owned()), ..options }).unwrap_err();
    let words = "manifest for registry.local/ghosthands:v9 not found";
    assert!(error.to_string().contains(words), "{error}");
}

/// Names a file; only the process that the next test starts has it.
const CHILD: &str = "FLEET_TEST_HOST_PIDS";

#[tokio::test]
async fn a_killed_owner_takes_its_hosts_along() {
    if let Some(file) = std::env::var_os(CHILD) {
        let host = running("v1");
        let containers = host.engine().containers().into_iter().filter_map(|one| one.pid);
        let pids: Vec<String> =
            containers.chain(host.server_pid()).map(|pid| pid.to_string()).collect();
        std::fs::write(file, pids.join(" ")).unwrap();
        std::thread::sleep(PATIENCE);
        return;
    }
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("pids");
    let test = "host::a_killed_owner_takes_its_hosts_along";
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pids = until(|| {
        let text = std::fs::read_to_string(&file).ok()?;
        let pids: Vec<PathBuf> =
            text.split(' ').map(|pid| Path::new("/proc").join(pid).join("exe")).collect();
        (pids.len() == 3).then_some(pids)
    })
    .await;
    assert!(pids.iter().all(|pid| pid.exists()), "{pids:?}");
    owner.kill().unwrap();
    owner.wait().unwrap();
    until(|| (!pids.iter().any(|pid| pid.exists())).then_some(())).await;
}

#[tokio::test]
async fn a_terminating_drain_waits_for_the_real_job_and_proves_it() {
    let (database, mut boss) = queue();
    let (told, mut events) = mpsc::unbounded_channel();
    let report: Report = Arc::new(move |event| told.send(event).unwrap_or_default());
    let host = queue_host("i-0c", "v1", &database, report);
    let health = get(host.worker_port(), "/worker/health").await;
    assert_eq!(health["image_tag"], "v1", "{health}");
    let job = send(&mut boss, 15.0);
    claimed(&mut events, &job).await;

    // By the shell, as the agent runs it; the server dies in the middle.
    let first = tokio::spawn(host.runner().run(terminating_drain(1)));
    until(|| marker(&host).exists().then_some(())).await;
    host.kill_server().unwrap();
    let cut_off = first.await.unwrap();
    assert_eq!(cut_off.exit_code, 69, "{cut_off:?}");
    assert!(marker(&host).exists());
    assert_eq!(get(host.worker_port(), "/worker/status").await["active_jobs"], 1);

    host.start_server().unwrap();
    let refused = host.command(&["deploy", "v2"]).unwrap();
    assert_eq!(refused.exit_code, 12, "{refused:?}");
    let output = host.runner().run(terminating_drain(2)).await;
    let proof: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(output.exit_code, 0, "{proof}");
    let fields = ["drained", "activeJobs", "accepting", "terminating", "instanceId", "caughtJobs"];
    let said = fields.map(|field| proof[field].clone());
    let expected = [json!(true), json!(0), json!(false), json!(true), json!("i-0c"), json!(0)];
    assert_eq!(said, expected, "{proof}");
    // The proof came after the end of the job, and not of the job's life only.
    assert_eq!(next(&mut events, ends).await, Event::Finished { job });
}

#[tokio::test]
async fn the_old_worker_is_stopped_the_moment_it_is_idle() {
    let (database, mut boss) = queue();
    let (told, mut events) = mpsc::unbounded_channel();
    let report: Report = Arc::new(move |event| told.send(event).unwrap_or_default());
    let host = queue_host("i-0d", "old", &database, report);
    assert_eq!(get(host.worker_port(), "/worker/status").await.get("accepting"), None);
    let job = send(&mut boss, 2.0);
    claimed(&mut events, &job).await;
    let drain = ["drain", "--terminating", "--timeout", "60"];
    let ran = host.command(&drain).unwrap();
    assert_eq!(ran.exit_code, 0, "{ran:?}");
    assert_eq!((&ran.reply["workerStopped"], &ran.reply["drained"]), (&json!(true), &json!(true)));
    assert_eq!(next(&mut events, ends).await, Event::Finished { job });
    assert_eq!(host.in_service(), InService { worker: None, ..both("old") });
}

#[tokio::test]
async fn twenty_hosts_at_once_start_deploy_and_leave_nothing_behind() {
    let images = images();
    let hosts: Vec<Host> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..20)
            .map(|number| {
                let (tag, images) = (Some("v1".to_owned()), images.clone());
                let id = format!("i-0{number:016x}");
                scope.spawn(move || {
                    Host::start(HostOptions { image_tag: tag, ..HostOptions::new(id, images) })
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
    });
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| assert_eq!(host.command(&["deploy", "v2"]).unwrap().exit_code, 0));
        }
    });
    let mut processes = Vec::new();
    for host in &hosts {
        assert_eq!(host.in_service(), both("v2"), "{}", host.log());
        let containers = host.engine().containers();
        processes.extend(containers.into_iter().filter_map(|container| container.pid));
        let worker = get(host.worker_port(), "/worker/status").await;
        assert_eq!(worker["worker_id"], host.instance_id());
    }
    assert_eq!(processes.len(), 40);
    drop(hosts);
    let left = processes.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(left.count(), 0);
}

// --- What the tests share
// ---------------------------------------------------------------------------

/// A database with the registry and the queue.
fn queue() -> (Postgres, pgboss::Boss) {
    let database = Postgres::start(postgres::Options::default()).unwrap();
    fleet_local::registry::install(&database, postgres::DATABASE).unwrap();
    let package = pgboss::install(pgboss::DEFAULT_VERSION).unwrap();
    let boss = package.start(&database.app_url(), &database.ca_file()).unwrap();
    (database, boss)
}

fn queue_host(id: &str, tag: &str, database: &Postgres, report: Report) -> Host {
    let source = Source { url: database.app_url(), ca_file: database.ca_file() };
    let worker = WorkerKind::Queue {
        source,
        heartbeat: Duration::from_millis(500),
        poll: Duration::from_millis(100),
    };
    let (image_tag, report) = (Some(tag.to_owned()), Some(report));
    Host::start(HostOptions { image_tag, worker, report, ..HostOptions::new(id, images()) })
        .unwrap()
}

fn send(boss: &mut pgboss::Boss, seconds: f64) -> String {
    boss.send("gh_apply_job", json!({ "seconds": seconds }), json!({})).unwrap().unwrap()
}

async fn claimed(events: &mut UnboundedReceiver<Event>, job: &str) {
    next(events, |event| matches!(event, Event::Claimed { job: id, .. } if id == job)).await;
}

fn ends(event: &Event) -> bool {
    matches!(event, Event::Finished { .. } | Event::Interrupted { .. })
}

/// Waits for the next event of that kind.
async fn next(events: &mut UnboundedReceiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let search = async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap()
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_answers(host: &Host) {
    let deadline = Instant::now() + PATIENCE;
    while call(host.worker_port(), "GET", "/worker/health", "").await.is_err() {
        assert!(Instant::now() < deadline, "the worker does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn marker(host: &Host) -> PathBuf {
    host.state_dir().join("terminating.json")
}

/// One delivery of what the document runs on a host that goes away.
fn terminating_drain(delivery: u32) -> CommandRun {
    CommandRun {
        command_id: "c-1".to_owned(),
        instance: "i-0c".to_owned(),
        document: "GhostHands-Host".to_owned(),
        comment: String::new(),
        parameters: BTreeMap::new(),
        script: "deploy-server drain --terminating --timeout 60 --json".to_owned(),
        directory: None,
        timeout: Duration::from_secs(120),
        delivery,
    }
}
