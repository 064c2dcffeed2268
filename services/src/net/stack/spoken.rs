//! The one place that keeps IPv6 out of the stack. The rest of the stack handles both families.
//!
//! No packet of IPv6 comes in, and no service binds an address of IPv6 or sends to one.

use std::io;
use std::net::SocketAddr;

use super::packet::is_ipv6;

/// Whether the stack takes `packet`, which may be any octets.
pub(super) fn is_taken(packet: &[u8]) -> bool {
    !is_ipv6(packet)
}

/// `address`, if a service may use it.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] for an address of IPv6.
pub(super) fn usable(address: SocketAddr) -> io::Result<SocketAddr> {
    match address {
        SocketAddr::V4(_) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "the gateway speaks IPv4 only")),
    }
}
