//! The engine, the registry and the images.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{free_port, until};

/// Every image of the tests: its tag, and what its two services do.
const IMAGES: [(&str, &str, &str); 14] = [
    ("v1", "", ""),
    ("v2", "", ""),
    ("v3", "", ""),
    ("old1", "", "old"),
    ("old2", "", "old"),
    ("old-catches", "", "old,catches"),
    ("nodrain", "", "nodrain"),
    ("api-crashes", "crash", ""),
    ("worker-crashes", "", "crash"),
    ("api-sick", "sick", ""),
    ("worker-mute", "", "mute"),
    ("worker-dies", "", "dies=400"),
    ("worker-busy", "", "busy"),
    ("worker-deaf", "", "busy,deaf"),
];

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
    /// `host:port` of the registry, which wants a name and a password.
    pub(crate) registry: String,
    pub(crate) folder: PathBuf,
    /// The bridge of containers that are not on this machine's own network.
    bridge: String,
}

pub(crate) const REGISTRY_USER: &str = "AWS";
pub(crate) const REGISTRY_PASSWORD: &str = "registry-canary-password";

/// The engine that all tests share; the first one who asks starts it.
pub(crate) fn shared() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("gh-deploy").tempdir().expect("a folder");
        let folder = folder.keep();
        let registry = start_registry(&folder);
        let engine = Engine::start(folder, registry);
        engine.make_images();
        engine
    })
}

/// Starts a program that ends when this one does, however this one ends.
///
/// The kernel sends the signal when the thread that started it ends, so that thread lives as long
/// as the process.
pub(crate) fn spawn_bound(mut command: Command) -> u32 {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let program = command.get_program().to_owned();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "TERM", "--"]).arg(&program).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        command = bound;
        let output = std::env::temp_dir().join(format!("gh-deploy-{}.log", std::process::id()));
        let log = fs::OpenOptions::new().append(true).create(true).open(output).expect("a log");
        let errors = log.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
        sender.send(child.id()).expect("the test waits for it");
        drop(child.wait());
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("the program starts")
}

fn start_registry(folder: &Path) -> String {
    let port = free_port();
    let made = Command::new("htpasswd")
        .args(["-Bbn", REGISTRY_USER, REGISTRY_PASSWORD])
        .output()
        .expect("htpasswd (apache2-utils) is installed");
    fs::write(folder.join("htpasswd"), made.stdout).expect("a password file");
    let folder_text = folder.display();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {folder_text}/registry}}}}\n\
         http: {{addr: 127.0.0.1:{port}}}\n\
         auth: {{htpasswd: {{realm: test, path: {folder_text}/htpasswd}}}}\n"
    );
    fs::write(folder.join("registry.yml"), config).expect("a registry configuration");
    let mut registry = Command::new("docker-registry");
    registry.arg("serve").arg(folder.join("registry.yml"));
    spawn_bound(registry);
    until("the registry listens", Duration::from_secs(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    format!("127.0.0.1:{port}")
}

impl Engine {
    /// Starts an engine whose files are all below `folder`.
    pub(crate) fn start(folder: PathBuf, registry: String) -> Self {
        Self::start_on(folder, registry, "none")
    }

    /// The same, with a bridge that is there already.
    pub(crate) fn start_on(folder: PathBuf, registry: String, bridge: &str) -> Self {
        let socket = folder.join("docker.sock");
        let engine = Self { socket, registry, folder, bridge: bridge.to_owned() };
        engine.start_daemon();
        engine
    }

    /// Starts the daemon; also after [`Engine::stop_daemon`].
    pub(crate) fn start_daemon(&self) -> u32 {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut daemon = Command::new("dockerd");
        daemon.args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
        daemon.args(["--pidfile", &path("docker.pid")]);
        daemon.args(["-H", &format!("unix://{}", self.socket.display())]);
        daemon.args([
            &format!("--bridge={}", self.bridge),
            "--ip-masq=false",
            "--ip-forward=false",
        ]);
        daemon.args(["--iptables=false", "--ip6tables=false"]);
        let pid = spawn_bound(daemon);
        until("the engine answers", Duration::from_secs(60), || self.try_docker(&["version"]));
        pid
    }

    /// Stops the daemon, and with it every container, as a reboot does.
    pub(crate) fn stop_daemon(&self) {
        let pid = fs::read_to_string(self.folder.join("docker.pid")).expect("it runs");
        let status = Command::new("kill").arg(pid.trim()).status().expect("kill runs");
        assert!(status.success());
        until("the engine ends", Duration::from_secs(60), || {
            (!Path::new("/proc").join(pid.trim()).exists()).then_some(())
        });
    }

    /// Runs the Docker command line and returns what it prints.
    #[track_caller]
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the docker command is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(arguments).output().expect("the docker command is installed");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket.display())).args(arguments);
        command.env("DOCKER_CONFIG", self.folder.join("client"));
        command
    }

    /// `large`: a hundred megabytes that do not compress.
    fn make_large_image(&self, archive: &Path) {
        let layer = self.folder.join("layer");
        fs::create_dir_all(&layer).expect("a folder");
        let mut noise = fs::File::open("/dev/urandom").expect("there is one").take(100 << 20);
        let mut ballast = fs::File::create(layer.join("ballast")).expect("a file");
        std::io::copy(&mut noise, &mut ballast).expect("it fits");
        let large = self.folder.join("large.tar");
        fs::copy(archive, &large).expect("it fits");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&layer)
            .arg("-rf")
            .arg(&large)
            .arg("ballast")
            .status();
        assert!(packed.expect("tar runs").success());
        let reference = format!("{}/ghosthands:large", self.registry);
        self.docker(&["import", &large.display().to_string(), &reference]);
        self.docker(&["push", "-q", &reference]);
        self.docker(&["rmi", &reference]);
        fs::remove_file(&large).expect("it is there");
        fs::remove_dir_all(&layer).expect("it is there");
    }

    /// Lets the Docker command line into the registry.
    pub(crate) fn login(&self) {
        self.docker(&["login", &self.registry, "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD]);
    }

    fn make_images(&self) {
        let root = self.folder.join("root");
        for folder in ["bin", "tmp", "proc", "dev"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("a link");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin");
        fs::copy(source.join("run.sh"), root.join("run.sh")).expect("the first process");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("run.sh"), mode).expect("it can be run");
        let compiled = Command::new("rustc")
            .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"])
            .arg(root.join("standin"))
            .arg(source.join("standin.rs"))
            .status();
        assert!(compiled.expect("rustc runs").success());
        let archive = self.folder.join("root.tar");
        let packed =
            Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.expect("tar runs").success());

        self.login();
        self.make_large_image(&archive);
        for (tag, api, worker) in IMAGES {
            let reference = format!("{}/ghosthands:{tag}", self.registry);
            let environment =
                format!("ENV STANDIN_API={api} STANDIN_WORKER={worker} IMAGE_TAG={tag}");
            self.docker(&[
                "import",
                "-c",
                &environment,
                &archive.display().to_string(),
                &reference,
            ]);
            self.docker(&["push", "-q", &reference]);
            // So that a deploy really pulls.
            self.docker(&["rmi", &reference]);
        }
    }
}
