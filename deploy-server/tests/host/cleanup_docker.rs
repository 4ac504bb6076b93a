//! Images and volumes of a real engine.

use std::collections::BTreeSet;

use deploy_server::cleanup::{self, KeepSet, Options, Report, Target};
use deploy_server::clock::now_ms;

use crate::support::docker::Docker;
use crate::support::{deploy_server, strings};

const HOUR_MS: i64 = 60 * 60 * 1000;

fn target<'a>(report: &'a Report, name: &str) -> &'a Target {
    report.targets.iter().find(|target| target.target == name).expect(name)
}

fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).expect("a time").to_string()
}

#[tokio::test]
async fn only_what_nobody_needs_goes() {
    let Some(docker) = Docker::start(&[]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // Images get their name now, so the run takes place four days later.
    let now = now_ms() + 96 * HOUR_MS;
    let (old, young) = (date(now - 240 * HOUR_MS), date(now - 71 * HOUR_MS));
    let unused = docker.load("gh/app:old", &old, "old");
    docker.cli(&["tag", "gh/app:old", "gh/app:also-old"]);
    let previous = docker.load("gh/app:previous", &old, "previous");
    let stable = docker.load("gh/app:stable", &old, "stable");
    let used = docker.load("gh/app:used", &old, "used");
    let recent = docker.load("gh/app:recent", &young, "recent");
    let dangling = docker.load("gh/app:moving", &young, "moving 1");
    let moved = docker.load("gh/app:moving", &young, "moving 2");
    // The image declares a volume: one container keeps its, the other leaves it behind.
    docker.cli(&["create", "--name", "stopped", "--network", "none", "gh/app:used"]);
    docker.cli(&["create", "--name", "gone", "--network", "none", "gh/app:used"]);
    docker.cli(&["rm", "gone"]);
    docker.cli(&["volume", "create", "database"]);
    let volumes = || docker.cli(&["volume", "ls", "--quiet"]).lines().count();
    assert_eq!(volumes(), 3);

    let mut keep = KeepSet::default();
    keep.insert("gh/app:previous", "previous");
    keep.insert(&stable, "stable");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut options = Options::from_env(&strings(&[
        ("GH_CLEANUP_TMP_DIR", &path("tmp")),
        ("GH_LOG_DIR", &path("logs")),
        ("GH_CLEANUP_LOG", &path("log")),
    ]));
    options.program = deploy_server();
    options.folders.journalctl = folder.path().join("no-journalctl");
    options.now_ms = now;
    let engine = docker.engine();

    let before: BTreeSet<String> = docker.images().into_iter().collect();
    options.dry_run = true;
    let dry = cleanup::run(&engine, &options, &keep).await;
    assert_eq!(before, docker.images().into_iter().collect(), "a dry run changes nothing");
    assert_eq!(volumes(), 3);

    options.dry_run = false;
    let report = cleanup::run(&engine, &options, &keep).await;
    assert!(!report.failed(), "{}", report.text());
    let left: BTreeSet<String> = docker.images().into_iter().collect();
    let expected = [&previous, &stable, &used, &recent, &moved].map(Clone::clone);
    assert_eq!(left, BTreeSet::from(expected), "{}", report.text());
    assert!(!left.contains(&unused) && !left.contains(&dangling));
    assert_eq!(docker.cli(&["volume", "ls", "--quiet", "--filter", "name=database"]), "database");
    assert_eq!(volumes(), 2);
    // Containerd's store keeps no image that lost its name.
    let without_name = u64::from(before.contains(&dangling));
    for (name, count) in [("dangling_images", without_name), ("unused_images", 1), ("volumes", 1)] {
        assert_eq!(target(&dry, name).count, count, "{name}");
        assert_eq!(target(&report, name).count, count, "{name}");
    }
    assert!(target(&report, "unused_images").freed_bytes > Some(0));
    let reasons: Vec<String> = report
        .targets
        .iter()
        .flat_map(|target| &target.kept)
        .map(|kept| kept.reason.clone())
        .collect();
    for reason in [
        "in the keep-set: previous",
        "in the keep-set: stable",
        "container stopped uses it",
        "younger than 72 h",
        "it has a name of its own",
    ] {
        assert!(reasons.iter().any(|given| given == reason), "{reason}: {reasons:?}");
    }

    // The command the old script ran takes the rollback image. Containerd's store counts its age
    // from when it came to this host.
    docker.cli(&["image", "prune", "--all", "--force", "--filter", "until=72h"]);
    let prune_takes_it = without_name == 1;
    assert_eq!(!docker.images().contains(&previous), prune_takes_it, "what the rule is for");
}
