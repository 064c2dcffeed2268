//! Rewriting the packets of a flow.

use crate::flow::Translation;
use crate::wire::ipv4::{self, Protocol};
use crate::wire::{icmpv4, tcp, udp};

/// Gives the IPv4 `packet` with `header` the addresses, ports and checksums of its flow. A fragment
/// other than the first has only addresses.
///
/// What is missing of a packet that is cut, as in an ICMP error, is not rewritten.
#[inline]
pub fn packet(packet: &mut [u8], header: &ipv4::Header, translation: &Translation) {
    let (source, destination) = (translation.source, translation.destination);
    if let Ok(mut ip) = ipv4::HeaderMut::new(packet) {
        ip.set_addresses(source.address, destination.address, translation.ip_delta);
    }
    if !header.is_first_fragment() {
        return;
    }
    let payload = header.payload_mut(packet);
    match header.protocol {
        Protocol::TCP => {
            if let Ok(mut segment) = tcp::HeaderMut::new(payload) {
                segment.set_ports(source.port, destination.port, translation.transport_delta);
            }
        }
        Protocol::UDP => {
            if let Ok(mut datagram) = udp::HeaderMut::new(payload) {
                datagram.set_ports(source.port, destination.port, translation.transport_delta);
            }
        }
        _ => {
            let is_query = icmpv4::Header::parse(payload).is_ok_and(|message| message.kind.is_query());
            if let Ok(mut message) = icmpv4::HeaderMut::new(payload) {
                message.set_identifier(if is_query { source.port } else { destination.port });
            }
        }
    }
}

/// Gives a packet that was rewritten by the flow of its replies' `translation` what it had before.
pub fn undo(bytes: &mut [u8], header: &ipv4::Header, translation: &Translation) {
    // A sum has no order: what the reply's destination adds, the packet's source adds too.
    let inverse =
        Translation { source: translation.destination, destination: translation.source, ..*translation };
    packet(bytes, header, &inverse);
}
