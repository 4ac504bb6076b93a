//! The walk: acts while it lists, so that it needs the same memory for a million files as for ten,
//! and goes on where an earlier one was stopped.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::Target;
use super::files::{AgeRule, Entry, FilePlan, FileResult, is_mount_point};
use super::open_files::OpenFiles;
use super::wire::Places;

/// Deeper trees are reported, not descended into: each level holds two file descriptors.
const DEEPEST: usize = 64;
/// So many levels the place has at which a run stops: those below the root, and the root.
pub(super) const MOST_LEVELS: usize = DEEPEST + 1;
/// Files that are looked at before any of them is acted on; at least so many in every run.
const BATCH: usize = 1024;
/// One file may not use up the time of all the others, run after run.
const LONGEST_FILE: Duration = Duration::from_secs(30);

/// Whether the work on files has to stop, and where it stopped.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) places: Places,
}

/// Tells a copy when to give up.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    stop: Arc<AtomicBool>,
    until: Instant,
}

/// What is done to one file.
pub(super) type Act = fn(BorrowedFd<'_>, &Entry, &Limit) -> FileResult;

/// What to do with a batch, and how to do it to one file.
pub(super) struct Work<'a> {
    pub(super) rule: AgeRule,
    pub(super) open: &'a OpenFiles,
    pub(super) plan: fn(Vec<Entry>, AgeRule, &OpenFiles) -> FilePlan,
    pub(super) act: Act,
}

impl Limit {
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] or [`io::ErrorKind::Interrupted`] once it is time to give up.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up: the server ends"));
        }
        if Instant::now() >= self.until {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "given up for this run: one file may take 30 s, and all of them the time of the cleanup",
            ));
        }
        Ok(())
    }
}

/// Walks `root`, plans batch by batch, and acts on the plan unless this is a dry run. It ends after
/// `within` or when `course` says so, and the next run goes on there.
pub(super) fn clean(
    target: &str,
    root: &Path,
    dry_run: bool,
    within: Duration,
    course: &mut Course,
    work: &Work<'_>,
) -> Target {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags, Mode::empty())
        .and_then(|folder| Ok((rustix::fs::fstat(&folder)?.st_dev, folder)));
    let (device, folder) = match opened {
        Ok(opened) => opened,
        Err(Errno::NOENT) => {
            return Target::skipped(target, format!("there is no folder {}", root.display()));
        }
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Target::failed(
                target,
                format!("{} is not a folder but a link or a file", root.display()),
            );
        }
        Err(errno) => return Target::failed(target, format!("{}: {errno}", root.display())),
    };
    // A dry run does nothing, and so comes no further either.
    let resume = if dry_run { None } else { course.places.remove(target) };
    let mut sweep = Sweep {
        target: Target::new(target),
        device,
        began: Instant::now(),
        within,
        dry_run,
        resume: resume.unwrap_or_default(),
        place: Vec::new(),
        looked_at: 0,
        left_folder: false,
        stop: &course.stop,
        work,
    };
    let flow = sweep.folder(folder, root, 0);
    let Sweep { target: done, place, .. } = sweep;
    if flow.is_break() && !dry_run {
        course.places.insert(target.to_owned(), place);
    }
    done
}

struct Sweep<'a> {
    target: Target,
    device: u64,
    began: Instant,
    within: Duration,
    dry_run: bool,
    /// Where the run before stopped; emptied once that place is reached.
    resume: Vec<i64>,
    /// Where this run is: for each level, the place of its listing before the current entry.
    place: Vec<i64>,
    looked_at: u64,
    /// The entry just read was a folder that is done.
    left_folder: bool,
    stop: &'a Arc<AtomicBool>,
    work: &'a Work<'a>,
}

type Flow = std::ops::ControlFlow<()>;

impl Sweep<'_> {
    fn folder(&mut self, folder: OwnedFd, path: &Path, depth: usize) -> Flow {
        let mut listing = match Dir::read_from(&folder) {
            Ok(listing) => listing,
            Err(error) => return self.fail(path, &error),
        };
        let from = self.resume.get(depth).copied();
        if let Some(from) = from
            && let Err(error) = listing.seek(from)
        {
            // The folder changed altogether: from its beginning, then.
            self.resume.clear();
            tracing::debug!(error = %error, "a folder cannot be listed from where the cleanup stopped");
            listing.rewind();
        }
        // The last level of the place: everything below is new again.
        if self.resume.len() <= depth + 1 {
            self.resume.clear();
        }
        self.place.push(from.unwrap_or(0));
        let mut batch = Vec::new();
        loop {
            let (name, next) = match listing.read() {
                Some(Ok(found)) => (found.file_name().to_owned(), found.offset()),
                None => break,
                Some(Err(error)) => {
                    self.note(path, &error);
                    break;
                }
            };
            let flow = self.entry(&folder, path, name, &mut batch, depth);
            if flow.is_continue() {
                // Only the first entry of each level leads to where the run before stopped.
                self.resume.clear();
                self.place.truncate(depth + 1);
                self.place[depth] = next;
            }
            flow?;
            let full = batch.len() >= BATCH;
            if full {
                self.act(&folder, path, &mut batch);
            }
            if full || std::mem::take(&mut self.left_folder) {
                self.check(path)?;
            }
        }
        self.act(&folder, path, &mut batch);
        self.place.truncate(depth);
        Flow::Continue(())
    }

    /// One name of a folder: a file joins the batch, a folder is gone through.
    fn entry(
        &mut self,
        folder: &OwnedFd,
        path: &Path,
        name: CString,
        batch: &mut Vec<Entry>,
        depth: usize,
    ) -> Flow {
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            return Flow::Continue(());
        }
        self.looked_at += 1;
        let stat = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Flow::Continue(()),
            Err(errno) => return self.fail(&join(path, &name), &errno),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => batch.push(Entry::from_stat(&name, &stat)),
            FileType::Directory => {
                let inner = join(path, &name);
                // Only of folders: a file's device number is not its folder's on an overlay.
                if stat.st_dev != self.device {
                    return Flow::Continue(());
                }
                match is_mount_point(folder.as_fd(), &name) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.target.keep(shown(&inner), "something else is mounted there");
                        return Flow::Continue(());
                    }
                    Err(error) => return self.fail(&inner, &error),
                }
                if depth == DEEPEST {
                    self.target
                        .fail(format!("{} is more than {DEEPEST} folders deep", inner.display()));
                    return Flow::Continue(());
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(folder, &name, flags, Mode::empty()) {
                    Ok(opened) => {
                        // What is ready to be acted on here is not kept while folders are gone
                        // through, of which there may be many.
                        self.act(folder, path, batch);
                        self.folder(opened, &inner, depth + 1)?;
                        self.left_folder = true;
                    }
                    // It went away or became a link: neither is ours to follow.
                    Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
                    Err(errno) => return self.fail(&inner, &errno),
                }
            }
            _ => {}
        }
        Flow::Continue(())
    }

    /// Plans the batch and acts on it.
    fn act(&mut self, folder: &OwnedFd, path: &Path, batch: &mut Vec<Entry>) {
        if batch.is_empty() {
            return;
        }
        let plan = (self.work.plan)(std::mem::take(batch), self.work.rule, self.work.open);
        for (entry, reason) in &plan.kept {
            self.target.keep(shown(&join(path, &entry.name)), *reason);
        }
        for entry in &plan.go {
            if self.dry_run {
                self.target.add(entry.freed());
                continue;
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            match is_mount_point(folder.as_fd(), &entry.name) {
                Ok(false) => {}
                Ok(true) => {
                    let path = shown(&join(path, &entry.name));
                    self.target.keep(path, "something else is mounted there");
                    continue;
                }
                Err(error) => {
                    self.note(&join(path, &entry.name), &error);
                    continue;
                }
            }
            // What comes too late for this run is given up at once, and is the next one's.
            let until = (self.began + self.within).min(Instant::now() + LONGEST_FILE);
            let limit = Limit { stop: Arc::clone(self.stop), until };
            let path = join(path, &entry.name);
            match (self.work.act)(folder.as_fd(), entry, &limit) {
                Ok(Some(freed)) => self.target.add(freed),
                Ok(None) => self.target.keep(shown(&path), "it changed meanwhile"),
                Err(error) => {
                    self.note(&path, &error);
                }
            }
        }
    }

    fn check(&mut self, path: &Path) -> Flow {
        let looked_at = self.looked_at;
        if self.stop.load(Ordering::Relaxed) {
            self.target.fail(format!(
                "stopped in {} after {looked_at} entries because the server ends",
                path.display()
            ));
            return Flow::Break(());
        }
        if self.began.elapsed() >= self.within {
            self.target.fail(format!(
                "not finished within {} s: stopped in {} after {looked_at} entries; the next run goes on there",
                self.within.as_secs(),
                path.display()
            ));
            return Flow::Break(());
        }
        Flow::Continue(())
    }

    /// Notes a failure; the walk goes on beside it.
    fn fail(&mut self, path: &Path, error: &dyn std::fmt::Display) -> Flow {
        self.note(path, error);
        Flow::Continue(())
    }

    fn note(&mut self, path: &Path, error: &dyn std::fmt::Display) {
        self.target.fail(format!("{}: {error}", path.display()));
    }
}

fn join(folder: &Path, name: &CStr) -> PathBuf {
    folder.join(name.to_string_lossy().as_ref())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
