//! The routers between the office and the servers: each decrements the TTL, and a link behind the last one has a small
//! MTU. Packets that they do not forward cause ICMP errors, with quotes of the different lengths that are usual.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4Header, Ipv4Slice, NetSlice, PacketBuilder, SlicedPacket};
use ipnet::Ipv4Net;

/// The routers behind the provider's own.
const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 254, 1), Ipv4Addr::new(198, 18, 254, 2)];
/// How many routers a packet from the gateway passes on its way to a server.
pub const HOPS: u8 = 3;
/// The network behind the short link.
const BEHIND_SHORT_LINK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 81, 0), 24);
/// The longest packet of the short link.
pub const SHORT_LINK_MTU: u16 = 1_280;
/// How many octets of a packet each router quotes: the minimum of RFC 792, a segment with its options, and the
/// recommendation of RFC 1812, section 4.3.2.3.
const QUOTED_LEN_MAX: [usize; HOPS as usize] = [28, 128, 548];
const TTL: u8 = 64;

const TIME_EXCEEDED: u8 = 11;
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PORT_UNREACHABLE: u8 = 3;

/// The fate of a packet to a server.
pub enum Passed {
    /// It arrives.
    Arrives,
    /// It does not arrive, and its sender gets this, if anything.
    Ends(Option<Vec<u8>>),
}

/// The fate of the packet in `frame`, which the provider's `router` is to forward.
pub fn pass(frame: &[u8], router: Ipv4Addr) -> Passed {
    let Ok(SlicedPacket { net: Some(NetSlice::Ipv4(ip)), .. }) = SlicedPacket::from_ethernet(frame) else {
        return Passed::Arrives;
    };
    let header = ip.header();
    if header.header_checksum() != header.to_header().calc_header_checksum() {
        return Passed::Ends(None);
    }
    let hops = [router, ROUTERS[0], ROUTERS[1]];
    let ends_at = usize::from(header.ttl().max(1)) - 1;
    if let Some(at) = hops.get(ends_at) {
        return Passed::Ends(error(frame, &ip, *at, QUOTED_LEN_MAX[ends_at], [TIME_EXCEEDED, 0], 0));
    }
    let is_too_long = header.total_len() > SHORT_LINK_MTU && header.dont_fragment();
    if is_too_long && BEHIND_SHORT_LINK.contains(&header.destination_addr()) {
        let kind = [UNREACHABLE, FRAGMENTATION_NEEDED];
        return Passed::Ends(error(frame, &ip, ROUTERS[1], QUOTED_LEN_MAX[2], kind, SHORT_LINK_MTU));
    }
    Passed::Arrives
}

/// The receiver's error for the packet in `frame` to a closed port.
pub fn nobody_there(frame: &[u8], ip: &Ipv4Slice<'_>) -> Option<Vec<u8>> {
    let at = ip.header().destination_addr();
    error(frame, ip, at, QUOTED_LEN_MAX[2], [UNREACHABLE, PORT_UNREACHABLE], 0)
}

/// The error of `kind` about the packet in `frame`, as the host `from` sends it; none about an error, and none about a
/// fragment but the first. (RFC 1122, section 3.2.2)
fn error(
    frame: &[u8],
    ip: &Ipv4Slice<'_>,
    from: Ipv4Addr,
    quoted_len_max: usize,
    [kind, code]: [u8; 2],
    mtu: u16,
) -> Option<Vec<u8>> {
    let (header, payload) = (ip.header(), ip.payload().payload);
    let is_error =
        header.protocol() == IpNumber::ICMP && payload.first().is_none_or(|kind| ![0, 8].contains(kind));
    if is_error || header.fragments_offset().value() > 0 {
        return None;
    }
    let mut quote: Vec<_> = header.slice().iter().chain(payload).copied().collect();
    if kind == TIME_EXCEEDED {
        // A router quotes the packet as it has it then.
        let mut arrived = Ipv4Header::from_slice(&quote).ok()?.0;
        arrived.time_to_live = 1;
        arrived.header_checksum = arrived.calc_header_checksum();
        let octets = arrived.to_bytes();
        quote.get_mut(..octets.len())?.copy_from_slice(&octets);
    }
    quote.truncate(quoted_len_max);
    let [high, low] = mtu.to_be_bytes();
    let (own, sender) = (*frame.first_chunk::<6>()?, *frame.get(6..)?.first_chunk::<6>()?);
    let mut error = Vec::new();
    PacketBuilder::ethernet2(own, sender)
        .ipv4(from.octets(), header.source(), TTL)
        .icmpv4_raw(kind, code, [0, 0, high, low])
        .write(&mut error, &quote)
        .ok()?;
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, Transport};

    const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn datagram(to: [u8; 4], ttl: u8, len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        let ip =
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([203, 0, 113, 9], to, ttl);
        ip.udp(1, 2).write(&mut frame, &vec![0; len]).expect("a vector takes everything");
        frame
    }

    /// The sender of the ICMP error, and the quoted octets; `None` if the packet arrives.
    fn told(frame: &[u8]) -> Option<(Ipv4Addr, usize)> {
        let Passed::Ends(error) = pass(frame, PROVIDER) else { return None };
        let error = Packet::parse(&error.expect("it is told")).expect("a frame");
        let ip = error.ipv4().expect("a packet");
        assert_eq!(ip.destination.octets(), [203, 0, 113, 9]);
        let Transport::IcmpError { about: Some(about) } = &ip.transport else { panic!("{ip:?}") };
        Some((ip.source, about.octets.len()))
    }

    #[test]
    fn each_router_takes_a_hop_and_tells_who_has_none_left() {
        let at = |ttl| told(&datagram([198, 18, 7, 7], ttl, 200));
        let [second, third] = ROUTERS;
        assert_eq!(
            [1, 2, 3, 4].map(at),
            [Some((PROVIDER, 28)), Some((second, 128)), Some((third, 228)), None]
        );
    }

    #[test]
    fn what_is_too_long_for_the_short_link_is_told() {
        let longest = usize::from(SHORT_LINK_MTU) - 28;
        let to = |net, len| told(&datagram([198, 18, net, 7], 64, len));
        assert_eq!((to(81, longest), to(80, longest + 1)), (None, None));
        assert_eq!(to(81, longest + 1), Some((ROUTERS[1], 548)));
    }
}
