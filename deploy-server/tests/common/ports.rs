//! Ports for tests that run side by side.

use std::collections::BTreeSet;
use std::sync::Mutex;

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
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
