//! `rollout::decide` and `rollout::start`, from outside: whole rollouts against a fleet and an SSM
//! that go wrong in every way.

mod alarms;
mod drive;
mod host;
mod outcomes;
mod races;
mod random;
mod rules;
mod sim;
mod world;
