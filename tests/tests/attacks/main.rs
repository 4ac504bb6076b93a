//! Attacks that this software was found to fall to, one test each: refused with a clear word,
//! within stated memory and time.

mod bodies;
mod callers;
mod world;
