//! The mail store: an accepted message is never lost.
//!
//! A log of [records](record) is authoritative, and all else is derived from it. The log consists of segments, files of
//! 64 MiB that are only appended to, by one writer. A record is an accepted message with all of its recipients, or the
//! new state of something before: see [`Content`].
//!
//! # Theory of operation
//!
//! [`recover`] reads all from the disk, and [`Store::new`] continues with it. The store does no I/O:
//!
//! ```text
//!   submit, begin, chunk, commit ──▶ Store ──▶ poll_request ──▶ the disk
//!                poll_outcome ◀──         ◀── handle_done  ◀──
//! ```
//!
//! A [`Change`] waits for the next batch. A batch is appended in one write and synced; then its records are applied to
//! [`State`], and the outcomes are reported. So a confirmed change is durable, and no reader sees a change that is not.
//! One batch is in progress at a time; changes that come meanwhile form the next, so nothing waits for a timer, and
//! many senders share a sync (group commit).
//!
//! | event | in the log after a crash | consequence |
//! | --- | --- | --- |
//! | a power cut before the sync | nothing, a torn record, whole records of the batch | whole records count, although they were not confirmed: the one duplicate that SMTP cannot exclude (RFC 5321, section 6.1) |
//! | the sync or the append fails | anything | the segment is closed. The next one begins with an [`Abort`]; once that is durable the changes are rejected |
//! | the disk is full | the same | the same, with room from a reserve. Then messages are rejected, and deletions continue |
//! | the process ends | as written; the page cache may hold records that will never reach the disk | the last batches are written once more before anything else |
//! | a bit flips | | its record is skipped. Numbers that may have been in it are not reused |
//!
//! A message of up to 256 KiB is in its record. The octets of a longer one go to a file of their own, which is synced
//! before the record that names it is written, so memory stays flat.
//!
//! UIDs belong to a mailbox with all its folders, grow, and are not reused: each new segment begins with the state of
//! every mailbox, including its next UID. The number of the record that last changed an entry is its modification
//! sequence.
//!
//! Besides the log the store writes checkpoints, so that a start reads only the end of the log, and compacts segments
//! of which little is needed: both a bounded step at a time, between batches. Neither is needed for the stored state.
//!
//! # For services
//!
//! [`MailStore`] does all that over a [`Disk`](crate::store::Disk): [`MailStore::begin`] accepts a message in parts,
//! [`MailStore::change`] returns once a change is durable, [`MailStore::read`] returns a message. Room in mailboxes is
//! [reserved](Store::reserve) when a recipient is named.
//!
//! # Without the gateway
//!
//! ```no_run
//! # use gatepost_services::{mail::store::{read_body_part, recover}, store::ReadOnlyFiles};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = ReadOnlyFiles::new("/var/lib/gatepost".as_ref());
//! let recovered = recover(&disk)?;
//! println!("{:?}", recovered.report());
//! for mailbox in recovered.state().mailboxes() {
//!     for entry in mailbox.entries() {
//!         let message = recovered.message(&disk, mailbox.state().id, entry)?;
//!         let first_part = read_body_part(&disk, &message.body, 0, 64 << 10)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Files of a newer format are read as far as possible, and never written to.

mod batches;
mod change;
mod check;
mod checkpoint;
mod codec;
mod compaction;
mod content;
mod draft;
mod driver;
mod failure;
mod history;
mod layout;
mod log;
mod mailbox;
mod message;
mod quota;
pub mod record;
mod report;
mod request;
mod start;
mod state;
#[expect(clippy::module_inception, reason = "it is the store")]
mod store;
mod text;
mod upkeep;
pub use change::{Change, StoreError, Stored};
pub use check::{Checked, DamagedBody, check, each_body_part};
pub use compaction::{NOTE_OCTETS_MAX, NOTES_KEPT};
pub use content::*;
pub use draft::DraftId;
pub use driver::{Incoming, MailStore};
pub use history::{History, PICKED_MAX, Record, history};
pub use layout::{BODIES, CHECKPOINT, SEGMENTS, body_file, parse_segment};
pub use mailbox::{Entry, Mailbox, Place};
pub use message::{BodyOctets, Message, Unreadable, read_body_part, read_message};
pub use quota::{RESERVATIONS_MAX, ReservationId, STRANGERS_RESERVATIONS_MAX};
pub use report::{DAMAGES_MAX, Damage, Report};
pub use request::{Answer, Lane, Request, Task};
pub use start::{Recovered, recover, recover_all};
pub use state::{QueueEntry, State};
pub use store::{RETRY_INTERVAL, Store, Ticket};
pub use text::Malformed;
#[cfg(test)]
pub(in crate::mail) mod tests;
pub use upkeep::{CHECKPOINT_INTERVAL, RESERVE_OCTETS};

/// The most recipients of one message, local and remote.
pub const RECIPIENTS_MAX: usize = 1000;
/// The most mailboxes, those that were removed included, as their numbers are not used again.
pub const MAILBOXES_MAX: usize = 4096;
/// The most folders of a mailbox.
pub const FOLDERS_MAX: usize = 128;
/// The longest name of a mailbox or folder, in octets.
pub const NAME_OCTETS_MAX: usize = 256;
/// The octets of a server's reply that are stored.
pub const REPLY_OCTETS_MAX: usize = 512;
/// The most messages of one change.
pub const UIDS_MAX: usize = 10_000;
/// The most drafts.
pub const DRAFTS_MAX: usize = 1024;
/// The memory of all drafts, in octets. Beyond it even short ones are written to files of their own.
pub const DRAFTS_MEMORY_MAX: usize = 64 << 20;
/// The most drafts with a file of their own, which stays open.
pub const LARGE_DRAFTS_MAX: usize = 256;
/// Those of one source outside, of which all together have three quarters.
pub const STRANGERS_LARGE_DRAFTS_MAX: usize = 16;
/// The most changes that wait for the disk.
pub const PENDING_MAX: usize = 4096;
/// The octets of all changes that wait for the disk.
pub const PENDING_OCTETS_MAX: usize = 64 << 20;

/// Sizes that tests choose smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The size of a segment, beyond which it accepts no further batch.
    pub segment_octets: u64,
    /// A batch holds so many octets, or one record if that is longer.
    pub batch_octets: usize,
    /// The most records of a batch; some more if it begins a segment.
    pub batch_records: usize,
    /// A longer body, in octets, is a file of its own; at most [`record::BODY_OCTETS_MAX`].
    pub inline_octets: usize,
    /// A checkpoint is made when the log has grown by so many octets.
    pub checkpoint_octets: u64,
    /// The room that is reserved for deletions, in octets.
    pub reserve_octets: u64,
    /// The most messages of a mailbox, in all of its folders; as of the next two, a batch may bring some more.
    pub messages_max: usize,
    /// The most entries of the queue.
    pub queue_max: usize,
    /// The most remembered messages of polled accounts.
    pub seen_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_octets: 64 << 20,
            batch_octets: 4 << 20,
            batch_records: 256,
            inline_octets: record::BODY_OCTETS_MAX,
            checkpoint_octets: 64 << 20,
            reserve_octets: RESERVE_OCTETS,
            messages_max: 2_000_000,
            queue_max: 100_000,
            seen_max: 1_000_000,
        }
    }
}
