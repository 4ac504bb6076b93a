//! The local commands. They talk to the running server through its root-only socket, so they carry
//! no secret, and killing one of them stops nothing.
//!
//! | Exit code | Meaning |
//! |---|---|
//! | 0 | done, or already so |
//! | 1 | failed, or `status` found the host degraded |
//! | 10 | the deploy failed, the previous containers run again |
//! | 11 | the deploy failed, and the previous containers could not be restored |
//! | 12 | refused: something else is in progress, or the host is terminating |
//! | 13 | the deploy failed before anything was touched |
//! | 64 | wrong usage or configuration |
//! | 69 | the server does not answer within a minute, or the worker's state is unknown |
//! | 75 | not drained: a job still runs; ask again |

mod args;
mod fleet;
mod render;
mod stable;

pub use args::{Command, Instead, Parsed, USAGE, parse};

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Strings;
use crate::docker::{self, Answer, UnixHttp};
use crate::secrets;

pub const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_LATER: u8 = 75;
/// A deploy waits for a job at most this long in any configuration.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);
/// Longer than a restart of the server takes, its last work included.
const SERVER_WITHIN: Duration = Duration::from_secs(60);

/// Runs a local command and returns the exit code.
pub async fn run(parsed: Parsed, env: &Strings) -> u8 {
    let socket = crate::config::control_socket(env);
    let outcome = match &parsed.command {
        Command::Serve => unreachable!("the binary serves by itself"),
        Command::PullSecrets(arguments) => pull_secrets(arguments.clone(), env).await,
        Command::Bootstrap { tag: None, environment } => {
            match stable::image_tag(environment.as_deref(), env).await {
                Ok(tag) => {
                    let environment = environment.clone();
                    ask(&Command::Bootstrap { tag: Some(tag), environment }, &socket).await
                }
                Err((code, message)) => (code, json!({ "success": false, "message": message })),
            }
        }
        command if parsed.fleet => fleet::carry_out(command, &socket, env).await,
        command => ask(command, &socket).await,
    };
    let (code, value) = outcome;
    let text = if parsed.json || parsed.fleet {
        // One line: whoever reads it over SSM gets it whole or not at all.
        value.to_string()
    } else {
        render::text(&parsed.command, &value)
    };
    let mut out = io::stdout().lock();
    // A reader that went away does not change what was done.
    drop(writeln!(out, "{text}"));
    code
}

async fn pull_secrets(arguments: secrets::PullArgs, env: &Strings) -> (u8, Value) {
    match secrets::pull(arguments, env).await {
        Ok(report) => {
            let mut value = serde_json::to_value(report).expect("a report is plain data");
            value["success"] = json!(true);
            (0, value)
        }
        Err(error) => (1, json!({ "success": false, "message": error.to_string() })),
    }
}

async fn ask(command: &Command, socket: &Path) -> (u8, Value) {
    let http = UnixHttp::new(socket);
    let is_new_host = matches!(command, Command::Bootstrap { .. });
    let answer = match wait_for_server(&http, is_new_host).await {
        Ok(()) => {
            let (method, path, body) = request(command);
            let body = body.map(|body| body.to_string().into());
            http.call(method, path, &[], body, LONGEST_CALL).await.map_err(|_| {
                "the deploy-server broke off its answer; its work goes on, see `deploy-server status`"
                    .to_owned()
            })
        }
        Err(reason) => {
            Err(format!("the deploy-server does not answer at {}: {reason}", socket.display()))
        }
    };
    match answer {
        Ok(answer) => {
            let value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            (exit_code(command, &answer, &value), value)
        }
        Err(message) => (EXIT_UNAVAILABLE, json!({ "success": false, "message": message })),
    }
}

/// Returns once the server answers, or with the reason why it is not waited for any longer.
/// systemd's socket takes a connection also while no server runs: one that never starts shows only
/// by its silence here, because the command itself may rightly get no answer for hours.
async fn wait_for_server(http: &UnixHttp, is_new_host: bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let left = SERVER_WITHIN.saturating_sub(began.elapsed());
        // The one answer that needs neither Docker nor the disk.
        match http.call("GET", "/openapi.json", &[], None, left).await {
            Ok(_) => return Ok(()),
            // A new host starts the server and its bootstrap at the same moment.
            Err(docker::Error::Unreachable { source, .. }) if !is_new_host || left.is_zero() => {
                return Err(source.to_string());
            }
            Err(_) if left.is_zero() => {
                let seconds = SERVER_WITHIN.as_secs();
                return Err(format!("nothing for {seconds} s, see `journalctl -u deploy-server`"));
            }
            // Not there yet, or it ended with this connection open.
            Err(_) => tokio::time::sleep(left.min(Duration::from_millis(500))).await,
        }
    }
}

fn request(command: &Command) -> (&'static str, &'static str, Option<Value>) {
    match command {
        Command::Status => ("GET", "/status", None),
        Command::Deploy { tag, force, wait } => {
            ("POST", "/deploy", Some(json!({ "image_tag": tag, "force": force, "wait": wait })))
        }
        Command::Bootstrap { tag, .. } => ("POST", "/bootstrap", Some(json!({ "image_tag": tag }))),
        Command::Rollback { force, wait } => {
            ("POST", "/rollback", Some(json!({ "force": force, "wait": wait })))
        }
        Command::Drain { within, terminating, stop } => (
            "POST",
            "/drain",
            Some(json!({ "timeout_seconds": within, "terminating": terminating, "stop": stop })),
        ),
        Command::Resume => ("DELETE", "/drain", None),
        Command::Cleanup { dry_run } => ("POST", "/cleanup", Some(json!({ "dry_run": dry_run }))),
        Command::RefreshSecrets => ("POST", "/admin/refresh-secrets", Some(json!({}))),
        Command::Serve | Command::PullSecrets(_) => unreachable!("not a request"),
    }
}

fn exit_code(command: &Command, answer: &Answer, value: &Value) -> u8 {
    let drain = matches!(command, Command::Drain { .. });
    match (answer.status, value["status"].as_str()) {
        (200, Some("degraded")) => 1,
        (200 | 202, _) => 0,
        (400, _) => EXIT_USAGE,
        (409, _) if drain => EXIT_LATER,
        (409, _) => 12,
        (503, _) if drain => EXIT_UNAVAILABLE,
        (500, Some("rolled_back")) => 10,
        (500, Some("down")) => 11,
        (500, Some("failed")) => 13,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, exit_code};
    use crate::docker::Answer;
    use serde_json::json;

    #[test]
    fn exit_codes() {
        let code = |command: &Command, status, word: &str| {
            exit_code(command, &Answer { status, body: "".into() }, &json!({ "status": word }))
        };
        let deploy = Command::Deploy { tag: "v1".to_owned(), force: false, wait: true };
        let drain = Command::Drain { within: None, terminating: true, stop: false };
        assert_eq!(code(&deploy, 200, "deployed"), 0);
        assert_eq!(code(&deploy, 500, "rolled_back"), 10);
        assert_eq!(code(&deploy, 500, "down"), 11);
        assert_eq!(code(&deploy, 409, ""), 12);
        assert_eq!(code(&deploy, 500, "failed"), 13);
        assert_eq!(code(&drain, 409, ""), 75);
        assert_eq!(code(&drain, 503, ""), 69);
        assert_eq!(code(&Command::Status, 200, "degraded"), 1);
    }
}
