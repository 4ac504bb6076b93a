//! The shipped drain function, from outside: on the double's clock with hosts that follow a script,
//! and on the machine's clock with real deploy-servers and workers. Tests named `row_…` are rows of
//! the failure matrix.

mod events;
mod faults;
mod hosts;
mod killed;
mod many;
mod real;
mod scripted;
mod story;
