//! Statements as the superuser, through the server's private socket: no TLS, no pooler between.

use tokio_postgres::{Client, Config, NoTls};

use super::{APP_ROLE, Postgres, SUPERUSER, home};
use crate::Error;

impl Postgres {
    /// Runs statements in `database`. Blocks; works inside and outside an asynchronous runtime.
    ///
    /// # Errors
    /// What Postgres answered, or that it cannot be reached.
    pub fn execute(&self, database: &str, statements: &str) -> Result<(), Error> {
        let run = async {
            let client = self.connect(database).await?;
            client.batch_execute(statements).await.map_err(|error| failed(&error))
        };
        // A thread of its own, because the caller's may already be driving a runtime.
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(Error::io("start a runtime"))?;
                runtime.block_on(run)
            });
            done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A connection for a test's own questions; it is driven by the caller's runtime.
    ///
    /// # Errors
    /// That it cannot be reached.
    pub async fn connect(&self, database: &str) -> Result<Client, Error> {
        let (client, connection) = Config::new()
            .host_path(home(&self.scratch))
            .port(self.port)
            .user(SUPERUSER)
            .dbname(database)
            .connect(NoTls)
            .await
            .map_err(|error| failed(&error))?;
        // A connection that breaks fails the client's next statement, which reports it.
        tokio::spawn(async move {
            connection.await.ok();
        });
        Ok(client)
    }

    /// A further database, owned by [`APP_ROLE`]: one server can serve many tests.
    ///
    /// # Errors
    /// What Postgres answered.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        self.execute(SUPERUSER, &format!("CREATE DATABASE \"{name}\" OWNER {APP_ROLE}"))
    }
}

fn failed(error: &tokio_postgres::Error) -> Error {
    let text = error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} (SQLSTATE {})", db.message(), db.code().code()),
    );
    Error::Failed(format!("postgres: {text}"))
}
