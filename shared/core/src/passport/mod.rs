//! What happened to one job: where its wait went, which machine and version ran it, and what its
//! time cost.
//!
//! [`job_passport()`] takes the facts that each source gave and returns a [`JobPassport`]. It
//! guesses nothing: what a source no longer has, or never had, is in [`JobPassport::missing`] with
//! the reason, and the part of a wait that cannot be told apart is [`SegmentKind::Unsplit`].

mod assemble;
mod cause;
mod facts;
mod job_id;
mod missing;
mod query;
mod view;
mod wait;

pub use assemble::job_passport;
pub use cause::requested_at;
pub use facts::*;
pub use job_id::JobId;
pub use missing::{Missing, MissingPart, MissingReason};
pub use query::{LogsQuery, decisions_query};
pub use view::*;
pub use wait::{Boundaries, split};
