//! The shell that all functions have in common. Each function is its configuration, its `App`, its
//! routes and its handler; everything between Lambda and the handler is here, once:
//!
//! - [`run()`] starts the function: log, configuration, runtime.
//! - [`Event`] is what Lambda delivered: an HTTP request, the API's question whether one may go on,
//!   an EventBridge event, or none of these.
//! - [`answer`] takes an HTTP request through the same steps in every function: size, route, token,
//!   body, handler, audit line, response.
//! - [`Gate`] decides who may call.

mod api;
mod audit;
mod clock;
mod event;
mod gate;
mod problem;
mod reply;
mod request;
mod run;

pub use api::{Access, Call, Route, answer, answer_without_routes, authorize};
pub use audit::Audit;
pub use clock::now;
pub use event::{Event, is_schedule};
pub use gate::{Caller, Gate, Refusal, TokenSource};
pub use problem::Problem;
pub use reply::Reply;
pub use request::{BODY_BYTES, Request};
pub use run::run;

pub use fleet_clients::tokens::Scope;
