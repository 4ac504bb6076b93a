//! `drain::decide`, from outside: the failure matrix row by row, and whole lives of instances under
//! every pair of faults.

mod lives;
mod metrics;
mod order;
mod rows_aws;
mod rows_host;
mod scene;
mod sim;
