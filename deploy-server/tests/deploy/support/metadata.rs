//! An instance metadata service, version 2 only: no question without a token, and no token without
//! its lifetime.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

const TOKEN: &str = "AQAEAMetadataToken==";

#[derive(Default)]
struct Said {
    /// Path below `/latest/meta-data/` to status and text; everything else is 404.
    answers: BTreeMap<&'static str, (u16, String)>,
    /// How often each path was answered.
    asked: BTreeMap<String, usize>,
}

#[derive(Clone)]
pub(crate) struct Metadata {
    pub(crate) endpoint: String,
    said: Arc<Mutex<Said>>,
}

impl Metadata {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::free_port())).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let metadata = Self { endpoint, said: Arc::default() };
        let serving = metadata.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || drop(serving.converse(&stream)));
            }
        });
        metadata
    }

    pub(crate) fn say(&self, path: &'static str, status: u16, text: &str) {
        self.said().answers.insert(path, (status, text.to_owned()));
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        self.said().asked.get(path).copied().unwrap_or(0)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no test panics here")
    }

    fn converse(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (status, text) = self.answer(&request, &headers);
        let mut out = stream;
        write!(
            out,
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
    }

    fn answer(&self, request: &str, headers: &BTreeMap<String, String>) -> (u16, String) {
        let header = |name: &str| headers.get(name).map(String::as_str);
        let mut words = request.split(' ');
        match (words.next(), words.next()) {
            (Some("PUT"), Some("/latest/api/token")) => {
                let lifetime = header("x-aws-ec2-metadata-token-ttl-seconds")
                    .and_then(|seconds| seconds.parse().ok());
                match lifetime {
                    Some(1..=21_600) => (200, TOKEN.to_owned()),
                    _ => (400, String::new()),
                }
            }
            (Some("GET"), Some(path)) if header("x-aws-ec2-metadata-token") == Some(TOKEN) => {
                let Some(path) = path.strip_prefix("/latest/meta-data/") else {
                    return (404, String::new());
                };
                let mut said = self.said();
                *said.asked.entry(path.to_owned()).or_default() += 1;
                said.answers.get(path).cloned().unwrap_or((404, String::new()))
            }
            _ => (401, String::new()),
        }
    }
}
