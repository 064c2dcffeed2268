//! Backup and restore: one file, encrypted by a passphrase, that makes another machine the same office.
//!
//! ```text
//!   configuration ─┐                          passphrase
//!   files beside it ├─▶ Archive ─▶ envelope ─────────────▶ FILE ─▶ envelope ─▶ Archive ─▶ checks
//!   state, no mail ─┘                                                                       │ all is well
//!                                            journal in the state directory ◀───────────────┘
//!                                             │  then the configuration's file
//!                                             ▼  then every file of the state; at last the journal goes
//! ```
//!
//! **What is in it**: the configuration's text; the files that it names (passwords of providers, certificates), as far as
//! they lie below its folder; everything in the state directory but mail: verifiers of passwords, the office's own
//! authority, DKIM keys, leases, hardware addresses, history of the configuration. Mail is left out, as mailboxes have
//! gigabytes; `gatepost mail export` takes them elsewhere, and a restore leaves the mail that is there as it is.
//!
//! **A restore is all or nothing.** Before it changes anything it opens the file, and checks the configuration, the
//! state and every name. Then it stores the archive in the state directory ([`restore::JOURNAL`]), and puts the
//! configuration in its place. That is the point of no return: a start of the gateway that finds the journal beside
//! the same configuration writes the rest, as often as it takes; beside another one it removes the journal. So after a
//! power cut at any time the office is as before, or as in the backup.
//!
//! **No name leads elsewhere.** A file of the state has a name that the storage takes, without dots and links; a file
//! beside the configuration is one that the configuration names by a relative path, and never replaces another one.

mod archive;
pub mod command;
mod envelope;
mod passphrase;
pub mod restore;
#[cfg(test)]
mod tests;

pub use archive::{Archive, ENTRIES_MAX, STATE_OCTETS_MAX};
pub use envelope::{BACKUP_OCTETS_MAX, Envelope, OpenError};
pub use passphrase::{new_passphrase, open, seal};
