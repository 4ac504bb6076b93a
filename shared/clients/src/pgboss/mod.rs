//! The queue as pg-boss keeps it in Postgres, and the worker registry beside it: read only, by one
//! statement in a tick.
//!
//! pg-boss moves its tables between versions, often within a major one. What is there is looked up
//! in the catalog ([`probe`]) and the statement is written for it ([`sql`]). pg-boss's own cached
//! counters are never used: they are refreshed by workers, and a fleet at zero has none.

mod kept;
mod names;
mod probe;
mod read;
mod source;
mod sql;

pub use kept::KeptSource;
pub use names::{NameProblem, Names};
pub use source::{Begun, Look, QueueSource, Tick, lock_key};
