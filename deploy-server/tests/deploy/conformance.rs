//! The running server against its own OpenAPI document, by a tool that we did not write.

use std::path::PathBuf;
use std::process::Command;

use crate::support::host::{Host, SECRET};

/// Not "no server error": a deploy that fails answers 500, as it always did. Not "unsupported
/// method": the predecessor answers 404 to a wrong method, and so do we.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_schema_conformance,\
                      negative_data_rejection,positive_data_acceptance,missing_required_header";

/// The program is `SCHEMATHESIS`, or the one that `pip` put into the repository's virtual
/// environment.
#[test]
fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/schemathesis");
    let program = std::env::var_os("SCHEMATHESIS").map_or_else(|| installed.into(), PathBuf::from);
    if !program.exists() {
        println!("skipped: schemathesis is not installed (scripts/setup.sh test)");
        return;
    }
    let mut host = Host::new();
    // A valid deploy then fails at once and touches nothing.
    host.env.remove("ECR_REGISTRY");
    host.start();
    let url = format!("http://127.0.0.1:{}/openapi.json", host.port);
    let output = Command::new(program)
        .args(["run", &url, "--header", &format!("X-Deploy-Secret: {SECRET}")])
        // A cleanup is for the tests that own their disk.
        .args(["--checks", CHECKS])
        .args(["--exclude-path", "/cleanup", "--max-examples", "40", "--request-timeout", "20"])
        .args(["--generation-deterministic", "--phases", "examples,coverage,fuzzing"])
        .current_dir(host.folder.path())
        .output()
        .expect("schemathesis runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
