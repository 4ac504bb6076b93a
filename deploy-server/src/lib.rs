//! The host server: one binary under systemd that owns the containers of one GhostHands host.
//!
//! Every answer is a proof, and every change has a way back. The pure parts (what a deploy does
//! next, what a reading of a worker means, what a journal says) take values and return values; the
//! rest talks to the Docker Engine, the two services, and the file system.

pub mod aws;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control_socket;
pub mod deploy;
pub mod docker;
pub mod ecr;
pub mod exposition;
pub mod host_drain;
pub mod http;
pub mod listener;
pub mod metrics;
pub mod notice;
pub mod ops;
pub mod orders;
pub mod probe;
pub mod reconciler;
pub mod redact;
pub mod secrets;
pub mod serve;
pub mod server;
pub mod service;
pub mod state;
pub mod unasked_drain;
pub mod views;
pub mod worker;
