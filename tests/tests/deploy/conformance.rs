//! The running function against its own OpenAPI document, by a tool that we did not write.

use crate::world::*;
use std::path::PathBuf;
use std::process::Command;

/// Not "unsupported method": whatever has no route is the HTTP API's to refuse.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,negative_data_rejection,positive_data_acceptance,missing_required_header";

/// The program is `SCHEMATHESIS`, or the one that `pip` put into the repository's virtual
/// environment.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/schemathesis");
    let program = std::env::var_os("SCHEMATHESIS").map_or_else(|| installed.into(), PathBuf::from);
    if !program.exists() {
        println!("skipped: schemathesis is not installed (pip install schemathesis)");
        return;
    }
    let world = World::start(2).await;
    let id = world.deploy("k", serde_json::json!({ "image_tag": "v2" })).await;
    world.ended(&id).await;
    let (status, document) =
        world.request("GET", &format!("{ROUTES}/openapi.json"), READER, None, "").await;
    assert_eq!(status, 200);
    let folder = std::env::temp_dir().join(format!("fleet-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("openapi.json");
    std::fs::write(&file, document.to_string()).expect("written");
    // It takes the same key for different requests, and learns so.
    let settings =
        "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", 404, 409, 422]\n";
    std::fs::write(folder.join("schemathesis.toml"), settings).expect("written");
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(&file)
        .args([
            "--url",
            &world.api.endpoint(),
            "--header",
            &format!("Authorization: Bearer {OPERATOR}"),
        ])
        .args([
            "--checks",
            CHECKS,
            "--max-examples",
            "15",
            "--request-timeout",
            "30",
            "--workers",
            "1",
        ])
        .args(["--generation-deterministic", "--phases", "examples,coverage,fuzzing"])
        .current_dir(&folder);
    let output = tokio::task::spawn_blocking(move || command.output().expect("schemathesis runs"));
    let output = output.await.expect("joins");
    drop(std::fs::remove_dir_all(&folder));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
