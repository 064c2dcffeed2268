//! What identifies a flow's packets, for any address family.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::checksum::Delta;

/// A network address, as far as flows need to know it. The IPv4 one keeps its keys at 14 octets.
pub trait Address: Copy + Ord + Hash + fmt::Debug + fmt::Display {
    /// Feeds the two addresses of a key to a hasher in as few steps as they need.
    fn hash_pair<H: Hasher>(source: Self, destination: Self, hasher: &mut H);

    /// `delta`, and what replacing the address `old` by `new` adds to it.
    fn replace(delta: Delta, old: Self, new: Self) -> Delta;
}

impl Address for Ipv4Addr {
    #[inline]
    fn hash_pair<H: Hasher>(source: Self, destination: Self, hasher: &mut H) {
        hasher.write_u64(u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()));
    }

    #[inline]
    fn replace(delta: Delta, old: Self, new: Self) -> Delta {
        delta.replace_addr(old, new)
    }
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint<A = Ipv4Addr> {
    /// Its address.
    pub address: A,
    /// Its TCP or UDP port. For ICMP queries, see [`FlowKey`].
    pub port: u16,
}

impl<A> Endpoint<A> {
    /// The endpoint at `address` and `port`.
    pub const fn new(address: A, port: u16) -> Self {
        Self { address, port }
    }
}

impl<A: Address> fmt::Display for Endpoint<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// The addresses and ports of a packet, by which its flow is found.
///
/// An ICMP query has one identifier and no ports: the identifier is the port of the endpoint that
/// asks, and the port of the one that answers is 0. So a request has it at its source, a reply at its
/// destination, and two hosts that ping each other with one identifier have two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey<A = Ipv4Addr> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who sends.
    pub source: Endpoint<A>,
    /// Who receives.
    pub destination: Endpoint<A>,
}

const _: () = assert!(size_of::<FlowKey>() == 14);

impl<A: Address> FlowKey<A> {
    /// The key of a packet that goes the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

impl<A: Address> Hash for FlowKey<A> {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        A::hash_pair(self.source.address, self.destination.address, hasher);
        let ports = u64::from(self.source.port) << 16 | u64::from(self.destination.port);
        hasher.write_u64(u64::from(self.protocol.0) << 32 | ports);
    }
}

impl<A: Address> fmt::Display for FlowKey<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} ({})", self.source, self.destination, self.protocol.0)
    }
}

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the packet that opened the flow.
    Original = 0,
    /// Back.
    Reply = 1,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    #[test]
    fn reversing_twice_changes_nothing() {
        let key = FlowKey {
            protocol: Protocol::TCP,
            source: Endpoint::new(Ipv4Addr::new(192, 168, 1, 2), 5000),
            destination: Endpoint::new(Ipv4Addr::new(198, 51, 100, 1), 80),
        };
        assert_ne!(key.reversed(), key);
        assert_eq!(key.reversed().reversed(), key);
        assert_eq!(key.to_string(), "192.168.1.2:5000 > 198.51.100.1:80 (6)");
    }

    #[test]
    fn a_longer_address_needs_no_other_table() {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        struct Long(Ipv6Addr);
        impl fmt::Display for Long {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl Address for Long {
            fn hash_pair<H: Hasher>(source: Self, destination: Self, hasher: &mut H) {
                hasher.write_u128(source.0.to_bits());
                hasher.write_u128(destination.0.to_bits());
            }
            fn replace(delta: Delta, old: Self, new: Self) -> Delta {
                let words = old.0.segments().into_iter().zip(new.0.segments());
                words.fold(delta, |delta, (old, new)| delta.replace_u16(old, new))
            }
        }
        let _table: Option<crate::flow::FlowTable<Long>> = None;
    }
}
