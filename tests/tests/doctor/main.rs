//! `ghfleet doctor` from outside: against the shipped functions behind an HTTP API, the AWS double,
//! real PostgreSQL behind PgBouncer, and the real pg-boss. Each fault is made, and has to be named.

mod aws;
mod database;
mod fleet;
mod partial;
mod world;
