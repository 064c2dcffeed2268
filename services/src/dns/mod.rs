//! DNS for the office: its own names answered with authority, the others through the provider's servers
//! and a cache.
//!
//! # How a question is answered
//!
//! ```text
//!              ┌─────────────── Server ────────────────┐
//!  client ───▶ │ message ─▶ zone ─▶ cache ─▶ forwarder │ ───▶ upstream
//!         ◀─── │          ◀──────── reply ◀─────────── │ ◀───
//!              └──────── Service: sockets, time ───────┘
//! ```
//!
//! 1. [`message`] reads the question and rejects what is malformed or not ours to answer.
//! 2. [`zone`] knows the office's names: the built-in ones, the static ones and, asked anew for every
//!    question, those of the LAN's hosts ([`LocalNames`]). It also knows what must never leave the office:
//!    reverse zones of private addresses and special names ([`special`]). What lies in a local zone is
//!    answered from it, also when the answer is "no".
//! 3. [`cache`] holds what upstream servers said, and that they failed.
//! 4. [`waiting`] holds the questions that wait for upstream servers, and gives each client and each zone
//!    ([`upstream_zone`]) a share of them.
//! 5. [`forwarder`] asks the upstream servers; identical questions share one exchange. [`reply`] takes
//!    from an answer only what belongs to the question.
//!
//! What a client on the WAN is sent over UDP is limited in its rate ([`rate_limit`]), and each source has a share
//! of the TCP connections ([`connections`]).
//!
//! A CNAME from one of these to another is followed, a bounded number of times.
//!
//! [`server::Server`] is all of this as one state machine without I/O; [`Service`] connects it to sockets, and
//! [`office`] makes it one of the gateway's services, which the others ask by a [`resolver`]. What it does not do:
//! validate DNSSEC (it passes signatures to those who ask for them and never sets AD), transfer zones, or accept
//! updates. Other services publish TXT records there while they run ([`published`]).

pub mod cache;
pub mod connections;
pub mod forwarder;
pub mod message;
pub mod name;
pub mod published;
pub mod rate_limit;
pub mod reply;
pub mod resolver;
pub mod server;
pub mod special;
pub mod upstream_zone;
pub mod waiting;
pub mod zone;

mod config;
pub mod office;
mod service;
mod stats;
#[cfg(test)]
mod testing;

pub use crate::lan_hosts::LocalNames;
pub use config::{Config, ConfigError, RecordValue, StaticRecord};
pub use service::Service;
pub use stats::Stats;
