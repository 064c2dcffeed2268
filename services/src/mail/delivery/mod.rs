//! Delivery to other servers: joins the [queue](super::queue) to the store, the resolver and the network.
//!
//! ```text
//!   RCPT ─► DeliveryDriver::route ─► an entry in the message's record ─► MailStore::queued ─► Queue
//!                                                                                      │ next_job
//!   the store ◄─ settlement ◄─ JobResults: what came of it ◄─ courier: MX, connect, send ◄─┘
//! ```
//!
//! Only the store adds entries to the queue, whatever created them and whether or not the creator still waits: a
//! client, a user's rule, a vacation answer, a notice.
//!
//! One task drives the queue for the gateway's lifetime. A configuration determines routes and names; while mail is
//! disabled, entries wait. Jobs in progress at a reload continue with their configuration.
//!
//! A message of the office is signed when it is sent ([`signing`](super::signing)): it is read whole before in any
//! case, and its signature covers the octets that arrive.
//!
//! Jobs begin once the store has accepted an empty record ([`probe`](super::store::MailStore::probe)). While it accepts
//! none they wait as if they were not due, and the service is impaired with the reason.
//!
//! The outcome of a job is stored before anything else happens to its entries, repeatedly until that succeeds: first
//! the changes, all at once, as they record delivered recipients; then the notices. If a notice is rejected
//! temporarily, its entries are tried again; if permanently, it goes to the postmaster's mailbox. A full mailbox
//! rejects temporarily as long as the entries have tries left, and then permanently. If the postmaster has no mailbox
//! either, the entries end with a log line.

mod courier;
mod driver;
pub mod inspection;
mod office;
mod outgoing;
mod results;
mod settlement;
mod stats;
#[cfg(test)]
mod tests;
mod without_tls;
mod world;

pub use driver::DeliveryDriver;
pub use office::{KIND, Login, OfficeDelivery, Settings};
pub use stats::Stats;
