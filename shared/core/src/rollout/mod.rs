//! How a version reaches every host, and how it is known that it did.
//!
//! SSM Run Command carries questions and orders to the hosts and keeps what each of them said.
//! [`start()`] sends the first command of a rollout, which asks every host what it runs;
//! [`decide()`] drives it to its end from then on, and [`View`] is how it stands. Both are asked
//! again and again: they return the next calls, and the answers go back into their inputs.
//!
//! An order is short: the host accepts it, closes its intake, and swaps when its running job ends.
//! The first one goes to one host, and nobody else gets one before that host has proven the
//! version; then two, four, … hosts hold one at a time. What became of an order a host says itself,
//! whenever it is asked. So no time of SSM's and none of the function's bounds a rollout.
//!
//! The stable pointer moves once as many hosts as the strategy says have proven the version; a
//! rollout has succeeded when every host in service has. SSM's word for success proves nothing. A
//! rollout in which the version failed is undone on the hosts that may run it, and so is the
//! pointer. Where a site wants it, the version is judged by its jobs as well: the canary's before
//! another host gets it, and everybody's before it has succeeded. A CloudWatch alarm that fires
//! meanwhile stops it.
//!
//! Whoever drives may die after any call. The record of the rollout says what was about to be sent
//! before it is sent, every command says in its comment what it is for, and hosts take the same
//! order twice without harm.

mod alarms;
mod build;
mod command;
mod contention;
mod decide;
mod decision;
mod deployment;
mod host;
mod inputs;
mod next;
mod outcomes;
mod pointer;
mod read;
mod record;
mod report;
mod start;
mod strategy;
mod trial;
mod view;

pub use alarms::FiredAlarm;
pub use build::Build;
pub use command::{Command, Invocation, Output};
pub use contention::overwritten;
pub use decide::decide;
pub use decision::{Decision, ROUNDS, Reason, State, Targets};
pub use deployment::{Detail, NothingToGoBackTo, Standing, Summary, version_to_go_back_to};
pub use fleet_protocol::action_report::{ActionReport, ActionResult};
pub use fleet_protocol::host_order::{HostOrder, OrderId, OrderState};
pub use fleet_protocol::rollout_order::{Key, Kind, Part, RolloutOrder, Step, Strategy};
pub use host::{Host, HostState};
pub use inputs::{
    Answer, Call, CallResult, Evidence, Inputs, LockResult, Seen, SendResult, Sending, Slot,
    StoredState, WebhookCall, slot,
};
pub use outcomes::{Outcomes, Tally, Verdict};
pub use record::{Ended, Former, Record, Sent, Stable};
pub use start::{Start, Started, start};
pub use strategy::{Limits, Share, enough, explain, window};
pub use trial::{Judging, Trial};
pub use view::{Known, Members, View};
