//! The helpers against the real servers and the real package.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;
mod pgboss;
mod pgbouncer;
mod postgres;
mod tls;
mod worker;
