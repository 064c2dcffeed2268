//! Bytes on the wire: one file per protocol.
//!
//! The file of a protocol with a header offers, in this order, the header as a `Copy` value with a checked `parse`, a
//! mutable view whose setters update the checksums (where a field of the packet may change), and building. Parsing
//! never panics and never allocates, whatever the bytes. A length in a header is checked against the available bytes;
//! bytes beyond it, such as Ethernet's padding, are not part of the packet.

use core::fmt;

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmpv4;
pub mod ipv4;
pub mod options;
mod protocol;
pub mod tcp;
pub mod transport;
pub mod udp;
pub mod vlan;

pub use protocol::Protocol;

/// Why bytes cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer octets than the header needs or claims.
    Truncated,
    /// A version or type that this protocol's parser does not know.
    Unsupported,
    /// An impossible length field.
    Length,
    /// Options with wrong lengths.
    Options,
    /// An address that is not allowed in its field.
    Address,
    /// The checksum is wrong.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "shorter than its headers say",
            Self::Unsupported => "of an unknown version or type",
            Self::Length => "a length field is impossible",
            Self::Options => "the options do not add up",
            Self::Address => "an address stands where it must not",
            Self::Checksum => "the checksum is wrong",
        })
    }
}

impl core::error::Error for Malformed {}
