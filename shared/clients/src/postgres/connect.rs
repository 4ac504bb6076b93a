//! One verified connection.

use super::addresses;
use super::error::PostgresError;
use super::tls::Trust;
use super::url::DatabaseUrl;
use secrecy::ExposeSecret;
use std::future::Future;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};

/// The longest a connection may take from the name look-up to the end of authentication. A shorter
/// `connect_timeout` in the URL is kept.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(3);

const APPLICATION_NAME: &str = "ghosthands-fleet";

/// Where the database is and whom we believe to be it.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) url: DatabaseUrl,
    pub(super) trust: Trust,
}

/// An open connection. Dropping it closes it, and the server rolls back what was open.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A driver whose peer went silent would otherwise live until the kernel gives the socket
        // up.
        self.driver.abort();
    }
}

// === impl Database ===

impl Database {
    #[must_use]
    pub fn new(url: DatabaseUrl, trust: Trust) -> Database {
        Database { url, trust }
    }

    /// Opens a connection within [`CONNECT_LIMIT`].
    ///
    /// # Errors
    /// Why there is no connection: nobody there, a certificate, a password, or the limit.
    pub async fn connect(&self) -> Result<Connection, PostgresError> {
        let limit = self
            .url
            .settings
            .connect_timeout
            .map_or(CONNECT_LIMIT, |asked| asked.min(CONNECT_LIMIT));
        within(limit, "connecting", async {
            // Before the limit of the whole, so that it is the addresses that are named.
            let socket = self.open_socket(limit * 9 / 10).await?;
            let mut connector = self.trust.connector.clone();
            let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, &self.url.host)
                .unwrap_or_else(|never| match never {});
            let (client, connection) = self.config().connect_raw(socket, tls).await?;
            // How it ends is not looked at: whoever uses the connection next is told, and between
            // ticks nobody cares.
            let driver = tokio::spawn(async move { drop(connection.await) });
            Ok(Connection { client, driver })
        })
        .await
    }

    async fn open_socket(&self, limit: Duration) -> Result<TcpStream, PostgresError> {
        let target = (self.url.host.as_str(), self.url.port);
        let addresses = lookup_host(target).await.map_err(PostgresError::Lookup)?;
        let socket = addresses::first_to_answer(addresses.collect(), limit)
            .await
            .map_err(PostgresError::NoAddressAnswers)?;
        // Small messages that each wait for their answer: Nagle would only delay them.
        socket.set_nodelay(true).map_err(PostgresError::Network)?;
        Ok(socket)
    }

    fn config(&self) -> Config {
        let settings = &self.url.settings;
        let mut config = Config::new();
        config
            .user(&self.url.user)
            // With rustls this is libpq's verify-full: the handshake fails where chain or name do.
            .ssl_mode(SslMode::Require)
            .application_name(settings.application_name.as_deref().unwrap_or(APPLICATION_NAME));
        if let Some(password) = &self.url.password {
            config.password(password.expose_secret());
        }
        if let Some(database) = &self.url.database {
            config.dbname(database);
        }
        if let Some(binding) = settings.channel_binding {
            config.channel_binding(binding);
        }
        config
    }
}

// === impl Connection ===

impl Connection {
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements that return nothing, in one round trip.
    ///
    /// # Errors
    /// What Postgres answered, or that the limit is over.
    pub async fn execute(&self, statements: &str, limit: Duration) -> Result<(), PostgresError> {
        within(limit, "beginning or ending a transaction", async {
            Ok(self.client.batch_execute(statements).await?)
        })
        .await
    }

    /// Runs one statement that is never prepared by name, because a transaction pooler hands the
    /// next one to another server process. Results must be of built-in types for the same reason:
    /// the driver would look others up with a prepared statement.
    ///
    /// # Errors
    /// What Postgres answered, or that the limit is over.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        limit: Duration,
    ) -> Result<Vec<Row>, PostgresError> {
        within(limit, "running a statement", async {
            Ok(self.client.query_typed(statement, parameters).await?)
        })
        .await
    }
}

async fn within<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    timeout(limit, work).await.unwrap_or(Err(PostgresError::TimedOut(doing, limit)))
}
