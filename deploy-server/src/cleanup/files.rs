//! Removing old files below a folder, without ever leaving it.
//!
//! Every folder is opened relative to its parent and never through a link, so a link planted while
//! the walk is under way leads nowhere. What is mounted below is left alone, also where it is part
//! of the same file system (a bind mount), as is everything that is not a plain file. See
//! [`super::sweep`] for the walk.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Stat, StatxAttributes, StatxFlags, statat, statx, unlinkat};
use rustix::io::Errno;

use super::open_files::OpenFiles;

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
pub(super) struct AgeRule {
    pub(super) now_ms: i64,
    pub(super) age_ms: i64,
}

/// What to do with the files of one batch.
#[derive(Debug, Default)]
pub(super) struct FilePlan {
    pub(super) go: Vec<Entry>,
    pub(super) kept: Vec<(Entry, &'static str)>,
}

/// What acting on a file did: the bytes it freed, or `None` where the file had changed meanwhile
/// and was left.
pub(super) type FileResult = io::Result<Option<u64>>;

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

impl AgeRule {
    pub(super) fn is_old(self, entry: &Entry) -> bool {
        self.now_ms.saturating_sub(entry.modified_ms) > self.age_ms
    }
}

/// Old files go, except those a process still has open.
pub(super) fn plan(entries: Vec<Entry>, rule: AgeRule, open: &OpenFiles) -> FilePlan {
    let mut plan = FilePlan::default();
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
pub(super) fn remove(folder: BorrowedFd<'_>, entry: &Entry) -> FileResult {
    if !entry.is_unchanged(folder)? {
        return Ok(None);
    }
    match unlinkat(folder, &entry.name, AtFlags::empty()) {
        Ok(()) => Ok(Some(entry.freed())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether something is mounted on this name, and so what is behind it is not this folder's. A
/// kernel that cannot say (before 5.8) answers no; there only other file systems are told apart.
pub(super) fn is_mount_point(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(folder, name, flags, StatxFlags::empty()) {
        Ok(seen) => {
            let root = StatxAttributes::MOUNT_ROOT;
            Ok((seen.stx_attributes & seen.stx_attributes_mask).contains(root))
        }
        Err(Errno::NOENT | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
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
        let rule = AgeRule { now_ms: 100 * HOUR, age_ms: 24 * HOUR };
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
        let rule = AgeRule { now_ms: 100 * HOUR, age_ms: HOUR };
        let plan = plan(vec![entry(c"open", 7, 0), entry(c"closed", 8, 0)], rule, &open);
        assert_eq!(plan.go.len(), 1);
        assert_eq!(plan.kept[0].0.name.as_c_str(), c"open");
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let rule = AgeRule { now_ms: i64::MAX, age_ms: HOUR };
        assert!(rule.is_old(&entry(c"a", 1, i64::MIN)));
        let rule = AgeRule { now_ms: i64::MIN, age_ms: HOUR };
        assert!(!rule.is_old(&entry(c"a", 1, i64::MAX)));
    }
}
