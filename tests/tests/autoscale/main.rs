//! The shipped `autoscale` binary from outside: under the Lambda Runtime API, against real
//! PostgreSQL with TLS, the real pg-boss and the AWS double.

mod api;
mod configuration;
mod enqueue;
mod faults;
mod memory;
mod outcomes;
mod story;
mod world;
