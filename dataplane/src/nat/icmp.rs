//! ICMP errors about translated packets. (RFC 5508, section 4)
//!
//! An ICMP error goes back to the sender of the packet that it quotes. So it belongs to the flow of that packet and
//! goes in the direction of the flow's replies. The error is translated like a reply, and its quoted packet gets back
//! the addresses and ports with which it was sent. The flow neither tracks nor counts errors: they refresh and end
//! nothing. (RFC 4787, REQ-12; RFC 5382, REQ-10; RFC 5508, REQ-6)

use core::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::wire::Malformed;
use gatepost_ground::wire::icmpv4::Embedded;
use gatepost_ground::wire::ipv4::{Header, HeaderMut};

use crate::key::{Endpoint, FlowKey};
use crate::nat::rewrite::Translation;

/// The key of the replies to the packet that an error quotes.
pub fn reply_key(quoted: &Embedded) -> FlowKey {
    FlowKey {
        protocol: quoted.header.protocol,
        source: endpoint(quoted.destination),
        destination: endpoint(quoted.source),
    }
}

/// Translates the error in `packet`, whose IPv4 `header` and `quoted` packet are parsed, by the `translation` of the
/// replies. The error's new source is `source`.
///
/// # Errors
///
/// [`Malformed::Truncated`] if `packet` is not the one that was parsed.
pub fn translate(
    packet: &mut [u8],
    header: &Header,
    quoted: &Embedded,
    translation: &Translation,
    source: Ipv4Addr,
) -> Result<(), Malformed> {
    let (sender, recipient) = (address(translation.destination), address(translation.source));
    quoted.rewrite(header.payload_mut(packet), sender, recipient)?;
    let mut ip = HeaderMut::new(packet)?;
    ip.set_source(source);
    ip.set_destination(*sender.ip());
    Ok(())
}

fn endpoint(address: SocketAddrV4) -> Endpoint {
    Endpoint::new(*address.ip(), address.port())
}

fn address(endpoint: Endpoint) -> SocketAddrV4 {
    SocketAddrV4::new(endpoint.address, endpoint.port)
}
