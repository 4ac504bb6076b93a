//! What was tried against a host from its own disk, its secret and its network, one test a line.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use deploy_server::cleanup::{self, KeepSet, Options, Report, Target};
use deploy_server::docker::Engine;
use deploy_server::secrets::{Error, PullArgs, Secrets, pull};

use crate::support::aws::{Fake, environment};
use crate::support::{deploy_server, program, strings, value};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Secrets Manager with one secret.
async fn secret(document: &serde_json::Value) -> Fake {
    let answer = serde_json::json!({ "SecretString": document.to_string() }).to_string();
    Fake::start(move |_| (200, answer.clone())).await
}

#[tokio::test]
async fn a_secret_that_steers_root_is_refused_by_pull_and_refresh() {
    for name in [
        "GH_CLEANUP_JOURNALCTL",
        "GH_LOG_DIR",
        "GH_DEPLOY_STATE_DIR",
        "FLEET_OPERATOR_TOKEN",
        "VALET_DEPLOY_WEBHOOK_SECRET",
        "LD_PRELOAD",
        "PATH",
        "https_proxy",
        "DOCKER_SOCKET",
        "AWS_ENDPOINT_URL",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "SECRETS_MANAGER_KEYS",
    ] {
        let document = serde_json::json!({ "DATABASE_URL": "geheim", name: "/tmp/geheim" });
        let fake = secret(&document).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".env");
        fs::write(&file, "GH_ENVIRONMENT=staging\nMINE=1\n").expect("a file");
        let arguments = PullArgs {
            environment: None,
            file: file.clone(),
            instance: Default::default(),
            patience: Duration::ZERO,
        };
        let error = pull(arguments, &environment(&fake.endpoint)).await.expect_err(name);
        assert!(matches!(error, Error::Document { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(name) && said.contains("root"), "{said}");
        assert!(!said.contains("geheim"), "{said}");
        let kept = fs::read_to_string(&file).expect("the file");
        assert_eq!(kept, "GH_ENVIRONMENT=staging\nMINE=1\n", "nothing is written");

        let mut env = environment(&fake.endpoint);
        env.insert("GH_ENVIRONMENT".to_owned(), "staging".to_owned());
        let (secrets, error) = Secrets::at_start(env).await;
        assert!(error.expect(name).to_string().contains(name));
        assert!(value(&secrets.environment(), "DATABASE_URL").is_none(), "nothing is taken over");
    }
}

#[tokio::test]
async fn what_the_application_needs_too_reaches_containers_and_not_root() {
    let document = serde_json::json!({
        "ECR_REGISTRY": "evil.example.com", "GH_WORKER_PORT": "1", "AWS_REGION": "eu-1",
        "NODE_ENV": "production", "GH_DEPLOY_SECRET": "0123456789abcdef",
    });
    let fake = secret(&document).await;
    let mut env = environment(&fake.endpoint);
    env.insert("GH_ENVIRONMENT".to_owned(), "staging".to_owned());
    let (secrets, error) = Secrets::at_start(env).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(value(&secrets.environment(), "ECR_REGISTRY"), Some("evil.example.com"));
    let host = secrets.host_environment();
    for name in ["ECR_REGISTRY", "GH_WORKER_PORT", "NODE_ENV"] {
        assert!(!host.contains_key(name), "{name} steers root");
    }
    assert_eq!(host.get("AWS_REGION").map(String::as_str), Some("us-east-1"));
    assert_eq!(host.get("GH_DEPLOY_SECRET").map(String::as_str), Some("0123456789abcdef"));
    assert_eq!(
        secrets.without_effect_on_the_host(),
        ["ECR_REGISTRY", "GH_WORKER_PORT", "NODE_ENV"]
    );
}

const ASK: &str = r#"
set -e
ip link set lo up
ip addr add 169.254.169.254/32 dev lo
ip -6 addr add fd00:ec2::254/128 dev lo nodad
# A container on a bridge: a network of its own, with this one as its way out.
unshare --net --kill-child --fork sleep 60 & inner=$!
until [ "$(readlink /proc/$inner/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add out type veth peer name in netns $inner
ip addr add 10.9.9.1/24 dev out; ip link set out up
nsenter --net=/proc/$inner/ns/net sh -c \
  'ip link set lo up; ip addr add 10.9.9.2/24 dev in; ip link set in up; ip route add default via 10.9.9.1'
python3 -m http.server 80 --bind 169.254.169.254 >/dev/null 2>&1 & four=$!
python3 -m http.server 80 --bind fd00:ec2::254 >/dev/null 2>&1 & six=$!
curl="curl -s -g -m 3 -o /dev/null -w %{http_code}"
until [ "$($curl http://169.254.169.254/)" = 200 ] && [ "$($curl 'http://[fd00:ec2::254]/')" = 200 ]; do sleep 0.1; done
ask() {
  for user in 0 65534; do
    for address in 169.254.169.254 '[fd00:ec2::254]'; do
      setpriv --reuid $user --clear-groups $curl "http://$address/" || :
      printf ' '
    done
  done
  nsenter --net=/proc/$inner/ns/net $curl http://169.254.169.254/ || :
  echo
}
ask
"$1" start
"$1" start
ask
"$1" stop
ask
kill $inner $four $six
"#;

#[test]
fn only_root_reaches_the_instance_metadata() {
    let tools = ["/usr/sbin/iptables", "/usr/sbin/ip6tables", "/usr/bin/python3"];
    if !rustix::process::geteuid().is_root() || tools.iter().any(|tool| program(&[tool]).is_none())
    {
        eprintln!("skipped: a firewall needs root, iptables, and python3 for the metadata's part");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/metadata-firewall");
    let output = Command::new("unshare")
        .args(["--net", "--kill-child", "--fork", "sh", "-c", ASK, "sh"])
        .arg(&script)
        .output()
        .expect("unshare of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let [before, during, after] = lines[..] else { panic!("{said}{complaint}") };
    assert_eq!(before, "200 200 200 200 200", "anybody may ask: {complaint}");
    assert_eq!(during, "200 200 000 000 000", "root alone may ask: {complaint}");
    assert_eq!(after, "200 200 200 200 200", "nothing is left: {complaint}");
}

struct Disk {
    folder: tempfile::TempDir,
    options: Options,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut options = Options::from_env(&strings(&[
            ("GH_CLEANUP_TMP_DIR", at("tmp").to_str().expect("UTF-8")),
            ("GH_LOG_DIR", at("logs").to_str().expect("UTF-8")),
            ("GH_CLEANUP_LOG", at("cleanup.log").to_str().expect("UTF-8")),
        ]));
        options.folders.journalctl = at("no-journalctl");
        options.program = deploy_server();
        for name in ["tmp", "logs", "outside"] {
            fs::create_dir(at(name)).expect("a folder");
        }
        Self { folder, options }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An empty file, last written two days ago.
    fn old(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        age(&File::create(&path).expect("a file"));
        path
    }

    async fn run(&self) -> Report {
        let engine = Engine::connect(&self.at("no-docker.sock"));
        cleanup::run(&engine, &self.options, &KeepSet::default()).await
    }
}

fn age(file: &File) {
    let written = SystemTime::now() - 2 * DAY;
    file.set_times(FileTimes::new().set_modified(written)).expect("the owner sets times");
}

fn target<'a>(report: &'a Report, name: &str) -> &'a Target {
    report.targets.iter().find(|target| target.target == name).expect(name)
}

/// A bind mount of the same file system has the same device number as what it is mounted on.
#[tokio::test]
async fn what_is_mounted_below_is_left_alone_on_the_same_file_system_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let disk = Disk::new();
    let precious = disk.old("outside/precious");
    let data = disk.old("outside/data");
    fs::create_dir(disk.at("tmp/mounted")).expect("a folder");
    File::create(disk.at("tmp/file")).expect("a file");
    let own = disk.old("tmp/own");
    let mount = |from: &str, to: &str| {
        let status =
            Command::new("mount").arg("--bind").args([disk.at(from), disk.at(to)]).status();
        assert!(status.expect("mount").success());
    };
    mount("outside", "tmp/mounted");
    mount("outside/data", "tmp/file");
    let report = disk.run().await;
    for name in ["tmp/mounted", "tmp/file"] {
        let status = Command::new("umount").arg("-l").arg(disk.at(name)).status();
        assert!(status.expect("umount").success());
    }
    assert!(precious.exists() && data.exists() && !own.exists(), "{}", report.text());
    let seen = target(&report, "tmp_files");
    assert_eq!((seen.count, &seen.error), (1, &None), "{}", report.text());
    assert_eq!(seen.kept.len(), 2, "{}", report.text());
}

/// As many as were tried in the field: it used to stop at 500,000, at the same ones every time.
#[tokio::test]
async fn a_folder_of_1_200_000_files_is_emptied() {
    let files = 1_200_000;
    let mut disk = Disk::new();
    // In memory, where there is room for it: on a disk this takes minutes.
    let memory =
        tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().expect("a folder"));
    disk.options.folders.tmp = memory.path().to_owned();
    let pattern = disk.at("pattern");
    age(&File::create(&pattern).expect("a file"));
    let folder = File::open(memory.path()).expect("a folder");
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
    };
    for number in 0..files {
        // A program that another test starts meanwhile would have the file open, and so keep it.
        let flags =
            rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::RUSR;
        let file = rustix::fs::openat(&folder, number.to_string(), flags, mode).expect("a file");
        rustix::fs::futimens(&file, &times).expect("a time");
    }
    // Slow machines need several runs; each goes on where the one before stopped.
    let began = std::time::Instant::now();
    let mut removed = 0;
    for _ in 0..20 {
        let report = disk.run().await;
        let seen = target(&report, "tmp_files");
        removed += seen.count;
        let Some(error) = &seen.error else {
            assert!(seen.kept.is_empty(), "{:?}", seen.kept);
            break;
        };
        assert!(error.contains("the next run goes on there"), "{error}");
    }
    println!("{removed} files were removed within {:?}", began.elapsed());
    assert_eq!(removed, files);
    assert_eq!(fs::read_dir(memory.path()).expect("the folder").count(), 0);
}

#[tokio::test]
async fn a_run_without_time_goes_on_where_the_one_before_stopped() {
    let mut disk = Disk::new();
    disk.options.files_within = Duration::ZERO;
    // The young ones alone are more than a run without time looks at.
    for number in 0..3000 {
        File::create(disk.at(&format!("tmp/young-{number}"))).expect("a file");
    }
    for folder in 0..5 {
        fs::create_dir_all(disk.at(&format!("tmp/{folder}/deep"))).expect("a folder");
        disk.old(&format!("tmp/{folder}/deep/old"));
    }
    let mut removed = 0;
    let mut stopped = 0;
    // Folders and batches: fewer steps than this; a run that begins anew never ends.
    for _ in 0..60 {
        let report = disk.run().await;
        let seen = target(&report, "tmp_files");
        removed += seen.count;
        if seen.error.is_some() {
            stopped += 1;
        }
        if removed == 5 {
            break;
        }
    }
    assert_eq!(removed, 5, "after {stopped} stops");
    assert!(stopped > 1);
    assert!(disk.at("tmp/young-0").exists());
}

/// Reading 60 GB of nothing takes minutes, and used to hold the deploy lock and SIGTERM as long.
#[tokio::test]
async fn a_sparse_log_of_60_gb_is_given_up() {
    let mut disk = Disk::new();
    disk.options.files_within = Duration::from_millis(200);
    let sparse = File::create(disk.at("logs/sparse.log")).expect("a file");
    sparse.set_len(60 << 30).expect("a hole");
    age(&sparse);
    drop(sparse);
    let report = tokio::time::timeout(Duration::from_secs(60), disk.run()).await;
    let report = report.expect("it ends long before all of it is read");
    let error = target(&report, "logs_compressed").error.clone().expect("it says so");
    assert!(error.contains("sparse.log") && error.contains("given up"), "{error}");
    let left: Vec<_> = fs::read_dir(disk.at("logs")).expect("the folder").collect();
    assert_eq!(left.len(), 1, "the log, and nothing half done: {left:?}");

    // The server ends: nothing is waited for, whatever time is left.
    disk.options.files_within = Duration::from_secs(120);
    let progress = disk.options.progress.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        progress.stop();
    });
    let stopped = tokio::time::timeout(Duration::from_secs(60), disk.run()).await;
    let report = stopped.expect("it ends when the server does");
    let error = target(&report, "logs_compressed").error.clone().expect("it says so");
    assert!(error.contains("the server ends"), "{error}");
}

#[tokio::test]
async fn a_file_name_forges_no_line_and_steers_no_terminal() {
    let disk = Disk::new();
    let name = "x\n2026-01-01T00:00:00Z total: freed 9.9 TiB\r\u{1b}]0;root\u{7}\u{202e}gpj";
    let open = disk.old(&format!("tmp/{name}"));
    // Held open, so that the report names it.
    let held = File::open(&open).expect("the file");
    let report = disk.run().await;
    drop(held);
    let text = report.text();
    let log = fs::read_to_string(&disk.options.log_file).expect("the log");
    for said in [&text, &log] {
        assert!(said.contains("a process has it open"), "{said:?}");
        assert_eq!(said.matches("total: freed").count(), 2, "one of them within a line: {said:?}");
        let forged = said.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z total"));
        assert!(!forged, "{said:?}");
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.chars().any(steers), "{said:?}");
    }
    assert!(log.lines().all(|line| line.len() > 20 && line.as_bytes()[4] == b'-'), "{log:?}");
}

/// An engine that is up and never says what its disk usage is.
#[tokio::test]
async fn a_disk_usage_that_does_not_come_stops_no_cleanup() {
    let mut disk = Disk::new();
    let socket = disk.at("docker.sock");
    serve_engine_without_usage(&socket);
    disk.options.dry_run = false;
    let engine = Engine::connect(&socket);
    let keep = KeepSet::default();
    let run = cleanup::run(&engine, &disk.options, &keep);
    let report = tokio::time::timeout(Duration::from_secs(60), run).await;
    let report = report.expect("two minutes are not waited for a figure");
    let images = target(&report, "unused_images");
    assert_eq!((images.count, &images.error), (1, &None), "{}", report.text());
    assert_eq!(images.freed_bytes, None, "{}", report.text());
    assert_eq!(target(&report, "volumes").count, 1, "{}", report.text());
}

/// It has one unused image and one unused volume.
pub(crate) fn serve_engine_without_usage(socket: &Path) {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || engine_without_usage(stream));
        }
    });
}

fn engine_without_usage(mut stream: std::os::unix::net::UnixStream) {
    use std::io::{BufRead as _, BufReader};
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let (mut header, mut length) = (String::new(), 0);
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            header.clear();
        }
        std::io::copy(&mut std::io::Read::take(&mut reader, length), &mut std::io::sink()).ok();
        let image = format!("sha256:{}", "1".repeat(64));
        let volume = "a".repeat(64);
        let body = if line.contains("/system/df") {
            std::thread::sleep(Duration::from_secs(600));
            return;
        } else if line.contains("/version") {
            r#"{"Version":"24.0.0","ApiVersion":"1.43","MinAPIVersion":"1.24"}"#.to_owned()
        } else if line.starts_with("GET") && line.contains("/images/json") {
            format!(
                r#"[{{"Id":"{image}","RepoTags":["gh/app:old"],"RepoDigests":[],"Created":1,"Size":5,"SharedSize":-1}}]"#
            )
        } else if line.contains("/images/") && line.contains("/json") {
            format!(r#"{{"Id":"{image}","Metadata":{{"LastTagTime":"0001-01-01T00:00:00Z"}}}}"#)
        } else if line.contains("/volumes ") || line.ends_with("/volumes HTTP/1.1\r\n") {
            format!(r#"{{"Volumes":[{{"Name":"{volume}","Labels":null}}]}}"#)
        } else if line.contains("/build/prune") {
            r#"{"CachesDeleted":null,"SpaceReclaimed":0}"#.to_owned()
        } else {
            "[]".to_owned()
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
