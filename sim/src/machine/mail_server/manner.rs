//! The behaviour of a mail server.

use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;

/// The time of a slow server's reply.
const SLOW_MILLIS: RangeInclusive<u64> = 200..=6_000;
/// How long a busy server is busy.
const BUSY_SECS: u64 = 3_600;

/// The behaviour of a mail server, until all faults end. All of them reject unknown recipients by 550.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers at once.
    Prompt,
    /// It takes its time for each reply.
    Slow,
    /// It refuses each sender and recipient by 450 when they come for the first time.
    Greylisting,
    /// It refuses everything by 4xx for an hour, at one step or another.
    Busy,
    /// It sometimes closes the connection in place of the reply to a message, and has not accepted it.
    ClosingAfterData,
    /// It sometimes closes the connection in place of the reply to a message, and has accepted it.
    LosingReplies,
    /// It takes connections and says nothing.
    Silent,
}

/// The behaviour of TLS at a mail server, until all faults end: then an offered TLS works. (RFC 3207)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsManner {
    /// It offers none.
    Off,
    /// It does it.
    Sound,
    /// It says nothing any more once the client may begin.
    Silent,
    /// It answers the handshake by garbage, and closes.
    Garbled,
    /// It offers it, and has none when asked, by 454.
    Unavailable,
    /// Now and then an answer in clear follows its 220, as an attacker on the path could inject it.
    Injecting,
}

impl TlsManner {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Sound, Self::Silent, Self::Garbled, Self::Unavailable, Self::Injecting];
}

/// Where a busy server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusyAt {
    Connection,
    Sender,
    Recipient,
    Message,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Prompt,
        Self::Slow,
        Self::Greylisting,
        Self::Busy,
        Self::ClosingAfterData,
        Self::LosingReplies,
        Self::Silent,
    ];

    /// The time of its reply.
    pub(super) fn delay(self, rng: &mut StdRng) -> Duration {
        match self {
            Self::Slow => Duration::from_millis(rng.random_range(SLOW_MILLIS)),
            _ => Duration::ZERO,
        }
    }

    /// Where a session that begins is refused by 4xx.
    pub(super) fn is_busy_at(self, now: Instant, rng: &mut StdRng) -> Option<BusyAt> {
        if self != Self::Busy || now >= Instant::from_secs(BUSY_SECS) {
            return None;
        }
        let all = [BusyAt::Connection, BusyAt::Sender, BusyAt::Recipient, BusyAt::Message];
        Some(all[rng.random_range(0..all.len())])
    }
}
