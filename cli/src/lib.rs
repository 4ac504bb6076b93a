//! The command line of GhostHands Fleet. `main.rs` reads the arguments; everything it does is here,
//! so that tests call the same functions.

pub mod api;
pub mod args;
pub mod connection;
pub mod cost;
pub mod doctor;
pub mod explain;
pub mod finish;
pub mod instance;
pub mod job;
pub mod manual;
pub mod minutes;
pub mod replay;
pub mod rollout;
pub mod scale;
pub mod show;
pub mod simulate;
pub mod status;
pub mod trials;
pub mod tune;
