//! `gatepost-sim`: the simulated office on the command line.

use std::process::ExitCode;

use gatepost_sim::command;
use gatepost_sim::scenario::catalog::CATALOG;

fn main() -> ExitCode {
    command::main(&CATALOG)
}
