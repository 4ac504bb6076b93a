//! Systems Manager Run Command: the drain commands of leaving instances, and how every client here
//! reads what SSM lists.

pub(crate) mod decode;
mod drains;

pub use drains::DrainCommands;
pub(crate) use drains::parameters;
