//! The decisions of GhostHands Fleet, and nothing else.
//!
//! Everything here is a function from values to values: no clock, no network, no environment, no
//! logging, no floating point where a decision depends on it. What the outside world said arrives
//! as [`scaling::Inputs`], [`drain::Inputs`] or [`rollout::Inputs`]; what is to be done leaves as a
//! decision with no choices left in it. A decision can therefore be executed again, bit for bit,
//! from its record.

mod count;
pub mod drain;
pub mod passport;
mod reasons;
pub mod rollout;
pub mod run_command;
pub mod scaling;
pub mod status;
pub mod text;
