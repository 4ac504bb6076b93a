//! `decide`, from outside: rule by rule, and for every input.

mod fleet;
mod properties;
mod rules;
