//! SMTP, as one machine for each connection. (RFC 5321; LMTP: RFC 2033; submission: RFC 6409)
//!
//! ```text
//!  octets ─► line ─► command ─┐                        ┌─► Reply    (octets for the client)
//!                             ├─► server (Session) ────┼─► Ask      (Begin, Route, Authenticate, Chunk, Commit)
//!  octets ─► dots ─► content ─┘      ▲                 └─► Action   (Abort, StartTls, Close)
//!                                    └── Answer
//! ```
//!
//! [`server::Session`] takes octets, the time and answers, and returns the next action. It has no socket, store, users
//! or routes: it asks its caller.
//!
//! Extensions: SIZE (RFC 1870), PIPELINING (RFC 2920), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), ENHANCEDSTATUSCODES
//! (RFC 2034), DSN (RFC 3461), CHUNKING (RFC 3030; not with LMTP), STARTTLS (RFC 3207) and AUTH (RFC 4954). Not
//! supported: BINARYMIME, ETRN, TURN, and EXPN, which reveals addresses.

pub mod client;
mod command;
mod content;
mod dots;
mod limits;
mod parameters;
mod policy;
mod received;
mod reply;
pub mod server;

pub use limits::*;
pub(in crate::mail) use parameters::from_xtext;
pub use parameters::{MailParameters, Notify, OriginalRecipient, RcptParameters, Return};
pub use policy::{Policy, Role, Tls};
pub(super) use received::date;
pub use reply::Rejection;
