//! A gateway with two workers.

mod team;
