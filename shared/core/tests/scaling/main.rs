//! `decide`, from outside: rule by rule, and for every input.

mod fleet;
mod limits;
mod near;
mod properties;
mod rows_drain;
mod rules;
