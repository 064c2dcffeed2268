//! Pings to the internet. smoltcp could answer them, but by a feature that Cargo would enable for the gateway's own
//! stack, too, when the workspace is built as a whole. Frames are parsed and made with etherparse.

use etherparse::{IcmpEchoHeader, Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

const TTL: u8 = 64;

/// The answer to a frame that is a whole and undamaged ping.
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let ethernet = sliced.link.as_ref()?.to_header()?.ethernet2()?;
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { return None };
    let ip = ip.header();
    let Some(TransportSlice::Icmpv4(icmp)) = &sliced.transport else { return None };
    let Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq }) = icmp.icmp_type() else { return None };
    let is_whole = icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum();
    if !is_whole || ip.header_checksum() != ip.to_header().calc_header_checksum() {
        return None;
    }
    let mut reply = Vec::new();
    PacketBuilder::ethernet2(ethernet.destination, ethernet.source)
        .ipv4(ip.destination(), ip.source(), TTL)
        .icmpv4_echo_reply(id, seq)
        .write(&mut reply, icmp.payload())
        .ok()?;
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THERE: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn whole_pings_are_answered_and_nothing_else() {
        let mut ping = Vec::new();
        let ip = || PacketBuilder::ethernet2(HERE, THERE).ipv4([203, 0, 113, 9], [198, 18, 7, 7], TTL);
        ip().icmpv4_echo_request(7, 8).write(&mut ping, b"ping").unwrap();
        let mut expected = Vec::new();
        PacketBuilder::ethernet2(THERE, HERE)
            .ipv4([198, 18, 7, 7], [203, 0, 113, 9], TTL)
            .icmpv4_echo_reply(7, 8)
            .write(&mut expected, b"ping")
            .unwrap();
        assert_eq!(answer(&ping), Some(expected.clone()));
        assert_eq!(answer(&expected), None, "an answer");
        *ping.last_mut().unwrap() ^= 1;
        assert_eq!(answer(&ping), None, "a damaged one");
    }
}
