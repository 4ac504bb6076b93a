//! The double as others use it: as a library, over HTTP, with real functions and real processes.

mod aws;
mod common;
mod double;
mod events;
mod lambda;
mod shell;
