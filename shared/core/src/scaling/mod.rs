//! How many workers there should be, and which ones may go.
//!
//! [`decide()`] takes everything one tick knows as [`Inputs`] and returns a [`Decision`] and the
//! memory for the next tick. It follows two asymmetric rules. Capacity grows at once, by an
//! absolute number, on whatever is known. Capacity shrinks by named workers, and only when every
//! input is known, nothing forbids it, and the levels have been unneeded for their holds. A worker
//! goes when it is proven idle twice, or says that it is idle and a drain stands behind it.
//! `docs/SEMANTICS.md` states the guarantees, and each has a test that names it.

mod boot;
mod bounds;
mod decide;
mod decision;
mod demand;
mod hold;
mod idle_memory;
mod launches;
mod metrics;
mod observation;
mod overrides;
mod policy;
mod scale_in;
mod spare;
mod state;
mod summary;
mod unable;
mod windows;
mod workers;

pub use boot::BootMemory;
pub use bounds::Bounds;
pub use decide::{Inputs, TickResult, decide};
pub use decision::{Decision, Levels, Note, Reason, ScalingAction};
pub use demand::Demand;
pub use hold::{HoldMemory, HoldTimes};
pub use idle_memory::IdleMemory;
pub use launches::LaunchFailure;
pub use metrics::ScalingMetrics;
pub use observation::*;
pub use overrides::{FLOOR_TAG, Override, Overrides, PAUSED_TAG};
pub use policy::Policy;
pub use spare::SpareMemory;
pub use state::{CallResults, LossCause, Memory, STATE_LIMIT_BYTES, Sample, State};
pub use summary::DecisionSummary;
pub use unable::{Unable, UnableWorker};
pub use windows::{FloorWindow, Window};
pub use workers::{NotIdle, own_queues};
