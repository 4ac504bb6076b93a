//! npm packages in the cache: installed once, found by everyone afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::postgres::tail;
use crate::{Error, paths};

/// Installs `package` at exactly `version` into a folder of its own and returns that folder.
///
/// Several processes may ask at once: one installs, the others wait for it. A folder is complete
/// when it has its final name, so an interrupted install is simply done again.
pub(crate) fn npm_install(package: &str, version: &str) -> Result<PathBuf, Error> {
    let cache = paths::cache().join("npm");
    fs::create_dir_all(&cache).map_err(Error::io(format_args!("create {}", cache.display())))?;
    let name = format!("{}-{version}", package.trim_start_matches('@').replace('/', "-"));
    let folder = cache.join(&name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let lock = File::create(cache.join(format!("{name}.lock")))
        .map_err(Error::io("create the lock of the npm cache"))?;
    lock.lock().map_err(Error::io("lock the npm cache"))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = cache.join(format!("{name}.new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::io("remove an unfinished install"))?;
    }
    fs::create_dir(&unfinished).map_err(Error::io("create a folder in the npm cache"))?;
    // Without a package.json of its own npm would install into a parent folder that has one.
    fs::write(unfinished.join("package.json"), "{\"private\": true}\n")
        .map_err(Error::io("write package.json"))?;
    npm(&["install", "--save-exact", &format!("{package}@{version}")], &unfinished)?;
    fs::rename(&unfinished, &folder).map_err(Error::io("finish an install"))?;
    Ok(folder)
}

/// Runs npm in `folder`.
pub(crate) fn npm(arguments: &[&str], folder: &Path) -> Result<(), Error> {
    let mut command = Command::new(paths::node_tool("npm")?);
    // npm is a script that looks for `node` on the PATH.
    if let Some(own) = paths::node_tool("node")?.parent() {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(own.to_path_buf()).chain(std::env::split_paths(&rest));
        let joined = std::env::join_paths(all)
            .map_err(|error| Error::Failed(format!("the PATH cannot be used: {error}")))?;
        command.env("PATH", joined);
    }
    let output = command
        .args(arguments)
        .args(["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"])
        // With npm's pauses between them that bridges a few minutes without the registry.
        .arg("--fetch-retries=5")
        .current_dir(folder)
        .output()
        .map_err(Error::io("run npm"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!("npm {} failed: {}", arguments.join(" "), tail(&said))))
}

/// Writes a file that others may be reading: they see the old text or the new one.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<(), Error> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    // Threads of one process write at once too, and the first rename takes the file away.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{number}.new", std::process::id()));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .map_err(Error::io(format_args!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_write_one_file_at_once_all_succeed() {
        let folder = std::env::temp_dir().join(format!("fleet-write-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        for round in 0..200 {
            let path = folder.join(format!("{round}.txt"));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| write_atomically(&path, "text").expect("a written file"));
                }
            });
            assert_eq!(fs::read_to_string(&path).expect("the file"), "text");
        }
        fs::remove_dir_all(&folder).expect("an empty place");
    }
}
