//! The mail services: port 25, submission, LMTP and POP3, each one of the gateway's services.
//!
//! ```text
//!   stream ─► connection ─► Session ─► desk ─┬─► directory   who receives here
//!                                            ├─► ground      the store, the logins
//!                                            └─► remote      the way out
//! ```
//!
//! A [`Session`](super::smtp::server::Session) knows the protocol and asks. The desk answers: it finds recipients in
//! the [`directory`], reserves room in their mailboxes, and has the store keep the message; the 250 of a message is the
//! store's word that it is durable. Before that, [judges](super::judge) outside may look at it. What is for other
//! domains goes to a [`remote::Remote`].
//!
//! A message from outside the office is checked by SPF, DKIM and DMARC while it comes in (`authentication`), which can
//! put it among junk or refuse it (`verdict`).
//!
//! Before a configuration is taken, strangers are played to it: one by which they could send to other domains is
//! refused.

pub mod admission;
pub mod aliases;
mod authentication;
mod away;
mod completion;
mod connection;
mod desk;
pub mod directory;
mod expiry;
pub mod ground;
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
