//! Which servers take the mail of a domain. (RFC 5321, section 5; RFC 7505)
//!
//! A [`Search`] asks for names, is answered, and ends with servers in the order in which they are to be tried, or with
//! why there are none. It knows no resolver.
//!
//! | the domain has | then |
//! | --- | --- |
//! | a route of the configuration | that server, wherever it is |
//! | nothing, and there is a smarthost | the smarthost |
//! | an address instead of a name | that address |
//! | MX records | their hosts by preference; equal ones in an order that is drawn |
//! | MX records without a name only (null MX) | failed: it takes no mail |
//! | no MX record, but addresses | those addresses |
//! | no such name, or neither MX records nor addresses | failed |
//! | only hosts without an address | failed |
//! | only addresses that no public server has | deferred: that may pass |
//! | this server at its best, by its name or a public address | failed: the mail would come back |
//!
//! This server never sends to itself: of MX records those that are not preferred to its own are passed over (RFC 5321,
//! section 5.1), and none of its addresses is a server. Addresses that no public server can have (private ones, of the
//! link, of the host itself, of groups) and those of the office's own networks are servers by a route or as the
//! smarthost only, so that nobody outside can point its mail at machines of the office.
//!
//! Names that are aliases (CNAME) are followed by whoever resolves.

mod routes;
mod search;
#[cfg(test)]
mod tests;

pub use self::routes::{Host, NextHop, Routes, Server};
pub use self::search::{Answer, MxRecord, NoAnswer, Question, Search, Step, Target};

/// The port of mail servers.
pub const SMTP_PORT: u16 = 25;
/// The most hosts of a domain that are looked up.
pub const HOSTS_MAX: usize = 10;
/// The most addresses that are tried.
pub const TARGETS_MAX: usize = 8;
/// The most addresses of one host that are tried.
pub const HOST_ADDRESSES_MAX: usize = 4;
