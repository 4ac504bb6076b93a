//! How an instance leaves its group without taking a job with it.
//!
//! [`decide()`] takes everything one pass knows so far as [`Inputs`] and returns the calls to make
//! next. Their answers go back into the inputs, and it is asked again, until it asks for nothing:
//! look at the group, hold every leaving instance by a heartbeat, look at its commands and at its
//! machine, and only then act. Every trigger makes the same pass, and nothing has to be remembered
//! between passes: what a pass needs to know of earlier ones is in the commands that they sent. So
//! a pass may die after any of its calls.
//!
//! An instance leaves on proof: its machine is gone, or its host says freshly that nothing runs and
//! nothing more will be taken. A host that cannot say so is asked again, until the longest time
//! that a job may take is over.

mod age;
mod commands;
mod decide;
mod decision;
mod judge;
mod metrics;
mod notes;
mod observation;
mod policy;
mod report;

pub use age::Age;
pub use commands::{Invocation, Output};
pub use decide::decide;
pub use decision::{Call, Decision, LastAnswer, Note, Reason, Verdict};
pub use fleet_protocol::drain_order::{Chain, DrainOrder};
pub use fleet_protocol::drain_report::DrainReport;
pub use metrics::DrainMetrics;
pub use observation::{
    Activities, Answer, CallResult, Evidence, Group, Hint, HintKind, Hook, Inputs, Machine, Member,
    Memory, Seen,
};
pub use policy::{DELIVERY_S, Policy};
pub use report::Finding;
