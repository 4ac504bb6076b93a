//! One process and its Runtime API: what Lambda calls an execution environment.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::config::FunctionConfig;
use super::function::FunctionError;
use super::logs::{LogBuffer, LogStream};
use super::runtime_api::{FunctionAnswer, Invocation, Phase, RuntimeApi};
use crate::server::Server;

/// Longest time from exec to the first `next`.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A running process. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Environment {
    child: Child,
    send: mpsc::Sender<Invocation>,
    phase: watch::Receiver<Phase>,
    _server: Server,
}

impl Environment {
    /// Starts the binary with Lambda's environment and nothing else but PATH.
    pub(super) async fn start(
        config: &FunctionConfig,
        stream: &str,
        logs: &Arc<LogBuffer>,
    ) -> io::Result<Self> {
        let (api, send, phase) = RuntimeApi::new();
        let (listener, address) = Server::bind(0).await?;
        let server = Server::start(listener, address, api.router());
        let mut command = Command::new(&config.binary);
        command
            .env_clear()
            .envs(config.process_env(&address.to_string(), stream))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(root) = config.binary.parent().filter(|p| !p.as_os_str().is_empty()) {
            command.current_dir(root);
        }
        let mut child = command.spawn()?;
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(Arc::clone(logs).follow(LogStream::Stdout, pipe));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(Arc::clone(logs).follow(LogStream::Stderr, pipe));
        }
        Ok(Self { child, send, phase, _server: server })
    }

    /// True while the process has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs one invocation. An error of the second kind means that the environment is spent.
    pub(super) async fn invoke(
        &mut self,
        config: &FunctionConfig,
        id: &str,
        trace: &str,
        payload: Vec<u8>,
    ) -> Result<FunctionAnswer, FunctionError> {
        tokio::select! {
            biased;
            ready = ready(&mut self.phase) => ready?,
            exit = self.child.wait() => return Err(exited(id, exit)),
            () = tokio::time::sleep(INIT_LIMIT) => {
                return Err(timed_out(id, INIT_LIMIT));
            }
        }
        let (done, outcome) = oneshot::channel();
        let invocation = Invocation {
            id: id.to_owned(),
            payload,
            timeout: config.timeout,
            arn: config.arn(),
            trace: trace.to_owned(),
            done,
        };
        if self.send.send(invocation).await.is_err() {
            return Err(exited(id, self.child.wait().await));
        }
        tokio::select! {
            biased;
            Ok(outcome) = outcome => Ok(outcome),
            exit = self.child.wait() => Err(exited(id, exit)),
            () = tokio::time::sleep(config.timeout) => Err(timed_out(id, config.timeout)),
        }
    }

    /// Kills the process and waits until it is gone.
    pub(super) async fn stop(mut self) {
        // An error means that it is gone already.
        drop(self.child.kill().await);
    }
}

/// Waits until the process asks for work.
async fn ready(phase: &mut watch::Receiver<Phase>) -> Result<(), FunctionError> {
    let reached = phase
        .wait_for(|phase| matches!(phase, Phase::Polling | Phase::InitFailed(_)))
        .await
        .map(|phase| phase.clone());
    match reached {
        Ok(Phase::InitFailed(error)) => Err(error),
        _ => Ok(()),
    }
}

fn timed_out(id: &str, limit: Duration) -> FunctionError {
    FunctionError {
        error_type: "Sandbox.Timedout".to_owned(),
        message: format!(
            "RequestId: {id} Error: Task timed out after {:.2} seconds",
            limit.as_secs_f64()
        ),
    }
}

fn exited(id: &str, exit: io::Result<ExitStatus>) -> FunctionError {
    let how = match exit {
        Ok(status) if status.success() => "Runtime exited without providing a reason".to_owned(),
        // The standard library spells it `exit status: 1`, Lambda without the colon.
        Ok(status) => {
            format!("Runtime exited with error: {}", status.to_string().replacen(": ", " ", 1))
        }
        Err(error) => format!("Runtime exited with error: {error}"),
    };
    FunctionError {
        error_type: "Runtime.ExitError".to_owned(),
        message: format!("RequestId: {id} Error: {how}"),
    }
}
