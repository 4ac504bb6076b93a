//! Where things are: the repository, the cache, scratch folders that clean up after a crash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

const SCRATCH_PREFIX: &str = "fleet-local-";

/// The root of the repository this was built from.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

/// What may be downloaded once and kept: `FLEET_CACHE`, else `.fleet` in the repository.
#[must_use]
pub fn cache() -> PathBuf {
    match std::env::var_os("FLEET_CACHE") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => repository().join(".fleet"),
    }
}

/// The program called `name` of this workspace's `package`, as Cargo built it last.
///
/// # Errors
/// When it was not built, with the command that builds it.
pub fn built(name: &str, package: &str) -> Result<PathBuf, Error> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let files = ["debug", "release"].map(|profile| target.join(profile).join(name));
    let newest = files.into_iter().filter(|file| is_program(file));
    newest.max_by_key(|file| file.metadata().and_then(|m| m.modified()).ok()).ok_or_else(|| {
        Error::Missing { what: name.to_owned(), install: format!("run `cargo build -p {package}`") }
    })
}

/// The program called `name` on the `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// `npm` or `node`: the repository's virtual environment first, then the `PATH`.
pub(crate) fn node_tool(name: &str) -> Result<PathBuf, Error> {
    let own = repository().join(".venv/bin").join(name);
    if is_program(&own) {
        return Ok(own);
    }
    on_path(name).ok_or_else(|| Error::Missing {
        what: name.to_owned(),
        install: "run `make setup`, or install Node 22 with npm".to_owned(),
    })
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// A temporary folder that is removed on drop. One whose owner was killed is removed by the next
/// process that makes one: the owner's process id is in its name.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder that others may pass through but not list.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::temp_dir();
        sweep(&parent);
        let name = format!(
            "{SCRATCH_PREFIX}{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = parent.join(name);
        fs::create_dir(&path).map_err(Error::io(format_args!("create {}", path.display())))?;
        let scratch = Self(path);
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o711))
            .map_err(Error::io("set the mode of the temporary folder"))?;
        Ok(scratch)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover is swept by the next run; a drop has nobody to tell.
        fs::remove_dir_all(&self.0).ok();
    }
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(SCRATCH_PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
