//! gateway

pub mod ports;
