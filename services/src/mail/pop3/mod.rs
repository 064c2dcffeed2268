//! POP3, by which mailboxes are read. (RFC 1939)
//!
//! [`server`] is the office's own side, [`client`] the one that reads mailboxes elsewhere.

pub mod client;
mod command;
pub mod server;
mod top;
