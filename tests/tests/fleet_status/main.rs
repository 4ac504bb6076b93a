//! The shipped `fleet-status` binary from outside: through an HTTP API, against real PostgreSQL,
//! the real pg-boss and the AWS double.

mod answers;
mod capacity;
mod faults;
mod jobs;
mod world;
