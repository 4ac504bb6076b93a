//! Removing old files below a folder, without ever leaving it.
//!
//! Every folder is opened relative to its parent and never through a link, so a link planted while
//! the walk is under way leads nowhere. Other file systems mounted below are left alone, as is
//! everything that is not a plain file.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::Target;
use super::open_files::OpenFiles;

/// Deeper trees are reported, not descended into: each level holds a file descriptor.
const DEEPEST: usize = 64;
const MOST_ENTRIES: u64 = 500_000;
const LONGEST: Duration = Duration::from_secs(120);

/// A plain file as the walk saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in its folder.
    pub(super) name: CString,
    pub(super) id: FileId,
    /// Blocks on disk, in bytes.
    pub(super) bytes: u64,
    pub(super) is_linked_elsewhere: bool,
    pub(super) size: i64,
    pub(super) modified_ms: i64,
}

/// What a file is, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Files last written more than `age_ms` before `now_ms` are old.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) now_ms: i64,
    pub(super) age_ms: i64,
}

/// What to do in one folder.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) go: Vec<Entry>,
    pub(super) kept: Vec<(Entry, &'static str)>,
}

/// What acting on a file did: the bytes it freed, or `None` where the file had changed meanwhile
/// and was left.
pub(super) type Outcome = io::Result<Option<u64>>;

impl Entry {
    pub(super) fn from_stat(name: &CStr, stat: &Stat) -> Self {
        let modified_ms = stat
            .st_mtime
            .saturating_mul(1000)
            .saturating_add(i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or(0));
        Self {
            name: name.to_owned(),
            id: FileId::of(stat),
            bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            is_linked_elsewhere: stat.st_nlink > 1,
            size: stat.st_size,
            modified_ms,
        }
    }

    /// What removing this name gives back: nothing while another name of the file remains.
    pub(super) fn freed(&self) -> u64 {
        if self.is_linked_elsewhere { 0 } else { self.bytes }
    }

    /// Whether the file of this name in `folder` is still this one, unwritten since.
    pub(super) fn is_unchanged(&self, folder: BorrowedFd<'_>) -> io::Result<bool> {
        match statat(folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let now = Self::from_stat(&self.name, &stat);
                Ok(now.id == self.id
                    && now.modified_ms == self.modified_ms
                    && now.size == self.size)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl FileId {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Rule {
    pub(super) fn is_old(self, entry: &Entry) -> bool {
        self.now_ms.saturating_sub(entry.modified_ms) > self.age_ms
    }
}

/// Old files go, except those a process still has open.
pub(super) fn plan(entries: Vec<Entry>, rule: Rule, open: &OpenFiles) -> Plan {
    let mut plan = Plan::default();
    for entry in entries.into_iter().filter(|entry| rule.is_old(entry)) {
        if open.contains(entry.id) {
            plan.kept.push((entry, "a process has it open"));
        } else {
            plan.go.push(entry);
        }
    }
    plan
}

/// Removes one planned file, if it is still the one that was planned.
pub(super) fn remove(folder: BorrowedFd<'_>, entry: &Entry) -> Outcome {
    if !entry.is_unchanged(folder)? {
        return Ok(None);
    }
    match unlinkat(folder, &entry.name, AtFlags::empty()) {
        Ok(()) => Ok(Some(entry.freed())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Walks `root`, plans folder by folder, and acts on the plan unless this is a dry run.
pub(super) fn clean(
    target: &'static str,
    root: &Path,
    dry_run: bool,
    plan: &dyn Fn(Vec<Entry>) -> Plan,
    act: &dyn Fn(BorrowedFd<'_>, &Entry) -> Outcome,
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
    let mut sweep = Sweep {
        target: Target::new(target),
        device,
        entries: 0,
        deadline: Instant::now() + LONGEST,
        dry_run,
        plan,
        act,
    };
    sweep.folder(folder, root.to_owned(), 0);
    sweep.target
}

struct Sweep<'a> {
    target: Target,
    device: u64,
    entries: u64,
    deadline: Instant,
    dry_run: bool,
    plan: &'a dyn Fn(Vec<Entry>) -> Plan,
    act: &'a dyn Fn(BorrowedFd<'_>, &Entry) -> Outcome,
}

impl Sweep<'_> {
    fn folder(&mut self, folder: OwnedFd, path: PathBuf, depth: usize) {
        let (files, folders) = match self.list(&folder) {
            Ok(listed) => listed,
            Err(error) => return self.target.fail(format!("{}: {error}", path.display())),
        };
        let plan = (self.plan)(files);
        for (entry, reason) in &plan.kept {
            self.target.keep(display(&path, &entry.name), *reason);
        }
        for entry in &plan.go {
            if self.is_over() {
                return;
            }
            if self.dry_run {
                self.target.add(entry.freed());
                continue;
            }
            match (self.act)(folder.as_fd(), entry) {
                Ok(Some(freed)) => self.target.add(freed),
                Ok(None) => self.target.keep(display(&path, &entry.name), "it changed meanwhile"),
                Err(error) => self.target.fail(format!("{}: {error}", display(&path, &entry.name))),
            }
        }
        for name in folders {
            if self.is_over() {
                return;
            }
            let inner = path.join(name.to_string_lossy().as_ref());
            if depth == DEEPEST {
                self.target
                    .fail(format!("{} is more than {DEEPEST} folders deep", inner.display()));
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&folder, &name, flags, Mode::empty()) {
                Ok(fd) => self.folder(fd, inner, depth + 1),
                // It went away or became a link: neither is ours to follow.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
                Err(errno) => self.target.fail(format!("{}: {errno}", inner.display())),
            }
        }
    }

    /// Plain files and folders of one folder, on the file system of the root.
    fn list(&mut self, folder: &OwnedFd) -> io::Result<(Vec<Entry>, Vec<CString>)> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for found in Dir::read_from(folder)? {
            let found = found?;
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries += 1;
            let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => files.push(Entry::from_stat(name, &stat)),
                // Only of folders: a file's device number is not its folder's on an overlay.
                FileType::Directory if stat.st_dev == self.device => folders.push(name.to_owned()),
                _ => {}
            }
        }
        Ok((files, folders))
    }

    fn is_over(&mut self) -> bool {
        if self.entries > MOST_ENTRIES {
            self.target.fail(format!("stopped after {MOST_ENTRIES} entries; the next run goes on"));
            return true;
        }
        if Instant::now() > self.deadline {
            self.target
                .fail(format!("stopped after {} s; the next run goes on", LONGEST.as_secs()));
            return true;
        }
        false
    }
}

fn display(folder: &Path, name: &CStr) -> String {
    folder.join(name.to_string_lossy().as_ref()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = super::super::HOUR_MS;

    fn entry(name: &CStr, inode: u64, modified_ms: i64) -> Entry {
        Entry {
            name: name.to_owned(),
            id: FileId { device: 1, inode },
            bytes: 4096,
            is_linked_elsewhere: false,
            size: 1,
            modified_ms,
        }
    }

    #[test]
    fn a_day_is_a_day_and_not_two() {
        let rule = Rule { now_ms: 100 * HOUR, age_ms: 24 * HOUR };
        let ages = [
            (c"young", 24 * HOUR),
            (c"just_old", 24 * HOUR + 1),
            (c"older", 25 * HOUR),
            (c"future", -HOUR),
        ];
        let entries = ages.iter().map(|(name, age)| entry(name, 1, rule.now_ms - age)).collect();
        let plan = plan(entries, rule, &OpenFiles::default());
        let names: Vec<_> =
            plan.go.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["just_old", "older"]);
        assert!(plan.kept.is_empty());
    }

    #[test]
    fn an_open_file_stays_and_is_reported() {
        let open = OpenFiles::of([FileId { device: 1, inode: 7 }]);
        let rule = Rule { now_ms: 100 * HOUR, age_ms: HOUR };
        let plan = plan(vec![entry(c"open", 7, 0), entry(c"closed", 8, 0)], rule, &open);
        assert_eq!(plan.go.len(), 1);
        assert_eq!(plan.kept[0].0.name.as_c_str(), c"open");
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let rule = Rule { now_ms: i64::MAX, age_ms: HOUR };
        assert!(rule.is_old(&entry(c"a", 1, i64::MIN)));
        let rule = Rule { now_ms: i64::MIN, age_ms: HOUR };
        assert!(!rule.is_old(&entry(c"a", 1, i64::MAX)));
    }
}
