//! A PostgreSQL server of its own: temporary folder, free port, TLS, scram-sha-256, no durability.

mod binaries;
mod sql;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::certs::{Authority, Flaw};
use crate::paths::Scratch;
use crate::process::{
    Process, Signal, User, children_of, command, free_port, give_to_unprivileged, signal_pid,
};
use crate::{Error, random};

pub use binaries::Build;

/// The role that owns the database, as the application's role does on a real site.
pub const APP_ROLE: &str = "app";
/// The database that exists from the start, owned by [`APP_ROLE`].
pub const DATABASE: &str = "fleet";
const SUPERUSER: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the server offers a client that asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// TLS only, with a certificate for `localhost`, `db.fleet.test` and `127.0.0.1`.
    #[default]
    Valid,
    /// TLS only, with a certificate that ended in 2020.
    Expired,
    /// TLS only, with a certificate for another name.
    WrongName,
    /// Plain text only.
    Off,
}

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it offers a client that asks for TLS.
    pub tls: Tls,
    /// Which build of PostgreSQL to run.
    pub build: Build,
    /// Further lines of `postgresql.conf`, by name and value.
    pub settings: Vec<(String, String)>,
}

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct Postgres {
    postgres: PathBuf,
    version: String,
    port: u16,
    server: Option<Process>,
    ca_pem: String,
    password: Password,
    // Last: the folder goes after the server.
    scratch: Scratch,
}

impl Postgres {
    /// Starts a server with an empty database [`DATABASE`]. Takes one to three seconds.
    ///
    /// # Errors
    /// When the programs are missing, or the server does not start; with its log.
    pub fn start(options: Options) -> Result<Self, Error> {
        let build = binaries::find(options.build)?;
        let scratch = Scratch::new()?;
        let home = home(&scratch);
        fs::create_dir(&home).map_err(Error::io("create the server's folder"))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("set the mode of the server's folder"))?;
        give_to_unprivileged(&home)?;

        let password = Password(random::hex()?);
        let authority = Authority::new()?;
        let certificate = authority.issue(match options.tls {
            Tls::Expired => Flaw::Expired,
            Tls::WrongName => Flaw::WrongName,
            Tls::Valid | Tls::Off => Flaw::None,
        })?;
        let ca_pem = authority.pem();
        fs::write(scratch.path().join("ca.pem"), &ca_pem).map_err(Error::io("write ca.pem"))?;
        private_file(&home.join("server.crt"), &certificate.certificate)?;
        private_file(&home.join("server.key"), &certificate.key)?;
        private_file(&home.join("password"), &password.0)?;
        init(&build.initdb, &home)?;
        private_file(&home.join("data/pg_hba.conf"), &host_based_access(options.tls))?;
        append(&home.join("data/postgresql.conf"), &configuration(&home, &options))?;

        let version = binaries::version(&build.postgres)?;
        let mut this = Self {
            postgres: build.postgres,
            version,
            port: 0,
            server: None,
            ca_pem,
            password,
            scratch,
        };
        this.start_on_a_free_port()?;
        let secret = &this.password.0;
        this.execute(
            SUPERUSER,
            &format!(
                "CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{secret}'; ALTER ROLE {SUPERUSER} PASSWORD '{secret}'"
            ),
        )?;
        this.create_database(DATABASE)?;
        Ok(this)
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's version, for example `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A connection string for [`APP_ROLE`] in [`DATABASE`], with `sslmode=verify-full`.
    #[must_use]
    pub fn app_url(&self) -> String {
        self.url(APP_ROLE, &self.password.0, DATABASE)
    }

    /// A connection string for [`APP_ROLE`] in another database.
    #[must_use]
    pub fn app_url_in(&self, database: &str) -> String {
        self.url(APP_ROLE, &self.password.0, database)
    }

    /// A connection string for the superuser in [`DATABASE`].
    #[must_use]
    pub fn superuser_url(&self) -> String {
        self.url(SUPERUSER, &self.password.0, DATABASE)
    }

    /// A connection string for any role, with `sslmode=verify-full`.
    #[must_use]
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        connection_string(role, password, self.port, database)
    }

    /// The certificate of the authority that signed the server's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same as a file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// What the server logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("postgres.log")).unwrap_or_default()
    }

    /// Stops it, ending open connections (a "fast" shutdown).
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.end(Signal::INT)
    }

    /// Stops it without a checkpoint, as an operator does in a hurry; the next start recovers.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop_immediate(&mut self) -> Result<(), Error> {
        self.end(Signal::QUIT)
    }

    /// Kills the server and all its backends at once, as a crash of the machine would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.signal_all(Signal::KILL)?;
        self.end(Signal::KILL)
    }

    /// Starts a stopped or killed server again, with the same data and port.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.launch()
    }

    /// Freezes the server: connections are still accepted by the kernel, nothing is answered.
    ///
    /// # Errors
    /// When a process of it cannot be signalled.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal_all(Signal::STOP)
    }

    /// Ends a [`Postgres::pause`].
    ///
    /// # Errors
    /// When a process of it cannot be signalled.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal_all(Signal::CONT)
    }

    /// The superuser's password, which is [`APP_ROLE`]'s too.
    pub(crate) fn password(&self) -> &str {
        &self.password.0
    }

    fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        let Some(server) = &self.server else { return Ok(()) };
        // The postmaster first: it must not start a backend that misses the signal.
        let backends = children_of(server.id());
        server.signal(signal)?;
        for backend in backends.into_iter().chain(children_of(server.id())) {
            signal_pid(backend, signal)?;
        }
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<(), Error> {
        // A frozen server would not hear a polite signal.
        self.resume()?;
        match self.server.take() {
            Some(mut server) => server.stop(signal, Duration::from_secs(10)),
            None => Ok(()),
        }
    }

    /// Another process may take the port between our look and the server's bind, so try again.
    fn start_on_a_free_port(&mut self) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            self.port = free_port()?;
            attempts += 1;
            match self.launch() {
                Err(_) if attempts < 3 && self.log().contains("could not bind") => {}
                result => return result,
            }
        }
    }

    fn launch(&mut self) -> Result<(), Error> {
        let home = home(&self.scratch);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.scratch.path().join("postgres.log"))
            .map_err(Error::io("open the server's log"))?;
        let errors = log.try_clone().map_err(Error::io("open the server's log"))?;
        let mut command = command(&self.postgres, User::Unprivileged);
        command
            .arg("-D")
            .arg(home.join("data"))
            .args(["-p", &self.port.to_string()])
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let mut server = Process::start("postgres", command)?;
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(&home, server.id()) {
            if let Some(status) = server.ended()? {
                let log = tail(&self.log());
                return Err(Error::Failed(format!(
                    "postgres ended ({status}) at its start: {log}"
                )));
            }
            if Instant::now() > deadline {
                let log = tail(&self.log());
                return Err(Error::Failed(format!("postgres is not ready after 60 s: {log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate: the data is about to be removed. What fails here, the process's own drop
        // kills.
        self.stop_immediate().ok();
    }
}

/// A random password; hidden from `Debug`.
struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The form every client of the fleet gets its connection string in.
pub(crate) fn connection_string(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=verify-full")
}

/// The folder that only the server's user may enter: its data, keys and socket.
fn home(scratch: &Scratch) -> PathBuf {
    scratch.path().join("postgres")
}

fn init(initdb: &Path, home: &Path) -> Result<(), Error> {
    let mut command = command(initdb, User::Unprivileged);
    command
        .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .args(["--username", SUPERUSER])
        .arg("--pwfile")
        .arg(home.join("password"))
        .arg("-D")
        .arg(home.join("data"))
        .current_dir(home)
        .stdin(Stdio::null());
    let output = command.output().map_err(Error::io("run initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!("initdb failed ({}): {}", output.status, tail(&said))))
}

fn host_based_access(tls: Tls) -> String {
    let host = if tls == Tls::Off { "hostnossl" } else { "hostssl" };
    // The socket is in a folder that nobody else may enter, so it needs no password.
    format!(
        "local all {SUPERUSER} trust\n\
         {host} all all 127.0.0.1/32 scram-sha-256\n"
    )
}

fn configuration(home: &Path, options: &Options) -> String {
    let ssl = if options.tls == Tls::Off { "off" } else { "on" };
    let home = home.display();
    let mut text = format!(
        "\nlisten_addresses = '127.0.0.1'\n\
         unix_socket_directories = '{home}'\n\
         ssl = {ssl}\n\
         ssl_cert_file = '{home}/server.crt'\n\
         ssl_key_file = '{home}/server.key'\n\
         password_encryption = 'scram-sha-256'\n\
         fsync = off\n\
         synchronous_commit = off\n\
         full_page_writes = off\n\
         autovacuum_naptime = '10s'\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n"
    );
    for (name, value) in &options.settings {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    text
}

/// The server writes `ready` into its pid file when it takes connections.
fn is_ready(home: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(home.join("data/postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str())
        && lines.next_back().is_some_and(|state| state.trim() == "ready")
}

fn private_file(path: &Path, text: &str) -> Result<(), Error> {
    let doing = || format!("write {}", path.display());
    fs::write(path, text).map_err(Error::io(doing()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::io(doing()))?;
    give_to_unprivileged(path)
}

fn append(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write;
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io(format_args!("write {}", path.display())))
}

/// The last lines of a program's output, as one line.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}
