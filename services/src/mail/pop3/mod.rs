//! POP3, by which mailboxes are read. (RFC 1939)
//!
//! [`server`] is the office's server, [`client`] reads remote mailboxes over a [`connection`].

pub mod client;
mod command;
pub mod connection;
pub mod server;
mod top;
