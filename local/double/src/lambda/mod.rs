//! A Lambda function: a real binary behind the real Runtime API, with the limits and failures of
//! the service.
//!
//! Not modelled: the freeze between invocations, memory limits (the size is only told to the
//! process), the network and the read-only file system. Deadlines and timeouts are real time
//! whatever the double's clock says, because the process has no other.

mod authorizer;
mod config;
mod environment;
mod function;
pub(crate) mod http_front;
pub(crate) mod invoke_api;
mod logs;
mod runtime_api;

pub use authorizer::Authorizer;
pub use config::FunctionConfig;
pub use function::{Function, FunctionError, InvokeError};
pub use http_front::{HttpApi, Route};
pub use logs::{LogLine, LogStream};
