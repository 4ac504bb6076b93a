//! The units, the timer, the rotation and the installer, as their own tools see them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use deploy_server::cleanup::Folders;

use crate::support::docker::Docker;
use crate::support::program;
use crate::support::systemd::Systemd;

fn host() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host")
}

/// The units with a program that exists in place of ours, which is not installed where the tests
/// run.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(host()).expect("the host folder") {
        let path = entry.expect("an entry").path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if matches!(kind, Some("service" | "socket" | "timer")) {
            let text = fs::read_to_string(&path).expect("a unit");
            let text = text.replace("/usr/local/bin/deploy-server", "/bin/true");
            let text = text.replace("/usr/local/lib/ghosthands/metadata-firewall", "/bin/true");
            fs::write(folder.path().join(path.file_name().expect("a name")), text).expect("a copy");
        }
    }
    folder
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(analyze) = program(&["/usr/bin/systemd-analyze"]) else {
        eprintln!("skipped: no systemd-analyze");
        return;
    };
    let folder = units();
    let units: Vec<PathBuf> = fs::read_dir(folder.path())
        .expect("the copies")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(units.len(), 9);
    let verify = Command::new(&analyze)
        .args(["verify", "--man=no"])
        .args(&units)
        .output()
        .expect("systemd-analyze");
    let complaints: Vec<String> = said(&verify)
        .lines()
        .filter(|line| units.iter().any(|unit| line.contains(unit.to_str().expect("UTF-8"))))
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    for unit in units.iter().filter(|unit| unit.extension().is_some_and(|kind| kind == "service")) {
        // Tenths of a point: 0 is no exposure, 100 is all; "medium" begins at 50.
        let server = unit.ends_with("deploy-server.service");
        let threshold = if server { "--threshold=20" } else { "--threshold=23" };
        let security = Command::new(&analyze)
            .args(["security", "--offline=yes", threshold, "--no-pager"])
            .arg(unit)
            .output()
            .expect("systemd-analyze");
        assert!(security.status.success(), "{}: {}", unit.display(), said(&security));
    }
    let calendar = Command::new(&analyze)
        .args(["calendar", "*-*-* 03:00:00 UTC"])
        .output()
        .expect("systemd-analyze");
    assert!(said(&calendar).contains("03:00:00 UTC"));
    let timer = fs::read_to_string(host().join("ghosthands-cleanup.timer")).expect("the timer");
    assert!(timer.contains("OnCalendar=*-*-* 03:00:00 UTC\n"));
}

#[test]
fn the_units_may_write_where_their_programs_write_and_nowhere_else() {
    let options = deploy_server::cleanup::Options::from_env(&Default::default());
    let writable = |unit: &str| {
        let unit = fs::read_to_string(host().join(unit)).expect("the unit");
        let list = unit.lines().find_map(|line| line.strip_prefix("ReadWritePaths="));
        let folders = list.expect("a list").split(' ').map(|folder| folder.trim_start_matches('-'));
        folders.map(PathBuf::from).collect::<Vec<_>>()
    };
    assert_eq!(writable("deploy-server.service"), [options.log_file.parent().expect("a folder")]);
    let Folders { tmp, logs, .. } = options.folders;
    assert_eq!(writable("ghosthands-files@.service"), [tmp, logs, "/var/log/journal".into()]);
    let rotation =
        fs::read_to_string(host().join("gh-disk-cleanup.logrotate")).expect("the rotation");
    assert!(rotation.starts_with(options.log_file.to_str().expect("UTF-8")));
}

/// Whatever one machine can have for an address, and no more.
#[test]
fn the_server_may_talk_to_every_single_address() {
    let unit = fs::read_to_string(host().join("deploy-server.service")).expect("the unit");
    let lists = unit.lines().filter_map(|line| line.strip_prefix("IPAddressAllow="));
    let allowed: Vec<(IpAddr, u32)> = lists
        .flat_map(str::split_whitespace)
        .map(|range| {
            let (address, length) = range.split_once('/').expect("a range");
            (address.parse().expect("an address"), length.parse().expect("a length"))
        })
        .collect();
    let bits = |address| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    };
    let is_allowed = |address: &str| {
        let (address, is_v4) = bits(address.parse().expect("an address"));
        allowed.iter().any(|(range, length)| {
            let (range, range_is_v4) = bits(*range);
            range_is_v4 == is_v4 && (range ^ address).leading_zeros() >= *length
        })
    };
    for one in [
        "0.0.0.0",
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "172.31.255.255",
        "203.0.113.9",
        "223.255.255.255",
        "::1",
        "64:ff9b::a00:1",
        "2600:1f18::1",
        "fd00:ec2::254",
        "fe80::1",
    ] {
        assert!(is_allowed(one), "{one}");
    }
    for many in ["224.0.0.251", "239.1.2.3", "255.255.255.255", "ff02::1", "ff0e::1"] {
        assert!(!is_allowed(many), "{many}");
    }
}

#[test]
fn the_sockets_are_where_they_are_looked_for() {
    let unit = |name: &str| fs::read_to_string(host().join(name)).expect("the unit");
    let path = deploy_server::config::control_socket(&Default::default());
    let control = unit("deploy-server.socket");
    assert!(control.contains(&format!("\nListenStream={}\n", path.display())), "{control}");
    let service = unit("deploy-server.service");
    let path = service.lines().find_map(|line| line.strip_prefix("Environment=GH_CLEANUP_SOCKET="));
    let files = unit("ghosthands-files.socket");
    assert!(files.contains(&format!("\nListenStream={}\n", path.expect("a path"))), "{files}");
    for socket in [control, files] {
        assert!(socket.contains("\nSocketMode=0600\n"), "{socket}");
    }
    // systemd would remove such a folder, and with it the socket's file, whenever the server stops.
    assert!(!service.contains("RuntimeDirectory="), "{service}");
}

/// `install.sh BINARY --root ROOT`.
fn run_installer(binary: &Path, root: &Path) -> Output {
    let mut install = Command::new("bash");
    install.arg(host().join("install.sh")).arg(binary).arg("--root").arg(root);
    install.output().expect("bash")
}

#[test]
fn installing_twice_is_installing_once() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: installing needs root");
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    // A program with its checksum beside it, as the build leaves them.
    let built = tempfile::tempdir().expect("a folder");
    let binary = built.path().join("deploy-server");
    fs::copy("/bin/true", &binary).expect("a program");
    let sum = Command::new("sha256sum").arg(&binary).output().expect("sha256sum");
    fs::write(built.path().join("deploy-server.sha256"), sum.stdout).expect("its checksum");
    let install = || {
        let output = run_installer(&binary, root.path());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let first = install();
    assert!(first.contains("installed /usr/local/bin/deploy-server"), "{first}");
    assert_eq!(install(), "", "nothing to do the second time");
    for (path, mode) in [
        ("usr/local/bin/deploy-server", 0o755),
        ("etc/systemd/system/deploy-server.service", 0o644),
        ("etc/systemd/system/deploy-server.socket", 0o644),
        ("etc/systemd/system/ghosthands-secrets.service", 0o644),
        ("etc/systemd/system/ghosthands-cleanup.service", 0o644),
        ("etc/systemd/system/ghosthands-cleanup.timer", 0o644),
        ("etc/systemd/system/ghosthands-files.socket", 0o644),
        ("etc/systemd/system/ghosthands-files@.service", 0o644),
        ("etc/systemd/system/ghosthands-metadata-firewall.service", 0o644),
        ("etc/systemd/system/ghosthands-boot-check.service", 0o644),
        ("usr/local/lib/ghosthands/metadata-firewall", 0o755),
        ("etc/logrotate.d/gh-disk-cleanup", 0o644),
    ] {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(root.path().join(path)).expect(path);
        assert_eq!(metadata.mode() & 0o777, mode, "{path}");
    }
    for link in [
        "multi-user.target.wants/deploy-server.service",
        "multi-user.target.wants/ghosthands-secrets.service",
        "sockets.target.wants/deploy-server.socket",
        "sockets.target.wants/ghosthands-files.socket",
        "timers.target.wants/ghosthands-cleanup.timer",
        "sysinit.target.wants/ghosthands-metadata-firewall.service",
        "docker.service.wants/ghosthands-boot-check.service",
    ] {
        let link = root.path().join("etc/systemd/system").join(link);
        assert!(fs::metadata(&link).expect("enabled").is_file());
    }
    fs::write(root.path().join("etc/logrotate.d/gh-disk-cleanup"), "changed").expect("a file");
    assert_eq!(install(), "installed /etc/logrotate.d/gh-disk-cleanup\n");
}

#[test]
fn a_binary_that_is_not_the_one_of_its_checksum_is_not_installed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: installing needs root");
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let built = tempfile::tempdir().expect("a folder");
    let binary = built.path().join("deploy-server");
    fs::copy("/bin/true", &binary).expect("a program");
    let sum = format!("{}  deploy-server\n", "0".repeat(64));
    fs::write(built.path().join("deploy-server.sha256"), sum).expect("a checksum");
    let output = run_installer(&binary, root.path());
    assert_eq!(output.status.code(), Some(65), "{}", said(&output));
    assert!(said(&output).contains("not installed"), "{}", said(&output));
    assert_eq!(fs::read_dir(root.path()).expect("the root").count(), 0);
}

#[test]
fn a_binary_that_does_not_run_here_replaces_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let output = run_installer(Path::new("/bin/false"), root.path());
    assert!(!output.status.success());
    assert!(!root.path().join("usr").exists());
}

/// The versions of compose that read nothing of an environment file in which a value ends in a
/// backslash.
#[test]
fn a_compose_that_may_not_read_the_environment_file_is_named_at_install() {
    for (version, is_named) in [("v2.19.1", true), ("2.9.0", true), ("2.20.0", false)] {
        let tools = tempfile::tempdir().expect("a folder");
        for (name, does) in [
            ("docker", format!("echo {version}")),
            ("crontab", "exit 1".to_owned()),
            ("systemctl", "exit 0".to_owned()),
            ("deploy-server", "exit 0".to_owned()),
        ] {
            let tool = tools.path().join(name);
            fs::write(&tool, format!("#!/bin/sh\n{does}\n")).expect("a program");
            set_mode(&tool, 0o755);
        }
        let output = Command::new("bash")
            .arg(host().join("take-over"))
            .arg("nothing")
            .env("PATH", format!("{}:/usr/bin:/bin", tools.path().display()))
            .output()
            .expect("bash");
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("older than 2.20"), is_named, "{version}: {said}");
    }
}

/// A unit without what a whole machine adds to it: other units, and the targets of a boot.
fn alone(name: &str) -> String {
    let text = fs::read_to_string(host().join(name)).expect("a unit");
    let stands_alone = |line: &&str| {
        !["Wants=", "Requires=", "Restart=on-failure"].iter().any(|key| line.starts_with(key))
    };
    let lines: Vec<&str> = text.lines().filter(stands_alone).collect();
    lines.join("\n").replacen("[Unit]", "[Unit]\nDefaultDependencies=no", 1) + "\n"
}

#[test]
fn the_hardened_server_starts_and_cleans_what_it_should() {
    let Some(docker) = Docker::start(&[]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["bin", "opt/ghosthands/logs", "log", "lib", "tmp/theirs"] {
        fs::create_dir_all(at(name)).expect("a folder");
    }
    fs::copy(env!("CARGO_BIN_EXE_deploy-server"), at("bin/deploy-server")).expect("the program");
    let env = "GH_DEPLOY_SECRET=\"a secret of some length\"\nGH_DEPLOY_PORT=\"0\"\nGH_DEPLOY_HOSTNAME=\"127.0.0.1\"\n\
               GH_ENVIRONMENT=\"staging\"\nAWS_EC2_METADATA_DISABLED=\"true\"\n";
    fs::write(at("opt/ghosthands/.env"), env).expect("a file");
    // Other people's files, in a folder that only they may enter.
    let two_days_ago =
        std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 60 * 60);
    for name in ["opt/ghosthands/logs/theirs.log", "tmp/theirs/old", "tmp/old"] {
        let file = fs::File::create(at(name)).expect("a file");
        std::io::Write::write_all(&mut &file, &[b'x'; 100_000]).expect("content");
        file.set_modified(two_days_ago).expect("root sets times");
        std::os::unix::fs::chown(at(name), Some(1234), Some(1234)).expect("root gives files away");
        set_mode(&at(name), 0o600);
    }
    std::os::unix::fs::chown(at("tmp/theirs"), Some(1234), Some(1234))
        .expect("root gives folders away");
    set_mode(&at("tmp/theirs"), 0o700);
    set_mode(&at("tmp"), 0o1777);

    // journalctl takes a file for an old archive by its name, and this machine's by its folder.
    let machine = "0123456789abcdef0123456789abcdef";
    fs::write(at("machine-id"), format!("{machine}\n")).expect("a file");
    let journal = at("log/journal").join(machine);
    fs::create_dir_all(&journal).expect("a folder");
    let archive =
        journal.join(format!("system@{machine}-0000000000000001-0005f00000000000.journal"));
    fs::write(&archive, [b'x'; 100_000]).expect("a file");

    let cleanup = alone("ghosthands-cleanup.service")
        .replace("ExecStart=", "StandardOutput=file:/var/log/said\nExecStart=")
        + "ExecStopPost=+/bin/touch /var/log/done\n";
    let units = [
        ("deploy-server.socket", alone("deploy-server.socket")),
        ("deploy-server.service", alone("deploy-server.service")),
        ("ghosthands-files.socket", alone("ghosthands-files.socket")),
        ("ghosthands-files@.service", alone("ghosthands-files@.service")),
        ("ghosthands-cleanup.service", cleanup),
    ];
    let units = units.each_ref().map(|(name, text)| (*name, text.as_str()));
    let (socket, machine_id) = (docker.socket(), at("machine-id"));
    let paths = ["bin", "opt", "log", "lib", "tmp"].map(at);
    let [bin, opt, log, lib, tmp] = paths.each_ref().map(PathBuf::as_path);
    let binds = [
        (bin, "/usr/local/bin"),
        (opt, "/opt"),
        (log, "/var/log"),
        (lib, "/var/lib"),
        (&socket, "/run/docker.sock"),
        (&machine_id, "/etc/machine-id"),
        // Last: it hides the folders of this test.
        (tmp, "/tmp"),
    ];
    let Some(systemd) = Systemd::start(&units, &binds) else { return };
    systemd.wait_for_file(&at("log/done"));
    let said = fs::read_to_string(at("log/said")).expect("what the command printed");
    assert!(said.starts_with("Cleanup completed"), "{said}");
    assert!(!at("tmp/old").exists() && !at("tmp/theirs/old").exists(), "{said}");
    assert!(at("opt/ghosthands/logs/theirs.log.gz").exists(), "{said}");
    assert!(!archive.exists() && said.contains("journal: removed 1"), "{said}");
    assert!(
        fs::read_to_string(at("log/gh-disk-cleanup.log"))
            .expect("the log")
            .contains("tmp_files: removed 2")
    );
    use std::os::unix::fs::MetadataExt as _;
    let compressed =
        fs::metadata(at("opt/ghosthands/logs/theirs.log.gz")).expect("the compressed log");
    assert_eq!((compressed.uid(), compressed.mode() & 0o777), (1234, 0o600));
    let state = fs::metadata(at("lib/ghosthands-deploy")).expect("the state folder");
    assert_eq!(state.mode() & 0o777, 0o700);
}

/// A container's process may have any user. Whose listener answers is in the kernel's list of what
/// that process has open.
#[test]
fn the_hardened_server_sees_what_processes_of_other_users_have_open() {
    let folder = tempfile::tempdir().expect("a folder");
    set_mode(folder.path(), 0o777);
    // In a unit file `$$` is one `$`.
    let theirs = "[Unit]\nDefaultDependencies=no\n[Service]\n\
                  ExecStart=/usr/bin/setpriv --reuid=1234 --clear-groups \
                  sh -c 'echo $$$$ >/var/log/pid; exec sleep 300'\n";
    // The same two looks as the server's, with its unit's privileges.
    let look = "ExecStart=/bin/sh -c 'until read pid </var/log/pid; do sleep 0.1; done; \
                ls -ln /proc/$$pid/fd >/var/log/seen'";
    let ours = alone("deploy-server.service")
        .replace("Type=notify", "Type=oneshot\nExecStopPost=+/bin/touch /var/log/done")
        .replace("ExecStart=/usr/local/bin/deploy-server serve", look)
        .replace("Restart=always", "Restart=no");
    let units = [("theirs.service", theirs), ("ours.service", &ours)];
    let Some(systemd) = Systemd::start(&units, &[(folder.path(), "/var/log")]) else { return };
    systemd.wait_for_file(&folder.path().join("done"));
    let seen = fs::read_to_string(folder.path().join("seen")).expect("what it saw");
    let line = seen.lines().find(|line| line.ends_with(" 0 -> /dev/null"));
    assert!(line.is_some_and(|line| line.contains(" 1234 ")), "{seen}");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root sets modes");
}
