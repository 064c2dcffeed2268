//! The records of users who leave their mail on the server: the messages that they fetched because of a new UIDL.

use std::collections::BTreeMap;

use gatepost_ground::Instant;

use super::{Post, mark_of};

/// The fetched messages of such a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How often each message was fetched, by its mark.
    pub times: BTreeMap<String, u32>,
    /// When the latest session began in which all was fetched that was new.
    pub caught_up_at: Option<Instant>,
}

impl Post {
    /// `user`, who leaves mail on the server, has fetched a message with a new UIDL.
    pub fn keep(&mut self, user: &str, octets: &[u8]) {
        let Some(mark) = mark_of(octets) else { return };
        *self.kept.entry(user.to_owned()).or_default().times.entry(mark).or_default() += 1;
    }

    /// In a session that began at `began`, `user` has fetched all that was new.
    pub fn catch_up(&mut self, user: &str, began: Instant) {
        self.kept.entry(user.to_owned()).or_default().caught_up_at = Some(began);
    }

    /// The fetched messages of users who leave their mail on the server.
    pub fn kept(&self) -> &BTreeMap<String, Kept> {
        &self.kept
    }
}
