//! The way out: what joins the [queue](super::queue) to the store, the name service and the network.
//!
//! ```text
//!   RCPT ─► WayOut::route ─► an entry in the message's record ─► MailStore::queued ─► Queue
//!                                                                                      │ next_job
//!   the store ◄─ settlement ◄─ Course: what came of it ◄─ courier: MX, connect, send ◄─┘
//! ```
//!
//! The store alone tells the queue of entries, whoever had them stored and whether that one still waits: a client, a
//! person's rule, an answer, a notice.
//!
//! One task drives the queue for as long as the gateway runs. A configuration says by which routes and in which name:
//! with one that switches mail off, entries wait. What is under way when another configuration comes goes on by the one
//! with which it began.
//!
//! A message of the office is signed when it is sent ([`signing`](super::signing)): it is read whole before in any
//! case, and its signature covers what arrives.
//!
//! Jobs begin once the store has taken a record that says nothing ([`probe`](super::store::MailStore::probe)). While it
//! takes none they wait as if they were not due, and the service is impaired and says why.
//!
//! What came of a job is stored before anything else is done with its entries, again until the store takes it: first
//! the changes, all at once, as they say who has the message; then the notices. A notice that cannot be kept for now
//! has its entries tried again; one that is refused for good goes to the postmaster's mailbox. A full mailbox refuses
//! for now as long as the entries have tries left, and then for good. Only if there is no such mailbox of the
//! postmaster's either, the entries end with a line in the log.

mod courier;
mod course;
pub mod inspection;
mod office;
mod outgoing;
mod settlement;
mod stats;
#[cfg(test)]
mod tests;
mod way_out;
mod without_tls;
mod world;

pub use office::{KIND, Login, OfficeDelivery, Settings};
pub use stats::Stats;
pub use way_out::WayOut;
