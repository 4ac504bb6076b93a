//! Replacing a file that holds secrets, so that no reader ever sees half of it and nobody else ever
//! sees any of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, fchown, fstat, openat, renameat, unlinkat};
use rustix::fs::{Gid, Uid};
use secrecy::{ExposeSecret, SecretString};

/// The most an environment file may hold; a Secrets Manager secret is at most 64 KiB.
const LIMIT: u64 = 1 << 20;

/// The file's text, `None` where there is no file.
///
/// # Errors
/// Where it cannot be read, is larger than a mebibyte, is not UTF-8, or is a symbolic link.
pub fn read(path: &Path) -> io::Result<Option<SecretString>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut text = String::new();
    file.take(LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(Some(SecretString::from(text)))
}

/// Puts `content` in place of `path` in one step: a new file in the same folder, mode 600 from its
/// creation whatever the umask, flushed, renamed over the old one, the folder flushed. The old
/// file's owner is kept. A symbolic link at `path` is replaced, not followed.
///
/// # Errors
/// Where a step fails; the old file is then as it was, and the new one is gone.
pub fn replace(path: &Path, content: &SecretString) -> io::Result<()> {
    let (folder, name) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if !folder.as_os_str().is_empty() => (folder, name),
        _ => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute file name"));
        }
    };
    let directory = rustix::fs::open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    // What an earlier process of this number left behind.
    match unlinkat(&directory, &temporary, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let result = write_and_rename(&directory, &temporary, name, content);
    if result.is_err() {
        // The first error is the one to report.
        let _already_failing = unlinkat(&directory, &temporary, AtFlags::empty());
    }
    result
}

fn write_and_rename(
    directory: &rustix::fd::OwnedFd,
    temporary: &std::ffi::OsStr,
    name: &std::ffi::OsStr,
    content: &SecretString,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, temporary, flags, Mode::RUSR | Mode::WUSR)?);
    if let Ok(old) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        let new = fstat(file.as_fd())?;
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
            fchown(file.as_fd(), Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))?;
        }
    }
    file.write_all(content.expose_secret().as_bytes())?;
    file.sync_all()?;
    renameat(directory, temporary, directory, name)?;
    rustix::fs::fsync(directory)?;
    Ok(())
}
