//! A systemd of the test's own: process 1 of name spaces and of a control group that end with it.
//! It sees nothing of this machine's services, and nothing of it remains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{program, wait_for};

const SCRIPT: &str = r#"
set -e
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mkdir -p /run/systemd/system
# A unit that pulls in a boot fails: a boot would empty this machine's /tmp.
ln -s /dev/null /run/systemd/system/sysinit.target
systemd=$1; shift
while [ $# -gt 0 ]; do
    # A socket or file needs a file to be mounted on.
    if [ -d "$1" ]; then mkdir -p "$2"; elif [ ! -e "$2" ]; then touch "$2"; fi
    mount --bind "$1" "$2"
    shift 2
done
exec "$systemd" --system --unit=test.target --log-target=console --show-status=no
"#;

pub(crate) struct Systemd {
    child: Child,
    group: PathBuf,
    /// Holds units and what they print.
    pub(crate) folder: tempfile::TempDir,
}

impl Systemd {
    /// Starts the units. `binds` puts folders and files of the test in the place of others. `None`,
    /// with a word about it, where there is no systemd or it cannot be started.
    pub(crate) fn start(units: &[(&str, &str)], binds: &[(&Path, &str)]) -> Option<Self> {
        let systemd = program(&["/lib/systemd/systemd", "/usr/lib/systemd/systemd"]);
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let groups = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next() == Some("cgroup2")).then(|| PathBuf::from(path))
        });
        let (Some(systemd), Some(groups), true) =
            (systemd, groups, rustix::process::geteuid().is_root())
        else {
            eprintln!(
                "skipped: a systemd of our own needs systemd, control groups of version 2, and root"
            );
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("units")).expect("a folder");
        let mut target = "[Unit]\nDefaultDependencies=no\nWants=".to_owned();
        for (name, text) in units {
            fs::write(at("units").join(name), text).expect("a unit");
            // A template has no process of its own.
            if !name.contains("@.") {
                target.push_str(name);
                target.push(' ');
            }
        }
        target.push('\n');
        fs::write(at("units/test.target"), target).expect("a unit");
        let group = groups.join(format!("host-test-{}-{}", std::process::id(), units[0].0));
        fs::create_dir(&group).expect("root makes control groups");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "sh", "-c"])
            .arg(r#"echo 0 > "$0/cgroup.procs"; exec "$@""#)
            .arg(&group)
            .args([
                "unshare",
                "--kill-child",
                "--mount",
                "--pid",
                "--fork",
                "--cgroup",
                "--uts",
                "--ipc",
            ])
            .args(["--mount-proc", "sh", "-c", SCRIPT, "sh"])
            .arg(systemd)
            .arg(at("units"))
            .arg("/etc/systemd/system");
        for (from, to) in binds {
            command.arg(from).arg(to);
        }
        let log = fs::File::create(at("log")).expect("a file");
        let child = command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("container", "docker")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("setpriv and unshare of util-linux");
        Some(Self { child, group, folder })
    }

    /// Waits until a unit has written `path`; shows systemd's log where none does.
    pub(crate) fn wait_for_file(&self, path: &Path) {
        let there = wait_for(Duration::from_secs(120), || path.exists());
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(there, "{} was not written: {log}", path.display());
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        let removed = wait_for(Duration::from_secs(10), || {
            let removed = Command::new("find")
                .arg(&self.group)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
                .stderr(Stdio::null())
                .status();
            removed.is_ok_and(|status| status.success())
        });
        if !removed {
            eprintln!("{} could not be removed", self.group.display());
        }
    }
}
