//! One error for everything that starts programs on this machine.

use std::fmt::Display;
use std::io;

/// Why something could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program this machine does not have; the text names what to install.
    #[error("{what} is missing: {install}")]
    Missing {
        /// The program.
        what: String,
        /// How to get it.
        install: String,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ran and failed, or answered something else than it should.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// For `map_err`: `fs::write(…).map_err(Error::io("write the log"))`.
    pub fn io(doing: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.to_string(), source }
    }
}
