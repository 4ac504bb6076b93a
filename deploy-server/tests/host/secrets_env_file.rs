//! `pull-secrets`: what the file holds, and that nobody else ever reads it or half of it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deploy_server::secrets::{PullArgs, SOURCE, dotenv, file, pull};
use secrecy::{ExposeSecret as _, SecretString};

use crate::support::aws::{Fake, Moto, Seen, environment};
use crate::support::{strings, value};

fn arguments(file: &Path, instance: &[(&str, &str)]) -> PullArgs {
    let (file, instance) = (file.to_owned(), strings(instance));
    PullArgs { environment: None, file, instance, patience: Duration::ZERO }
}

#[tokio::test]
async fn a_pull_keeps_what_belongs_to_the_instance() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret(
        "ghosthands/staging",
        r#"{"DATABASE_URL":"postgres://u:p$w\"d@h/db","NODE_ENV":"production","N":1}"#,
    )
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    // As the old scripts left it: world-readable for a moment, values half quoted, the instance's
    // lines at the end.
    std::fs::write(
        &path,
        "DATABASE_URL=\"old\"\nGONE=1\nGH_ENVIRONMENT=staging\nGH_WORKER_ID=i-1\nEC2_IP=1.2.3.4\n",
    )
    .expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let report = pull(arguments(&path, &[]), &moto.env()).await.expect("a pull");
    assert_eq!(report.environment, "staging");
    assert_eq!(report.changed, ["DATABASE_URL"]);
    assert_eq!(report.added, ["N", "NODE_ENV"]);
    assert_eq!(report.removed, ["GONE"]);
    assert_eq!(report.kept, ["EC2_IP", "GH_ENVIRONMENT", "GH_WORKER_ID"]);
    assert_eq!(report.missing, ["GH_SERVICE_SECRET"]);
    let text = std::fs::read_to_string(&path).expect("the file");
    let variables = dotenv::parse(&text);
    assert_eq!(value(&variables, "DATABASE_URL"), Some("postgres://u:p$w\"d@h/db"));
    assert_eq!(value(&variables, "GH_WORKER_ID"), Some("i-1"));
    assert_eq!(value(&variables, SOURCE), Some("DATABASE_URL,N,NODE_ENV"));
    assert_eq!(std::fs::metadata(&path).expect("the file").mode() & 0o777, 0o600);
    assert!(!format!("{report:?}").contains("p$w"));

    // Again, after somebody added a line, with a new address.
    std::fs::write(&path, format!("{text}MINE=\"own\"\n")).expect("a file");
    let report =
        pull(arguments(&path, &[("EC2_IP", "5.6.7.8")]), &moto.env()).await.expect("a pull");
    assert_eq!(report.changed, ["EC2_IP"]);
    assert!(report.added.is_empty() && report.removed.is_empty());
    let variables = dotenv::parse(&std::fs::read_to_string(&path).expect("the file"));
    assert_eq!(value(&variables, "MINE"), Some("own"));
}

#[tokio::test]
async fn a_failed_pull_leaves_the_file_as_it_was() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret("ghosthands/crlf", "{\"GOOD\":\"x\",\"PEM\":\"line\\r\\n\"}").await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    std::fs::write(&path, "GH_ENVIRONMENT=nowhere\n").expect("a file");
    let error = pull(arguments(&path, &[]), &moto.env()).await.expect_err("no such secret");
    assert!(error.is_upstream(), "{error}");
    let mut crlf = arguments(&path, &[]);
    crlf.environment = Some("crlf".to_owned());
    let error = pull(crlf, &moto.env()).await.expect_err("a carriage return").to_string();
    assert!(error.contains("PEM") && !error.contains("line\r"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "GH_ENVIRONMENT=nowhere\n");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("the folder").count(),
        1,
        "nothing is left behind"
    );
}

/// The metadata service of `i-2`, and a Secrets Manager that answers `secret`.
fn instance(seen: &Seen, secret: (u16, &str)) -> (u16, String) {
    let meta = |path: &str| seen.path == format!("/latest/meta-data/{path}");
    match () {
        () if seen.path == "/latest/api/token" => (200, "token".to_owned()),
        () if meta("instance-id") => (200, "i-2".to_owned()),
        () if meta("public-ipv4") => (200, "5.6.7.8".to_owned()),
        () if seen.path.starts_with("/latest/") => (404, String::new()),
        () => (secret.0, secret.1.to_owned()),
    }
}

#[tokio::test]
async fn a_host_from_an_image_is_nobody_else_though_its_secret_cannot_be_fetched() {
    let denied = (400, r#"{"__type":"AccessDeniedException","Message":"not yet"}"#);
    let aws = Fake::start(move |seen| instance(seen, denied)).await;
    let mut env = environment(&aws.endpoint);
    env.remove("AWS_EC2_METADATA_DISABLED");
    env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), aws.endpoint.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    let baked = "A=\"1\"\nEC2_INSTANCE_ID=\"i-1\"\nEC2_IP=\"1.2.3.4\"\nGH_ENVIRONMENT=\"staging\"\n\
        GH_WORKER_ID=\"i-1\"\nSECRETS_MANAGER_KEYS=\"A\"\n";
    std::fs::write(&path, baked).expect("a file");
    let error = pull(arguments(&path, &[]), &env).await.expect_err("it is denied");
    assert!(error.is_upstream(), "{error}");
    let text = std::fs::read_to_string(&path).expect("the file");
    let variables = dotenv::parse(&text);
    for (name, expected) in [("GH_WORKER_ID", "i-2"), ("EC2_INSTANCE_ID", "i-2"), ("A", "1")] {
        assert_eq!(value(&variables, name), Some(expected), "{name}");
    }
    assert_eq!(value(&variables, "EC2_IP"), Some("5.6.7.8"));
    assert_eq!(value(&variables, SOURCE), Some("A"), "what came from the secret may be replaced");
    // It is its own file now, and stays as it is.
    pull(arguments(&path, &[]), &env).await.expect_err("it is denied");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), text);
}

#[tokio::test]
async fn a_secrets_manager_that_comes_late_is_waited_for() {
    let asked = AtomicU64::new(0);
    // More often than the client asks again by itself.
    let late = Fake::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0..10 => (500, "{}".to_owned()),
        _ => (200, r#"{"SecretString":"{\"A\":\"1\"}"}"#.to_owned()),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    let at_once = PullArgs { environment: Some("staging".to_owned()), ..arguments(&path, &[]) };
    let env = environment(&late.endpoint);
    assert!(pull(at_once.clone(), &env).await.expect_err("not yet").is_upstream());
    let patient = PullArgs { patience: Duration::from_secs(120), ..at_once };
    assert_eq!(pull(patient, &env).await.expect("in the end").added, ["A", "GH_ENVIRONMENT"]);
}

#[tokio::test]
async fn the_command_trusts_the_system_s_certificates_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        // One that says it is an authority is refused as a server's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(at("key.pem"))
        .arg("-out")
        .arg(at("cert.pem"))
        .stderr(std::process::Stdio::null())
        .status()
        .expect("openssl");
    assert!(made.success());
    let Some(moto) = Moto::start_tls(&at("cert.pem"), &at("key.pem")) else { return };
    let pull = |trusted: &Path| {
        Command::new(env!("CARGO_BIN_EXE_deploy-server"))
            .args(["pull-secrets", "--environment", "tls", "--file"])
            .arg(at(".env"))
            .env_clear()
            .envs(moto.env())
            .env("SSL_CERT_FILE", trusted)
            .output()
            .expect("our program")
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let trusted = pull(&at("cert.pem"));
    assert!(
        said(&trusted).contains("ResourceNotFoundException"),
        "moto has no such secret: {}",
        said(&trusted)
    );
    let stranger = pull(Path::new("/etc/ssl/certs/ca-certificates.crt"));
    assert!(said(&stranger).contains("certificate"), "{}", said(&stranger));
    assert!(!stranger.status.success());
}

/// Run by the test below in a process of its own, because a umask belongs to a whole process.
const CHILD: &str = "SECRETS_ENV_FILE_CHILD";

#[test]
fn nobody_reads_the_file_or_half_of_it_while_it_is_replaced() {
    let content = |round: u64| SecretString::from(format!("{round:06} {}\n", "x".repeat(100_000)));
    if let Some(path) = std::env::var_os(CHILD) {
        rustix::process::umask(rustix::fs::Mode::empty());
        for round in 0..200 {
            file::replace(Path::new(&path), &content(round)).expect("root may");
        }
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    file::replace(&path, &content(0)).expect("a first file");
    let running = Arc::new(AtomicBool::new(true));
    let looks = Arc::new(AtomicU64::new(0));
    let watcher = std::thread::spawn({
        let (folder, path, running, looks) =
            (folder.path().to_owned(), path.clone(), running.clone(), looks.clone());
        move || {
            while running.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir(&folder).expect("the folder").flatten() {
                    if let Ok(metadata) = std::fs::symlink_metadata(entry.path()) {
                        assert_eq!(metadata.mode() & 0o777, 0o600, "{:?}", entry.path());
                    }
                }
                assert_eq!(std::fs::read(&path).expect("always a file").len(), 100_008);
                looks.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let this_test = "secrets_env_file::nobody_reads_the_file_or_half_of_it_while_it_is_replaced";
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", this_test])
        .env(CHILD, &path)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("this program");
    running.store(false, Ordering::Relaxed);
    watcher.join().expect("no look saw more than it should");
    assert!(status.success());
    assert!(looks.load(Ordering::Relaxed) > 3);
    assert!(std::fs::read_to_string(&path).expect("the file").starts_with("000199"));
}

#[test]
fn the_owner_stays_and_a_link_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".env");
    std::fs::write(&path, "").expect("a file");
    std::os::unix::fs::chown(&path, Some(1000), Some(1001)).expect("root may");
    file::replace(&path, &SecretString::from("A=1\n")).expect("a file");
    let metadata = std::fs::metadata(&path).expect("the file");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (1000, 1001, 0o600));

    let (link, elsewhere) = (folder.path().join("link"), folder.path().join("elsewhere"));
    std::fs::write(&elsewhere, "untouched").expect("a file");
    symlink(&elsewhere, &link).expect("a link");
    file::read(&link).expect_err("a link is not read");
    file::replace(&link, &SecretString::from("A=1\n")).expect("a file");
    assert!(!link.is_symlink());
    assert_eq!(std::fs::read_to_string(&elsewhere).expect("the other file"), "untouched");
    assert!(file::read(&folder.path().join("none")).expect("no error").is_none());
    assert_eq!(file::read(&path).expect("a file").expect("a text").expose_secret(), "A=1\n");
}
