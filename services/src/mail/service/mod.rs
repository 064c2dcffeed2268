//! The mail services: port 25, submission, LMTP and POP3, each one of the gateway's services.
//!
//! ```text
//!   stream ─► connection ─► Session ─► backend ─┬─► directory   the local receivers
//!                                               ├─► state       the store, the logins
//!                                               └─► remote      delivery to other servers
//! ```
//!
//! A [`Session`](super::smtp::server::Session) implements the protocol and asks questions. The backend
//! answers them: it finds recipients in the [`directory`], reserves room in their mailboxes, and stores the message;
//! the 250 of a message means that the store has made it durable. Before that, [judges](super::judge) may scan it.
//! Messages for other domains go to a [`remote::Remote`].
//!
//! A message from outside the office is authenticated by SPF, DKIM and DMARC while it is received (`authentication`),
//! which can file it as junk or reject it (`verdict`).
//!
//! Before a configuration is accepted, it is tested as an open relay: one by which strangers could send to other
//! domains is rejected.

pub mod admission;
pub mod aliases;
mod authentication;
mod away;
mod backend;
mod completion;
mod connection;
pub mod directory;
mod expiry;
pub(in crate::mail) mod head;
pub(in crate::mail) mod judging;
mod listeners;
pub mod local;
pub mod office;
pub mod overview;
pub mod pop3;
mod quota_notice;
mod relay_test;
pub mod remote;
mod settings;
mod shared;
pub(in crate::mail) mod sorting;
pub mod state;
mod stats;
#[cfg(test)]
pub(in crate::mail) mod tests;
pub(in crate::mail) mod verdict;

pub use authentication::AUTHENTICATION_TIMEOUT;
pub use connection::{ANSWER_TIMEOUT, WRITE_TIMEOUT};
pub use expiry::KeepDays;
pub(in crate::mail) use expiry::expire;
pub use quota_notice::QUOTA_TOLD_EVERY;
pub use relay_test::has_strangers;
pub use settings::{Authenticity, RelayFrom, Settings, Shares};
pub use stats::Stats;
