//! Compressing logs that are no longer written.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::BorrowedFd;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens, linkat,
    openat, unlinkat,
};
use rustix::io::Errno;

use super::files::{self, AgeRule, Entry, FilePlan, FileResult};
use super::open_files::OpenFiles;
use super::sweep::Limit;

/// Written beside the log; one left by a crash ages and is deleted like a log.
const UNFINISHED: &[u8] = b".gz.new";
/// A log and the compressed log of an earlier one may have the same name.
const MOST_NAMES: u32 = 1000;

/// Old logs that are not compressed yet go, except open ones, empty ones, and those old enough to
/// be deleted.
pub(super) fn plan(entries: Vec<Entry>, rule: AgeRule, open: &OpenFiles) -> FilePlan {
    let deleted = AgeRule { age_ms: super::LOG_DELETE_AGE_MS, ..rule };
    let is_log = |entry: &Entry| {
        let name = entry.name.as_bytes();
        entry.size > 0
            && !name.ends_with(b".gz")
            && !name.ends_with(UNFINISHED)
            && !deleted.is_old(entry)
    };
    files::plan(entries.into_iter().filter(is_log).collect(), rule, open)
}

/// Replaces a log by its compressed form: same owner, mode and time of the last write, so that it
/// is deleted when the log would have been. The log goes only once its compressed form is on disk,
/// and only if nobody wrote meanwhile.
pub(super) fn compress(folder: BorrowedFd<'_>, entry: &Entry, limit: &Limit) -> FileResult {
    limit.check()?;
    if !entry.is_unchanged(folder)? {
        return Ok(None);
    }
    let unfinished = name(b".", &entry.name, UNFINISHED)?;
    match unlinkat(folder, &unfinished, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let result = replace(folder, entry, &unfinished, limit);
    match unlinkat(folder, &unfinished, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => result,
        Err(errno) => result.and_then(|_| Err(errno.into())),
    }
}

fn replace(folder: BorrowedFd<'_>, entry: &Entry, unfinished: &CStr, limit: &Limit) -> FileResult {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = File::from(openat(folder, &entry.name, read, Mode::empty())?);
    let stat = fstat(&source)?;
    if Entry::from_stat(&entry.name, &stat).id != entry.id {
        return Ok(None);
    }
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = File::from(openat(folder, unfinished, write, Mode::RUSR | Mode::WUSR)?);
    let target = copy(&source, target, limit)?;
    fchown(&target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    let nanoseconds = |value| Timespec { tv_sec: 0, tv_nsec: i64::try_from(value).unwrap_or(0) };
    futimens(
        &target,
        &Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, ..nanoseconds(stat.st_atime_nsec) },
            last_modification: Timespec {
                tv_sec: stat.st_mtime,
                ..nanoseconds(stat.st_mtime_nsec)
            },
        },
    )?;
    target.sync_all()?;
    let compressed = Entry::from_stat(unfinished, &fstat(&target)?);
    let finished = publish(folder, entry, unfinished)?;
    if !entry.is_unchanged(folder)? {
        unlinkat(folder, &finished, AtFlags::empty())?;
        return Ok(None);
    }
    unlinkat(folder, &entry.name, AtFlags::empty())?;
    rustix::fs::fsync(folder)?;
    Ok(Some(entry.freed().saturating_sub(compressed.bytes)))
}

fn copy(mut source: &File, target: File, limit: &Limit) -> io::Result<File> {
    let mut gzip = GzEncoder::new(target, Compression::default());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // A log may be any size, also one of holes that takes no disk at all.
        limit.check()?;
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return gzip.finish();
        }
        gzip.write_all(&buffer[..count])?;
    }
}

/// Gives the compressed log the first free name of `x.gz`, `x.1.gz`, …: a link never replaces what
/// is there.
fn publish(folder: BorrowedFd<'_>, entry: &Entry, unfinished: &CStr) -> io::Result<CString> {
    for number in 0..MOST_NAMES {
        let ending = if number == 0 { ".gz".to_owned() } else { format!(".{number}.gz") };
        let finished = name(b"", &entry.name, ending.as_bytes())?;
        match linkat(folder, unfinished, folder, &finished, AtFlags::empty()) {
            Ok(()) => return Ok(finished),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::Error::other(format!("{MOST_NAMES} compressed logs have its name")))
}

fn name(front: &[u8], name: &CStr, end: &[u8]) -> io::Result<CString> {
    CString::new([front, name.to_bytes(), end].concat())
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::super::files::FileId;
    use super::*;

    fn plan_one(name: &CStr, size: i64, age_ms: i64) -> bool {
        let now_ms = 1_000_000_000_000;
        let rule = AgeRule { now_ms, age_ms: super::super::LOG_COMPRESS_AGE_MS };
        let entry = Entry {
            name: name.to_owned(),
            id: FileId { device: 1, inode: 1 },
            bytes: 4096,
            is_linked_elsewhere: false,
            size,
            modified_ms: now_ms - age_ms,
        };
        !plan(vec![entry], rule, &OpenFiles::default()).go.is_empty()
    }

    #[test]
    fn logs_between_a_day_and_a_week_are_compressed_once() {
        const DAY: i64 = 24 * super::super::HOUR_MS;
        assert!(plan_one(c"a.log", 1, DAY + 1));
        assert!(plan_one(c"a.log", 1, 7 * DAY));
        assert!(!plan_one(c"a.log", 1, DAY));
        assert!(!plan_one(c"a.log", 1, 7 * DAY + 1));
        assert!(!plan_one(c"a.log", 0, 2 * DAY));
        assert!(!plan_one(c"a.log.gz", 1, 2 * DAY));
        assert!(!plan_one(c".a.log.gz.new", 1, 2 * DAY));
    }
}
