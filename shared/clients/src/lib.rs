//! The outside world of GhostHands Fleet: AWS, Postgres, settings and what is printed.
//!
//! Each module is one outside system behind calls named by what the fleet needs from it; the SDK's
//! types stay inside. What is observed leaves as `fleet_core` types, where a failure is an
//! `Unknown` and never an empty answer.

pub mod alarms;
pub mod auto_scaling;
pub mod aws;
pub mod checkup;
pub mod config;
pub mod ec2;
pub mod launches;
pub mod lifecycle;
pub mod parameters;
pub mod postgres;
pub mod proofs;
pub mod queue;
pub mod rollouts;
pub mod run_command;
pub mod secrets;
mod signed;
pub mod tags;
pub mod telemetry;
pub mod tokens;
pub mod webhook;
