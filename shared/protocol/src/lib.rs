//! What the host binary and the control plane say to each other, and the words that both use. No
//! I/O.
//!
//! A name, a field or a code that crosses the wire exists here once: the host binary prints these
//! types, the control plane reads them, and the fleet on one machine and the tests use the same.

pub mod ids;
pub mod image_tag;
pub mod lifecycle;
pub mod reading;
pub mod time;
