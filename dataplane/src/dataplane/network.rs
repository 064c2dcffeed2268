//! The networks that the gateway is connected to, as every packet asks for them.

use core::net::Ipv4Addr;

use crate::config::{Config, Mode, Segment};

/// The networks on both segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Networks([Network; 2]);

impl Networks {
    pub(super) fn of_config(config: &Config) -> Self {
        Self([Segment::Lan, Segment::Wan].map(|segment| Network::of_segment(config, segment)))
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

    /// Whether `address` is that of all hosts of one of the networks.
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
    broadcast: Option<Ipv4Addr>,
}

impl Network {
    fn of_segment(config: &Config, segment: Segment) -> Self {
        let is_there = segment == Segment::Lan || config.mode != Mode::LanOnly;
        match config.interface(segment).address.filter(|_| is_there) {
            Some(net) => Self {
                own: Some(net.addr()),
                network: net.network().to_bits(),
                mask: net.netmask().to_bits(),
                // A network of two or one has none. // RFC 3021
                broadcast: (net.prefix_len() < 31).then(|| net.broadcast()),
            },
            // No address has bits where the mask has none.
            None => Self { own: None, network: u32::MAX, mask: 0, broadcast: None },
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

    /// Whether `address` is that of all its hosts.
    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.broadcast == Some(address)
    }
}
