//! A gateway with four workers.

mod team;
