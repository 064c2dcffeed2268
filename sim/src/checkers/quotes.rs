//! Quotes: an ICMP error quotes a packet as the receiver of the error has sent it, whichever host made the error, and
//! however NAT has rewritten the packet and the error. (RFC 792; RFC 1812, section 4.3.2.3; RFC 5508, REQ-4 and REQ-5)

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{IpNumber, Ipv4HeaderSlice, TcpSlice};
use gatepost_ground::MacAddr;

use super::recent::Recent;
use super::{Checker, Passage, Side, Way};
use crate::packet::{Ipv4, Quoted, Transport};

/// The longest time from a packet to an ICMP error about it: the round trip through cables that queue, and the time
/// for which the gateway waits for a neighbour.
const ERROR_WITHIN: Duration = Duration::from_secs(30);
/// The most packets that the checker remembers at a time.
const SENT_MAX: usize = 1 << 16;
/// Octets of the transport header that every error quotes. (RFC 792)
const QUOTED_LEN_MIN: usize = 8;
/// Octets of a TCP header before its checksum: the octets after them change if the gateway clamps the MSS.
const BEFORE_TCP_CHECKSUM: usize = 16;
const TCP_FLAGS_AT: usize = 13;
const TCP_SYN: u8 = 2;

/// Compares the quotes in errors with the packets that the errors' receivers have sent.
pub struct Quotes {
    sent: Recent<Key, Vec<u8>>,
    /// The stations heard on the LAN: the gateway only bridges their frames.
    stations: BTreeSet<MacAddr>,
}

/// The parts of a packet that every error quotes and NAT changes: side, addresses, protocol, and the beginning of the
/// transport header.
type Key = (bool, Ipv4Addr, Ipv4Addr, u8, [u8; QUOTED_LEN_MIN]);

impl Default for Quotes {
    fn default() -> Self {
        Self { sent: Recent::new(ERROR_WITHIN, SENT_MAX), stations: BTreeSet::new() }
    }
}

impl Quotes {
    fn check(&self, passage: &Passage<'_>, error: &Ipv4, about: &Quoted) -> Result<(), String> {
        let (source, destination) = (about.source, about.destination);
        let wrong = |what: &str| {
            Err(format!(
                "an error from {} to {} about {source} to {destination}: {what}",
                error.source, error.destination
            ))
        };
        if error.destination != about.source {
            return wrong("it does not go to the sender");
        }
        let Ok(quoted) = Ipv4HeaderSlice::from_slice(&about.octets) else {
            return wrong("its quote is no packet");
        };
        if quoted.header_checksum() != quoted.to_header().calc_header_checksum() {
            return wrong("the checksum of the quoted header is not right");
        }
        if has_wrong_tcp_checksum(&quoted, &about.octets) {
            return wrong("the checksum of the quoted segment is not right");
        }
        let key = key(passage.side, &quoted, &about.octets);
        let mut alike = self.sent.alike(&key).peekable();
        if alike.peek().is_none() && !self.sent.is_complete(passage.now) {
            return Ok(());
        }
        if alike.any(|sent| is_quote(&quoted, &about.octets, sent)) {
            Ok(())
        } else {
            wrong(&format!("the sender has sent no such packet: {:x?}", about.octets))
        }
    }
}

fn key(side: Side, header: &Ipv4HeaderSlice<'_>, octets: &[u8]) -> Key {
    let transport = &octets[header.slice().len()..];
    let mut beginning = [0; QUOTED_LEN_MIN];
    beginning.iter_mut().zip(transport).for_each(|(to, from)| *to = *from);
    (side == Side::Lan, header.source_addr(), header.destination_addr(), header.protocol().0, beginning)
}

/// Whether the quote is of the packet `sent`, apart from the fields that routers change: the TTL; the length of a
/// fragmented packet; the identification without DF, as NAT then chooses another one (RFC 6864, section 5.3.1); and the
/// options of a SYN.
fn is_quote(quoted: &Ipv4HeaderSlice<'_>, octets: &[u8], sent: &[u8]) -> bool {
    let Ok(header) = Ipv4HeaderSlice::from_slice(sent) else { return false };
    let is_piece = quoted.is_fragmenting_payload();
    let is_same_header = quoted.ttl() <= header.ttl()
        && (is_piece || quoted.total_len() == header.total_len())
        && (is_piece || quoted.dont_fragment() == header.dont_fragment())
        && (is_piece || !header.dont_fragment() || quoted.identification() == header.identification())
        && quoted.fragments_offset() == header.fragments_offset()
        && quoted.dcp() == header.dcp()
        && quoted.options() == header.options();
    let compared = if is_syn(quoted, octets) { BEFORE_TCP_CHECKSUM } else { usize::MAX };
    let [quoted, sent] = [octets, sent].map(|packet| packet[header.slice().len()..].iter().take(compared));
    is_same_header && quoted.zip(sent).all(|(quoted, sent)| quoted == sent)
}

fn is_syn(header: &Ipv4HeaderSlice<'_>, octets: &[u8]) -> bool {
    let flags = octets.get(header.slice().len() + TCP_FLAGS_AT);
    header.protocol() == IpNumber::TCP && flags.is_some_and(|flags| flags & TCP_SYN != 0)
}

/// Whether the quote has a whole TCP segment with a wrong checksum. The checker compares those of UDP and ICMP with the
/// packet sent.
fn has_wrong_tcp_checksum(header: &Ipv4HeaderSlice<'_>, octets: &[u8]) -> bool {
    if !is_syn(header, octets) || header.is_fragmenting_payload() {
        return false;
    }
    let segment = octets.get(header.slice().len()..usize::from(header.total_len()));
    segment.and_then(|segment| TcpSlice::from_slice(segment).ok()).is_some_and(|segment| {
        segment.calc_checksum_ipv4(header.source(), header.destination()) != Ok(segment.checksum())
    })
}

impl Checker for Quotes {
    fn name(&self) -> &'static str {
        "quotes"
    }

    fn promise(&self) -> &'static str {
        "an ICMP error that the gateway sends or forwards goes to the sender of the quoted packet, and quotes it as sent"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        if (way, side) == (Way::In, Side::Lan) {
            self.stations.insert(packet.source_mac);
        }
        let Some(ip) = packet.ipv4() else { return Ok(()) };
        if way == Way::In {
            if let Ok(header) = Ipv4HeaderSlice::from_slice(&ip.beginning) {
                self.sent.push(now, key(side, &header, &ip.beginning), ip.beginning.clone());
            }
            return Ok(());
        }
        match &ip.transport {
            Transport::IcmpError { about } if !self.stations.contains(&packet.source_mac) => match about {
                Some(about) => self.check(passage, ip, about),
                None => Err(format!("an error from {} to {} quotes nothing", ip.source, ip.destination)),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::checkers::testing::passage;
    use crate::packet::Packet;

    const HOST: [u8; 4] = [192, 168, 1, 9];
    const REMOTE: [u8; 4] = [198, 51, 100, 1];
    const STATION: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const IP_LEN: usize = 20;

    fn datagram() -> Vec<u8> {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2(STATION, GATEWAY).ipv4(HOST, REMOTE, 64);
        ip.udp(1_000, 53).write(&mut frame, b"question").unwrap();
        frame.split_off(14)
    }

    fn syn(segment_size: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2(STATION, GATEWAY).ipv4(HOST, REMOTE, 64);
        let options = [etherparse::TcpOptionElement::MaximumSegmentSize(segment_size)];
        ip.tcp(1_000, 80, 7, 512).syn().options(&options).unwrap().write(&mut frame, &[]).unwrap();
        frame.split_off(14)
    }

    fn framed(from: [u8; 6], to: [u8; 6], packet: &[u8]) -> Packet {
        Packet::parse(&[&to[..], &from, &[8, 0], packet].concat()).unwrap()
    }

    /// The checker's result for an error to `receiver` that quotes `quote`, after the packet `sent`.
    fn reported(
        sent: &[u8],
        receiver: [u8; 4],
        mut quote: Vec<u8>,
        edit: impl FnOnce(&mut Vec<u8>),
    ) -> Option<String> {
        let mut checker = Quotes::default();
        let mut pass = |way, packet| {
            let now = gatepost_ground::Instant::from_secs(1);
            checker.on_passage(&Passage { now, ..passage(0, way, Side::Lan, &packet) })
        };
        pass(Way::In, framed(STATION, GATEWAY, sent)).unwrap();
        let mut header = Ipv4HeaderSlice::from_slice(&quote).unwrap().to_header();
        header.time_to_live -= 1;
        header.header_checksum = header.calc_header_checksum();
        quote[..IP_LEN].copy_from_slice(&header.to_bytes());
        edit(&mut quote);
        let mut error = Vec::new();
        let ip = PacketBuilder::ethernet2(GATEWAY, STATION).ipv4([198, 51, 100, 7], receiver, 60);
        ip.icmpv4_raw(11, 0, [0; 4]).write(&mut error, &quote).unwrap();
        pass(Way::Out, Packet::parse(&error).unwrap()).err()
    }

    #[test]
    fn what_was_sent_may_be_quoted_in_part() {
        assert_eq!(reported(&datagram(), HOST, datagram(), |_| {}), None);
        assert_eq!(reported(&datagram(), HOST, datagram(), |quote| quote.truncate(IP_LEN + 8)), None);
    }

    #[test]
    fn everything_that_is_quoted_wrongly_is_told() {
        for at in 0..datagram().len() {
            // A router may mark congestion (ECN), and decrements the TTL.
            let is_free = [1, 8].contains(&at);
            let told = reported(&datagram(), HOST, datagram(), |quote| {
                quote[at] ^= 1;
                if let Ok(header) = Ipv4HeaderSlice::from_slice(quote)
                    && !(10..12).contains(&at)
                {
                    let checksum = header.to_header().calc_header_checksum();
                    quote[10..12].copy_from_slice(&checksum.to_be_bytes());
                }
            });
            assert_eq!(told.is_some(), !is_free, "octet {at}: {told:?}");
        }
    }

    #[test]
    fn an_error_goes_to_the_sender_and_quotes_something() {
        let reported_as =
            |told: Option<String>, what: &str| assert!(told.is_some_and(|told| told.contains(what)));
        reported_as(reported(&datagram(), [192, 168, 1, 8], datagram(), |_| {}), "does not go to the sender");
        reported_as(reported(&datagram(), HOST, datagram(), Vec::clear), "quotes nothing");
        reported_as(reported(&datagram(), HOST, syn(1_460), |_| {}), "has sent no such packet");
    }

    #[test]
    fn a_syn_may_have_been_clamped_if_its_checksum_is_right() {
        assert_eq!(reported(&syn(1_460), HOST, syn(1_400), |_| {}), None);
        assert!(reported(&syn(1_460), HOST, syn(1_400), |quote| quote[IP_LEN + 16] ^= 1).is_some());
        assert!(reported(&syn(1_460), HOST, syn(1_400), |quote| quote[IP_LEN] ^= 1).is_some());
    }

    #[test]
    fn what_one_lan_host_tells_another_is_only_bridged() {
        let mut checker = Quotes::default();
        let now = gatepost_ground::Instant::from_secs(1);
        let mut error = Vec::new();
        let ip = PacketBuilder::ethernet2(STATION, GATEWAY).ipv4(HOST, [192, 168, 1, 8], 64);
        ip.icmpv4_raw(3, 3, [0; 4]).write(&mut error, &datagram()).unwrap();
        let packet = Packet::parse(&error).unwrap();
        for way in [Way::In, Way::Out] {
            let passage = Passage { now, ..passage(0, way, Side::Lan, &packet) };
            assert_eq!(checker.on_passage(&passage), Ok(()));
        }
    }
}
