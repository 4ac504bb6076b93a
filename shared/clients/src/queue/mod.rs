//! The queue as pg-boss keeps it in Postgres, and the worker registry beside it: read only, by one
//! statement in a tick.
//!
//! pg-boss moves its tables between versions, often within a major one. What is there is looked up
//! in the catalog ([`layout`]) and the statement is written for it ([`statement`]). pg-boss's own
//! cached counters are never used: they are refreshed by workers, and a fleet at zero has none.

mod access;
#[cfg(any(test, fuzzing))]
mod any_rows;
mod document;
mod gather;
mod job;
mod job_statement;
mod layout;
mod names;
mod outcomes;
mod refused;
mod source;
mod statement;

pub use access::{DATABASE_CA_KEY, QueueAccess, REGISTRY};
#[cfg(any(test, fuzzing))]
pub use any_rows::read_any_rows;
pub use gather::{Gathering, GatheringRequest, gathering_key};
pub use job::FoundJob;
pub use names::{NameProblem, Names};
pub use outcomes::{OutcomeCounts, OutcomesRequest};
pub use source::{LockedTick, QueueSource, QueueView, TickLock, lock_key};
