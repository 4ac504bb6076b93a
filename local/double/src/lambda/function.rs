//! A function: up to its concurrency of processes, started when they are needed and kept warm.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{Semaphore, broadcast, watch};

use super::config::FunctionConfig;
use super::environment::Environment;
use super::logs::{LogBuffer, LogLine};
use crate::ids::Ids;

/// An error the function reported, or the service for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{error_type}: {message}")]
pub struct FunctionError {
    /// `errorType`
    #[serde(rename = "errorType")]
    pub error_type: String,
    /// `errorMessage`
    #[serde(rename = "errorMessage")]
    pub message: String,
}

/// Why an invocation brought no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// As many invocations are running as the reserved concurrency allows.
    #[error("the function is throttled: its reserved concurrency is in use")]
    Throttled,
    /// The function failed, ran out of time or died.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The function was stopped.
    #[error("the function was stopped")]
    Stopped,
}

/// A Lambda function. Clones are the same function; the processes die with the last one or with
/// [`Function::stop`].
#[derive(Debug, Clone)]
pub struct Function(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: FunctionConfig,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Environment>>,
    logs: Arc<LogBuffer>,
    cold_starts: AtomicU64,
    ids: Mutex<Ids>,
    stopped: watch::Sender<bool>,
}

impl Function {
    /// Registers the function. Its first process starts with the first invocation.
    ///
    /// # Errors
    /// The binary is not a file, or a limit is out of Lambda's range.
    pub async fn start(mut config: FunctionConfig) -> io::Result<Self> {
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
        config.binary = tokio::fs::canonicalize(&config.binary).await.map_err(|e| {
            invalid(format!("binary {} of {}: {e}", config.binary.display(), config.name))
        })?;
        if !(1..=1000).contains(&config.concurrency) {
            return Err(invalid("concurrency must be between 1 and 1000".to_owned()));
        }
        if config.async_retries > 2 {
            return Err(invalid("async_retries must be between 0 and 2".to_owned()));
        }
        Ok(Self(Arc::new(Inner {
            permits: Arc::new(Semaphore::new(config.concurrency)),
            idle: Mutex::default(),
            logs: LogBuffer::new(),
            cold_starts: AtomicU64::new(0),
            ids: Mutex::new(Ids::new(seed_of(&config.name), 4)),
            stopped: watch::Sender::new(false),
            config,
        })))
    }

    /// What it was started from.
    #[must_use]
    pub fn config(&self) -> &FunctionConfig {
        &self.0.config
    }

    /// Processes started so far.
    #[must_use]
    pub fn cold_starts(&self) -> u64 {
        self.0.cold_starts.load(Ordering::SeqCst)
    }

    /// The last lines its processes printed.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.logs.lines()
    }

    /// The lines its processes print from now on.
    #[must_use]
    pub fn subscribe_logs(&self) -> broadcast::Receiver<LogLine> {
        self.0.logs.subscribe()
    }

    /// Runs the function on a JSON payload and returns its JSON response. The invocation goes on
    /// when this future is dropped, as it does on AWS when the caller hangs up.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, payload: &[u8]) -> Result<Vec<u8>, InvokeError> {
        let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() else {
            return Err(if self.is_stopped() {
                InvokeError::Stopped
            } else {
                InvokeError::Throttled
            });
        };
        let (inner, payload) = (Arc::clone(&self.0), payload.to_vec());
        let running = tokio::spawn(async move {
            let mut stopped = inner.stopped.subscribe();
            let outcome = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => Err(InvokeError::Stopped),
                outcome = inner.run(payload) => outcome.map_err(InvokeError::from),
            };
            drop(permit);
            outcome
        });
        running.await.unwrap_or(Err(InvokeError::Stopped))
    }

    /// Kills its processes; invocations, those that are running too, fail from now on. Idle
    /// processes are gone when it returns, busy ones have been killed.
    pub async fn stop(&self) {
        for environment in self.take_down() {
            environment.stop().await;
        }
    }

    /// [`Function::stop`] without waiting.
    pub(crate) fn shut(&self) {
        // Dropping a process kills it.
        drop(self.take_down());
    }

    fn take_down(&self) -> Vec<Environment> {
        self.0.stopped.send_replace(true);
        self.0.permits.close();
        std::mem::take(&mut *self.0.idle())
    }

    fn is_stopped(&self) -> bool {
        *self.0.stopped.borrow()
    }
}

impl Inner {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Environment>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One invocation in a warm process, or in a new one.
    async fn run(&self, payload: Vec<u8>) -> Result<Vec<u8>, FunctionError> {
        let (id, trace) = {
            let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            (ids.uuid(), ids.uuid().replace('-', ""))
        };
        let trace =
            format!("Root=1-{}-{};Parent={};Sampled=0", &trace[..8], &trace[8..], &trace[..16]);
        let mut environment = self.environment().await?;
        let outcome = environment.invoke(&self.config, &id, &trace, payload).await;
        match outcome {
            Ok(outcome) => {
                // Under the lock, so that a stop either sees this process or is seen here.
                let mut idle = self.idle();
                if !*self.stopped.borrow() {
                    idle.push(environment);
                }
                outcome
            }
            // The process died, hangs or could not start: the next invocation gets a new one.
            Err(error) => {
                environment.stop().await;
                Err(error)
            }
        }
    }

    async fn environment(&self) -> Result<Environment, FunctionError> {
        loop {
            let warm = self.idle().pop();
            let Some(mut environment) = warm else { break };
            if environment.is_alive() {
                return Ok(environment);
            }
        }
        let number = self.cold_starts.fetch_add(1, Ordering::SeqCst) + 1;
        let stream = format!("[$LATEST]{number:032x}");
        Environment::start(&self.config, &stream, &self.logs).await.map_err(|e| FunctionError {
            error_type: "Runtime.InvalidEntrypoint".to_owned(),
            message: format!("Error: {e}"),
        })
    }
}

/// The same function name gives the same request ids in every run.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
