//! Which servers take the mail of a domain. (RFC 5321, section 5; RFC 7505)
//!
//! A [`Search`] asks DNS questions, gets answers, and ends with servers in the order in which they are to be tried, or
//! with the reason why there are none. It has no resolver.
//!
//! | the domain has | then |
//! | --- | --- |
//! | a configured route | that server, at any address |
//! | nothing, and there is a smarthost | the smarthost |
//! | an address instead of a name | that address |
//! | MX records | their hosts by preference; equal ones in an order that is drawn |
//! | only MX records without a name (null MX) | failed: the domain accepts no mail |
//! | no MX record, but addresses | those addresses |
//! | no such name, or neither MX records nor addresses | failed |
//! | only hosts without an address | failed |
//! | only addresses that no public server has | deferred: that may pass |
//! | this server at its best, by its name or a public address | failed: the mail would come back |
//!
//! This server never sends to itself: MX records that are not preferred to its own are skipped (RFC 5321, section 5.1),
//! and its own addresses are never used. Addresses that are not public (private, link-local, loopback, multicast) and
//! those of the office's own networks are used only for routes and the smarthost, so that foreign MX records cannot
//! direct mail at hosts of the office.
//!
//! The resolver follows CNAMEs.

mod routes;
mod search;
#[cfg(test)]
mod tests;

pub use self::routes::{Host, NextHop, Routes, Server};
pub use self::search::{Answer, MxRecord, NoAnswer, Question, Search, Step, Target};

/// The port of mail servers.
pub const SMTP_PORT: u16 = 25;
/// The most hosts of a domain that are resolved.
pub const HOSTS_MAX: usize = 10;
/// The most addresses that are tried.
pub const TARGETS_MAX: usize = 8;
/// The most addresses of one host that are tried.
pub const HOST_ADDRESSES_MAX: usize = 4;
