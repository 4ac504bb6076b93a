//! The local commands. They talk to the running server through its root-only socket, so they carry
//! no secret, and killing one of them stops nothing.
//!
//! How they end is [`ExitCode`], of the crate that the control plane shares.

mod args;
mod boot_check;
mod bootstrap;
mod fleet;
mod order;
mod render;
mod stable;

pub use args::{BootstrapArgs, Command, Instead, Parsed, USAGE, parse};

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_protocol::drain_report::DrainReport;
use fleet_protocol::exit_code::ExitCode;
use serde_json::{Value, json};

use crate::config::Strings;
use crate::docker::{self, Answer, UnixHttp};
use crate::secrets;

/// A deploy waits for a job at most this long in any configuration.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);
/// Longer than a restart of the server takes, its last work included.
const SERVER_WITHIN: Duration = Duration::from_secs(60);

/// Runs a local command and returns the exit code.
pub async fn run(parsed: Parsed, env: &Strings) -> u8 {
    let socket = crate::config::control_socket(env);
    let (code, text) = if parsed.fleet {
        fleet::carry_out(&parsed.command, &socket, env).await
    } else {
        let (code, value) = match &parsed.command {
            Command::Serve | Command::CleanFiles => unreachable!("the binary does it by itself"),
            Command::PullSecrets(arguments) => pull_secrets(arguments.clone(), env).await,
            Command::BootCheck { docker_root, patience } => {
                boot_check::keep_others_down(docker_root, *patience, env).await
            }
            Command::Bootstrap(wish) => bootstrap::until_it_runs(wish, &socket, env).await,
            command => ask(command, &socket).await,
        };
        let text =
            if parsed.json { one_line(&value) } else { render::text(&parsed.command, &value) };
        (code, text)
    };
    let mut out = io::stdout().lock();
    // A reader that went away does not change what was done.
    drop(writeln!(out, "{text}"));
    code.code()
}

/// One line: whoever reads it over SSM gets it whole or not at all.
fn one_line(value: &Value) -> String {
    match serde_json::from_value::<DrainReport>(value.clone()) {
        Ok(report) => report.line(),
        Err(_) => value.to_string(),
    }
}

async fn pull_secrets(arguments: secrets::PullArgs, env: &Strings) -> (ExitCode, Value) {
    match secrets::pull(arguments, env).await {
        Ok(report) => {
            let mut value = serde_json::to_value(report).expect("a report is plain data");
            value["success"] = json!(true);
            (ExitCode::Done, value)
        }
        Err(error) => (ExitCode::Failed, json!({ "success": false, "message": error.to_string() })),
    }
}

async fn ask(command: &Command, socket: &Path) -> (ExitCode, Value) {
    let http = UnixHttp::new(socket);
    let is_new_host = matches!(command, Command::Bootstrap(_));
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
        Err(message) => (ExitCode::Unavailable, json!({ "success": false, "message": message })),
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
        Command::Bootstrap(wish) => {
            ("POST", "/bootstrap", Some(json!({ "image_tag": wish.tag, "digest": wish.digest })))
        }
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
        Command::Order { id, tag, force, job_limit_s } => {
            let mut body = json!({ "id": id, "image_tag": tag, "force": force });
            if let Some(seconds) = job_limit_s {
                body["job_limit_seconds"] = (*seconds).into();
            }
            ("POST", "/order", Some(body))
        }
        Command::TakeBack => ("DELETE", "/order", None),
        Command::Serve
        | Command::CleanFiles
        | Command::PullSecrets(_)
        | Command::BootCheck { .. } => unreachable!("not a request"),
    }
}

fn exit_code(command: &Command, answer: &Answer, value: &Value) -> ExitCode {
    let drain = matches!(command, Command::Drain { .. });
    match (answer.status, value["status"].as_str()) {
        (200, Some("degraded")) => ExitCode::Failed,
        (200 | 202, _) => ExitCode::Done,
        (400, _) => ExitCode::Usage,
        (409, _) if drain => ExitCode::StillBusy,
        (409, _) => ExitCode::Refused,
        (503, _) if drain => ExitCode::Unavailable,
        (500, Some("rolled_back")) => ExitCode::RolledBack,
        (500, Some("down")) => ExitCode::Down,
        (500, Some("failed")) => ExitCode::Untouched,
        _ => ExitCode::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, ExitCode, USAGE, exit_code};
    use crate::docker::Answer;
    use serde_json::json;

    #[test]
    fn exit_codes() {
        let code = |command: &Command, status, word: &str| {
            exit_code(command, &Answer { status, body: "".into() }, &json!({ "status": word }))
        };
        let deploy = Command::Deploy { tag: "v1".to_owned(), force: false, wait: true };
        let drain = Command::Drain { within: None, terminating: true, stop: false };
        assert_eq!(code(&deploy, 200, "deployed"), ExitCode::Done);
        assert_eq!(code(&deploy, 500, "rolled_back"), ExitCode::RolledBack);
        assert_eq!(code(&deploy, 500, "down"), ExitCode::Down);
        assert_eq!(code(&deploy, 409, ""), ExitCode::Refused);
        assert_eq!(code(&deploy, 500, "failed"), ExitCode::Untouched);
        assert_eq!(code(&drain, 409, ""), ExitCode::StillBusy);
        assert_eq!(code(&drain, 503, ""), ExitCode::Unavailable);
        assert_eq!(code(&Command::Status, 200, "degraded"), ExitCode::Failed);
    }

    #[test]
    fn every_exit_code_is_documented_where_people_look() {
        let page = include_str!("../../../docs/HOST.md");
        for code in ExitCode::ALL {
            let row = format!("| {} | {} |", code.code(), code.meaning());
            assert!(page.contains(&row), "docs/HOST.md lacks: {row}");
            assert!(USAGE.contains(&format!("{} ", code.code())), "--help lacks {}", code.code());
        }
    }
}
