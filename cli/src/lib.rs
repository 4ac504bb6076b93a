//! The command line of GhostHands Fleet. `main.rs` reads the arguments; everything it does is here,
//! so that tests call the same functions.

pub mod args;
pub mod replay;
pub mod simulate;
pub mod tune;
