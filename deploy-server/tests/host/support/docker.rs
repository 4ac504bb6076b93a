//! A Docker Engine of the test's own, and images made on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use deploy_server::docker::Engine;
use sha2::{Digest as _, Sha256};

use super::{Daemon, in_path, program, wait_for};

pub(crate) struct Docker {
    daemon: Option<Daemon>,
    folder: tempfile::TempDir,
}

impl Docker {
    /// `None`, with a word about it, where there is no engine to start.
    pub(crate) fn start(more: &[&str]) -> Option<Self> {
        // Another release's engine may come first in PATH (scripts/fetch-engine.sh).
        let installed = || program(&["/usr/sbin/dockerd", "/usr/bin/dockerd"]);
        let Some(dockerd) = in_path("dockerd").or_else(installed) else {
            eprintln!("skipped: no dockerd; scripts/setup.sh test installs it");
            return None;
        };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: starting dockerd needs root");
            return None;
        }
        // A socket's path has room for a hundred characters.
        let folder =
            tempfile::Builder::new().prefix("ds-docker").tempdir_in("/tmp").expect("a folder");
        let home = folder.path();
        let at = |name: &str| home.join(name).display().to_string();
        let mut arguments = vec![
            format!("--host=unix://{}", at("docker.sock")),
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("exec")),
            format!("--pidfile={}", at("pid")),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
        ];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let mut daemon = Daemon::start(&dockerd, &arguments, &home.join("log"));
        let socket = home.join("docker.sock");
        let mut up = || {
            assert!(
                !daemon.has_ended(),
                "{}",
                std::fs::read_to_string(home.join("log")).unwrap_or_default()
            );
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        };
        assert!(wait_for(Duration::from_secs(60), &mut up), "dockerd does not start");
        Some(Self { daemon: Some(daemon), folder })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::connect(&self.socket())
    }

    /// What the docker command prints; it must succeed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("/usr/bin/docker")
            .arg(format!("--host=unix://{}", self.socket().display()))
            .args(arguments)
            .output()
            .expect("the docker command");
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Loads an image of one file with `content`, built at `created` (RFC 3339), and returns its
    /// id.
    pub(crate) fn load(&self, reference: &str, created: &str, content: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("content"), content).expect("a file");
        tar(&at("layer.tar"), folder.path(), &["content"]);
        let layer = std::fs::read(at("layer.tar")).expect("the layer");
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": created,
            "config": { "Cmd": ["/content"], "Volumes": { "/data": {} } },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
        });
        std::fs::write(at("config.json"), config.to_string()).expect("a file");
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"] }]);
        std::fs::write(at("manifest.json"), manifest.to_string()).expect("a file");
        tar(&at("image.tar"), folder.path(), &["manifest.json", "config.json", "layer.tar"]);
        self.cli(&["load", "--quiet", "--input", at("image.tar").to_str().expect("UTF-8")]);
        // Its configuration's digest in one store and its manifest's in the other.
        self.cli(&["images", "--no-trunc", "--format", "{{.ID}}", reference])
    }

    pub(crate) fn images(&self) -> Vec<String> {
        let text = self.cli(&["images", "--all", "--no-trunc", "--format", "{{.ID}}"]);
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.daemon.take();
        // What a daemon leaves mounted would keep its folder.
        let home = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut left: Vec<PathBuf> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| path.starts_with(&home))
            .map(PathBuf::from)
            .collect();
        left.sort();
        for path in left.iter().rev() {
            Command::new("umount").arg("-l").arg(path).status().expect("umount");
        }
    }
}

fn tar(archive: &Path, folder: &Path, files: &[&str]) {
    let made = Command::new("tar")
        .args(["--owner=0", "--group=0", "--mtime=@0", "-C"])
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .args(files)
        .status()
        .expect("tar");
    assert!(made.success());
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
