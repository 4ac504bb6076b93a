//! Which files some process has open or mapped, by device and inode, as `/proc` shows them.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, makedev, openat, statat};
use rustix::io::Errno;

use super::files::FileId;

/// The open files of all processes at one moment.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    files: HashSet<FileId>,
}

impl OpenFiles {
    /// Looks at every process.
    ///
    /// # Errors
    /// Where a process other than the first cannot be looked into: its files would be taken for
    /// closed.
    pub(super) fn scan(proc: &Path) -> Result<Self, String> {
        let failed =
            |error: io::Error| format!("the open files are unknown: {}: {error}", proc.display());
        let mut open = Self::default();
        let mut processes = 0;
        for entry in std::fs::read_dir(proc).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let is_process =
                name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
            if !is_process {
                continue;
            }
            processes += 1;
            let process = entry.path();
            let look = open
                .descriptors(&process.join("fd"))
                .and_then(|()| open.mappings(&process.join("maps")));
            match look {
                Ok(()) => {}
                // Inside a container the first process may belong to a more powerful supervisor. It
                // is nobody's service, and keeps no file in the folders cleaned here.
                Err(error) if name == "1" && error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => {
                    return Err(format!(
                        "the open files of process {} cannot be seen ({error}): run as root",
                        name.to_string_lossy()
                    ));
                }
            }
        }
        // An empty /proc shows nothing, which is not the same as nothing being open.
        if processes == 0 {
            return Err(format!("the open files are unknown: {} shows no process", proc.display()));
        }
        Ok(open)
    }

    pub(super) fn contains(&self, file: FileId) -> bool {
        self.files.contains(&file)
    }

    #[cfg(test)]
    pub(super) fn of(files: impl IntoIterator<Item = FileId>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    fn descriptors(&mut self, folder: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = match openat(CWD, folder, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(errno) => return gone(errno),
        };
        let entries = match Dir::read_from(&folder) {
            Ok(entries) => entries,
            Err(errno) => return gone(errno),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return gone(errno),
            };
            // Following the link looks at the open file itself, whatever became of its name.
            match statat(&folder, entry.file_name(), AtFlags::empty()) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    self.files.insert(FileId::of(&stat));
                }
                Ok(_) => {}
                Err(errno) => gone(errno)?,
            }
        }
        Ok(())
    }

    /// A file may be mapped and its descriptor closed: programs and libraries always are.
    fn mappings(&mut self, maps: &Path) -> io::Result<()> {
        match std::fs::read_to_string(maps) {
            Ok(text) => self.files.extend(text.lines().filter_map(mapping)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(errno) => gone(errno)?,
                None if error.kind() == io::ErrorKind::InvalidData => {
                    let bytes = std::fs::read(maps).unwrap_or_default();
                    self.files.extend(String::from_utf8_lossy(&bytes).lines().filter_map(mapping));
                }
                None => return Err(error),
            },
        }
        Ok(())
    }
}

/// A process that ended while it was looked at has nothing open.
fn gone(errno: Errno) -> io::Result<()> {
    match errno {
        Errno::NOENT | Errno::SRCH => Ok(()),
        errno => Err(errno.into()),
    }
}

/// The file of a line of `/proc/*/maps`: `start-end perms offset major:minor inode path`.
fn mapping(line: &str) -> Option<FileId> {
    let mut fields = line.split_ascii_whitespace().skip(3);
    let (major, minor) = fields.next()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = makedev(number(major)?, number(minor)?);
    let inode = fields.next()?.parse().ok().filter(|inode| *inode != 0)?;
    Some(FileId { device, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_names_device_and_inode() {
        let line = "7f00-7f01 r-xp 00001000 fd:01 1234                       /usr/lib/a b.so";
        assert_eq!(mapping(line), Some(FileId { device: makedev(0xfd, 1), inode: 1234 }));
        for line in
            ["", "x", "1-2 rw-p 0 00:00 0 [heap]", "1-2 rw-p 0 zz:00 5 /x", "1-2 rw-p 0 fd:01 x /y"]
        {
            assert_eq!(mapping(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_this_process_holds_is_open() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let stat = rustix::fs::fstat(&file).expect("its stat");
        let open = OpenFiles::scan(Path::new("/proc")).expect("root sees every process");
        assert!(open.contains(FileId::of(&stat)));
        let _closed_but_there = file.into_temp_path();
        let open = OpenFiles::scan(Path::new("/proc")).expect("root sees every process");
        assert!(!open.contains(FileId::of(&stat)));
    }

    #[test]
    fn no_process_at_all_is_not_an_answer() {
        let empty = tempfile::tempdir().expect("a folder");
        assert!(OpenFiles::scan(empty.path()).is_err());
        assert!(OpenFiles::scan(Path::new("/nonexistent")).is_err());
    }
}
