//! A gateway with two workers.

#![allow(
    clippy::duplicate_mod,
    reason = "each scenario brings its own bench along, as a test of its own does"
)]

mod team;
