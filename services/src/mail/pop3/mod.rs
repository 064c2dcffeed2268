//! POP3, by which mailboxes are read. (RFC 1939)

pub mod client;
