//! One engine and one registry for all tests of this program; a host of its own for each test.

pub(crate) mod engine;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod metadata;
// Both programs of tests take their ports from it.
#[path = "../../common/ports.rs"]
mod ports;

pub(crate) use ports::free_port;

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
