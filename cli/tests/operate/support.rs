//! A server that plays the API, and the binary that asks it.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) const TOKEN: &str = "t0ken-that-nobody-may-see";

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
    /// How often the same was asked before.
    pub(crate) before: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
pub(crate) enum Act {
    Json(u16, Value),
    Text(u16, String),
    /// A status line, header lines and a body, just so.
    Raw(Vec<u8>),
    /// It closes the connection in mid-answer.
    HangUp,
    /// It never answers.
    Silence,
}

/// A refusal as the functions tell it.
pub(crate) fn problem(status: u16, detail: &str) -> Act {
    Act::Json(
        status,
        json!({ "type": "about:blank", "title": "T", "status": status, "detail": detail }),
    )
}

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn new(play: impl Fn(&Request) -> Act + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a caller");
                let Some(mut request) = read(&stream) else { continue };
                let mut seen = seen.lock().expect("no panic");
                request.before =
                    seen.iter().filter(|it: &&Request| it.line == request.line).count();
                seen.push(request.clone());
                drop(seen);
                if answer(&mut stream, play(&request)).is_none() {
                    silent.push(stream);
                }
            }
        });
        Server { url, requests }
    }

    /// A server with one answer to everything.
    pub(crate) fn always(act: impl Fn() -> Act + Send + 'static) -> Server {
        Server::new(move |_| act())
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Runs `ghfleet` with this server and a token in its environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = ghfleet(arguments);
        run(command.env("GHFLEET_URL", &self.url).env("GHFLEET_TOKEN", TOKEN))
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.rsplit_once(" HTTP/")?.0.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Request { line, headers, body, before: 0 })
}

/// Nothing where the stream has to stay open.
fn answer(stream: &mut TcpStream, act: Act) -> Option<()> {
    let head = |status: u16, kind: &str, length: usize| {
        format!(
            "HTTP/1.1 {status} S\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    let bytes = match act {
        Act::Json(status, body) => {
            let body = body.to_string();
            (head(status, "application/json", body.len()) + &body).into_bytes()
        }
        Act::Text(status, body) => (head(status, "text/html", body.len()) + &body).into_bytes(),
        Act::Raw(bytes) => bytes,
        Act::HangUp => (head(200, "application/json", 1000) + "{").into_bytes(),
        Act::Silence => return None,
    };
    // Whoever reads no more than it wants closes first.
    stream.write_all(&bytes).ok();
    Some(())
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary in an empty environment with a home of its own.
pub(crate) fn ghfleet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghfleet"));
    command.args(arguments).env_clear().env("HOME", home()).env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null());
    command
}

/// A folder of its own for each call.
pub(crate) fn home() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("ghfleet-{}-{next}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs it, and holds what is true of every run: no token, nothing that steers a terminal, and
/// nothing wider than 80 columns but JSON and a failure's sentence.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the binary");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: output.status.code().expect("no signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(TOKEN), "the token is shown: {text}");
        assert!(!text.contains('\x1b'), "a pipe gets no escape codes: {text:?}");
    }
    for line in ran.out.lines().filter(|line| !line.starts_with('{')) {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    ran
}
