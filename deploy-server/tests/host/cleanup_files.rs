//! Files on a real file system: ages, links, open files, and what is written down.

use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use deploy_server::cleanup::{self, KeepSet, Options, Report, Target};
use deploy_server::docker::Engine;

use crate::support::{deploy_server, strings};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct Host {
    folder: tempfile::TempDir,
    options: Options,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut options = Options::from_env(&strings(&[
            ("GH_CLEANUP_TMP_DIR", at("tmp").to_str().expect("UTF-8")),
            ("GH_LOG_DIR", at("logs").to_str().expect("UTF-8")),
            ("GH_CLEANUP_LOG", at("cleanup.log").to_str().expect("UTF-8")),
            ("GH_CLEANUP_JOURNALCTL", at("journalctl").to_str().expect("UTF-8")),
        ]));
        options.program = deploy_server();
        fs::create_dir(at("tmp")).expect("a folder");
        fs::create_dir(at("logs")).expect("a folder");
        Self { folder, options }
    }

    /// A file of `content`, last written `age` ago.
    fn file(&self, path: &str, age: Duration, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        self.age(&path, age);
        path
    }

    fn age(&self, path: &Path, age: Duration) {
        let written = SystemTime::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(self.options.now_ms).expect("after 1970"))
            - age;
        let file = File::open(path).expect("the file");
        file.set_times(FileTimes::new().set_modified(written)).expect("root sets times");
    }

    async fn run(&self) -> Report {
        // No engine here: the files must be cleaned all the same.
        let engine = Engine::connect(&self.folder.path().join("no-docker.sock"));
        cleanup::run(&engine, &self.options, &KeepSet::default()).await
    }
}

fn target<'a>(report: &'a Report, name: &str) -> &'a Target {
    report.targets.iter().find(|target| target.target == name).expect(name)
}

#[tokio::test]
async fn a_file_of_25_hours_goes_and_one_of_23_stays() {
    // `find -mtime +1`, which the old script used, keeps everything below 48 hours.
    let host = Host::new();
    let old = host.file("tmp/a/b/old", 25 * HOUR, b"x");
    let young = host.file("tmp/a/b/young", 23 * HOUR, b"x");
    let report = host.run().await;
    assert!(!old.exists());
    assert!(young.exists());
    let target = target(&report, "tmp_files");
    assert_eq!((target.count, &target.error), (1, &None));
    assert!(target.freed_bytes > Some(0));
    // No engine: said so for its four targets, and the whole is a failure.
    assert!(report.failed());
    assert_eq!(report.targets.iter().filter(|target| target.error.is_some()).count(), 4);
}

#[tokio::test]
async fn links_lead_nowhere() {
    let host = Host::new();
    let outside = host.file("outside/precious", 999 * HOUR, b"x");
    symlink(host.folder.path().join("outside"), host.folder.path().join("tmp/folder"))
        .expect("a link");
    symlink(&outside, host.folder.path().join("tmp/file")).expect("a link");
    let report = host.run().await;
    assert!(outside.exists());
    assert!(host.folder.path().join("tmp/file").is_symlink());
    assert_eq!(target(&report, "tmp_files").count, 0);
}

#[tokio::test]
async fn a_root_that_is_a_link_is_refused() {
    let mut host = Host::new();
    let outside = host.file("outside/precious", 999 * HOUR, b"x");
    host.options.folders.tmp = host.folder.path().join("linked");
    symlink(host.folder.path().join("outside"), &host.options.folders.tmp).expect("a link");
    let report = host.run().await;
    assert!(outside.exists());
    assert!(target(&report, "tmp_files").error.as_ref().expect("refused").contains("link"));
}

#[tokio::test]
async fn a_link_planted_during_the_walk_leads_nowhere() {
    let host = Host::new();
    let outside = host.file("outside/precious", 999 * HOUR, b"x");
    let (folder, outside_folder) =
        (host.folder.path().join("tmp/flip"), host.folder.path().join("outside"));
    let flipping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let flag = flipping.clone();
    let flipper = std::thread::spawn(move || {
        while flag.load(std::sync::atomic::Ordering::Relaxed) {
            if fs::create_dir(&folder).is_ok() && fs::remove_dir(&folder).is_ok() {
                symlink(&outside_folder, &folder).expect("a link");
                fs::remove_file(&folder).expect("our link");
            }
        }
    });
    for _ in 0..30 {
        host.run().await;
    }
    flipping.store(false, std::sync::atomic::Ordering::Relaxed);
    flipper.join().expect("the flipper");
    assert!(outside.exists());
}

#[tokio::test]
async fn an_open_file_stays_also_under_another_name() {
    let host = Host::new();
    let open = host.file("tmp/open", 25 * HOUR, b"x");
    let closed = host.file("tmp/closed", 25 * HOUR, b"x");
    let handle = File::open(&open).expect("the file");
    // The process has it open by a name that is gone; what counts is the file.
    let renamed = host.folder.path().join("tmp/renamed");
    fs::rename(&open, &renamed).expect("a rename");
    let mut child = Command::new("sleep").arg("60").stdin(handle).spawn().expect("sleep");
    let report = host.run().await;
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(renamed.exists() && !closed.exists());
    let kept = &target(&report, "tmp_files").kept;
    assert_eq!(kept.len(), 1);
    assert!(kept[0].item.ends_with("renamed") && kept[0].reason.contains("open"));
    host.run().await;
    assert!(!renamed.exists(), "nobody has it open any more");
}

/// Copies a program by a process of its own: what this one has open for writing, a child of another
/// test may hold open for a moment, and what is open for writing cannot be run.
fn install(from: &Path, to: &Path) {
    let copied = Command::new("install").args(["-m", "755"]).args([from, to]).status();
    assert!(copied.expect("install of coreutils").success());
}

#[tokio::test]
async fn a_running_program_in_tmp_stays() {
    let host = Host::new();
    let program = host.file("tmp/program", 1 * HOUR, b"");
    install(Path::new("/bin/sleep"), &program);
    let mut child = Command::new(&program).arg("60").spawn().expect("a copy of sleep");
    host.age(&program, 25 * HOUR);
    host.run().await;
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(program.exists());
}

#[tokio::test]
async fn only_plain_files_go_and_other_names_are_no_gain() {
    let host = Host::new();
    let old = host.file("tmp/one", 25 * HOUR, &[0; 100_000]);
    fs::hard_link(&old, host.folder.path().join("kept-elsewhere")).expect("a link");
    let fifo = host.folder.path().join("tmp/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let folder = host.folder.path().join("tmp/empty");
    fs::create_dir(&folder).expect("a folder");
    let report = host.run().await;
    assert!(fifo.exists() && folder.exists() && !old.exists());
    assert_eq!(
        target(&report, "tmp_files").freed_bytes,
        Some(0),
        "its other name still holds the blocks"
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_counts_the_same() {
    let mut host = Host::new();
    let tmp = host.file("tmp/old", 25 * HOUR, &[1; 10_000]);
    let log = host.file("logs/old.log", 8 * 24 * HOUR, b"x");
    let compress = host.file("logs/day.log", 25 * HOUR, b"xxxx");
    host.options.dry_run = true;
    let dry = host.run().await;
    assert!(tmp.exists() && log.exists() && compress.exists());
    host.options.dry_run = false;
    let real = host.run().await;
    for name in ["tmp_files", "logs_deleted", "logs_compressed"] {
        assert_eq!(target(&dry, name).count, 1, "{name}");
        assert_eq!(target(&real, name).count, 1, "{name}");
    }
    assert_eq!(target(&dry, "tmp_files").freed_bytes, target(&real, "tmp_files").freed_bytes);
    assert!(dry.dry_run && !real.dry_run);
}

#[tokio::test]
async fn logs_are_compressed_after_a_day_and_deleted_after_a_week() {
    let host = Host::new();
    let content: Vec<u8> = b"a line of the log\n".repeat(10_000);
    let day = host.file("logs/worker.log", 25 * HOUR, &content);
    fs::set_permissions(&day, fs::Permissions::from_mode(0o640)).expect("a mode");
    let modified = fs::metadata(&day).expect("a file").mtime();
    let week = host.file("logs/old.log", 7 * 24 * HOUR + HOUR, b"x");
    let week_gz = host.file("logs/old.log.gz", 7 * 24 * HOUR + HOUR, b"x");
    let young = host.file("logs/young.log", 23 * HOUR, b"x");
    let report = host.run().await;
    assert!(!day.exists() && !week.exists() && !week_gz.exists() && young.exists());
    let compressed = host.folder.path().join("logs/worker.log.gz");
    let metadata = fs::metadata(&compressed).expect("the compressed log");
    assert_eq!(metadata.mode() & 0o777, 0o640);
    assert_eq!(metadata.mtime(), modified, "it must age on like the log");
    assert_eq!(gunzip(&compressed), content);
    assert_eq!(target(&report, "logs_deleted").count, 2);
    let freed = target(&report, "logs_compressed");
    assert_eq!(freed.count, 1);
    assert!(freed.freed_bytes > Some(100_000));
    host.run().await;
    assert!(compressed.exists(), "what is compressed is not compressed again");
}

#[tokio::test]
async fn an_earlier_compressed_log_is_not_overwritten() {
    let host = Host::new();
    host.file("logs/a.log", 25 * HOUR, b"second");
    let first = host.file("logs/a.log.gz", 2 * HOUR, b"first");
    host.run().await;
    assert_eq!(fs::read(first).expect("the earlier log"), b"first");
    assert_eq!(gunzip(&host.folder.path().join("logs/a.log.1.gz")), b"second");
}

#[tokio::test]
async fn an_open_log_is_neither_compressed_nor_deleted() {
    let host = Host::new();
    let day = host.file("logs/day.log", 25 * HOUR, b"x");
    let week = host.file("logs/week.log", 8 * 24 * HOUR, b"x");
    let mut handles: Vec<File> = [&day, &week]
        .map(|path| fs::OpenOptions::new().append(true).open(path).expect("a log"))
        .into();
    let report = host.run().await;
    assert!(day.exists() && week.exists());
    assert_eq!(target(&report, "logs_compressed").kept.len(), 1);
    assert_eq!(target(&report, "logs_deleted").kept.len(), 1);
    handles[0].write_all(b"and on").expect("the log goes on");
}

#[tokio::test]
async fn every_run_is_written_down() {
    let host = Host::new();
    host.file("tmp/old", 25 * HOUR, b"x");
    let report = host.run().await;
    host.run().await;
    let written = fs::read_to_string(&host.options.log_file).expect("the log");
    assert_eq!(written.matches("tmp_files: removed 1").count(), 1);
    assert_eq!(written.matches("tmp_files: removed 0").count(), 1);
    assert_eq!(written.lines().count(), 2 * report.text().lines().count());
    assert!(written.lines().all(|line| line.get(..2) == Some("20") && line.contains("Z ")));
    assert_eq!(fs::metadata(&host.options.log_file).expect("the log").mode() & 0o137, 0);
}

#[tokio::test]
async fn what_is_not_there_is_skipped_with_a_reason() {
    let host = Host::new();
    fs::remove_dir(&host.options.folders.logs).expect("the folder");
    let report = host.run().await;
    for name in ["logs_deleted", "logs_compressed", "journal"] {
        let target = target(&report, name);
        assert!(target.skipped.is_some() && target.error.is_none(), "{name}");
    }
}

#[tokio::test]
async fn the_journal_is_emptied_by_journalctl() {
    let host = Host::new();
    let script = |body: &str| {
        let draft = host.folder.path().join("draft");
        fs::write(&draft, body).expect("a script");
        install(&draft, &host.options.folders.journalctl);
    };
    script(
        "#!/bin/sh\necho \"Deleted archived journal /var/log/journal/x/a.journal (8.0M).\" >&2\n[ \"$*\" = '--vacuum-time=3d --no-pager' ]\n",
    );
    let report = host.run().await;
    let journal = target(&report, "journal");
    assert_eq!((journal.count, journal.freed_bytes, &journal.error), (1, Some(8 << 20), &None));
    script("#!/bin/sh\necho 'Failed to vacuum: no' >&2\nexit 3\n");
    let report = host.run().await;
    let error = target(&report, "journal").error.clone().expect("a failure");
    assert!(error.contains("Failed to vacuum: no"), "{error}");
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(File::open(path).expect("a file"))
        .read_to_end(&mut content)
        .expect("gzip");
    content
}
