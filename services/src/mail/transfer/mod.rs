//! Import and export: mailboxes as files of other programs, Maildir and mbox.
//!
//! Nothing here needs a running gateway. [`export`] reads only; [`import`](import::Importer) owns the store while it
//! works.
//!
//! | | the store | files |
//! | --- | --- | --- |
//! | ends of lines | CRLF | LF, as programs on Unix expect them; other CRs are unchanged |
//! | time of acceptance | seconds since 1970 | the modification time of a file; the date of a `From ` line, in UTC |
//! | flags | of the delivery | letters in a file's name; lines `Status` and `X-Status` |
//! | folders | of the mailbox | Maildir++ subdirectories; lines `X-Folder` |

pub mod date;
pub mod excerpt;
pub mod export;
pub mod import;
pub mod lines;
pub mod maildir;
pub mod mbox;
mod mbox_reader;
pub mod offline;
pub mod reader;
pub mod source;

pub use mbox_reader::{Head, Parser, Sink};
