//! The stand-in worker (`local/worker`) as a process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use crate::pgboss::npm;
use crate::process::{Process, Signal, User, command};
use crate::{Error, paths};

/// How long a worker may take until it listens: it registers first, with two repetitions.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the worker's HTTP interface can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Contract {
    /// As the old worker, which goes on claiming after a drain.
    #[default]
    Old,
    /// Also `accepting` and `deploy_id`, a resume, and a drain that stops claiming.
    Full,
}

/// The database a worker takes its jobs from.
#[derive(Debug, Clone)]
pub struct Source {
    /// A connection string with a password.
    pub url: String,
    /// The authority of the server's certificate.
    pub ca_file: PathBuf,
}

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name in the registry and in its own queue; on a site that is the instance's id.
    pub id: String,
    /// The contract of its HTTP interface.
    pub contract: Contract,
    /// Where its jobs come from; without it, from `POST /standin/job`.
    pub source: Option<Source>,
    /// How often it writes its row of the registry.
    pub heartbeat: Duration,
    /// How long it waits when there was no job.
    pub poll: Duration,
    /// Further variables, such as `EC2_INSTANCE_ID`, `EC2_IP`, `AWS_ASG_NAME`,
    /// `GHOSTHANDS_DEPLOY_ID`.
    pub environment: Vec<(String, String)>,
}

/// What a worker reports on its standard output.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// It is registered and answers HTTP.
    Listening {
        /// Its port on 127.0.0.1.
        port: u16,
    },
    /// It took a job.
    Claimed {
        /// The job's id.
        job: String,
        /// The queue, unless the job came over HTTP.
        queue: Option<String>,
        /// How long it will run.
        seconds: f64,
    },
    /// It ran a job to its end.
    Finished {
        /// The job's id.
        job: String,
    },
    /// It ended with the job unfinished: given up at its stop, or killed.
    Interrupted {
        /// The job's id.
        job: String,
    },
    /// It was told to drain.
    Draining {
        /// Jobs running at that moment.
        active_jobs: u32,
    },
    /// It was told to go on.
    Resumed {
        /// Jobs running at that moment.
        active_jobs: u32,
    },
    /// It ended in an orderly way.
    Stopped,
}

/// A running worker; killed on drop.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    port: u16,
}

/// Installs what a worker with a database needs, as its lock file says; once, later calls find it.
///
/// # Errors
/// When npm fails, with what it printed.
pub fn install() -> Result<(), Error> {
    let folder = folder();
    let wanted = folder.join("package-lock.json");
    // npm leaves the list of what it installed beside it.
    let done = folder.join("node_modules/.package-lock.json");
    let current = || {
        let time = |file: &PathBuf| std::fs::metadata(file).and_then(|m| m.modified()).ok();
        time(&done).zip(time(&wanted)).is_some_and(|(done, wanted)| done >= wanted)
    };
    if current() {
        return Ok(());
    }
    let cache = paths::cache();
    std::fs::create_dir_all(&cache).map_err(Error::io("create the cache"))?;
    let lock = File::create(cache.join("worker.lock")).map_err(Error::io("create a lock"))?;
    lock.lock().map_err(Error::io("lock the worker's folder"))?;
    if current() { Ok(()) } else { npm(&["ci"], &folder) }
}

fn folder() -> PathBuf {
    paths::repository().join("local/worker")
}

impl Worker {
    /// Starts a worker and waits until it listens. `report` gets every later event, in order, on
    /// a thread of its own; a job that is cut off by the worker's death is reported too.
    ///
    /// # Errors
    /// When it does not start, or does not listen in time.
    pub fn start(
        options: &Options,
        report: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        let name = format!("worker {}", options.id);
        let mut command = command(&paths::node_tool("node")?, User::Same);
        command
            .arg(folder().join("worker.mjs"))
            .args(["--worker-id", &options.id, "--port", "0"])
            .args(["--heartbeat-seconds", &options.heartbeat.as_secs_f64().to_string()])
            .args(["--poll-seconds", &options.poll.as_secs_f64().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        if options.contract == Contract::Full {
            command.args(["--contract", "full"]);
        }
        match &options.source {
            Some(source) => {
                install()?;
                // By the environment, not as an argument: a command line is public.
                command.env("DATABASE_URL", &source.url).env("DATABASE_CA", &source.ca_file);
            }
            None => {
                command.arg("--no-queue");
            }
        }
        command.envs(options.environment.iter().cloned());
        let mut process = Process::start(&name, command)?;
        let output = process
            .child()
            .stdout
            .take()
            .ok_or_else(|| Error::Failed(format!("{name} has no standard output")))?;
        let (listening, port) = mpsc::channel();
        std::thread::spawn(move || follow(output, &listening, report));
        let port = port
            .recv_timeout(START_LIMIT)
            .map_err(|_| Error::Failed(format!("{name} does not listen")))?;
        Ok(Self { process, port })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end: it finishes its job if that takes at most ten seconds.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn terminate(&self) -> Result<(), Error> {
        self.process.signal(Signal::TERM)
    }

    /// Waits until it has ended, at most `limit`; whether it has.
    ///
    /// # Errors
    /// When the system refuses to tell.
    pub fn wait(&mut self, limit: Duration) -> Result<bool, Error> {
        Ok(self.process.wait(limit)?.is_some())
    }
}

fn follow(output: ChildStdout, listening: &mpsc::Sender<u16>, mut report: impl FnMut(Event)) {
    let mut running = None;
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        match &event {
            Event::Listening { port } => {
                // Nobody waits any more when the start took too long; the worker is killed then.
                listening.send(*port).ok();
                continue;
            }
            Event::Claimed { job, .. } => running = Some(job.clone()),
            Event::Finished { .. } | Event::Interrupted { .. } => running = None,
            Event::Draining { .. } | Event::Resumed { .. } | Event::Stopped => {}
        }
        report(event);
    }
    if let Some(job) = running {
        report(Event::Interrupted { job });
    }
}
