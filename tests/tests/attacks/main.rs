//! Attacks that this software was found to fall to, one test each: refused with a clear word,
//! within stated memory and time.

mod bodies;
mod callers;
mod database;
mod passwords;
#[path = "../autoscale/world.rs"]
#[expect(dead_code, reason = "the suite of the function itself uses the rest")]
mod queue_world;
mod world;
