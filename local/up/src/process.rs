//! Child processes that never outlive this one.
//!
//! Every child asks the kernel (through `setpriv --pdeathsig`) to be killed when its parent dies.
//! The kernel means the parent *thread*, and a test's thread ends long before a server that
//! several tests share, so all children are started by one thread that lives as long as we do.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::Error;

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Who a child runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// As we do.
    Same,
    /// As nobody when we are root (PostgreSQL and PgBouncer refuse root), else as we do.
    Unprivileged,
}

/// The user and group id of `nobody` on Linux.
const NOBODY: u32 = 65_534;

/// Whether a child started with [`User::Unprivileged`] changes its user.
fn drops_privileges() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a file or folder to the user that [`User::Unprivileged`] children run as.
pub(crate) fn give_to_unprivileged(path: &Path) -> Result<(), Error> {
    if drops_privileges() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
            .map_err(Error::io(format_args!("give {} to nobody", path.display())))?;
    }
    Ok(())
}

/// A command for `program` that dies with us. Add arguments, environment and streams to it, then
/// [`Process::start`] it.
#[must_use]
pub fn command(program: &Path, user: User) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if user == User::Unprivileged && drops_privileges() {
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    // A group of its own: Ctrl-C in a terminal is for us, and we stop the children in our order.
    command.process_group(0);
    command
}

/// A child process; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts what [`command`] made. `name` is what errors call it.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(name: &str, command: Command) -> Result<Self, Error> {
        let (answer, result) = mpsc::channel();
        let gone = || Error::Failed("the thread that starts programs is gone".to_owned());
        spawner()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send((command, answer))
            .map_err(|_| gone())?;
        match result.recv().map_err(|_| gone())? {
            Ok(child) => Ok(Self { name: name.to_owned(), child }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(Error::Missing {
                what: "setpriv".to_owned(),
                install: "apt-get install util-linux".to_owned(),
            }),
            Err(source) => Err(Error::Io { doing: format!("start {name}"), source }),
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, to take its streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When the system refuses to tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::io(format_args!("wait for {}", self.name)))
    }

    /// Sends a signal. A process that is already gone is fine.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        signal_pid(self.id(), signal)
    }

    /// Waits until it has ended, at most `limit`; `None` when it is still there.
    ///
    /// # Errors
    /// When the system refuses to tell.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks with `signal`, waits `grace`, then kills.
    ///
    /// # Errors
    /// When it is still there after a kill.
    pub fn stop(&mut self, signal: Signal, grace: Duration) -> Result<(), Error> {
        self.signal(signal)?;
        if self.wait(grace)?.is_none() {
            self.signal(Signal::KILL)?;
            self.wait(Duration::from_secs(10))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it is gone already, which is all a drop wants.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal to a process id; one that is gone is fine.
pub(crate) fn signal_pid(pid: u32, signal: Signal) -> Result<(), Error> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(target) = raw else {
        return Err(Error::Failed(format!("{pid} is no process id")));
    };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => {
            Err(Error::Io { doing: format!("signal process {pid}"), source: errno.into() })
        }
    }
}

/// The ids of the direct children of `pid`.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| parent_of(*id) == Some(pid))
        .collect()
}

/// The parent's process id, from `/proc/<pid>/stat`; the name before it may hold any character.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A TCP port on 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::io("find a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("find a free port"))?.port())
}

fn spawner() -> &'static Mutex<mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (send, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                // Nobody waits for the answer any more: the child is dropped, and that is fine.
                answer.send(command.spawn()).ok();
            }
        });
        Mutex::new(send)
    })
}
