//! PgBouncer in transaction mode in front of a [`Postgres`], TLS on both sides.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Error;
use crate::certs::{Authority, Flaw};
use crate::paths::{self, Scratch};
use crate::postgres::{APP_ROLE, DATABASE, Postgres, connection_string, tail};
use crate::process::{Process, Signal, User, command, free_port, give_to_unprivileged};

/// How to start the pooler.
#[derive(Debug, Clone)]
pub struct Options {
    /// Server connections per database and role.
    pub pool_size: u32,
    /// Further lines of the `[pgbouncer]` section, by name and value.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pool_size: 3, settings: Vec::new() }
    }
}

/// A running pooler; stopped on drop.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
    app_url: String,
    ca_pem: String,
    scratch: Scratch,
}

/// Whether this machine has PgBouncer.
#[must_use]
pub fn installed() -> bool {
    program().is_some()
}

fn program() -> Option<PathBuf> {
    let debian = Path::new("/usr/sbin/pgbouncer");
    paths::on_path("pgbouncer").or_else(|| debian.is_file().then(|| debian.to_path_buf()))
}

impl PgBouncer {
    /// Starts a pooler for every role and database of `server`.
    ///
    /// # Errors
    /// When the program is missing, or does not listen in time; with its log.
    pub fn start(server: &Postgres, options: Options) -> Result<Self, Error> {
        let program = program().ok_or_else(|| Error::Missing {
            what: "PgBouncer".to_owned(),
            install: "apt-get install pgbouncer".to_owned(),
        })?;
        let scratch = Scratch::new()?;
        let home = scratch.path().join("pgbouncer");
        fs::create_dir(&home).map_err(Error::io("create the pooler's folder"))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("set the mode of the pooler's folder"))?;
        give_to_unprivileged(&home)?;

        let authority = Authority::new()?;
        let certificate = authority.issue(Flaw::None)?;
        let ca_pem = authority.pem();
        fs::write(scratch.path().join("ca.pem"), &ca_pem).map_err(Error::io("write ca.pem"))?;
        let users = format!("\"postgres\" \"{}\"\n", server.password());
        for (name, text) in [
            ("server-ca.pem", server.ca_pem()),
            ("client.crt", &certificate.certificate),
            ("client.key", &certificate.key),
            ("users.txt", &users),
        ] {
            write(&home.join(name), text)?;
        }

        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = free_port()?;
            write(&home.join("pgbouncer.ini"), &configuration(&home, server, port, &options))?;
            match launch(&program, &home, scratch.path(), port) {
                Ok(process) => {
                    let app_url = connection_string(APP_ROLE, server.password(), port, DATABASE);
                    return Ok(Self { process, port, app_url, ca_pem, scratch });
                }
                Err(error) if attempts == 3 => return Err(error),
                // The port may have been taken since we looked.
                Err(_) => {}
            }
        }
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As [`Postgres::app_url`], through the pooler.
    #[must_use]
    pub fn app_url(&self) -> &str {
        &self.app_url
    }

    /// As [`Postgres::url`], through the pooler.
    #[must_use]
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        connection_string(role, password, self.port, database)
    }

    /// The authority of the pooler's own certificate; it is not the server's.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same as a file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("pgbouncer.log")).unwrap_or_default()
    }

    /// Ends it at once, with every connection through it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.stop(Signal::KILL, Duration::from_secs(10))
    }

    /// Freezes it: connections are accepted by the kernel, nothing is answered.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)
    }

    /// Ends a [`PgBouncer::pause`].
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }
}

fn launch(program: &Path, home: &Path, scratch: &Path, port: u16) -> Result<Process, Error> {
    let log = scratch.join("pgbouncer.log");
    let file = fs::File::create(&log).map_err(Error::io("open the pooler's log"))?;
    let mut command = command(program, User::Unprivileged);
    command
        .arg(home.join("pgbouncer.ini"))
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let mut process = Process::start("pgbouncer", command)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = process.ended()? {
            let said = tail(&fs::read_to_string(&log).unwrap_or_default());
            return Err(Error::Failed(format!("pgbouncer ended ({status}) at its start: {said}")));
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(process);
        }
        if Instant::now() > deadline {
            return Err(Error::Failed("pgbouncer does not listen after 60 s".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn configuration(home: &Path, server: &Postgres, port: u16, options: &Options) -> String {
    let home = home.display();
    let mut text = format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server_port} auth_user=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         pool_mode = transaction\n\
         default_pool_size = {pool_size}\n\
         max_client_conn = 1000\n\
         server_login_retry = 1\n\
         ignore_startup_parameters = options,extra_float_digits\n\
         auth_type = scram-sha-256\n\
         auth_file = {home}/users.txt\n\
         auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1\n\
         client_tls_sslmode = require\n\
         client_tls_cert_file = {home}/client.crt\n\
         client_tls_key_file = {home}/client.key\n\
         server_tls_sslmode = verify-full\n\
         server_tls_ca_file = {home}/server-ca.pem\n",
        server_port = server.port(),
        pool_size = options.pool_size,
    );
    for (name, value) in &options.settings {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let doing = || format!("write {}", path.display());
    fs::write(path, text).map_err(Error::io(doing()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::io(doing()))?;
    give_to_unprivileged(path)
}
