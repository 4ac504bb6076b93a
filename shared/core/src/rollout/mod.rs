//! How a version reaches every host, and how it is known that it did.
//!
//! SSM Run Command does the distributed work: it sends an order to the hosts in waves, stops when
//! they fail, and keeps what each of them said. [`start()`] asks for the first command of a
//! rollout, [`decide()`] drives it to its end from then on, and [`View`] is how it stands. Both are
//! asked again and again: they return the next calls, and the answers go back into their inputs.
//!
//! A rollout is proven when every host in service says itself that it runs the version; then the
//! stable pointer moves, and new instances boot to it. SSM's word for success proves nothing. A
//! rollout in which the version failed is undone on the hosts that may run it.
//!
//! Whoever drives may die after any call. The record of the rollout says what was about to be sent
//! before it is sent, every command says in its comment what it is for, and hosts take the same
//! order twice without harm.

mod command;
mod decide;
mod decision;
mod host;
mod inputs;
mod next;
mod record;
mod report;
mod start;
mod strategy;
mod view;

pub use command::{Command, Invocation, Output};
pub use decide::decide;
pub use decision::{Decision, Reason, State, Targets};
pub use fleet_protocol::action_report::{ActionReport, ActionResult};
pub use fleet_protocol::rollout_order::{Key, Kind, Part, RolloutOrder, Step, Strategy};
pub use host::{Host, HostState};
pub use inputs::{
    Answer, Call, CallResult, Evidence, Inputs, LockResult, Seen, SendResult, Sending, StoredState,
    WebhookCall,
};
pub use record::{Ended, Record, Sent, Stable};
pub use start::{Start, Started, start};
pub use strategy::{Pace, explain};
pub use view::{Known, Members, View};
