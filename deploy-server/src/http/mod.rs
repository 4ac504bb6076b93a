//! The HTTP interface, for callers from the network and, over the unix socket, for the local
//! commands.
//!
//! Both speak the same requests to the same code; they differ in how a caller proves who it is.

mod body;
pub mod listen;
pub mod openapi;
mod reply;
mod routes;
mod secret;

pub use body::{BootstrapBody, CleanupBody, DeployBody, DrainBody, RollbackBody};
pub use routes::answer;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// From the network: must show the deploy secret to change anything.
    Remote,
    /// Through the root-only socket; the kernel says which user.
    Local { uid: u32 },
}

impl Caller {
    /// For the history.
    #[must_use]
    pub fn actor(self) -> String {
        match self {
            Self::Remote => "http".to_owned(),
            Self::Local { uid } => format!("local uid {uid}"),
        }
    }
}
