//! The HTTP interface, for callers from the network and, over the unix socket, for the local
//! commands.
//!
//! Both speak the same requests to the same code; they differ in how a caller proves who it is.

mod accept;
mod body;
mod documents;
pub mod listen;
pub mod openapi;
mod pace;
mod reply;
mod routes;
mod secret;

use std::net::IpAddr;

pub use body::{BootstrapBody, CleanupBody, DeployBody, DrainBody, RollbackBody};
pub use documents::Documents;
pub use routes::answer;
pub use secret::Refusals;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// From the network: must show the deploy secret to change anything.
    Remote { peer: IpAddr },
    /// Through the root-only socket; the kernel says which user.
    Local { uid: u32 },
}

impl Caller {
    #[must_use]
    pub fn is_remote(self) -> bool {
        matches!(self, Self::Remote { .. })
    }

    /// For the history.
    #[must_use]
    pub fn actor(self) -> String {
        match self {
            Self::Remote { peer } => format!("http {peer}"),
            Self::Local { uid } => format!("local uid {uid}"),
        }
    }
}
