//! The shipped `deploy` binary from outside: under the Lambda Runtime API, through an HTTP API,
//! against the AWS double.

mod actions;
mod alarms;
mod api;
mod client;
mod conformance;
mod hosts;
mod kills;
mod outcomes;
mod rollouts;
mod webhook;
mod world;
