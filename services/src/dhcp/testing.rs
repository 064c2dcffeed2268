//! Fixtures for tests of server and client: captured frames.

use super::frame::Datagram;
use super::message::{self, Message};

pub(super) const UDHCPC_DISCOVER: &str = include_str!("captures/udhcpc-discover.hex");
pub(super) const UDHCPC_REQUEST: &str = include_str!("captures/udhcpc-request.hex");
pub(super) const DHCLIENT_DISCOVER: &str = include_str!("captures/dhclient-discover.hex");
pub(super) const DHCLIENT_REQUEST: &str = include_str!("captures/dhclient-request.hex");
pub(super) const UDHCPD_OFFER: &str = include_str!("captures/udhcpd-offer.hex");
pub(super) const UDHCPD_ACK: &str = include_str!("captures/udhcpd-ack.hex");

/// The octets of a captured frame.
pub(super) fn frame(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

/// The message in a frame.
pub(super) fn message_in(frame: &[u8]) -> Message {
    let datagram = Datagram::parse(frame).expect("a UDP datagram");
    message::decode(datagram.payload).expect("a DHCP message")
}
