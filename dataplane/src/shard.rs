//! Several workers: which part of the gateway's work is one dataplane's.
//!
//! # Theory of operation
//!
//! A gateway with `n` workers has `n` dataplanes, each with its [`Shard`]. They share nothing. What one
//! has to tell the others it leaves to the caller, who carries frames and [notices](Notice) between them.

use core::net::Ipv4Addr;

use crate::batch::Ingress;
use crate::config::Segment;
use crate::flow::Quota;
use crate::port::PortId;
use crate::wire::ethernet::MacAddr;

/// One dataplane's place among those of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u8,
    count: u8,
}

impl Shard {
    /// The most dataplanes that a gateway can have.
    pub const COUNT_MAX: u8 = 16;

    /// The only dataplane of its gateway.
    pub const SOLE: Self = Self { index: 0, count: 1 };

    /// The place `index` of `count`; `None` if there is no such place, or more than
    /// [`Shard::COUNT_MAX`].
    pub const fn new(index: u8, count: u8) -> Option<Self> {
        if index < count && count <= Self::COUNT_MAX { Some(Self { index, count }) } else { None }
    }

    /// Which of the dataplanes it is, counted from 0.
    #[inline]
    pub const fn index(self) -> u8 {
        self.index
    }

    /// How many dataplanes there are.
    #[inline]
    pub const fn count(self) -> u8 {
        self.count
    }

    /// Whether there are no others.
    #[inline]
    pub const fn is_sole(self) -> bool {
        self.count == 1
    }

    /// The secret of this dataplane, of the one that all share.
    pub(crate) fn seed(self, mut shared: [u8; 32]) -> [u8; 32] {
        shared[0] ^= self.index;
        shared
    }

    /// The places of the others.
    pub fn others(self) -> impl Iterator<Item = u8> {
        (0..self.count).filter(move |index| *index != self.index)
    }
}

/// How a frame came from another dataplane of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub(crate) origin: Origin,
    pub(crate) leg: Leg,
}

/// Where a frame entered the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// At a port.
    Port(PortId),
    /// From its own host stack.
    Host,
}

impl From<Origin> for Ingress {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Port(port) => Self::Port(port),
            Origin::Host => Self::Host,
        }
    }
}

/// How far a frame has come on its way through the dataplanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// It has entered here.
    First,
    /// It is as it came, and belongs to the one that gets it.
    Steered,
}

/// What one dataplane tells all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// How many flows an inside host has here.
    HostFlows(HostFlows),
    /// A station was heard.
    Station {
        /// On this segment.
        segment: Segment,
        /// Its address.
        mac: MacAddr,
        /// Behind this port.
        port: PortId,
    },
}

/// How many flows of one dataplane count against one limit of an inside host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFlows<A = Ipv4Addr> {
    pub(crate) quota: Quota<A>,
    pub(crate) count: u32,
}
