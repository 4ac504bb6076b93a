//! `bootstrap`: the first deploy of a new host, tried until a worker runs.
//!
//! A machine without a worker is paid for nothing, and nobody else starts one on it. So a cleanup
//! that has the lock, a registry that is away or a parameter that cannot be read only puts it off.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_protocol::exit_code::ExitCode;
use serde_json::{Value, json};

use super::{BootstrapArgs, Command, ask, stable};
use crate::config::Strings;

/// How long it is tried, where nobody says it.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The first pause, and the longest: they double.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Deploys until the host has its worker, the time is up, or trying again cannot help. Each try
/// that fails is a line on stderr, where systemd's journal and cloud-init's log have it.
pub(super) async fn until_it_runs(
    wish: &BootstrapArgs,
    socket: &Path,
    env: &Strings,
) -> (ExitCode, Value) {
    let (began, patience) = (Instant::now(), wish.patience.unwrap_or(PATIENCE));
    let mut pause = PAUSES.0;
    for number in 1_u32.. {
        let (code, answer) = once(wish, socket, env).await;
        let left = patience.saturating_sub(began.elapsed());
        if code == ExitCode::Done || code == ExitCode::Usage || left.is_zero() {
            if code != ExitCode::Done {
                let seconds = began.elapsed().as_secs();
                say(&format!(
                    "bootstrap gave up after {number} tries in {seconds} s: this host has no worker. Replace the machine, or run `deploy-server bootstrap` again"
                ));
            }
            return (code, answer);
        }
        let why = [&answer["error"], &answer["message"]].into_iter().find_map(Value::as_str);
        let why = why.unwrap_or("no reason was given");
        let wait = pause.min(left);
        say(&format!("bootstrap: try {number} failed ({why}); again in {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    unreachable!("the tries end with the patience")
}

async fn once(wish: &BootstrapArgs, socket: &Path, env: &Strings) -> (ExitCode, Value) {
    let mut wish = wish.clone();
    if wish.tag.is_none() {
        match stable::pointer(wish.environment.as_deref(), env).await {
            Ok(pointer) => {
                wish.tag = Some(pointer.image_tag.to_string());
                wish.digest = pointer.digest;
            }
            Err((code, message)) => {
                return (code, json!({ "success": false, "message": message }));
            }
        }
    }
    ask(&Command::Bootstrap(wish), socket).await
}

fn say(text: &str) {
    // Nobody is there to be told of a closed stderr.
    drop(writeln!(io::stderr().lock(), "deploy-server: {text}"));
}
