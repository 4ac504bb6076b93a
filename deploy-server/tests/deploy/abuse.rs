//! Callers that are slow, many, rude, or guessing.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::host::{Host, SECRET};
use crate::support::{http, until};

fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", host.port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
    stream
}

/// What arrives until the other side closes, which it does long before our own deadline.
#[track_caller]
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let late = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
        // A reset is an end too.
        assert!(!late, "the server does not close");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_head_or_a_body_that_does_not_come_is_not_waited_for() {
    let host = Host::started();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(&host);
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it is sent");
            rest(stream);
        });
        scope.spawn(|| {
            let mut stream = connect(&host);
            stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
            assert!(rest(stream).starts_with("HTTP/1.1 200"));
        });
        scope.spawn(|| {
            let mut stream = connect(&host);
            let head = format!(
                "POST /deploy HTTP/1.1\r\nHost: x\r\nX-Deploy-Secret: {SECRET}\r\nContent-Length: 100\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).expect("it is sent");
            for _ in 0..5 {
                stream.write_all(b"{").expect("it is sent");
                std::thread::sleep(Duration::from_millis(500));
            }
            let reply = rest(stream);
            assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
        });
    });
}

#[test]
fn a_caller_that_never_reads_does_not_keep_its_place() {
    let host = Host::started();
    let mut stream = connect(&host);
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a deadline");
    // More answers than both ends can hold: the server cannot send them all.
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000);
    drop(stream.write_all(requests.as_bytes()));
    let client = stream.local_addr().expect("it is connected").port();
    // The server's end, as the kernel lists it: both ports, and the state "established".
    let line = format!(":{:04X} 0100007F:{client:04X} 01 ", host.port);
    let connected = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists them");
        table.contains(&line)
    };
    assert!(connected(), "it has a place");
    until("it is disconnected", Duration::from_secs(90), || (!connected()).then_some(()));
}

#[test]
fn rubbish_gets_an_answer_or_a_closed_door_and_the_server_lives() {
    let host = Host::started();
    let many_headers = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n",
        (0..200).map(|n| format!("X-{n}: y\r\n")).collect::<String>()
    );
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let smuggled = format!(
        "POST /rollback HTTP/1.1\r\nHost: x\r\nX-Deploy-Secret: {SECRET}\r\nContent-Length: 4\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    let requests: [&[u8]; 7] = [
        b"\x00\x01\x02\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        many_headers.as_bytes(),
        long_line.as_bytes(),
        smuggled.as_bytes(),
    ];
    for request in requests {
        let mut stream = connect(&host);
        // The server may close before it has read everything.
        drop(stream.write_all(request));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let reply = rest(stream);
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
        assert!(reply.matches("HTTP/1.1").count() <= 1, "one answer at most: {reply}");
        assert!(!reply.to_lowercase().contains("panic") && !reply.contains(".rs"), "{reply}");
    }
    let mut pipelined = connect(&host);
    let twice = b"GET /deploys HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n";
    pipelined.write_all(twice).expect("it is sent");
    let reply = rest(pipelined);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(host.get("/deploys").status, 200);
}

/// Raises this process's own limit as far as it may, and says how many connections it can then
/// hold.
fn room_for_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the maximum anybody may");
    let files = usize::try_from(maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    // The other tests need some beside.
    files.saturating_sub(2000).clamp(500, 10_000)
}

#[test]
fn ten_thousand_connections_do_not_keep_others_out() {
    let host = Host::started();
    let address: SocketAddr = ([127, 0, 0, 1], host.port).into();
    let held = room_for_files();
    let mut open = VecDeque::new();
    for wave in 0..20 {
        for _ in 0..500 {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(60))
                .expect("the kernel lets everybody in");
            drop(stream.write_all(b"GET /health HTTP/1.1\r\nX-Slow: "));
            open.push_back(stream);
            // Where a process may not have so many files, the newest are the ones that still hold a
            // place.
            if open.len() > held {
                open.pop_front();
            }
        }
        if wave % 5 == 4 {
            let url = format!("http://127.0.0.1:{}/health", host.port);
            let arguments = ["-s", "-m", "30", "--interface", "127.0.0.2", &url];
            let health = Command::new("curl").args(arguments).output().expect("curl is installed");
            let text = String::from_utf8_lossy(&health.stdout);
            assert!(text.contains("\"workerStatus\""), "another address is let in: {text}");
            assert_eq!(
                host.cli(&["status", "--json"]).status.code(),
                Some(1),
                "degraded, and answered"
            );
        }
    }
    let files = std::fs::read_dir(format!("/proc/{}/fd", host.pid())).expect("it lives").count();
    assert!(files < 320, "{files} files are open");
    drop(open);
    until("the first address is let in again", Duration::from_secs(8), || {
        http::try_send(host.port, "GET", "/health", &[], None).filter(|reply| reply.status == 200)
    });
}

/// The quickest answers to very different wrong secrets differ by less than a tenth of the time
/// that one request takes. What else the machine does makes an answer slower and never quicker, and
/// may hit one of them harder for a while; a leak shows every time.
#[test]
fn wrong_secrets_do_not_differ_in_time() {
    let host = Host::started();
    let seen: Vec<_> =
        (0..15).map_while(|_| difference_between_wrong_secrets(&host).err()).collect();
    assert!(seen.len() < 15, "{seen:?}");
}

fn difference_between_wrong_secrets(host: &Host) -> Result<(), Vec<Duration>> {
    let near = format!("{}x", &SECRET[..SECRET.len() - 1]);
    let long = "a".repeat(8000);
    let secrets = ["", "a", &near, &SECRET[1..], &long[..SECRET.len()]];
    let mut times = vec![Vec::new(); secrets.len()];
    for round in 0..300 {
        for turn in 0..secrets.len() {
            // Interleaved, and in another order each round, so that what else the machine does hits
            // all alike.
            let which = (turn + round) % secrets.len();
            let headers = [("X-Deploy-Secret", secrets[which])];
            let began = Instant::now();
            let reply = http::send(host.port, "POST", "/drain", &headers, None);
            times[which].push(began.elapsed());
            assert_eq!(reply.status, 401);
        }
    }
    let quick: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort();
            times[times.len() / 10]
        })
        .collect();
    let (least, most) = (quick.iter().min().expect("some"), quick.iter().max().expect("some"));
    let alike = *most - *least < *most / 10 + Duration::from_micros(30);
    if alike { Ok(()) } else { Err(quick) }
}
