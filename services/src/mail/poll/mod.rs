//! Polling: mail that is fetched from mailboxes elsewhere, by POP3.
//!
//! An account is one person's, or a common mailbox whose messages are distributed by what their headers say.
//!
//! ```text
//!   Listing ─┬─► account: plan ─► Fetch, Delete, Leave
//!   memory ──┘                      │
//!                                   ▼ the message's octets
//!             header ─► distribute ─► receivers
//! ```
//!
//! [`collect`](collect::collect) drives a connection by it, and keeps what comes in the [`office`](office::Office)'s
//! store. [`Polls`] looks at each account when it is due, for as long as the gateway runs.
//!
//! What an account remembers of a message is in the record that delivers it, so a crash can repeat a download but never
//! a delivery.

pub mod account;
pub mod collect;
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
mod way;

pub use super::header::HEADER_OCTETS_MAX;
pub use polls::{ASKED_MAX, ASKED_WITHIN, CONNECTIONS_MAX, ENOUGH_AFTER, Looked, Polls, Standing};
pub use service::{KIND, OfficePolling, Settings};
pub use settings::{Account, Receives};
pub use stats::Stats;
pub use way::{ADDRESSES_MAX, CONNECT_TIMEOUT};
