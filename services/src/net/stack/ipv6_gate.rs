//! The one place that keeps IPv6 out of the stack. The rest of the stack handles both families.
//!
//! The stack accepts no IPv6 packet, and lets no service bind to an IPv6 address or send to one.

use std::io;
use std::net::SocketAddr;

use super::packet::is_ipv6;

/// Whether the stack accepts `packet`, which may be any octets.
pub(super) fn accepts_packet(packet: &[u8]) -> bool {
    !is_ipv6(packet)
}

/// `address`, if a service may use it.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] for an address of IPv6.
pub(super) fn check_family(address: SocketAddr) -> io::Result<SocketAddr> {
    match address {
        SocketAddr::V4(_) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "the gateway speaks IPv4 only")),
    }
}
