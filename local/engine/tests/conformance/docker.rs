//! A real engine, and a registry for it to pull from.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) struct Docker {
    pub(crate) socket: PathBuf,
    /// `127.0.0.1:port/ghosthands`, where `good` is.
    pub(crate) repository: String,
    registry: Child,
    folder: tempfile::TempDir,
}

impl Docker {
    /// The engine of `DOCKER_HOST`, with the image pushed; `None` when there is no engine.
    pub(crate) fn find() -> Option<Self> {
        let host = std::env::var("DOCKER_HOST").ok()?;
        let socket = PathBuf::from(host.strip_prefix("unix://")?);
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:{port}}}\n",
            folder.path().join("registry").display()
        );
        let file = folder.path().join("registry.yml");
        std::fs::write(&file, config).unwrap();
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let repository = format!("127.0.0.1:{port}/ghosthands");
        let docker = Self { socket, repository, registry, folder };
        docker.push();
        Some(docker)
    }

    fn push(&self) {
        let root = self.folder.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is there");
        for name in ["sh", "sleep"] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let archive = self.folder.path().join("root.tar").display().to_string();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).args(["-cf", &archive, "."]);
        assert!(tar.status().unwrap().success());
        let reference = format!("{}:good", self.repository);
        self.docker(&["import", &archive, &reference]);
        // The registry may still be starting.
        let pushed = (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            self.run(&["push", "-q", &reference])
        });
        assert!(pushed, "the registry takes the image");
        self.docker(&["rmi", &reference]);
    }

    fn docker(&self, arguments: &[&str]) {
        assert!(self.run(arguments), "docker {arguments:?}");
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_CONFIG", self.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        self.registry.kill().ok();
        self.registry.wait().ok();
    }
}
