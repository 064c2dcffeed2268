//! Polling: fetching mail from remote mailboxes by POP3.
//!
//! An account is one user's, or a common mailbox whose messages are distributed by their headers.
//!
//! ```text
//!   Listing ─┬─► account: plan ─► Fetch, Delete, Leave
//!   memory ──┘                      │
//!                                   ▼ the message's octets
//!             header ─► distribute ─► receivers
//! ```
//!
//! [`collect`](collect::collect) drives a connection by it, and stores messages for the [`office`](office::Office).
//! [`Polls`] polls each account when it is due, for the gateway's lifetime.
//!
//! The record that delivers a message also remembers it, so a crash can repeat a download but never a delivery.

pub mod account;
pub mod collect;
mod connect;
pub mod distribute;
pub mod office;
mod polls;
pub mod schedule;
mod service;
mod settings;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use super::header::HEADER_OCTETS_MAX;
pub use connect::{ADDRESSES_MAX, CONNECT_TIMEOUT};
pub use polls::{ASKED_MAX, ASKED_WITHIN, AccountStatus, CONNECTIONS_MAX, ENOUGH_AFTER, Looked, Polls};
pub use service::{KIND, OfficePolling, Settings};
pub use settings::{Account, Receives};
pub use stats::Stats;
