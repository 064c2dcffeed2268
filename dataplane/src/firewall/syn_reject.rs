//! Delayed rejection of unsolicited SYNs.
//!
//! Two hosts behind two NATs may open a connection to each other at the same time. A gateway that rejected the first
//! SYN at once would kill the connection just before its own host's SYN opens the mapping. So an unsolicited SYN is
//! rejected only after [`DELAY`], and only if there is still no flow for it. (RFC 5382, REQ-4)
//!
//! The queue stores the part of each SYN that a delayed ICMP error quotes, in the order of arrival, which is also the
//! order of the deadlines. It holds [`SYN_REJECTS_MAX`]; a SYN that finds it full is not answered. The queue has no
//! access to flows: the caller that takes an entry out checks in the flow table whether the connection has been opened
//! meanwhile.

use core::time::Duration;
use std::collections::VecDeque;

use gatepost_ground::{Frame, Instant};

use crate::icmp_error;

/// How long an unsolicited SYN stays unanswered. (RFC 5382, REQ-4)
pub const DELAY: Duration = Duration::from_secs(6);

/// The most SYNs that wait for their rejection.
pub const SYN_REJECTS_MAX: usize = 256;

/// The longest IPv4 header and the eight octets after it, which hold the ports. (RFC 792)
const QUOTE_LEN_MAX: usize = 60 + 8;

/// The part of a packet that is stored for a delayed ICMP error: its IPv4 header and eight octets, the least that an
/// error quotes (RFC 792). Errors that are sent at once quote up to 548 octets.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    bytes: [u8; QUOTE_LEN_MAX],
    len: usize,
}

impl Quote {
    /// The start of `packet`, an IPv4 packet.
    pub fn of(packet: &[u8]) -> Self {
        let len = packet.len().min(QUOTE_LEN_MAX);
        let mut bytes = [0; QUOTE_LEN_MAX];
        bytes[..len].copy_from_slice(&packet[..len]);
        Self { bytes, len }
    }

    /// The start of the packet in `frame`; that of a super-frame's first segment.
    pub fn of_frame(frame: &Frame) -> Self {
        let mut beginning = [0; icmp_error::ORIGINAL_LEN_MAX];
        Self::of(icmp_error::original_datagram(frame, &mut beginning))
    }

    /// The stored octets.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The stored octets, to be rewritten.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// The SYNs that wait for their rejection.
#[derive(Clone, Debug)]
pub struct SynRejects {
    waiting: VecDeque<(Instant, Quote)>,
}

impl SynRejects {
    /// An empty queue with all its memory.
    pub fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(SYN_REJECTS_MAX) }
    }

    /// Remembers an unsolicited SYN; `false` if there is no room.
    pub fn push(&mut self, now: Instant, syn: Quote) -> bool {
        if self.waiting.len() == SYN_REJECTS_MAX {
            return false;
        }
        self.waiting.push_back((now + DELAY, syn));
        true
    }

    /// Takes out the oldest SYN if its time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<Quote> {
        let (_, quote) = self.waiting.pop_front_if(|(due, _)| *due <= now)?;
        Some(quote)
    }

    /// When the next SYN is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// Forgets all waiting SYNs.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Default for SynRejects {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5382, REQ-4: A SYN waits six seconds.
    #[test]
    fn rfc5382_req4_a_syn_waits_six_seconds() {
        let mut rejects = SynRejects::new();
        assert!(rejects.push(Instant::from_secs(1), Quote::of(&[0x45; 40])));
        assert_eq!(rejects.poll_timeout(), Some(Instant::from_secs(7)));
        assert!(rejects.pop_due(Instant::from_millis(6_999)).is_none());
        let quote = rejects.pop_due(Instant::from_secs(7)).expect("due");
        assert_eq!(quote.bytes(), [0x45; 40]);
        assert_eq!(rejects.poll_timeout(), None);
    }

    #[test]
    fn a_full_queue_keeps_the_oldest() {
        let mut rejects = SynRejects::new();
        for i in 0..SYN_REJECTS_MAX {
            assert!(rejects.push(Instant::ZERO, Quote::of(&[u8::try_from(i).expect("256 values")])));
        }
        assert!(!rejects.push(Instant::ZERO, Quote::of(&[1])));
        assert_eq!(rejects.pop_due(Instant::FAR_FUTURE).expect("due").bytes(), [0]);
        assert!(rejects.push(Instant::ZERO, Quote::of(&[1])));
    }

    #[test]
    fn a_quote_is_cut() {
        assert_eq!(Quote::of(&[7; 1500]).bytes(), [7; QUOTE_LEN_MAX]);
    }
}
