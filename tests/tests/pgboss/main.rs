//! The queue source against real parts: every generation of pg-boss, PostgreSQL with TLS,
//! PgBouncer.

mod concurrency;
mod count;
mod faults;
mod gather;
mod hostile;
mod job;
mod lock;
mod plans;
mod role;
mod scenario;
mod support;
mod tls;
mod versions;
