//! The shipped binary, driven from outside: a real Docker Engine, a real registry that wants a
//! password, real containers that behave well and badly.

mod support;

mod abuse;
mod answers;
mod attacks;
mod commands;
mod conformance;
mod crashes;
mod deploys;
mod disks;
mod drains;
mod faults;
mod kamal;
mod machines;
mod notices;
mod orders;
