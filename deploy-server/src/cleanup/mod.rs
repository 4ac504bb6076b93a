//! Disk cleanup: eight targets, a keep-set, and the truth about what was freed.
//!
//! | Target | What goes | Age |
//! |---|---|---|
//! | `dangling_images` | images without a tag that no container uses | none |
//! | `unused_images` | tagged images that no container uses | 72 h since they were built or tagged here, the later of both |
//! | `build_cache` | build cache, by the engine's own rule | 72 h since its last use |
//! | `volumes` | anonymous volumes that no container uses; never a named one | none |
//! | `tmp_files` | files below `/tmp` | 24 h since the last write |
//! | `logs_deleted` | files below the log folder, compressed or not | 7 days since the last write |
//! | `logs_compressed` | files below the log folder, by gzip | 1 day since the last write |
//! | `journal` | archived journald files | 3 days |
//!
//! Ages are exact: a file of 24 hours and one second is older than 24 hours (`find -mtime +1` waits
//! for 48). An image in the keep-set stays whatever its age, so a rollback always finds what it
//! needs. Every target plans first, as a pure function of what it saw, and acts on the plan; a dry
//! run stops there. A target that fails does not stop the others. The caller holds the deploy lock.
//!
//! The last four are the work of another process, because they need more privileges than all the
//! rest of the server.

mod ask;
mod clean_files;
mod files;
mod images;
mod journal;
mod logs;
mod open_files;
mod record;
mod sweep;
mod volumes;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::config::Strings;
use crate::docker::Engine;

pub use ask::Progress;
pub use clean_files::clean_files;

const HOUR_MS: i64 = 60 * 60 * 1000;
const IMAGE_AGE_MS: i64 = 72 * HOUR_MS;
const TMP_AGE_MS: i64 = 24 * HOUR_MS;
const LOG_DELETE_AGE_MS: i64 = 7 * 24 * HOUR_MS;
const LOG_COMPRESS_AGE_MS: i64 = 24 * HOUR_MS;
const FILES_WITHIN: Duration = Duration::from_secs(120);
/// Longer words are cut: they may hold a path or what an engine says.
const LONGEST_WORDS: usize = 400;
/// Things that stayed are listed up to this many a target; the reader wants the reasons, not an
/// inventory.
const KEPT_SHOWN: usize = 20;

/// How to clean, and whether to.
#[derive(Debug, Clone)]
pub struct Options {
    /// Plan and report, change nothing.
    pub dry_run: bool,
    /// Where every run is written down.
    pub log_file: PathBuf,
    /// Ages of images are counted back from here, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long each target of files may take, at most 120 s; what is left is the next run's.
    pub files_within: Duration,
    /// Where the run before stopped, and whether this one has to.
    pub progress: Progress,
    /// Where systemd starts the process that cleans files. It has its own folders then.
    pub files_socket: Option<PathBuf>,
    /// What is started as that process where there is no such socket.
    pub program: PathBuf,
    /// Where such a process works.
    pub folders: Folders,
}

/// Where files are cleaned. No request names a path.
#[derive(Debug, Clone)]
pub struct Folders {
    /// `/tmp` of the host.
    pub tmp: PathBuf,
    /// The log folder of the services.
    pub logs: PathBuf,
    /// The program that empties the journal.
    pub journalctl: PathBuf,
}

const TMP: &str = "GH_CLEANUP_TMP_DIR";
const LOGS: &str = "GH_LOG_DIR";
const JOURNALCTL: &str = "GH_CLEANUP_JOURNALCTL";

fn given(env: &Strings, name: &str) -> Option<PathBuf> {
    env.get(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Options {
    /// The defaults, with `GH_CLEANUP_LOG`, `GH_CLEANUP_SOCKET` and those of [`Folders`].
    #[must_use]
    pub fn from_env(env: &Strings) -> Self {
        Self {
            dry_run: false,
            log_file: given(env, "GH_CLEANUP_LOG")
                .unwrap_or_else(|| "/var/log/gh-disk-cleanup.log".into()),
            now_ms: now_ms(),
            files_within: FILES_WITHIN,
            progress: Progress::default(),
            files_socket: given(env, "GH_CLEANUP_SOCKET"),
            // This program, also where another version has taken its place on the disk.
            program: "/proc/self/exe".into(),
            folders: Folders::from_env(env),
        }
    }
}

impl Folders {
    /// The defaults, with `GH_CLEANUP_TMP_DIR`, `GH_LOG_DIR` and `GH_CLEANUP_JOURNALCTL` in place
    /// of the paths they name.
    #[must_use]
    pub fn from_env(env: &Strings) -> Self {
        let path = |name, default: &str| given(env, name).unwrap_or_else(|| default.into());
        Self {
            tmp: path(TMP, "/tmp"),
            logs: path(LOGS, "/opt/ghosthands/logs"),
            journalctl: path(JOURNALCTL, "/usr/bin/journalctl"),
        }
    }

    /// The variables that say the same to another process.
    fn variables(&self) -> [(&'static str, &Path); 3] {
        [(TMP, &self.tmp), (LOGS, &self.logs), (JOURNALCTL, &self.journalctl)]
    }
}

/// Images that stay, by id (`sha256:…`), digest (`name@sha256:…` or `sha256:…`) or reference
/// (`name:tag`), and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepSet {
    images: BTreeMap<String, String>,
}

impl KeepSet {
    /// Keeps `image`; `why` is shown in the report: current, previous, or the container that has
    /// it.
    pub fn insert(&mut self, image: impl Into<String>, why: impl Into<String>) {
        self.images.insert(image.into(), why.into());
    }

    fn reason(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Option<&str> {
        names.into_iter().find_map(|name| {
            let name = name.as_ref();
            let digest = name.split_once('@').map_or(name, |(_, digest)| digest);
            self.images.get(name).or_else(|| self.images.get(digest)).map(String::as_str)
        })
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nothing was changed; the numbers say what would have been.
    pub dry_run: bool,
    /// Of all targets together, as far as it is known.
    pub freed_bytes: u64,
    /// Every target, in the order they ran.
    pub targets: Vec<Target>,
    /// What did not come about beside them.
    pub notes: Vec<String>,
}

/// What became of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its name.
    pub target: String,
    /// Bytes of disk; `null` where the engine did not say in time how much it was.
    pub freed_bytes: Option<u64>,
    /// Things removed or compressed.
    pub count: u64,
    /// Things that look like they should go and stay, with the reason; at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Retained>,
    /// Why the target was not finished. What it did until then is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why there was nothing to do it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// What.
    pub item: String,
    /// Why.
    pub reason: String,
}

impl Target {
    fn new(target: &str) -> Self {
        Self { target: target.to_owned(), freed_bytes: Some(0), ..Self::default() }
    }

    fn failed(target: &str, error: impl Into<String>) -> Self {
        Self { error: Some(printable(&error.into())), ..Self::new(target) }
    }

    fn skipped(target: &str, reason: impl Into<String>) -> Self {
        Self { skipped: Some(reason.into()), ..Self::new(target) }
    }

    /// One more thing is gone; how many bytes that freed may be unknown, and then their sum is.
    fn add(&mut self, bytes: impl Into<Option<u64>>) {
        self.count += 1;
        self.freed_bytes =
            self.freed_bytes.zip(bytes.into()).map(|(sum, bytes)| sum.saturating_add(bytes));
    }

    fn keep(&mut self, item: impl Into<String>, reason: impl Into<String>) {
        if self.kept.len() < KEPT_SHOWN {
            let (item, reason) = (printable(&item.into()), printable(&reason.into()));
            self.kept.push(Retained { item, reason });
        }
    }

    /// The first failure is the one that explains the others.
    fn fail(&mut self, error: impl Into<String>) {
        self.error.get_or_insert_with(|| printable(&error.into()));
    }
}

/// The text with every character escaped that a terminal or a reader of lines takes for more than
/// itself: whoever may write to `/tmp` chooses the names of files there.
fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST_WORDS {
            shown.push('…');
            break;
        }
        if steers(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

impl Report {
    /// Whether a target was not finished.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.targets.iter().any(|target| target.error.is_some())
    }

    /// What was not finished, a sentence for each cause.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let mut causes: Vec<(&str, Vec<&str>)> = Vec::new();
        for target in &self.targets {
            let Some(error) = target.error.as_deref() else { continue };
            match causes.iter_mut().find(|(cause, _)| *cause == error) {
                Some((_, targets)) => targets.push(&target.target),
                None => causes.push((error, vec![&target.target])),
            }
        }
        let failed = causes
            .into_iter()
            .map(|(cause, targets)| format!("not finished: {}: {cause}", targets.join(", ")));
        failed.chain(self.notes.iter().cloned()).collect()
    }

    /// The report for people, a line for each target.
    #[must_use]
    pub fn text(&self) -> String {
        record::text(self)
    }
}

/// Cleans the host and writes the report to the log file.
pub async fn run(engine: &Engine, options: &Options, keep: &KeepSet) -> Report {
    let mut targets = docker_targets(engine, options, keep).await;
    targets.extend(ask::targets(options).await);
    let mut report = Report {
        dry_run: options.dry_run,
        freed_bytes: targets
            .iter()
            .filter_map(|target| target.freed_bytes)
            .fold(0, u64::saturating_add),
        targets,
        notes: Vec::new(),
    };
    if let Err(error) = record::append(&options.log_file, &report) {
        let path = options.log_file.display();
        let text =
            format!("the cleanup's report cannot be appended to its log file {path} ({error})");
        tracing::warn!("{text}");
        report.notes.push(printable(&text));
    }
    report
}

const DOCKER_TARGETS: [&str; 4] =
    [images::DANGLING, images::UNUSED, volumes::CACHE, volumes::VOLUMES];
const FILE_TARGETS: [&str; 3] = ["tmp_files", "logs_deleted", "logs_compressed"];

async fn docker_targets(engine: &Engine, options: &Options, keep: &KeepSet) -> Vec<Target> {
    let seen = match images::inventory(engine).await {
        Ok(seen) => seen,
        Err(error) => {
            let failed = |target| Target::failed(target, error.to_string());
            return DOCKER_TARGETS.map(failed).to_vec();
        }
    };
    let mut targets = images::clean(engine, &seen, options, keep).await;
    targets.push(volumes::clean_build_cache(engine, &seen, options).await);
    targets.push(volumes::clean(engine, &seen, options).await);
    targets
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_name_cannot_end_a_line_or_steer_a_terminal() {
        let name = "a\n2026-01-01 total: freed\r\u{1b}[2J\u{202e}gpj.\u{9b}x é";
        let shown = printable(name);
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert!(shown.starts_with("a\\u{a}2026") && shown.ends_with("x é"), "{shown}");
        assert!(printable(&"x".repeat(10_000)).chars().count() < 500);
    }
}
