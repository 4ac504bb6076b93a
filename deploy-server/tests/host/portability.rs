//! The binary runs on every system we name: what it asks of the C library is no newer than the
//! oldest has.

use std::path::{Path, PathBuf};
use std::process::Command;

fn check(binary: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/check-binary.sh");
    let output = Command::new(script).arg("host").arg(binary).output().expect("bash and objdump");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_shipped_binary_needs_no_newer_c_library_than_debian_11_has() {
    // Made by scripts/build-deploy-server.sh, which is minutes of work and so not part of this
    // test.
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let binary = target.join("x86_64-unknown-linux-gnu/release/deploy-server");
    if !binary.exists() {
        eprintln!("skipped: no {}; scripts/build-deploy-server.sh makes it", binary.display());
        return;
    }
    let (passed, said) = check(&binary);
    assert!(passed, "{said}");
}

#[test]
fn the_check_refuses_what_a_host_lacks() {
    // This test itself is linked against this machine's C library, and is larger than a host should
    // download.
    let this = std::env::current_exe().expect("this program");
    let (passed, said) = check(&this);
    assert!(!passed);
    assert!(said.contains("FAIL needs glibc") && said.contains("FAIL has"), "{said}");
}
