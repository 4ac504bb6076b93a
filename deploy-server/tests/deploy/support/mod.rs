//! One engine and one registry for all tests of this program; a host of its own for each test.

pub(crate) mod engine;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod metadata;

use std::time::{Duration, Instant};

/// A machine that is busy with something else may be this many times slower than one that is not.
const PATIENCE: u32 = 4;

/// Waits until `probe` gives something, and fails loudly when it does not in time.
#[track_caller]
pub(crate) fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            began.elapsed() < within * PATIENCE,
            "not within {PATIENCE} times {within:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        // Tests run side by side: the kernel may offer the same port twice before it is used.
        if GIVEN.lock().expect("no test panics here").insert(port) {
            return port;
        }
    }
}
