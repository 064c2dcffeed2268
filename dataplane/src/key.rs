//! Addresses of any family, and the keys of flows.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::{BitAnd, BitOr, Not};

use gatepost_ground::InterfaceId;
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::checksum::Delta;
use ipnet::{IpNet, Ipv4Net};

mod ipv6;

/// An address of one family, with the operations that tables, policy and the gateway's networks need. Tables are
/// generic over it. With IPv4, a flow's key takes 14 octets and a neighbour's 8.
pub trait Address: Copy + Ord + Hash + fmt::Debug + fmt::Display + Into<IpAddr> + 'static {
    /// The bits of an address; a network's prefix is the first ones.
    type Bits: Copy
        + Ord
        + fmt::Debug
        + BitAnd<Output = Self::Bits>
        + BitOr<Output = Self::Bits>
        + Not<Output = Self::Bits>;

    /// A network of the family, or an address with the prefix of its network. The default contains all addresses.
    type Net: Copy + Eq + fmt::Debug + Default + Into<IpNet>;

    /// An address and an interface, packed. The default means no address.
    type OnInterface: Copy + Eq + Hash + Default + fmt::Debug;

    /// The address's bits.
    fn bits(self) -> Self::Bits;

    /// The address with these bits.
    fn from_bits(bits: Self::Bits) -> Self;

    /// The address's last eight bits.
    fn last_octet(self) -> u8;

    /// The mask with the first `prefix_len` bits set; all bits for a prefix longer than an address.
    fn mask(prefix_len: u8) -> Self::Bits;

    /// `net`, if that is of this family.
    fn of_net(net: IpNet) -> Option<Self::Net>;

    /// The address and the length of the prefix of `net`.
    fn split_net(net: Self::Net) -> (Self, u8);

    /// Whether `net` contains the address.
    fn is_in(self, net: &Self::Net) -> bool;

    /// The meaning of the first and the last address of a network with a prefix of this length.
    fn edges_of(prefix_len: u8) -> EdgeAddresses;

    /// Whether it is the unspecified address.
    fn is_unspecified(self) -> bool;

    /// The address on `interface`; never the default.
    fn on(self, interface: InterfaceId) -> Self::OnInterface;

    /// The interface and the address in `packed`, which [`Address::on`] made; `None` for the default.
    fn split(packed: Self::OnInterface) -> Option<(InterfaceId, Self)>;

    /// Feeds the two addresses of a key to a hasher in as few steps as they need.
    fn hash_pair<H: Hasher>(source: Self, destination: Self, hasher: &mut H);

    /// `delta` plus the change of replacing the address `old` by `new`.
    fn replace(delta: Delta, old: Self, new: Self) -> Delta;
}

/// The meaning of a network's first address (all host bits 0) and of its last one (all host bits 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeAddresses {
    /// Both are hosts' addresses.
    Hosts,
    /// Both are broadcast addresses. (RFC 1812, section 4.2.3.1)
    Broadcast,
    /// The first is the Subnet-Router anycast address, the last a host's. (RFC 4291, section 2.6.1)
    SubnetRouterAnycast,
}

/// Marks an IPv4 address on an interface, so that none is 0.
const OCCUPIED: u64 = 1 << 40;
/// The position of the interface's bits.
const INTERFACE_SHIFT: u32 = 32;

impl Address for Ipv4Addr {
    type Bits = u32;
    type Net = Ipv4Net;
    type OnInterface = u64;

    #[inline]
    fn bits(self) -> u32 {
        self.to_bits()
    }

    fn from_bits(bits: u32) -> Self {
        Self::from_bits(bits)
    }

    #[inline]
    fn last_octet(self) -> u8 {
        self.octets()[3]
    }

    fn mask(prefix_len: u8) -> u32 {
        Ipv4Net::new(Self::UNSPECIFIED, prefix_len).map_or(u32::MAX, |net| net.netmask().to_bits())
    }

    fn of_net(net: IpNet) -> Option<Ipv4Net> {
        match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }
    }

    fn split_net(net: Ipv4Net) -> (Self, u8) {
        (net.addr(), net.prefix_len())
    }

    #[inline]
    fn is_in(self, net: &Ipv4Net) -> bool {
        net.contains(&self)
    }

    /// A network of one or two addresses has no broadcast address. (RFC 3021, section 2.1)
    fn edges_of(prefix_len: u8) -> EdgeAddresses {
        if prefix_len < 31 { EdgeAddresses::Broadcast } else { EdgeAddresses::Hosts }
    }

    fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }

    #[inline]
    fn on(self, interface: InterfaceId) -> u64 {
        OCCUPIED | u64::from(interface.0) << INTERFACE_SHIFT | u64::from(self.to_bits())
    }

    fn split(packed: u64) -> Option<(InterfaceId, Self)> {
        let (interface, address) = (InterfaceId((packed >> INTERFACE_SHIFT) as u8), packed as u32);
        (packed & OCCUPIED != 0).then(|| (interface, Self::from_bits(address)))
    }

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
    /// The address.
    pub address: A,
    /// The TCP or UDP port. For ICMP queries, see [`FlowKey`].
    pub port: u16,
}

impl<A> Endpoint<A> {
    /// The endpoint at `address` and `port`.
    pub const fn new(address: A, port: u16) -> Self {
        Self { address, port }
    }
}

impl<A: Into<IpAddr>> Endpoint<A> {
    /// The endpoint with an address of any family, as reports need it.
    pub fn of_any_family(self) -> Endpoint<IpAddr> {
        Endpoint { address: self.address.into(), port: self.port }
    }
}

impl<A: Copy + Into<IpAddr>> fmt::Display for Endpoint<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address.into(), self.port).fmt(f)
    }
}

/// The addresses and ports of a packet, by which the flow table finds its flow.
///
/// An ICMP query has an identifier and no ports: the key has the identifier as the port of the requesting endpoint,
/// and 0 as the port of the answering one. So a request has the identifier in its source and a reply in its
/// destination, and two hosts that ping each other with the same identifier have two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey<A = Ipv4Addr> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The sender.
    pub source: Endpoint<A>,
    /// The receiver.
    pub destination: Endpoint<A>,
}

const _: () = assert!(size_of::<FlowKey>() == 14);

impl<A: Address> FlowKey<A> {
    /// The key of a packet in the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

impl<A: Into<IpAddr>> FlowKey<A> {
    /// The key with addresses of any family, as reports need it.
    pub fn of_any_family(self) -> FlowKey<IpAddr> {
        FlowKey {
            protocol: self.protocol,
            source: self.source.of_any_family(),
            destination: self.destination.of_any_family(),
        }
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

impl<A: Copy + Into<IpAddr>> fmt::Display for FlowKey<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} ({})", self.source, self.destination, self.protocol.0)
    }
}

/// The direction of a packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The direction of the packet that opened the flow.
    Original = 0,
    /// The opposite direction.
    Reply = 1,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    /// The opposite direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use core::net::Ipv6Addr;

    /// The address `2001:db8:network::host`.
    pub(crate) const fn v6(network: u16, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host)
    }
}

#[cfg(test)]
mod tests {
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
    fn endpoints_of_both_families_are_shown_as_one_writes_them() {
        let v4 = Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 80);
        let v6 = Endpoint::new(testing::v6(7, 1), 80);
        assert_eq!(v4.of_any_family().to_string(), "192.0.2.1:80");
        assert_eq!((v4.to_string(), v6.to_string()), ("192.0.2.1:80".into(), "[2001:db8:7::1]:80".into()));
    }

    #[test]
    fn an_address_on_an_interface_is_both_again() {
        for (interface, address) in [(0, [0, 0, 0, 0]), (15, [255; 4]), (1, [192, 168, 1, 1])] {
            let (interface, address) = (InterfaceId(interface), Ipv4Addr::from(address));
            assert_ne!(address.on(interface), 0);
            assert_eq!(Ipv4Addr::split(address.on(interface)), Some((interface, address)));
        }
        assert_eq!(Ipv4Addr::split(0), None);
    }

    #[test]
    fn a_mask_has_as_many_bits_as_its_prefix() {
        assert_eq!([0, 8, 32, 33].map(Ipv4Addr::mask), [0, 0xff00_0000, u32::MAX, u32::MAX]);
    }
}
