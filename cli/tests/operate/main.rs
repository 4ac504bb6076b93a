//! The built `ghfleet` against a small server that answers as the fleet's API does, well and badly.

mod connection;
mod cost;
mod doctor;
mod documents;
mod explain;
mod fixture;
mod help;
mod job;
mod machine;
mod manual;
mod orders;
mod replay;
mod rollout;
mod rollouts;
mod scale;
mod status;
mod support;
