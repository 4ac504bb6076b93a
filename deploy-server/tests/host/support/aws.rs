//! AWS endpoints: moto, which others wrote, and a small fake for what moto cannot do (failing,
//! counting, roles).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::{Daemon, free_port, program, strings, wait_for};

/// A moto server of its own.
pub(crate) struct Moto {
    _daemon: Daemon,
    _folder: tempfile::TempDir,
    pub(crate) endpoint: String,
}

impl Moto {
    /// `None`, with a word about it, where moto is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_as("http", &[])
    }

    /// Over TLS, with this certificate and key for `localhost`.
    pub(crate) fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        let text = |path: &Path| path.display().to_string();
        Self::start_as("https", &["-s", "-c", &text(certificate), "-k", &text(key)])
    }

    fn start_as(scheme: &str, more: &[&str]) -> Option<Self> {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server");
        let given = std::env::var_os("MOTO_SERVER").map(PathBuf::from);
        let Some(server) = given.or_else(|| program(&[venv.to_str()?])) else {
            eprintln!("skipped: no moto_server; scripts/setup.sh test installs it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut arguments =
            ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let daemon = Daemon::start(&server, &arguments, &folder.path().join("log"));
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_for(Duration::from_secs(60), up), "moto does not start");
        let endpoint = format!("{scheme}://localhost:{port}");
        // It loads a service at the first question about it, which takes longer than our own
        // programs wait.
        for (service, target) in [
            ("secretsmanager", "secretsmanager.ListSecrets"),
            ("ecr", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"),
        ] {
            let loaded = || Self::answers(&endpoint, service, target);
            assert!(wait_for(Duration::from_secs(60), loaded), "moto has no {service}");
        }
        Some(Self { _daemon: daemon, _folder: folder, endpoint })
    }

    fn answers(endpoint: &str, service: &str, target: &str) -> bool {
        let scope = format!("AKIDEXAMPLE/20260101/us-east-1/{service}/aws4_request");
        let header = format!("Authorization: AWS4-HMAC-SHA256 Credential={scope}, Signature=0");
        let mut curl = Command::new("curl");
        curl.args(["-sfk", "-m", "60", "-o", "/dev/null", "-d", "{}", "-H", &header]);
        curl.args(["-H", "Content-Type: application/x-amz-json-1.1"]);
        curl.args(["-H", &format!("X-Amz-Target: {target}"), endpoint]);
        curl.status().expect("curl is installed").success()
    }

    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        environment(&self.endpoint)
    }

    /// Creates the secret, or gives it a new current version.
    pub(crate) async fn put_secret(&self, id: &str, json: &str) {
        let aws = deploy_server::aws::Aws::from_env(&self.env()).expect("settings");
        let client = aws.secrets_manager().await.expect("a client");
        let created = client.create_secret().name(id).secret_string(json).send().await;
        if created.is_err() {
            let put = client.put_secret_value().secret_id(id).secret_string(json);
            put.send().await.expect("a new version");
        }
    }
}

/// Keys and endpoint for a service on this machine.
pub(crate) fn environment(endpoint: &str) -> BTreeMap<String, String> {
    strings(&[
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-canary-key"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ])
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

type Answers = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// Answers every request by a closure and remembers it.
#[derive(Clone)]
pub(crate) struct Fake {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Answers>,
    pub(crate) endpoint: String,
}

impl Fake {
    pub(crate) async fn start(
        answers: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener =
            tokio::net::TcpListener::bind(("127.0.0.1", free_port())).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let fake = Self {
            seen: Arc::default(),
            answers: Arc::new(answers),
            endpoint: format!("http://{address}"),
        };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("unpoisoned").clone()
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> (StatusCode, String) {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let seen = Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
    };
    fake.seen.lock().expect("unpoisoned").push(seen.clone());
    let (status, body) = (fake.answers)(&seen);
    (StatusCode::from_u16(status).expect("a status"), body)
}
