//! Mail: what a message is addressed to, the protocols by which it comes in, and where it is kept.

pub mod address;
pub mod sasl;
pub mod smtp;
pub mod store;
