//! What the host binary and the control plane say to each other, and the words that both use. No
//! I/O.
//!
//! A name, a field or a code that crosses the wire exists here once: the host binary prints these
//! types, the control plane reads them, and the fleet on one machine and the tests use the same.
//! What a report proves is for the control plane to judge, in `fleet-core`.

pub mod action;
pub mod action_report;
pub mod document;
pub mod drain_order;
pub mod drain_report;
pub mod environment;
pub mod exit_code;
pub mod exposition;
pub mod host_order;
pub mod host_reply;
pub mod ids;
pub mod image_tag;
pub mod lifecycle;
pub mod line;
pub mod reading;
pub mod rollout_order;
pub mod stable;
pub mod time;
pub mod variable;
pub mod worker;
