//! A stand-in for the two services, small enough to be the only program of an image.
//!
//! `standin api|worker`. What it does is baked into the image as `STANDIN_API` or `STANDIN_WORKER`,
//! words separated by commas: `crash` ends at once, `mute` never listens, `sick` answers 500,
//! `dies=MS` ends after that time, `busy` has a job from the start, `old` does not know `accepting`
//! and `/worker/resume`, `catches` takes a job when it is told to end, `nodrain` has no drain,
//! `slow=MS` listens that late, `deaf` answers nothing of the worker's until `POST /test/hear`. The
//! test drives it through `POST /test/job`, `POST /test/done` and `POST /test/die`. It is compiled
//! on its own, with nothing but the standard library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static JOBS: AtomicU64 = AtomicU64::new(0);
static DRAINING: AtomicBool = AtomicBool::new(false);
static HEARS: AtomicBool = AtomicBool::new(true);

struct Mode(Vec<String>);

impl Mode {
    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    fn ms(&self, word: &str) -> Option<Duration> {
        let value = self.0.iter().find_map(|own| own.strip_prefix(word)?.strip_prefix('='))?;
        Some(Duration::from_millis(value.parse().expect("a number of milliseconds")))
    }
}

fn main() {
    let role = std::env::args().nth(1).expect("a role");
    let upper = role.to_uppercase();
    let words = std::env::var(format!("STANDIN_{upper}")).unwrap_or_default();
    let mode = Mode(words.split(',').map(str::to_owned).collect());
    let port: u16 = std::env::var(format!("GH_{upper}_PORT")).expect("a port").parse().expect("a port");
    println!("standin {role} starts with {words:?}");
    if mode.has("crash") {
        println!("standin {role} crashes at {:?}", std::env::var("DATABASE_URL"));
        std::process::exit(7);
    }
    if let Some(delay) = mode.ms("slow") {
        std::thread::sleep(delay);
    }
    if mode.has("mute") {
        std::thread::sleep(Duration::from_secs(3600));
    }
    HEARS.store(!mode.has("deaf"), Ordering::SeqCst);
    if mode.has("busy") {
        JOBS.store(1, Ordering::SeqCst);
    }
    if let Some(life) = mode.ms("dies") {
        std::thread::spawn(move || {
            std::thread::sleep(life);
            println!("standin dies");
            std::process::exit(9);
        });
    }
    // The shell that is the container's first process leaves a file when it is told to end.
    let catches = mode.has("catches");
    std::thread::spawn(move || loop {
        if std::path::Path::new("/term").exists() {
            if catches {
                JOBS.store(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1500));
            }
            let began = Instant::now();
            while JOBS.load(Ordering::SeqCst) > 0 && !catches && began.elapsed().as_secs() < 2 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::process::exit(0);
        }
        // A hundred of these run at a time.
        std::thread::sleep(Duration::from_millis(20));
    });
    // Behind a bridge the engine forwards to another address than the container's own loopback.
    let address = std::env::var("STANDIN_ADDRESS").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let listener = match TcpListener::bind((address.as_str(), port)) {
        Ok(listener) => listener,
        Err(error) => {
            println!("bind: {error}");
            std::process::exit(98);
        }
    };
    let started = Instant::now();
    let (mode, role): (&'static Mode, &'static str) =
        (Box::leak(Box::new(mode)), Box::leak(role.into_boxed_str()));
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            drop(converse(stream, mode, role, started));
        });
    }
}

fn converse(stream: TcpStream, mode: &Mode, role: &str, started: Instant) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    let (mut from_page, mut controlled) = (false, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        from_page |= header.starts_with("origin:") || header.starts_with("sec-fetch-site:");
        controlled |= header.starts_with("x-ghosthands-control:");
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let ordered = ["/worker/drain", "/worker/resume"].contains(&path) && !mode.has("old");
    let (status, text) = if ordered && (from_page || !controlled) {
        (403, "{\"error\":\"not an order of the host\"}".to_owned())
    } else {
        answer(method, path, mode, role, started)
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn answer(method: &str, path: &str, mode: &Mode, role: &str, started: Instant) -> (u16, String) {
    let jobs = JOBS.load(Ordering::SeqCst);
    let draining = DRAINING.load(Ordering::SeqCst);
    let uptime = started.elapsed().as_millis();
    let deploy = match std::env::var("GHOSTHANDS_DEPLOY_ID") {
        Ok(id) if !mode.has("old") => format!(",\"deploy_id\":\"{id}\""),
        _ => String::new(),
    };
    match (method, path) {
        _ if mode.has("sick") => (500, "{\"status\":\"sick\"}".to_owned()),
        ("GET", "/health") => (200, format!("{{\"status\":\"ok\"{deploy}}}")),
        ("GET", "/health/version") => (200, "{\"service\":\"ghosthands\"}".to_owned()),
        ("GET", "/environment") => {
            (200, std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect())
        }
        ("POST", "/test/job") => {
            if draining && !mode.has("old") {
                return (409, "{}".to_owned());
            }
            JOBS.store(1, Ordering::SeqCst);
            (200, "{}".to_owned())
        }
        ("POST", "/test/die") => std::process::exit(9),
        ("POST", "/test/hear") => {
            HEARS.store(true, Ordering::SeqCst);
            (200, "{}".to_owned())
        }
        (_, path) if path.starts_with("/worker/") && !HEARS.load(Ordering::SeqCst) => {
            std::thread::sleep(Duration::from_secs(3600));
            (500, "{}".to_owned())
        }
        ("POST", "/test/done") => {
            JOBS.store(0, Ordering::SeqCst);
            (200, "{}".to_owned())
        }
        ("GET", "/worker/status") if role == "worker" => {
            let accepting =
                if mode.has("old") { String::new() } else { format!(",\"accepting\":{}", !draining) };
            (
                200,
                format!(
                    "{{\"worker_id\":\"w1\",\"active_jobs\":{jobs},\"is_draining\":{draining},\
                     \"uptime_ms\":{uptime}{accepting}{deploy}}}"
                ),
            )
        }
        ("GET", "/worker/health") if role == "worker" => {
            let word = if jobs > 0 { "busy" } else if draining { "draining" } else { "idle" };
            let status = if word == "idle" { 200 } else { 503 };
            (status, format!("{{\"status\":\"{word}\",\"active_jobs\":{jobs}{deploy}}}"))
        }
        ("POST", "/worker/drain") if role == "worker" && !mode.has("nodrain") => {
            DRAINING.store(true, Ordering::SeqCst);
            (200, format!("{{\"status\":\"draining\",\"active_jobs\":{jobs}}}"))
        }
        ("POST", "/worker/resume") if role == "worker" && !mode.has("old") => {
            DRAINING.store(false, Ordering::SeqCst);
            (200, "{\"status\":\"accepting\"}".to_owned())
        }
        _ => (404, "{\"error\":\"not_found\"}".to_owned()),
    }
}
