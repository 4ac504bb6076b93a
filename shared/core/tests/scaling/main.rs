//! `decide`, from outside: rule by rule, and for every input.

mod fleet;
mod properties;
mod rows_drain;
mod rules;
