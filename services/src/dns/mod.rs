//! DNS for the office: authoritative for its own names; others are resolved through the provider's servers and a cache.
//!
//! # The resolution of a query
//!
//! ```text
//!              ┌─────────────── Server ────────────────┐
//!  client ───▶ │ message ─▶ zone ─▶ cache ─▶ forwarder │ ───▶ upstream
//!         ◀─── │          ◀──────── reply ◀─────────── │ ◀───
//!              └──────── Service: sockets, time ───────┘
//! ```
//!
//! 1. [`message`] parses the query and rejects malformed ones; [`wire`] reads messages and passes on what this server
//!    need not understand.
//! 2. [`zone`] has the office's names: built-in ones, static ones and, looked up for every query, those of the LAN's
//!    hosts ([`LocalNames`]). It also has the zones that must never leave the office: reverse zones of private
//!    addresses and special names ([`special`]). A name in a local zone is answered from it, also with a denial.
//!    The names below a [`ForwardZone`] are forwarded to the servers of that zone alone.
//! 3. [`cache`] holds upstream servers' answers and failures.
//! 4. [`waiting`] holds the queries that wait for upstream servers, with a share for each client and each zone
//!    ([`upstream_zone`]).
//! 5. [`forwarder`] queries the upstream servers; identical questions share one exchange, and queries over TCP share
//!    connections ([`upstream_connections`]). [`reply`] extracts from a response only the records that answer the
//!    question.
//!
//! UDP responses to clients on the WAN are rate limited ([`rate_limit`]), and each source has a share of the TCP
//! connections ([`connections`]).
//!
//! CNAMEs between these are followed, a bounded number of times. Private addresses are removed from the answers for
//! public names ([`rebinding`]).
//!
//! [`server::Server`] combines all of this into one state machine without I/O; [`Service`] connects it to sockets, and
//! [`office`] makes it one of the gateway's services; other services use it through a [`resolver`], and reports through
//! an [`inspection`]. Not supported: DNSSEC validation (signatures and proofs are passed to clients that request them,
//! and AD is that of a trusted upstream server), zone transfers, and updates. Other services publish TXT records in it
//! at run time ([`published`]).

pub mod address_names;
pub mod cache;
pub mod connections;
pub mod forwarder;
pub mod inspection;
pub mod message;
pub mod mixed_case;
pub mod name;
pub mod published;
pub mod rate_limit;
pub mod rebinding;
pub mod reply;
pub mod resolver;
pub mod server;
pub mod special;
pub mod upstream_connections;
pub mod upstream_zone;
pub mod waiting;
pub mod wire;
pub mod zone;

mod config;
mod events;
pub mod office;
mod service;
mod stats;
#[cfg(test)]
mod testing;

pub use crate::lan_hosts::LocalNames;
pub use config::{Config, ConfigError, ForwardZone, RecordValue, StaticRecord};
pub use events::DnsEvent;
pub use service::Service;
pub use stats::Stats;
