//! `fleet-local up`, as `make up` runs it: what it says, and that nothing is left of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_sdk_autoscaling::config::{BehaviorVersion, Credentials, Region};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// A small fleet in a hurry.
const FAST: [&str; 8] =
    ["--boot-seconds", "1", "--tick-seconds", "1", "--max", "3", "--deadline-seconds", "600"];

/// Without the rollouts at the end.
fn up(arguments: &[&str]) -> Command {
    let mut command = up_with_rollouts(&["--skip-rollouts"]);
    command.args(arguments);
    command
}

fn up_with_rollouts(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-local"));
    command.arg("up").args(FAST);
    // Later options win, so a test can be slower where it has to be.
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn summary(output: &Output) -> Value {
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

/// Asserts that each of `parts` is in `told`, in this order.
#[track_caller]
fn assert_in_order(told: &str, parts: &[&str]) {
    let mut rest = told;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in its place in:\n{told}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn jobs_become_capacity_and_idle_capacity_goes() {
    let output = up(&["--once", "--jobs", "5", "--job-seconds", "10"]).output().unwrap();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    let summary = summary(&output);
    for (name, expected) in [("jobs_enqueued", 5), ("jobs_completed", 5), ("interrupted", 0)] {
        assert_eq!(summary[name], expected, "{summary}");
    }
    assert_eq!((&summary["final_desired"], &summary["min"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!(summary["ok"], true, "{summary}");
    assert_eq!(summary["peak_instances"], 3, "{summary}");
    assert!(summary["terminated"].as_u64().unwrap() >= 2, "{summary}");
    assert_in_order(&told, &["boots", "is in service", "enqueue", "claims its own job"]);
    assert!(told.contains("the page, with the token local-operator-token"), "{told}");
    assert_in_order(&told, &["-> 3: 3 jobs need 3 workers", "claims job", "finishes job"]);
    assert_in_order(&told, &["due in 1 s", "2 -> 1", "capacity is back at 1"]);
    assert_in_order(&told, &["the hook holds it while it drains", "and is let go", "is gone"]);
    assert!(told.contains("has been idle for"), "{told}");
    let leaving =
        ["from outside, in the middle of job", "finishes the one it has", "and is let go"];
    assert_in_order(&told, &leaving);
    assert!(summary["finished_leaving"].as_u64().unwrap() >= 1, "{summary}");
    assert!(!told.contains("ends in the middle of job"), "{told}");
}

#[test]
fn a_good_version_is_rolled_out_and_a_broken_one_goes_back() {
    let output =
        up_with_rollouts(&["--once", "--jobs", "1", "--job-seconds", "1"]).output().unwrap();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    let summary = summary(&output);
    assert_eq!(summary["rollouts"][0]["state"], "succeeded", "{summary}");
    assert_eq!(summary["rollouts"][1]["state"], "failed", "{summary}");
    let good =
        ["sets a floor of 3", "rolls v2 out", "v2: in progress", "v2: succeeded", "v2 succeeded"];
    assert_in_order(&told, &good);
    let broken = [
        "rolls v3-broken out",
        "v3-broken: rolled back",
        "v3-broken failed",
        "capacity is back at 1",
    ];
    assert_in_order(&told, &broken);
    assert_eq!(summary["interrupted"], 0, "{summary}");
}

#[test]
fn a_run_that_is_not_done_by_its_deadline_says_so() {
    let output = up(&["--once", "--jobs", "1", "--job-seconds", "60", "--deadline-seconds", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let summary = summary(&output);
    assert_eq!((&summary["ok"], &summary["jobs_completed"]), (&false.into(), &0.into()));
    assert!(text(&output.stdout).contains("is not done after 2 s; giving up"));
}

#[test]
fn bad_options_and_missing_programs_are_named() {
    for (arguments, code, complaint) in [
        (["--jobs", "many"], 64, "invalid value 'many' for '--jobs <N>'"),
        (["--tick-seconds", "0"], 64, "0 is not in 1..=60"),
        (["--bot-seconds", "5"], 64, "unexpected argument '--bot-seconds'"),
        (["--min", "4"], 64, "--min is 4 and --max is 3: lower --min or raise --max"),
        (["--jobs", "1"], 69, "/nowhere/Autoscale/bootstrap is missing: run `sam build`"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-local"));
        command.env("FLEET_FUNCTIONS", "/nowhere");
        let output = command.args(["up", "--max", "3"]).args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
    }
}

/// One process of `/proc`.
struct Seen {
    id: u32,
    parent: u32,
    /// A zombie has ended; that nobody collected it is not our affair.
    ended: bool,
}

fn processes() -> Vec<Seen> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let ended = fields.next()? == "Z";
            Some(Seen { id, parent: fields.next()?.parse().ok()?, ended })
        })
        .collect()
}

/// All processes below `root`.
fn descendants(root: u32) -> BTreeSet<u32> {
    let all = processes();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            all.iter().filter(|p| found.contains(&p.parent)).map(|p| p.id).collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

#[track_caller]
fn assert_gone(ids: &BTreeSet<u32>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left: Vec<u32> =
            processes().iter().filter(|p| !p.ended && ids.contains(&p.id)).map(|p| p.id).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} outlived it");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn scratch_folders(of: u32) -> Vec<PathBuf> {
    let prefix = format!("fleet-local-{of}-");
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect()
}

/// A run in the middle of its only job.
struct Run {
    child: Child,
    /// Every process below it.
    below: BTreeSet<u32>,
    /// What it said until a worker claimed the job, and after that.
    said: Vec<String>,
    rest: JoinHandle<Vec<String>>,
}

/// Starts a run whose job never ends, unless told otherwise, and waits until a worker has it.
fn in_the_middle_of_a_job(arguments: &[&str]) -> Run {
    let mut child = up(&["--jobs", "1", "--job-seconds", "3600"])
        .args(arguments)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("claims")) {
        said.push(lines.next().expect("the job is claimed"));
    }
    let below = descendants(child.id());
    // Postgres with its backends, PgBouncer, the pg-boss driver, the function, the worker.
    assert!(below.len() > 5, "{below:?}");
    // At once, so that it never waits for its reader.
    let rest = std::thread::spawn(move || lines.collect());
    Run { child, below, said, rest }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let Run { mut child, below, .. } = in_the_middle_of_a_job(&[]);
    // A terminal signals the whole group.
    kill_process_group(pid(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_gone(&below);
    assert_eq!(scratch_folders(child.id()), Vec::<PathBuf>::new());
}

#[test]
fn after_a_kill_nothing_runs_on_and_the_next_run_works() {
    let Run { mut child, below, .. } = in_the_middle_of_a_job(&[]);
    kill_process(pid(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_gone(&below);
    let output = up(&["--once", "--jobs", "1", "--job-seconds", "1"]).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let left = scratch_folders(child.id());
    assert_eq!(left, Vec::<PathBuf>::new(), "the next run sweeps what was left");
}

#[test]
fn a_job_that_is_cut_off_is_counted() {
    let Run { mut child, below, rest, .. } =
        in_the_middle_of_a_job(&["--once", "--deadline-seconds", "30"]);
    let is_worker = |id: &&u32| {
        let arguments = std::fs::read_to_string(format!("/proc/{id}/cmdline"));
        arguments.is_ok_and(|arguments| arguments.contains("worker.mjs"))
    };
    let worker = *below.iter().find(is_worker).unwrap();
    let worker = Pid::from_raw(worker.try_into().unwrap()).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let rest = rest.join().unwrap();
    assert!(rest.iter().any(|line| line.contains("ends in the middle of job")), "{rest:?}");
    let summary: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!((&summary["interrupted"], &summary["ok"]), (&1.into(), &false.into()), "{summary}");
}

#[tokio::test]
async fn a_busy_instance_finishes_its_job_before_it_goes() {
    let Run { mut child, said, rest, .. } =
        in_the_middle_of_a_job(&["--once", "--job-seconds", "20"]);
    // As a person would: by what the run printed, with a client of AWS.
    let word = |line: &str, start: &str| {
        line.split_whitespace().find(|word| word.starts_with(start)).map(str::to_owned)
    };
    let aws_line = said.iter().find(|line| line.contains("--endpoint-url")).unwrap();
    let config = aws_sdk_autoscaling::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(word(aws_line, "http://").unwrap())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_autoscaling::Client::from_conf(config)
        .terminate_instance_in_auto_scaling_group()
        .instance_id(word(said.last().unwrap(), "i-").unwrap())
        .should_decrement_desired_capacity(false)
        .send()
        .await
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest = rest.join().unwrap();
    let steps = [
        "is to end; the hook holds it while it drains",
        "takes no more jobs; finishes the one it has",
        "finishes job",
        "and is let go: its host proved that nothing runs",
    ];
    assert_in_order(&rest.join("\n"), &steps);
    assert_in_order(&rest.join("\n"), &["finishes job", "shuts down"]);
    let summary: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!((&summary["interrupted"], &summary["terminated"]), (&0.into(), &1.into()));
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let mut child = up(&["--once", "--jobs", "1", "--job-seconds", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0_u8; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
