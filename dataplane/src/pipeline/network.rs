//! The networks that the gateway is connected to, as every packet asks for them.

use core::net::Ipv4Addr;

use gatepost_ground::Segment;
use ipnet::Ipv4Net;

use crate::config::{Config, Mode};

/// The networks on both segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Networks([Network; 2]);

impl Networks {
    pub(super) fn of_config(config: &Config) -> Self {
        let wan = config.wan.address.filter(|_| config.mode != Mode::LanOnly);
        Self([config.lan.address, wan].map(Network::of_address))
    }

    /// The gateway's network on `segment`.
    #[inline]
    pub(super) fn on(&self, segment: Segment) -> &Network {
        &self.0[segment as usize]
    }

    /// The segment on which `address` is the gateway's own.
    #[inline]
    pub(super) fn own_segment(&self, address: Ipv4Addr) -> Option<Segment> {
        [Segment::Lan, Segment::Wan].into_iter().find(|segment| self.on(*segment).own() == Some(address))
    }

    /// Whether `address` stands for all hosts of one of the networks.
    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|network| network.is_broadcast(address))
    }
}

/// The gateway's network on one segment; an empty one while the gateway has no address there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    own: Option<Ipv4Addr>,
    network: u32,
    mask: u32,
    broadcasts: Option<[Ipv4Addr; 2]>,
}

impl Network {
    fn of_address(address: Option<Ipv4Net>) -> Self {
        match address {
            Some(net) => Self {
                own: Some(net.addr()),
                network: net.network().to_bits(),
                mask: net.netmask().to_bits(),
                // A network of two or one has none. // RFC 3021
                broadcasts: (net.prefix_len() < 31).then(|| [net.broadcast(), net.network()]),
            },
            // No address has bits where the mask has none.
            None => Self { own: None, network: u32::MAX, mask: 0, broadcasts: None },
        }
    }

    /// The gateway's own address there.
    #[inline]
    pub(super) fn own(&self) -> Option<Ipv4Addr> {
        self.own
    }

    #[inline]
    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.network
    }

    /// Whether `address` stands for all its hosts, in today's form or that of old.
    /// // RFC 1812 section 4.2.3.1
    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.broadcasts.is_some_and(|broadcasts| broadcasts.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of_address(Some(text.parse().expect("a network")))
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_knows_its_own() {
        let network = network("192.168.1.1/24");
        assert_eq!(network.own(), Some(address("192.168.1.1")));
        assert!(network.contains(address("192.168.1.200")) && !network.contains(address("192.168.2.1")));
    }

    /// RFC 1812, section 4.2.3.1: A network has a broadcast of today and one of old.
    #[test]
    fn rfc1812_4_2_3_1_a_network_has_a_broadcast_of_today_and_one_of_old() {
        let network = network("192.168.1.1/24");
        for (text, is_broadcast) in [("192.168.1.255", true), ("192.168.1.0", true), ("192.168.1.1", false)] {
            assert_eq!(network.is_broadcast(address(text)), is_broadcast, "{text}");
        }
    }

    /// RFC 3021: A network of two has no broadcast.
    #[test]
    fn rfc3021_a_network_of_two_has_no_broadcast() {
        for text in ["10.0.0.0", "10.0.0.1"] {
            assert!(!network("10.0.0.0/31").is_broadcast(address(text)));
        }
        assert!(network("10.0.0.1/32").contains(address("10.0.0.1")));
        assert!(!network("10.0.0.1/32").contains(address("10.0.0.2")));
    }

    #[test]
    fn an_empty_network_has_nobody() {
        let empty = Network::of_address(None);
        for text in ["0.0.0.0", "255.255.255.255", "192.168.1.1"] {
            assert!(!empty.contains(address(text)) && !empty.is_broadcast(address(text)));
        }
        assert_eq!(empty.own(), None);
    }
}
