//! The whole chain on the machine's clock: the shipped function, Run Command, real deploy-servers,
//! and workers that run real jobs of a real pg-boss.

use aws_double::{ClockMode, Disturbance, Double, DoubleConfig, Function, GroupSpec, HookSpec};
use fleet_local::host::{Host, HostOptions, Service, Version, WorkerKind, registry};
use fleet_local::http::call;
use fleet_local::postgres::{DATABASE, Options, Postgres};
use fleet_local::process::Signal;
use fleet_local::template::Template;
use fleet_local::worker::{Event, Source};
use fleet_local::{pgboss, registry as workers};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GROUP: &str = "ghosthands-worker-asg";
const QUEUE: &str = "gh_apply_job";
const LIMIT: Duration = Duration::from_secs(90);

/// A group of real hosts. Fields are dropped in this order: users before what they use.
struct Fleet {
    drain: Function,
    hosts: Vec<Arc<Host>>,
    double: Double,
    jobs: Arc<Mutex<Jobs>>,
    boss: pgboss::Boss,
    _postgres: Postgres,
}

/// What the workers said of their jobs.
#[derive(Default)]
struct Jobs {
    claimed: Vec<(String, String, Instant)>,
    finished: BTreeSet<String>,
    interrupted: BTreeSet<String>,
}

impl Fleet {
    /// So many hosts in service, with workers of this version, whose metadata they watch or not.
    async fn start(size: u32, version: Version, watched: bool) -> Fleet {
        let postgres = Postgres::start(Options::default()).expect("PostgreSQL starts");
        workers::install(&postgres, DATABASE).expect("the registry is created");
        let package = pgboss::install(pgboss::DEFAULT_VERSION).expect("pg-boss installs");
        let url = postgres.app_url();
        let mut boss = package.start(&url, &postgres.ca_file()).expect("pg-boss starts");
        boss.create_queue(QUEUE, json!({})).expect("created");

        let config = DoubleConfig { clock: ClockMode::Real, ..DoubleConfig::default() };
        let double = Double::start(config).await.expect("starts");
        let template = Template::read(GROUP).expect("the template is there");
        double.create_document("GhostHands-Host", &template.host_document()).expect("valid");
        let group = GroupSpec::new(GROUP, 0, size)
            .desired(size)
            .boot(Duration::from_millis(100))
            .shutdown(Duration::from_millis(100))
            .retain_on_abandon()
            .hook(HookSpec::terminating("ghosthands-drain-hook", 300));
        double.create_group(group).expect("valid");
        let settings = [("GH_ENVIRONMENT", "test"), ("AWS_ASG_NAME", GROUP)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let drain = template.start("drain", &double, settings).await.expect("starts");

        let jobs = Arc::new(Mutex::new(Jobs::default()));
        let images = registry(std::slice::from_ref(&version)).expect("an image");
        let ids: Vec<String> =
            double.group(GROUP).expect("there").instances.into_iter().map(|i| i.id).collect();
        let starting = ids.into_iter().map(|id| {
            let report = Arc::clone(&jobs);
            let name = id.clone();
            let options = HostOptions {
                group: GROUP.to_owned(),
                image_tag: Some(version.tag.clone()),
                worker: WorkerKind::Queue {
                    source: Source { url: url.clone(), ca_file: postgres.ca_file() },
                    heartbeat: Duration::from_secs(1),
                    poll: Duration::from_millis(100),
                },
                metadata: watched.then(|| double.imds_endpoint(&id)),
                report: Some(Arc::new(move |event| {
                    report.lock().expect("no panic").take(&name, event)
                })),
                ..HostOptions::new(id, images.clone())
            };
            tokio::task::spawn_blocking(move || {
                Host::start(options).expect("the host comes into service")
            })
        });
        let starting: Vec<_> = starting.collect();
        let mut hosts = Vec::new();
        for host in starting {
            let host = Arc::new(host.await.expect("joins"));
            double.set_runner_of(host.instance_id(), host.runner());
            hosts.push(host);
        }
        Fleet { drain, hosts, double, jobs, boss, _postgres: postgres }
    }

    /// Jobs of so many seconds, one for each host at a time, and waits until every host runs one.
    async fn everybody_works(&mut self, seconds: u32, jobs: u32) {
        let settings = json!({ "retryLimit": 0, "expireInSeconds": 14_400 });
        self.boss.insert(QUEUE, jobs, json!({ "seconds": seconds }), settings).expect("sent");
        let size = self.hosts.len();
        self.until("every host runs a job", |fleet| {
            let jobs = fleet.jobs.lock().expect("no panic");
            let busy = jobs.claimed.iter().map(|(host, ..)| host).collect::<BTreeSet<_>>();
            busy.len() >= size
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Fleet) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}\n{:#?}", self.records());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn end(&self, host: &Host) {
        self.double.terminate_instance(host.instance_id(), true).expect("it can be ended");
    }

    fn is_gone(&self, host: &Host) -> bool {
        let group = self.double.group(GROUP).expect("there");
        let instance = group.instances.iter().find(|i| i.id == host.instance_id());
        instance.is_none_or(|i| i.state == aws_double::LifecycleState::TerminatingProceed)
    }

    async fn until_gone(&self, host: &Host) {
        self.until("the instance leaves", |fleet| fleet.is_gone(host)).await;
    }

    /// Waits until the host's worker says that it takes no more work, and until a claim that was
    /// under way has come back.
    async fn until_closed(&self, host: &Host) {
        let began = Instant::now();
        loop {
            let status = call(host.worker_port(), "GET", "/worker/status", "").await;
            if status.is_ok_and(|(_, body)| body["accepting"] == false) {
                break;
            }
            assert!(began.elapsed() < LIMIT, "the intake stays open: {:#?}", self.records());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// A tick every two seconds, in place of one a minute.
    async fn ticks_until_gone(&self, host: &Host) {
        let tick = include_bytes!("../../../events/drain-schedule.json");
        let began = Instant::now();
        while !self.is_gone(host) {
            assert!(began.elapsed() < LIMIT, "{:#?}", self.records());
            self.drain.invoke(tick).await.expect("answers");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// The lines of JSON that the function printed.
    fn lines(&self) -> Vec<Value> {
        let lines = self.drain.logs();
        lines.iter().filter_map(|line| serde_json::from_str(&line.text).ok()).collect()
    }

    fn records(&self) -> Vec<Value> {
        self.lines()
            .into_iter()
            .filter(|line| line["type"] == "drain")
            .map(|mut record| record["summary"].take())
            .collect()
    }

    /// How many jobs the function says were caught.
    fn told(&self) -> u64 {
        self.lines().iter().filter_map(|line| line["DrainJobsCaught"].as_u64()).sum()
    }

    /// Every job that a host took was run to its end there.
    #[track_caller]
    fn nothing_was_interrupted(&self) {
        let jobs = self.jobs.lock().expect("no panic");
        assert_eq!(jobs.interrupted, BTreeSet::new());
    }

    fn jobs_of(&self, host: &Host) -> Vec<String> {
        let jobs = self.jobs.lock().expect("no panic");
        let own = jobs.claimed.iter().filter(|(id, ..)| id == host.instance_id());
        own.map(|(_, job, _)| job.clone()).collect()
    }
}

impl Jobs {
    fn take(&mut self, host: &str, event: Event) {
        match event {
            Event::Claimed { job, .. } => self.claimed.push((host.to_owned(), job, Instant::now())),
            Event::Finished { job } => drop(self.finished.insert(job)),
            Event::Interrupted { job } => drop(self.interrupted.insert(job)),
            _ => {}
        }
    }
}

/// Workers that keep the contract: every job that was begun is finished, and nobody takes another
/// on the way out.
#[tokio::test(flavor = "multi_thread")]
async fn real_jobs_are_finished_before_their_hosts_leave() {
    let mut fleet = Fleet::start(3, Version::new("v1"), false).await;
    fleet.everybody_works(4, 12).await;
    let leaving = [Arc::clone(&fleet.hosts[0]), Arc::clone(&fleet.hosts[1])];
    let began = Instant::now();
    leaving.iter().for_each(|host| fleet.end(host));
    fleet.until("the drain begins", |fleet| fleet.double.commands().len() >= 2).await;
    println!("from the lifecycle event to the drain command: {:?}", began.elapsed());
    for host in &leaving {
        fleet.until_gone(host).await;
        let own = fleet.jobs_of(host);
        let jobs = fleet.jobs.lock().expect("no panic");
        assert!(own.iter().all(|job| jobs.finished.contains(job)), "{own:?}");
    }
    fleet.nothing_was_interrupted();
    assert!(!fleet.is_gone(&fleet.hosts[2]));
}

/// The host's own watch of its metadata: no function, no event, no Run Command, and yet it takes no
/// more work.
#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_host_drains_by_itself_when_nobody_tells_it() {
    let mut fleet = Fleet::start(1, Version::new("v1"), true).await;
    let lost = Disturbance { lose: 1.0, ..Disturbance::default() };
    fleet.double.disturb("*", lost).expect("legal");
    fleet.everybody_works(3, 20).await;
    let host = Arc::clone(&fleet.hosts[0]);
    fleet.end(&host);
    let marker = host.state_dir().join("terminating.json");
    fleet.until("the host sees that it is to end", |_| marker.exists()).await;
    fleet.until_closed(&host).await;
    assert_eq!(fleet.double.commands().len(), 0);
    let own = fleet.jobs_of(&host);
    let done = |fleet: &Fleet| {
        own.iter().all(|job| fleet.jobs.lock().expect("no panic").finished.contains(job))
    };
    fleet.until("its job ends", done).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.jobs_of(&host), own, "it took no other");
    // The ticks that come later find it drained.
    fleet.ticks_until_gone(&host).await;
    fleet.nothing_was_interrupted();
}

/// Rows 22 and 24: the deploy-server dies in mid-drain and comes back; the marker is still there,
/// and so is the job.
#[tokio::test(flavor = "multi_thread")]
async fn row_24_a_deploy_server_that_is_killed_in_mid_drain_goes_on_with_it() {
    let mut fleet = Fleet::start(1, Version::new("v1"), false).await;
    fleet.everybody_works(20, 5).await;
    let host = Arc::clone(&fleet.hosts[0]);
    fleet.end(&host);
    let marker = host.state_dir().join("terminating.json");
    fleet.until("the drain has begun", |_| marker.exists()).await;
    let restart = Arc::clone(&host);
    tokio::task::spawn_blocking(move || {
        restart.kill_server().expect("killed");
        restart.start_server().expect("started again");
    })
    .await
    .expect("joins");
    let deploy = Arc::clone(&host);
    let refused = tokio::task::spawn_blocking(move || deploy.command(&["deploy", "v1", "--force"]))
        .await
        .expect("joins")
        .expect("runs");
    assert_eq!(refused.exit_code, 12, "row 25: no deploy on a host that leaves: {refused:?}");
    fleet.ticks_until_gone(&host).await;
    fleet.nothing_was_interrupted();
    assert_eq!(fleet.jobs_of(&host).len(), 1, "it took no other job");
}

/// Row 23: the worker dies for good while it drains. There is nothing left to wait for, and nobody
/// restarts it.
#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_worker_that_dies_on_the_way_out_does_not_hold_its_host() {
    let mut fleet = Fleet::start(1, Version::new("v1"), false).await;
    fleet.everybody_works(60, 1).await;
    let host = Arc::clone(&fleet.hosts[0]);
    fleet.end(&host);
    let marker = host.state_dir().join("terminating.json");
    fleet.until("the drain has begun", |_| marker.exists()).await;
    host.signal(Service::Worker, Signal::KILL).expect("killed");
    fleet.until_gone(&host).await;
    assert_eq!(fleet.jobs.lock().expect("no panic").interrupted.len(), 1, "the crash's, and told");
}

/// The old worker goes on fetching while it drains. What that costs is measured and told, never
/// hidden.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_worker_is_stopped_at_an_idle_instant_and_what_it_caught_is_told() {
    let mut fleet = Fleet::start(2, Version::old("v0"), false).await;
    fleet.everybody_works(1, 40).await;
    let began = Instant::now();
    for host in fleet.hosts.clone() {
        fleet.end(&host);
    }
    for host in fleet.hosts.clone() {
        fleet.until_gone(&host).await;
    }
    let took = began.elapsed();
    let caught = fleet.jobs.lock().expect("no panic").interrupted.len() as u64;
    // A job that is caught may still end within the worker's grace; one that is cut off was caught,
    // and told.
    fleet.until("every job that was cut off is told", |fleet| fleet.told() >= caught).await;
    println!(
        "old workers: 2 hosts left within {took:?}; {} jobs were caught, {caught} of them cut off",
        fleet.told()
    );
}
