//! Mail: what a message is addressed to, and the protocols by which it comes in.

pub mod address;
pub mod sasl;
pub mod smtp;
