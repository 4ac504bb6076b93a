//! What runs a command on a host: a function of the embedder, a real shell, or a script of answers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::account::lock;
use crate::commands::CommandOutput;

/// One delivery of a command to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRun {
    /// `CommandId`
    pub command_id: String,
    /// The host.
    pub instance: String,
    /// The document's name.
    pub document: String,
    /// The sender's comment.
    pub comment: String,
    /// The document's parameters, those with a default included.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// `runCommand` with the parameters filled in, joined by line ends.
    pub script: String,
    /// `workingDirectory`, when there is one.
    pub directory: Option<String>,
    /// The step's time limit. The double enforces it.
    pub timeout: Duration,
    /// 1, or 2 for the second delivery of the same command.
    pub delivery: u32,
}

/// The end of a run, as a boxed future.
pub type CommandFuture = Pin<Box<dyn Future<Output = CommandOutput> + Send>>;

/// Runs commands on hosts. Any function from [`CommandRun`] to a future of [`CommandOutput`] is
/// one.
pub trait CommandRunner: Send + Sync {
    /// Runs one delivery. Dropping the future means that the agent killed the command (cancel, time
    /// limit, its own death).
    ///
    /// On a manual clock the double waits for the future before it moves the clock, so the future
    /// must not wait for that clock: time that passes there is [`CommandOutput::took`].
    fn run(&self, run: CommandRun) -> CommandFuture;
}

impl<F, R> CommandRunner for F
where
    F: Fn(CommandRun) -> R + Send + Sync,
    R: Future<Output = CommandOutput> + Send + 'static,
{
    fn run(&self, run: CommandRun) -> CommandFuture {
        Box::pin(self(run))
    }
}

/// Really runs the script, by `/bin/sh` in a process group of its own, as the agent does on a host.
///
/// The values of its environment are left out of Debug.
#[derive(Clone, Default)]
pub struct ShellRunner {
    env: BTreeMap<String, String>,
    clear: bool,
}

impl fmt::Debug for ShellRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("ShellRunner").field("env", &names).field("clear", &self.clear).finish()
    }
}

impl ShellRunner {
    /// A shell with this process's environment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable: where the host's programs are, which socket is its own.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Leaves out this process's environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.clear = true;
        self
    }
}

/// Kills a process group when the run is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error means that all of them are gone already.
            let _gone = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl CommandRunner for ShellRunner {
    fn run(&self, run: CommandRun) -> CommandFuture {
        let mut command = tokio::process::Command::new("/bin/sh");
        if self.clear {
            command.env_clear();
        }
        command
            .arg("-c")
            .arg(&run.script)
            .envs(&self.env)
            .env("SSM_COMMAND_ID", &run.command_id)
            .env("AWS_SSM_INSTANCE_ID", &run.instance)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &run.directory {
            command.current_dir(directory);
        }
        Box::pin(async move {
            let child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    return CommandOutput::exit(-1)
                        .stderr(format!("cannot start /bin/sh: {error}"));
                }
            };
            let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let mut group = Group(leader);
            let ended = child.wait_with_output().await;
            group.0 = None;
            match ended {
                Ok(output) => CommandOutput::exit(output.status.code().unwrap_or(-1))
                    .stdout(String::from_utf8_lossy(&output.stdout))
                    .stderr(String::from_utf8_lossy(&output.stderr)),
                Err(error) => {
                    CommandOutput::exit(-1).stderr(format!("the output cannot be read: {error}"))
                }
            }
        })
    }
}

/// A runner that answers with the given outputs in their order; the last one stays. None given,
/// everything succeeds.
#[must_use]
pub fn scripted(outputs: Vec<CommandOutput>) -> impl CommandRunner {
    let left = Mutex::new(VecDeque::from(outputs));
    move |_| {
        let mut left = lock(&left);
        let output = if left.len() > 1 { left.pop_front() } else { left.front().cloned() };
        std::future::ready(output.unwrap_or_else(|| CommandOutput::exit(0)))
    }
}

/// Who runs commands where.
#[derive(Default)]
pub(crate) struct Runners {
    all: Option<Arc<dyn CommandRunner>>,
    one: BTreeMap<String, Arc<dyn CommandRunner>>,
}

impl Runners {
    /// Gives a runner to one instance, or to all that have none of their own.
    pub(crate) fn set(&mut self, instance: Option<&str>, runner: Arc<dyn CommandRunner>) {
        match instance {
            Some(id) => {
                self.one.insert(id.to_owned(), runner);
            }
            None => self.all = Some(runner),
        }
    }

    pub(crate) fn get(&self, instance: &str) -> Option<Arc<dyn CommandRunner>> {
        self.one.get(instance).or(self.all.as_ref()).cloned()
    }
}
