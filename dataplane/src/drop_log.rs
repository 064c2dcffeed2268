//! The log of dropped frames: the last drops of one worker, with their reasons and both ends.
//!
//! The log is a ring. A drop overwrites the oldest one, takes no lock and allocates nothing; a frame that passes does
//! not touch the log. Every drop has a number, so that a reader that comes back knows how many drops it has missed.

use core::net::Ipv4Addr;

use gatepost_ground::wire::ethernet::{self, EtherType};
use gatepost_ground::wire::{Protocol, ipv4};
use gatepost_ground::{Frame, Instant, InterfaceId, MacAddr};

use crate::drop_reason::DropReason;
use crate::explain::Rule;
use crate::key::Endpoint;

/// A dropped frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// When the frame was dropped.
    pub at: Instant,
    /// The drop reason.
    pub reason: DropReason,
    /// The forward or the service whose sources do not include the sender; `None` if no rule decided, or if the
    /// configuration has changed since.
    pub rule: Option<Rule>,
    /// The interface that the frame came from; `None` for a frame of the gateway itself, and for a frame that waited
    /// for a neighbour, a first fragment or a port.
    pub interface: Option<InterfaceId>,
    /// The hardware address that the frame came from; `None` for a packet of the gateway itself, for a frame that
    /// waited, and for a routed frame that could not be sent.
    pub station: Option<MacAddr>,
    /// The packet in the frame, as its sender sent it; `None` if the frame carries no IPv4 packet, and for a frame that
    /// waited for a port or could not be read. NAT is not undone for an ICMP error, for a further fragment, and for a
    /// hairpinned packet that another worker than its sender's has dropped.
    pub packet: Option<DroppedPacket>,
}

/// The packet in a dropped frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedPacket {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The source; the port is 0 for a protocol without ports, or a fragment.
    pub source: Endpoint,
    /// The destination, as the source.
    pub destination: Endpoint,
}

/// A part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropsPart {
    /// The number of the first drop in the part; drops before it that the reader has not seen are lost.
    pub first: u64,
    /// The drops, the oldest first.
    pub drops: Vec<Drop>,
}

/// The last drops of one worker.
#[derive(Debug)]
pub(crate) struct DropLog {
    ring: Vec<Drop>,
    capacity: usize,
    /// The number of drops so far.
    total: u64,
    /// The time of the call in which frames are dropped now.
    now: Instant,
}

/// The most drops that the workers of a gateway remember together.
pub const DROPS_MAX: usize = 10_000;

impl DropLog {
    /// The empty log of one of `workers`.
    pub(crate) fn new(workers: u8) -> Self {
        let capacity = DROPS_MAX / usize::from(workers.max(1));
        Self { ring: Vec::with_capacity(capacity), capacity, total: 0, now: Instant::ZERO }
    }

    /// A log that remembers nothing.
    pub(crate) fn none() -> Self {
        Self { ring: Vec::new(), capacity: 0, total: 0, now: Instant::ZERO }
    }

    /// Notes the time of a call.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// Remembers a drop for `reason` of a frame with this `packet`.
    pub(crate) fn push(
        &mut self,
        reason: DropReason,
        rule: Option<Rule>,
        (interface, station): (Option<InterfaceId>, Option<MacAddr>),
        packet: Option<DroppedPacket>,
    ) {
        let drop = Drop { at: self.now, reason, rule, interface, station, packet };
        if self.ring.len() < self.capacity {
            self.ring.push(drop);
        } else {
            let place = self.place(self.total);
            let Some(oldest) = self.ring.get_mut(place) else { return };
            *oldest = drop;
        }
        self.total += 1;
    }

    /// Forgets the rules: the configuration has changed, and their numbers with it.
    pub(crate) fn forget_rules(&mut self) {
        self.ring.iter_mut().for_each(|drop| drop.rule = None);
    }

    /// The number of drops so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// At most `count_max` drops from the number `from` on, or from the oldest that is remembered.
    pub(crate) fn part(&self, from: u64, count_max: usize) -> DropsPart {
        let oldest = self.total - self.ring.len() as u64;
        let first = from.clamp(oldest, self.total);
        let numbers = (first..self.total).take(count_max);
        let drops = numbers.filter_map(|number| self.ring.get(self.place(number)).copied()).collect();
        DropsPart { first, drops }
    }

    fn place(&self, number: u64) -> usize {
        (number % self.capacity.max(1) as u64) as usize
    }
}

/// The sender's hardware address and the packet of a received frame.
pub(crate) fn received(frame: &Frame) -> (Option<MacAddr>, Option<DroppedPacket>) {
    let Ok(link) = ethernet::Header::parse(frame.bytes()) else { return (None, None) };
    let is_ipv4 = link.ether_type == EtherType::IPV4;
    (Some(link.source), is_ipv4.then(|| packet(frame.packet())).flatten())
}

/// The addresses of a packet, which need not be valid otherwise.
pub(crate) fn packet(octets: &[u8]) -> Option<DroppedPacket> {
    let header: &[u8; ipv4::Header::LEN_MIN] = octets.first_chunk()?;
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let protocol = Protocol(header[9]);
    let has_ports = matches!(protocol, Protocol::TCP | Protocol::UDP)
        && u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_OFFSET == 0;
    let ports = octets.get(usize::from(header[0] & 0xf) * 4..).and_then(|payload| payload.first_chunk());
    let [a, b, c, d] = ports.copied().filter(|_| has_ports).unwrap_or_default();
    (header[0] >> 4 == 4).then(|| DroppedPacket {
        protocol,
        source: Endpoint::new(address(12), u16::from_be_bytes([a, b])),
        destination: Endpoint::new(address(16), u16::from_be_bytes([c, d])),
    })
}

/// The bits of the flags and the fragment offset that are the offset. (RFC 791, section 3.1)
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(drops: u64) -> DropLog {
        let mut log = DropLog { ring: Vec::with_capacity(3), capacity: 3, total: 0, now: Instant::ZERO };
        for number in 0..drops {
            log.begin(Instant::from_secs(number));
            log.push(DropReason::Martian, Some(Rule::Forward(7)), (None, None), None);
        }
        log
    }

    fn times(part: &DropsPart) -> Vec<u64> {
        part.drops.iter().map(|drop| drop.at.as_secs()).collect()
    }

    #[test]
    fn a_full_log_forgets_the_oldest_drop_and_says_so() {
        for drops in 0..8 {
            let log = log(drops);
            let part = log.part(0, 10);
            assert_eq!((part.first, log.total()), (drops.saturating_sub(3), drops));
            assert_eq!(times(&part), (part.first..drops).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_reader_that_comes_back_gets_what_is_new() {
        let log = log(5);
        assert_eq!((log.part(3, 10).first, times(&log.part(3, 10))), (3, vec![3, 4]));
        assert_eq!(times(&log.part(3, 1)), [3]);
        assert_eq!(log.part(5, 10), DropsPart { first: 5, drops: Vec::new() });
        assert_eq!(log.part(9, 10).first, 5, "a reader of a former gateway");
    }

    #[test]
    fn a_log_without_room_remembers_nothing_and_rules_are_forgotten() {
        let mut none = DropLog::none();
        none.push(DropReason::Martian, None, (None, None), None);
        assert_eq!(none.part(0, 10), DropsPart::default());
        let mut log = log(2);
        log.forget_rules();
        assert!(log.part(0, 10).drops.iter().all(|drop| drop.rule.is_none()));
    }

    #[test]
    fn a_packet_is_read_as_far_as_it_goes() {
        let mut octets = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let ports =
            |octets: &[u8]| packet(octets).map(|packet| (packet.source.port, packet.destination.port));
        assert_eq!(ports(&octets), Some((0, 0)));
        octets.extend([0, 53, 1, 0]);
        assert_eq!(ports(&octets), Some((53, 256)));
        octets[7] = 1;
        assert_eq!(ports(&octets), Some((0, 0)), "a further fragment");
        octets[0] = 0x65;
        assert_eq!(ports(&octets), None);
        assert_eq!(ports(&octets[..19]), None);
    }
}
