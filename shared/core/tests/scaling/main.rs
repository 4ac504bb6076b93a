//! `decide`, from outside: rule by rule, for every input, and over whole lives of a fleet.

mod capacity;
mod fleet;
mod life;
mod limits;
mod metrics;
mod near;
mod properties;
mod rows_drain;
mod rules;
