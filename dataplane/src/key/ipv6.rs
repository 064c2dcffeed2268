//! IPv6 addresses. The dataplane handles no IPv6 packets yet; configuration and tables are ready for them.

use core::hash::Hasher;
use core::net::Ipv6Addr;

use gatepost_ground::InterfaceId;
use gatepost_ground::wire::checksum::Delta;
use ipnet::{IpNet, Ipv6Net};

use super::{Address, EdgeAddresses};

impl Address for Ipv6Addr {
    type Bits = u128;
    type Net = Ipv6Net;
    /// The last field is the interface's number plus one.
    type OnInterface = ([u64; 2], u16);

    #[inline]
    fn bits(self) -> u128 {
        self.to_bits()
    }

    fn from_bits(bits: u128) -> Self {
        Self::from_bits(bits)
    }

    #[inline]
    fn last_octet(self) -> u8 {
        self.octets()[15]
    }

    fn mask(prefix_len: u8) -> u128 {
        u128::MAX.checked_shl(u32::from(128_u8.saturating_sub(prefix_len))).unwrap_or(0)
    }

    fn of_net(net: IpNet) -> Option<Ipv6Net> {
        match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some(net),
        }
    }

    fn split_net(net: Ipv6Net) -> (Self, u8) {
        (net.addr(), net.prefix_len())
    }

    #[inline]
    fn is_in(self, net: &Ipv6Net) -> bool {
        net.contains(&self)
    }

    /// A network of two routers has no Subnet-Router anycast address. (RFC 6164, section 6)
    fn edges_of(prefix_len: u8) -> EdgeAddresses {
        if prefix_len < 127 { EdgeAddresses::SubnetRouterAnycast } else { EdgeAddresses::Hosts }
    }

    fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }

    #[inline]
    fn on(self, interface: InterfaceId) -> ([u64; 2], u16) {
        let bits = self.to_bits();
        ([(bits >> 64) as u64, bits as u64], u16::from(interface.0) + 1)
    }

    fn split(([high, low], interface): ([u64; 2], u16)) -> Option<(InterfaceId, Self)> {
        let bits = u128::from(high) << 64 | u128::from(low);
        Some((InterfaceId(interface.checked_sub(1)? as u8), Self::from_bits(bits)))
    }

    #[inline]
    fn hash_pair<H: Hasher>(source: Self, destination: Self, hasher: &mut H) {
        hasher.write_u128(source.to_bits());
        hasher.write_u128(destination.to_bits());
    }

    #[inline]
    fn replace(delta: Delta, old: Self, new: Self) -> Delta {
        let words = old.segments().into_iter().zip(new.segments());
        words.fold(delta, |delta, (old, new)| delta.replace_u16(old, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::testing::v6;

    #[test]
    fn an_address_on_an_interface_is_both_again() {
        for (interface, address) in
            [(0, Ipv6Addr::UNSPECIFIED), (15, Ipv6Addr::from_bits(u128::MAX)), (1, v6(7, 9))]
        {
            let interface = InterfaceId(interface);
            assert_ne!(address.on(interface), Default::default());
            assert_eq!(Ipv6Addr::split(address.on(interface)), Some((interface, address)));
        }
        assert_eq!(Ipv6Addr::split(Default::default()), None);
    }

    #[test]
    fn a_mask_has_as_many_bits_as_its_prefix() {
        assert_eq!([0, 1, 128, 129].map(Ipv6Addr::mask), [0, 1 << 127, u128::MAX, u128::MAX]);
    }

    #[test]
    fn a_network_is_of_one_family() {
        let net: IpNet = "2001:db8:7::1/64".parse().expect("a network");
        let of_family = Ipv6Addr::of_net(net).expect("it is of IPv6");
        assert_eq!(Ipv6Addr::split_net(of_family), (v6(7, 1), 64));
        assert_eq!(core::net::Ipv4Addr::of_net(net), None);
        assert!(v6(7, 9).is_in(&of_family) && !v6(8, 9).is_in(&of_family));
        assert!(Ipv6Addr::UNSPECIFIED.is_in(&Ipv6Net::default()));
    }
}
