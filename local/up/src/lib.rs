//! The fleet on one machine: the helpers that `make up` and every integration test share.
//!
//! They start the real thing (PostgreSQL, PgBouncer, the pg-boss package from npm), each in a
//! folder and on a port of its own, and nothing they start outlives the process that started it.
//! Whatever starts or stops a process blocks, so it can be used from a plain test, an
//! asynchronous one or a static alike.

pub mod certs;
mod error;
pub mod functions;
pub mod host;
pub mod http;
pub mod paths;
pub mod pgboss;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod random;
pub mod registry;
pub mod template;
pub mod worker;

pub use error::Error;
