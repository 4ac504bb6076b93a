//! How many workers there should be, and which one may go.
//!
//! [`decide()`] takes everything one tick knows as [`Inputs`] and returns a [`Decision`] and the
//! memory for the next tick. It follows two asymmetric rules. Capacity grows at once, by an
//! absolute number, on whatever is known. Capacity shrinks by one named worker at a time, and only
//! when every input is known, nothing forbids it, the level has been unneeded for its hold, and the
//! worker was proven idle twice. `docs/SEMANTICS.md` states the guarantees, and each has a test
//! that names it.

mod bounds;
mod decide;
mod decision;
mod demand;
mod hold;
mod idle;
mod observation;
mod overrides;
mod policy;
mod state;
mod summary;

pub use bounds::Bounds;
pub use decide::{Inputs, TickResult, decide};
pub use decision::{Decision, Note, Reason, ScalingAction};
pub use demand::Demand;
pub use hold::HoldMemory;
pub use idle::{IdleSince, NotIdle, own_queues};
pub use observation::*;
pub use overrides::{FLOOR_TAG, Override, Overrides, PAUSED_TAG};
pub use policy::Policy;
pub use state::{CallResult, LossCause, Memory, STATE_LIMIT_BYTES, Sample, State};
pub use summary::DecisionSummary;
