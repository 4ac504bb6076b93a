use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use fleet_local::http::call;
use fleet_local::postgres::{self, Postgres};
use fleet_local::worker::{Contract, Event, Options, Source, Worker};
use fleet_local::{pgboss, registry};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn options(id: &str, contract: Contract, source: Option<Source>) -> Options {
    Options {
        id: id.to_owned(),
        contract,
        source,
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        environment: vec![
            ("EC2_INSTANCE_ID".to_owned(), "i-0123456789abcdef0".to_owned()),
            ("EC2_IP".to_owned(), "127.0.0.1".to_owned()),
            ("AWS_ASG_NAME".to_owned(), "fleet".to_owned()),
            ("GHOSTHANDS_DEPLOY_ID".to_owned(), "deploy-7".to_owned()),
        ],
    }
}

fn start(options: &Options) -> (Worker, Receiver<Event>) {
    let (send, events) = mpsc::channel();
    let worker = Worker::start(options, move |event| send.send(event).unwrap_or_default()).unwrap();
    (worker, events)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Waits for the first event that `wanted` takes.
fn until<T>(events: &Receiver<Event>, wanted: impl Fn(Event) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(found) = wanted(events.recv_timeout(left).unwrap()) {
            return found;
        }
    }
}

/// What the registry says of the only worker.
async fn status(client: &tokio_postgres::Client) -> String {
    client.query_one("SELECT status FROM gh_worker_registry", &[]).await.unwrap().get(0)
}

async fn until_status(client: &tokio_postgres::Client, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while status(client).await != wanted {
        assert!(Instant::now() < deadline, "the heartbeat never says {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_old_contract_answers_as_the_old_worker() {
    let (worker, events) = start(&options("w1", Contract::Old, None));
    let port = worker.port();
    let (status, body) = call(port, "GET", "/worker/status", "").await.unwrap();
    assert_eq!(status, 200);
    let mut expected = [
        "worker_id",
        "ec2_instance_id",
        "ec2_ip",
        "active_jobs",
        "max_concurrent",
        "is_running",
        "is_draining",
        "dispatch_mode",
        "asg_name",
        "uptime_ms",
        "timestamp",
    ];
    expected.sort_unstable();
    assert_eq!(keys(&body), expected, "neither more nor less");
    assert_eq!(body["worker_id"], "w1");
    assert_eq!(body["ec2_instance_id"], "i-0123456789abcdef0");
    assert_eq!(body["dispatch_mode"], "queue");

    let idle = json!({ "status": "idle", "active_jobs": 0, "deploy_safe": true });
    assert_eq!(call(port, "GET", "/worker/health", "").await.unwrap(), (200, idle));
    let (status, answer) = call(port, "POST", "/standin/job", r#"{"seconds": 600}"#).await.unwrap();
    assert_eq!(status, 202);
    let busy = json!({ "status": "busy", "active_jobs": 1, "deploy_safe": false });
    assert_eq!(call(port, "GET", "/worker/health", "").await.unwrap(), (503, busy));
    assert_eq!(call(port, "POST", "/standin/job", r#"{"seconds": 1}"#).await.unwrap().0, 409);
    assert_eq!(call(port, "POST", "/standin/job", r#"{"seconds": "1"}"#).await.unwrap().0, 400);

    let drained = json!({ "status": "draining", "active_jobs": 1, "worker_id": "w1" });
    for _ in 0..2 {
        assert_eq!(call(port, "POST", "/worker/drain", "").await.unwrap(), (200, drained.clone()));
    }
    let draining = json!({ "status": "draining", "active_jobs": 1, "deploy_safe": false });
    assert_eq!(call(port, "GET", "/worker/health", "").await.unwrap(), (503, draining));
    for (method, path) in [("POST", "/worker/resume"), ("POST", "/drain"), ("GET", "/worker/drain")]
    {
        let not_found = (404, json!({ "error": "not_found" }));
        assert_eq!(call(port, method, path, "").await.unwrap(), not_found, "{method} {path}");
    }
    drop(worker);
    let job = answer["job"].as_str().unwrap();
    let cut_off = until(&events, |event| match event {
        Event::Interrupted { job } => Some(job),
        _ => None,
    });
    assert_eq!(cut_off, job, "a killed worker's job is reported");
}

#[tokio::test]
async fn the_full_contract_says_whether_it_accepts() {
    let (mut worker, events) = start(&options("w2", Contract::Full, None));
    let port = worker.port();
    let (_, body) = call(port, "GET", "/worker/status", "").await.unwrap();
    assert_eq!((&body["accepting"], &body["deploy_id"]), (&json!(true), &json!("deploy-7")));
    let (_, body) = call(port, "POST", "/worker/drain", "").await.unwrap();
    assert_eq!((&body["accepting"], &body["active_jobs"]), (&json!(false), &json!(0)));
    let refused = call(port, "POST", "/standin/job", r#"{"seconds": 1}"#).await.unwrap();
    assert_eq!(refused.0, 409);
    let (status, body) = call(port, "POST", "/worker/resume", "").await.unwrap();
    assert_eq!((status, &body["accepting"]), (200, &json!(true)));
    assert_eq!(call(port, "POST", "/standin/job", r#"{"seconds": 1}"#).await.unwrap().0, 202);
    worker.terminate().unwrap();
    assert!(worker.wait(PATIENCE).unwrap());
    let ends: Vec<Event> =
        events.iter().skip_while(|e| !matches!(e, Event::Claimed { .. })).collect();
    assert!(matches!(ends[..], [_, Event::Finished { .. }, Event::Stopped]), "{ends:?}");
}

#[tokio::test]
async fn jobs_come_from_the_queue_and_the_registry_tells_of_them() {
    let server = Postgres::start(postgres::Options::default()).unwrap();
    registry::install(&server, "fleet").unwrap();
    let package = pgboss::install(pgboss::DEFAULT_VERSION).unwrap();
    let mut boss = package.start(&server.app_url(), &server.ca_file()).unwrap();
    let source = Source { url: server.app_url(), ca_file: server.ca_file() };
    let (mut worker, events) = start(&options("w3", Contract::Full, Some(source)));
    let client = server.connect("fleet").await.unwrap();
    let registered = client
        .query_one("SELECT status, target_worker_id, ec2_instance_id, metadata->>'asg_name' FROM gh_worker_registry", &[])
        .await
        .unwrap();
    let fields: Vec<String> = (0..4).map(|column| registered.get(column)).collect();
    assert_eq!(fields, ["active", "w3", "i-0123456789abcdef0", "fleet"]);

    let queues = ["gh_apply_job", "gh_apply_job/w3"];
    for queue in queues {
        boss.send(queue, json!({ "seconds": 5 }), json!({ "retryLimit": 0 })).unwrap().unwrap();
    }
    let mut claimed = Vec::new();
    for _ in queues {
        claimed.push(until(&events, |event| match event {
            Event::Claimed { queue, .. } => queue,
            _ => None,
        }));
        // One heartbeat later the row names the job; there is never a second one.
        let row = "SELECT count(*) FROM gh_worker_registry r JOIN gh_automation_jobs j
            ON j.id = r.current_job_id WHERE j.status = 'running' AND j.worker_id = 'w3'";
        let deadline = Instant::now() + PATIENCE;
        while client.query_one(row, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "the heartbeat never names the job");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until(&events, |event| matches!(event, Event::Finished { .. }).then_some(()));
    }
    claimed.sort();
    assert_eq!(claimed, queues);

    // Operators find their edit gone after a heartbeat: that is how the old worker is.
    client.execute("UPDATE gh_worker_registry SET status = 'offline'", &[]).await.unwrap();
    until_status(&client, "active").await;

    // After a drain it claims nothing any more.
    call(worker.port(), "POST", "/worker/drain", "").await.unwrap();
    until_status(&client, "draining").await;
    boss.send("gh_apply_job", json!({ "seconds": 1 }), json!({})).unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let count = "SELECT count(*) FROM pgboss.job WHERE state = 'created'";
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);

    worker.terminate().unwrap();
    assert!(worker.wait(PATIENCE).unwrap());
    assert_eq!(status(&client).await, "offline");
}

#[tokio::test]
async fn the_old_contract_claims_on_after_a_drain_and_gives_a_long_job_up() {
    let server = Postgres::start(postgres::Options::default()).unwrap();
    registry::install(&server, "fleet").unwrap();
    let package = pgboss::install(pgboss::DEFAULT_VERSION).unwrap();
    let mut boss = package.start(&server.app_url(), &server.ca_file()).unwrap();
    let source = Source { url: server.app_url(), ca_file: server.ca_file() };
    let (mut worker, events) = start(&options("w4", Contract::Old, Some(source)));
    call(worker.port(), "POST", "/worker/drain", "").await.unwrap();
    let job = boss.send("gh_apply_job", json!({ "seconds": 600 }), json!({})).unwrap().unwrap();
    let claimed = until(&events, |event| match event {
        Event::Claimed { job, .. } => Some(job),
        _ => None,
    });
    assert_eq!(claimed, job);
    worker.terminate().unwrap();
    let asked = Instant::now();
    assert!(worker.wait(PATIENCE).unwrap());
    assert!(asked.elapsed() >= Duration::from_secs(10), "{:?}", asked.elapsed());
    until(&events, |event| (event == Event::Interrupted { job: job.clone() }).then_some(()));
    let client = server.connect("fleet").await.unwrap();
    let state = "SELECT state::text FROM pgboss.job WHERE name = 'gh_apply_job'";
    assert_eq!(client.query_one(state, &[]).await.unwrap().get::<_, String>(0), "failed");
    let row = "SELECT status FROM gh_automation_jobs";
    assert_eq!(client.query_one(row, &[]).await.unwrap().get::<_, String>(0), "running");
}
