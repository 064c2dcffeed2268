//! ICMP errors about translated packets. (RFC 5508, section 4)
//!
//! An error goes back to the sender of the packet that it quotes, so it belongs to the flow of that
//! packet and goes the way of the flow's replies. It is translated like one, outside and inside: the
//! quoted packet gets back the addresses and ports that it was sent with, and the error itself goes to
//! that sender. Errors are neither tracked nor counted by the flow: they refresh and end nothing.
//! (RFC 4787, REQ-12; RFC 5382, REQ-10; RFC 5508, REQ-6)

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

/// Translates the error in `packet`, whose IPv4 `header` and `quoted` packet are parsed, by the
/// `translation` of the replies. It will come from `source`.
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
