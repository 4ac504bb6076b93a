//! What the fleet is like right now, for those who look: from readings to one status, with
//! everything that is unknown said to be so.
//!
//! [`assemble()`] takes [`Inputs`] and returns a [`Status`]. It guesses nothing: a source that
//! failed leaves its fields empty and is named, and a host that has not proved its version has
//! none.

mod assemble;
mod bound;
mod capacity;
mod cost;
mod exposition;
mod inputs;
mod version;
mod view;

pub use assemble::assemble;
pub use capacity::{CapacityWish, Change, Changes, WishProblem};
pub use cost::{Cost, HOURS, Prices};
pub use exposition::exposition;
pub use inputs::{Inputs, LastRollout, Site, WorkerDetail};
pub use version::{Proof, Runs, Word, counts_for_s, settled, word_of};
pub use view::*;
