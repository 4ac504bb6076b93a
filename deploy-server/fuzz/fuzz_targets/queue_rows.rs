#![no_main]

#[path = "../control_plane.rs"]
#[expect(dead_code, reason = "each target runs one entry")]
mod control_plane;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| control_plane::queue_rows(bytes));
