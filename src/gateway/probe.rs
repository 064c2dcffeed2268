//! The synthetic packets that `gatepost explain` asks the workers about.

use std::net::SocketAddrV4;

use gatepost_ground::wire::{Malformed, Protocol, ethernet, icmpv4, ipv4, tcp, transport, udp};

/// The length of the longest probe, in octets.
const LEN_MAX: usize = ethernet::Header::LEN + ipv4::Header::LEN_MIN + tcp::Header::LEN_MIN;

/// A frame with the first packet of a conversation: a SYN, a datagram without data, or an echo request whose identifier
/// is the source's port.
pub(super) fn frame(
    link: ethernet::Header,
    protocol: Protocol,
    [source, destination]: [SocketAddrV4; 2],
) -> Result<Vec<u8>, Malformed> {
    let mut octets = vec![0; LEN_MAX];
    let (link_header, packet) = octets.split_at_mut(ethernet::Header::LEN);
    link.write(link_header)?;
    let (header, payload) = packet.split_at_mut(ipv4::Header::LEN_MIN);
    let (source_port, destination_port) = (source.port(), destination.port());
    let len = match protocol {
        Protocol::TCP => {
            let (sequence, acknowledgment, payload_len) = (0, 0, 0);
            let (header_len, flags, window) = (tcp::Header::LEN_MIN as u8, tcp::Flags::SYN, u16::MAX);
            let syn = tcp::Header {
                source_port,
                destination_port,
                sequence,
                acknowledgment,
                header_len,
                flags,
                window,
                payload_len,
            };
            syn.write(payload)?;
            tcp::Header::LEN_MIN
        }
        Protocol::UDP => {
            let len = udp::Header::LEN as u16;
            udp::Header { source_port, destination_port, len, checksum: 0 }.write(payload)?;
            udp::Header::LEN
        }
        _ => {
            let [high, low] = source_port.to_be_bytes();
            let rest = [high, low, 0, 1];
            icmpv4::Header { kind: icmpv4::Type::ECHO_REQUEST, code: 0, checksum: 0, rest }.write(payload)?;
            icmpv4::Header::LEN
        }
    };
    let payload = payload.get_mut(..len).ok_or(Malformed::Truncated)?;
    transport::fill_checksum(*source.ip(), *destination.ip(), protocol, payload)?;
    ipv4::Header::new(*source.ip(), *destination.ip(), protocol, len as u16).write(header)?;
    octets.truncate(ethernet::Header::LEN + ipv4::Header::LEN_MIN + len);
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use gatepost_ground::MacAddr;

    use super::*;

    #[test]
    fn probes_are_valid_packets() {
        let link = ethernet::Header {
            destination: MacAddr([2, 0, 0, 0, 0, 1]),
            source: MacAddr([2, 0, 0, 0, 0, 2]),
            ether_type: ethernet::EtherType::IPV4,
        };
        let ends = ["192.0.2.1:50000", "198.51.100.2:443"].map(|end| end.parse().expect("an endpoint"));
        for (protocol, len) in [(Protocol::TCP, 54), (Protocol::UDP, 42), (Protocol::ICMP, 42)] {
            let octets = frame(link, protocol, ends).expect("room");
            let packet = &octets[ethernet::Header::LEN..];
            let header = ipv4::Header::parse(packet).expect("a packet");
            assert_eq!((octets.len(), header.protocol), (len, protocol));
            assert!(transport::is_checksum_valid(&header, header.payload(packet)));
        }
    }
}
