//! The real pg-boss package, any version of it, driven from Rust.
//!
//! A small Node program (`driver.mjs`) reads one request per line and answers one line; it calls
//! the package's own functions, so what ends up in the tables is what the package put there.

mod npm;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Process, Signal, User, command};
use crate::{Error, paths};

pub(crate) use npm::{npm, npm_install};

/// What `make up` runs unless told otherwise: the version the workers' lock file names.
pub const DEFAULT_VERSION: &str = "12.13.0";

const DRIVER: &str = include_str!("driver.mjs");

/// An installed pg-boss.
#[derive(Debug, Clone)]
pub struct Package {
    version: String,
    folder: PathBuf,
}

/// Installs pg-boss `version` (exact, such as `10.4.2`) with npm, once; later calls find it.
///
/// # Errors
/// When npm fails, with what it printed.
pub fn install(version: &str) -> Result<Package, Error> {
    let folder = npm_install("pg-boss", version)?;
    Ok(Package { version: version.to_owned(), folder })
}

impl Package {
    /// The version that was asked for.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Starts the package against a database, which creates or migrates its schema `pgboss`.
    ///
    /// `url` is a connection string with a password, `ca_file` the authority of the server's
    /// certificate. Supervision and scheduling stay off: nothing changes behind a test's back.
    ///
    /// # Errors
    /// When the driver does not start, or pg-boss refuses the database.
    pub fn start(&self, url: &str, ca_file: &Path) -> Result<Boss, Error> {
        let driver = self.folder.join("driver.mjs");
        npm::write_atomically(&driver, DRIVER)?;
        let mut command = command(&paths::node_tool("node")?, User::Same);
        command
            .arg(&driver)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut process = Process::start("the pg-boss driver", command)?;
        let streams = process.child().stdin.take().zip(process.child().stdout.take());
        let (input, output) =
            streams.ok_or_else(|| Error::Failed("the pg-boss driver has no streams".to_owned()))?;
        let mut boss = Boss { process, input, output: BufReader::new(output) };
        // By the pipe, not as an argument: a command line is public.
        boss.call("start", json!({ "url": url, "caFile": ca_file, "version": self.version }))?;
        Ok(boss)
    }
}

/// A running pg-boss; killed on drop.
#[derive(Debug)]
pub struct Boss {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Boss {
    /// The number in `pgboss.version`.
    ///
    /// # Errors
    /// When the driver ended, or answers something else than a number.
    pub fn schema_version(&mut self) -> Result<i64, Error> {
        let answer = self.call("schemaVersion", json!({}))?;
        answer.as_i64().ok_or_else(|| unexpected("schemaVersion", &answer))
    }

    /// Creates a queue; pg-boss 9 needs none, so there it does nothing.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn create_queue(&mut self, queue: &str, options: Value) -> Result<(), Error> {
        self.call("createQueue", json!({ "queue": queue, "options": options })).map(drop)
    }

    /// Sends one job; its id, or `None` when pg-boss declined it (a throttled singleton).
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn send(
        &mut self,
        queue: &str,
        data: Value,
        options: Value,
    ) -> Result<Option<String>, Error> {
        let answer =
            self.call("send", json!({ "queue": queue, "data": data, "options": options }))?;
        match answer {
            Value::Null => Ok(None),
            Value::String(id) => Ok(Some(id)),
            other => Err(unexpected("send", &other)),
        }
    }

    /// Inserts `count` equal jobs in batches. `options` are columns of a job, such as
    /// `{"priority": 3}`.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn insert(
        &mut self,
        queue: &str,
        count: u32,
        data: Value,
        options: Value,
    ) -> Result<(), Error> {
        self.call(
            "insert",
            json!({ "queue": queue, "count": count, "data": data, "options": options }),
        )
        .map(drop)
    }

    /// Claims up to `count` jobs, which makes them active; their ids.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn fetch(&mut self, queue: &str, count: u32) -> Result<Vec<String>, Error> {
        let answer = self.call("fetch", json!({ "queue": queue, "count": count }))?;
        serde_json::from_value(answer)
            .map_err(|error| Error::Failed(format!("pg-boss driver: fetch: {error}")))
    }

    /// Completes active jobs.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn complete(&mut self, queue: &str, ids: &[String]) -> Result<(), Error> {
        self.on_jobs("complete", queue, ids)
    }

    /// Fails active jobs; with retries left they become `retry`.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn fail(&mut self, queue: &str, ids: &[String]) -> Result<(), Error> {
        self.on_jobs("fail", queue, ids)
    }

    /// Puts failed jobs back (`boss.retry`, from pg-boss 10 on).
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn retry(&mut self, queue: &str, ids: &[String]) -> Result<(), Error> {
        self.on_jobs("retry", queue, ids)
    }

    /// Cancels jobs that have not finished.
    ///
    /// # Errors
    /// What pg-boss answered.
    pub fn cancel(&mut self, queue: &str, ids: &[String]) -> Result<(), Error> {
        self.on_jobs("cancel", queue, ids)
    }

    /// Stops gracefully.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(mut self) -> Result<(), Error> {
        self.call("stop", json!({}))?;
        self.process.stop(Signal::TERM, Duration::from_secs(5))
    }

    fn on_jobs(&mut self, name: &str, queue: &str, ids: &[String]) -> Result<(), Error> {
        self.call(name, json!({ "queue": queue, "ids": ids })).map(drop)
    }

    fn call(&mut self, name: &str, mut request: Value) -> Result<Value, Error> {
        request["call"] = name.into();
        let mut line = request.to_string();
        line.push('\n');
        self.input
            .write_all(line.as_bytes())
            .map_err(Error::io(format_args!("ask the pg-boss driver for {name}")))?;
        line.clear();
        self.output
            .read_line(&mut line)
            .map_err(Error::io(format_args!("read the pg-boss driver's answer to {name}")))?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| {
            Error::Failed(format!("pg-boss driver: no answer to {name}: {error}: {line}"))
        })?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(Error::Failed(format!("pg-boss: {name}: {error}"))),
            None => Ok(answer["ok"].take()),
        }
    }
}

fn unexpected(name: &str, answer: &Value) -> Error {
    Error::Failed(format!("pg-boss driver: {name} answered {answer}"))
}
