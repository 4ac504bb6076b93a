//! What people are told, made of readings and nothing else.

mod exposition;
mod status;
