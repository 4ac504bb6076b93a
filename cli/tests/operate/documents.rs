use crate::fixture::ROLLOUT;
use crate::support::{Act, Server, problem};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a document says to type: the code spans and the lines of examples that begin so.
fn commands(text: &str) -> BTreeSet<String> {
    let spans = text.split('`').skip(1).step_by(2);
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default());
    let all = spans.chain(lines).map(str::trim);
    all.filter_map(|text| text.strip_prefix("ghfleet ")).map(str::to_owned).collect()
}

#[test]
fn every_command_that_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut read = 0;
    for name in ["README.md", "docs/OPERATIONS.md", "docs/COST.md", "docs/FAQ.md"] {
        for command in commands(&fs::read_to_string(root.join(name)).unwrap()) {
            let words: Vec<&str> = command.split_whitespace().collect();
            // These are about any command, or need no fleet; --run would open a terminal, and
            // --watch has no end.
            let known = ["COMMAND", "--help", "simulate", "tune", "replay"].contains(&words[0]);
            let words: Vec<&str> =
                words.into_iter().filter(|word| !["--run", "--watch"].contains(word)).collect();
            if known {
                continue;
            }
            let server = Server::new(|request| {
                if request.line.ends_with("?limit=50") {
                    let one = json!({ "id": ROLLOUT, "kind": "deploy", "state": "in_progress" });
                    let other = json!({ "id": ROLLOUT, "kind": "deploy", "state": "failed" });
                    return Act::Json(200, json!({ "deployments": [one, other] }));
                }
                problem(409, "not now")
            });
            let ran = server.run(&words);
            let computes = words[0] == "cost" && !words.contains(&"--live");
            let asks = words[0] != "shell" && !computes;
            // What the API refuses is a finding of doctor's.
            let ends = if words[0] == "doctor" { 1 } else { 12 };
            assert_eq!(ran.code, if asks { ends } else { 0 }, "{name}: {command}: {}", ran.err);
            assert_eq!(server.requests().is_empty(), !asks, "{name}: {command}");
            read += 1;
        }
    }
    assert!(read >= 20, "only {read} commands were found");
}
