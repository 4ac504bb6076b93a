//! A Docker Engine whose containers are processes of this machine: enough of the Engine API, on a
//! unix socket, for a real deploy-server, without root, namespaces or file system layers.
//!
//! A container is a process group with the environment, the command, the labels, the log, the exit
//! code and the restart policy that the Engine API gives it; its `State.Pid` is the process that
//! runs, so whoever asks the kernel which process listens on a port gets the same proof as with
//! Docker on host networking. An image is what the embedder puts into a [`Registry`]: programs by
//! name, an environment, and how a pull of it goes.
//!
//! It is strict: a call or a query parameter that it does not model is refused, never ignored. What
//! it does not have is isolation: memory limits, users, volumes and networks of a container's
//! configuration are kept and shown, not applied, and a program without a handler for SIGTERM ends
//! by it, where the kernel spares the first process of a real container until its grace is over.
//! `tests/conformance` puts the same calls to it and to a real Docker Engine and compares the
//! answers.
//!
//! Nothing it starts outlives the process that embeds it: the kernel kills the first process of
//! every container when that process dies. All engines of a process share one thread, and a call
//! here blocks until it is done.

mod api;
mod container;
mod engine;
mod image;
mod log;
mod run;
mod runtime;
mod state;

pub use container::{Container, Status};
pub use engine::{Engine, Error};
pub use image::{Image, Pull, Registry};
pub use run::{Happening, Observer};
