//! The life of a container's process: start, log, end, restart by policy, stop.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command as Spawn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::container::{Command, Container, Record, Status};
use crate::log::{LONGEST_LINE, Stream};
use crate::state::Shared;

/// Docker's: doubled by every restart, up to the longest, and forgotten after a run of ten seconds.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const LONG_RUN: Duration = Duration::from_secs(10);
/// A killed process is gone within this, unless the kernel holds it.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// Who left the group may hold its output open; nobody waits for that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What happens in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    Started {
        pid: u32,
    },
    /// It printed a line, here without its end.
    Line(String),
    Ended {
        exit_code: i32,
    },
}

/// Gets every happening, in order. It runs on the engines' thread, so it must not wait for an
/// engine.
pub type Observer = Arc<dyn Fn(&Container, Happening) + Send + Sync>;

/// A process that was started and is followed by nobody yet.
struct Started {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    began: Instant,
}

/// Starts the process of a created or ended container.
///
/// # Errors
/// Why it does not run, as Docker says it.
pub(crate) fn start(shared: &Arc<Shared>, record: &mut Record) -> Result<(), String> {
    record.turn += 1;
    record.stopped = false;
    let started = launch(shared, record)?;
    tokio::spawn(follow(Arc::clone(shared), record.id.clone(), record.turn, started));
    Ok(())
}

fn launch(shared: &Arc<Shared>, record: &mut Record) -> Result<Started, String> {
    let spawned = spawn(&record.command);
    let (mut child, pid) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            record.exit_code = 127;
            record.error.clone_from(&error);
            return Err(error);
        }
    };
    record.pid = Some(pid);
    record.exit_code = 0;
    record.error.clear();
    record.started = Some(Timestamp::now());
    record.set_status(Status::Running);
    let mut readers = Vec::new();
    if let Some(output) = child.stdout.take() {
        readers.push(tokio::spawn(read(
            Arc::clone(shared),
            record.id.clone(),
            Stream::Out,
            output,
        )));
    }
    if let Some(output) = child.stderr.take() {
        readers.push(tokio::spawn(read(
            Arc::clone(shared),
            record.id.clone(),
            Stream::Err,
            output,
        )));
    }
    Ok(Started { child, readers, began: Instant::now() })
}

fn spawn(command: &Command) -> Result<(Child, u32), String> {
    let word = command.words.first().map_or("", String::as_str);
    let Some((program, arguments)) = command.program.as_ref().filter(|(file, _)| file.is_file())
    else {
        return Err(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
             failed: unable to start container process: exec: {word:?}: executable file not found in $PATH: unknown"
        ));
    };
    // It becomes the program, with the same process id.
    let mut spawn = Spawn::new("setpriv");
    spawn
        .args(["--pdeathsig=KILL", "--"])
        .arg(program)
        .args(arguments)
        .args(command.words.iter().skip(1))
        .env_clear()
        .envs(&command.environment)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = spawn.spawn().map_err(|error| {
        format!(
            "failed to create task for container: setpriv (util-linux) cannot be started: {error}"
        )
    })?;
    let pid = child.id().ok_or("failed to create task for container: it ended before it began")?;
    Ok((child, pid))
}

async fn read(shared: Arc<Shared>, id: String, stream: Stream, output: impl AsyncRead + Unpin) {
    let mut output = BufReader::with_capacity(2048, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        // An output that breaks is an output that ended.
        if (&mut output).take(limit).read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(record) = shared.lock().by_id(&id) {
            record.log.push(stream, &line);
        }
        let text = String::from_utf8_lossy(&line);
        shared.tell(&id, Happening::Line(text.trim_end_matches('\n').to_owned()));
    }
}

/// Follows a container from its start to an end that is not followed by a restart.
async fn follow(shared: Arc<Shared>, id: String, turn: u64, mut started: Started) {
    let mut delay = FIRST_DELAY;
    loop {
        let pid = started.child.id();
        if let Some(pid) = pid {
            shared.tell(&id, Happening::Started { pid });
        }
        let exit_code = end_of(&mut started.child).await;
        if let Some(pid) = pid {
            // With its first process a container ends; who has left the group is beyond our reach.
            signal_group(pid, Signal::KILL);
        }
        for mut reader in started.readers {
            if tokio::time::timeout(LAST_WORDS, &mut reader).await.is_err() {
                reader.abort();
            }
        }
        if started.began.elapsed() >= LONG_RUN {
            delay = FIRST_DELAY;
        }
        let again = ended(&shared, &id, exit_code);
        shared.tell(&id, Happening::Ended { exit_code });
        if !again {
            return;
        }
        tokio::time::sleep(delay).await;
        delay = LONGEST_DELAY.min(delay * 2);
        let mut state = shared.lock();
        let Some(record) = state.by_id(&id) else { return };
        if record.turn != turn || record.status != Status::Restarting {
            return;
        }
        started = match launch(&shared, record) {
            Ok(started) => started,
            Err(_) => return record.set_status(Status::Exited),
        };
    }
}

/// Docker's exit code: 128 and the signal for a process that a signal ended.
async fn end_of(child: &mut Child) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    match child.wait().await {
        Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        Err(_) => 255,
    }
}

/// Notes an end; whether a restart is due.
fn ended(shared: &Shared, id: &str, exit_code: i32) -> bool {
    let mut state = shared.lock();
    let closing = state.closing;
    let Some(record) = state.by_id(id) else { return false };
    record.pid = None;
    record.exit_code = exit_code;
    record.finished = Some(Timestamp::now());
    let again =
        !closing && !record.stopped && record.policy.restarts(exit_code, record.restart_count);
    if again {
        record.restart_count += 1;
    }
    record.set_status(if again { Status::Restarting } else { Status::Exited });
    again
}

/// SIGTERM, and SIGKILL after `grace` (never for `None`); waits for the end. Whether there was
/// anything to stop.
pub(crate) async fn stop(shared: &Shared, id: &str, grace: Option<Duration>) -> bool {
    let Some(mut changes) = ask_to_end(shared, id, Signal::TERM) else { return false };
    let down = until_down(shared, id, &mut changes);
    match grace {
        None => down.await,
        Some(grace) => {
            if tokio::time::timeout(grace, down).await.is_err() {
                kill(shared, id).await;
            }
        }
    }
    true
}

/// SIGKILL, and waits for the end. Whether there was anything to kill.
pub(crate) async fn kill(shared: &Shared, id: &str) -> bool {
    let Some(mut changes) = ask_to_end(shared, id, Signal::KILL) else { return false };
    // One that the kernel does not let go is left to it.
    tokio::time::timeout(KILLED_WITHIN, until_down(shared, id, &mut changes)).await.ok();
    true
}

/// Sends the signal and forbids restarts; `None` when the container is not up.
pub(crate) fn ask_to_end(shared: &Shared, id: &str, signal: Signal) -> Option<watch::Receiver<()>> {
    let mut state = shared.lock();
    let record = state.by_id(id).filter(|record| record.status.is_up())?;
    let changes = record.changed.subscribe();
    record.stopped = true;
    match record.pid {
        Some(pid) => signal_process(pid, signal),
        None => {
            record.turn += 1;
            record.set_status(Status::Exited);
        }
    }
    Some(changes)
}

/// Waits until the container is down or gone.
pub(crate) async fn until_down(shared: &Shared, id: &str, changes: &mut watch::Receiver<()>) {
    loop {
        changes.borrow_and_update();
        let up = shared.lock().by_id(id).is_some_and(|record| record.status.is_up());
        if !up || changes.changed().await.is_err() {
            return;
        }
    }
}

/// One that is gone already is fine.
pub(crate) fn signal_process(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}

pub(crate) fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process_group(pid, signal).ok();
    }
}
