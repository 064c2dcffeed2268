//! Several workers: which part of the gateway's work is one dataplane's.
//!
//! # Theory of operation
//!
//! A gateway with `n` workers has `n` dataplanes, each with its [`Shard`]. They share nothing, and any of
//! them may get any frame. What belongs to one conversation is done by one of them, its owner:
//!
//! | packet                                           | owner                                          |
//! |--------------------------------------------------|------------------------------------------------|
//! | from an inside host's port p                     | shard(p) = p / 2 mod n                         |
//! | from outside to an external port e               | shard(e)                                       |
//! | from outside to a forward's external port        | shard(p), p being the inside port              |
//! | an ICMP query or its reply                       | shard(its identifier)                          |
//! | an ICMP error                                    | as of the packet that it quotes                |
//! | a fragment                                       | a keyed hash of its packet finds who gathers   |
//! |                                                  | them; the first fragment tells him the owner   |
//! | from an inside host to the external address      | shard(p), then as from outside (`hairpin`)     |
//! | all that is not translated                       | whoever gets it                                |
//!
//! An external port that a shard gives to an inside host is one of its own, so that both ways of a
//! conversation, the mapping and what its filter has seen lie in one shard, and nobody has to ask anybody.
//! Ports of one shard come in pairs, as parity is kept. (RFC 4787 REQ-4)
//!
//! Where forwards with different sources send one external port to different inside ports, the source decides
//! in either direction.
//!
//! What one dataplane has to tell the others it leaves to the caller, who carries frames and
//! [notices](Notice) between them. Nothing is handed over twice for the same reason: workers that have
//! another configuration for a moment, while one is being swapped in, send each other nothing in circles.

use core::net::Ipv4Addr;

use ahash::RandomState;
use gatepost_ground::wire::Protocol;
use gatepost_ground::{MacAddr, PortId, Segment};

use crate::batch::Ingress;
use crate::config::Firewall;
use crate::firewall::{Claim, claim, external_port, hairpin_target, target};
use crate::flow::{Endpoint, FlowKey, Quota};
use crate::fragment::FragmentKey;
use crate::icmp_error::IcmpError;

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

    /// Whose an external port is, and an inside host's port that it is preserved for, or the identifier of
    /// an ICMP query: an even port's and the next one's are the same.
    #[inline]
    pub(crate) const fn of_port(self, port: u16) -> u8 {
        ((port >> 1) % self.count as u16) as u8
    }

    /// Whether it is the one that does what is done for all: announcing the gateway's addresses, for one.
    #[inline]
    pub(crate) const fn is_first(self) -> bool {
        self.index == 0
    }

    /// The places of the others.
    pub fn others(self) -> impl Iterator<Item = u8> {
        (0..self.count).filter(move |index| *index != self.index)
    }
}

/// Who owns what, by a configuration.
pub(crate) struct Steering {
    shard: Shard,
    /// The owners of the external ports of TCP and UDP; empty if there is but one.
    by_external: [Box<[u8]>; 2],
    /// Whether there are [`CONTESTED`] ports.
    is_contested: bool,
    hasher: RandomState,
}

/// Marks an external port whose owner depends on the source.
const CONTESTED: u8 = u8::MAX;

impl Steering {
    /// Of the dataplane `shard`, for the ports of `firewall`. The secret `seed` is the same for all.
    pub(crate) fn new(shard: Shard, firewall: &Firewall, seed: [u8; 32]) -> Self {
        let (words, _) = seed.as_chunks();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        let hasher = RandomState::with_seeds(word(0), word(1), word(2), word(3));
        let mut steering = Self { shard, by_external: Default::default(), is_contested: false, hasher };
        steering.configure(firewall);
        steering
    }

    /// Takes in other forwards and services.
    pub(crate) fn configure(&mut self, firewall: &Firewall) {
        if self.shard.is_sole() {
            return;
        }
        let shard = self.shard;
        self.by_external = [Protocol::TCP, Protocol::UDP].map(|protocol| owners(shard, firewall, protocol));
        self.is_contested = self.by_external.iter().any(|owners| owners.contains(&CONTESTED));
    }

    /// The owner of what comes from `source` outside to an external port.
    pub(crate) fn of_external(
        &self,
        firewall: &Firewall,
        protocol: Protocol,
        port: u16,
        source: Ipv4Addr,
    ) -> u8 {
        self.of_target(protocol, port, || match claim(firewall, protocol, port, source) {
            Claim::Forward(target) => Some(target),
            // Who is denied may yet be answered.
            Claim::ForwardDenied => hairpin_target(firewall, protocol, port),
            Claim::Service | Claim::Unclaimed => None,
        })
    }

    /// The owner of what comes in again to an external port.
    pub(crate) fn of_hairpin(&self, firewall: &Firewall, protocol: Protocol, port: u16) -> u8 {
        self.of_target(protocol, port, || hairpin_target(firewall, protocol, port))
    }

    /// The owner of what an inside host sends with `key`.
    pub(crate) fn of_inside(&self, firewall: &Firewall, key: &FlowKey) -> u8 {
        if self.is_contested
            && let Some(port) = external_port(firewall, key.protocol, key.source)
        {
            return self.of_external(firewall, key.protocol, port, key.destination.address);
        }
        // An ICMP query has its identifier there, its reply here.
        let port = if key.protocol == Protocol::ICMP {
            key.source.port | key.destination.port
        } else {
            key.source.port
        };
        self.shard.of_port(port)
    }

    /// Who gathers the fragments of a packet.
    pub(crate) fn of_fragment(&self, key: &FragmentKey) -> u8 {
        (self.hasher.hash_one(key) % u64::from(self.shard.count)) as u8
    }

    fn of_target(&self, protocol: Protocol, port: u16, target: impl FnOnce() -> Option<Endpoint>) -> u8 {
        let owners = match protocol {
            Protocol::TCP => &self.by_external[0],
            Protocol::UDP => &self.by_external[1],
            _ => return self.shard.of_port(port),
        };
        match owners.get(usize::from(port)) {
            Some(&CONTESTED) => self.shard.of_port(target().map_or(port, |target| target.port)),
            Some(owner) => *owner,
            None => self.shard.index,
        }
    }
}

/// The owners of the external ports of `protocol`.
fn owners(shard: Shard, firewall: &Firewall, protocol: Protocol) -> Box<[u8]> {
    let mut owners: Box<[u8]> = (0..=u16::MAX).map(|port| shard.of_port(port)).collect();
    let mut is_forwarded = vec![false; owners.len()];
    for forward in firewall.forwards.iter().filter(|forward| forward.protocol == protocol) {
        for port in forward.wan_ports.clone() {
            let at = usize::from(port);
            let owner = shard.of_port(target(forward, port).port);
            let is_other = is_forwarded[at] && owners[at] != owner;
            owners[at] = if is_other { CONTESTED } else { owner };
            is_forwarded[at] = true;
        }
    }
    for service in firewall.wan_services.iter().filter(|service| service.protocol == protocol) {
        owners[usize::from(service.port)] = shard.of_port(service.port);
    }
    owners
}

/// Packet identifications that no other dataplane of the gateway gives. // RFC 6864 section 4.1
#[derive(Debug)]
pub(crate) struct Identifications {
    /// The first of this shard's, and how many it has.
    first: u16,
    len: u32,
    /// How many were given since the first.
    given: u32,
}

impl Identifications {
    /// Those of `shard`, beginning somewhere.
    pub(crate) fn new(shard: Shard, start: u16) -> Self {
        let len = (1 << 16) / u32::from(shard.count);
        Self { first: (u32::from(shard.index) * len) as u16, len, given: u32::from(start) % len }
    }

    /// The first of the next `count` in a row.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> u16 {
        // A super-frame has fewer segments than a shard has identifications.
        let count = count as u32;
        if self.given + count > self.len {
            self.given = 0;
        }
        let first = self.first + self.given as u16;
        self.given += count;
        first
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

impl From<Taken> for Ingress {
    fn from(taken: Taken) -> Self {
        Self::Taken(taken)
    }
}

/// How far a frame has come on its way through the dataplanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// It has entered here.
    First,
    /// It is as it came, and belongs to the one that gets it.
    Steered,
    /// It is a fragment as it came, and the one that gets it owns its packet.
    Gathered,
    /// It is for the WAN address, and the one that gets it knows whether that is a LAN host's port.
    Asks,
    /// It is.
    Claimed,
    /// It is not.
    Unclaimed,
    /// It has gone out to the WAN address, and comes in again.
    Again,
    /// It is the beginning of such a packet, whose sender is to be told why it got no further.
    Returned(Refusal),
}

/// Why a packet that came in again got no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its next hop does not answer.
    Unreachable,
    /// There is no room for its flow.
    NoRoom,
}

impl From<Refusal> for IcmpError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreachable => Self::HostUnreachable,
            Refusal::NoRoom => Self::AdministrativelyProhibited, // RFC 5508 REQ-8
        }
    }
}

// It stands with every frame.
const _: () = assert!(size_of::<Ingress>() <= 4);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Forward;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

    fn shard(index: u8, count: u8) -> Shard {
        Shard::new(index, count).expect("one of them")
    }

    fn forward(port: u16, to_port: u16, from: &str) -> Forward {
        Forward {
            protocol: Protocol::UDP,
            wan_ports: port..=port,
            to: HOST,
            to_port,
            from: vec![from.parse().expect("a network")],
        }
    }

    fn key(port: u16, to: Ipv4Addr) -> FlowKey {
        FlowKey {
            protocol: Protocol::UDP,
            source: Endpoint::new(HOST, port),
            destination: Endpoint::new(to, 9),
        }
    }

    #[test]
    fn there_are_so_many_places() {
        assert_eq!(Shard::new(0, 1), Some(Shard::SOLE));
        assert_eq!(Shard::new(15, 16).map(|shard| shard.others().count()), Some(15));
        for (index, count) in [(0, 0), (1, 1), (16, 16), (0, 17)] {
            assert_eq!(Shard::new(index, count), None, "{index} of {count}");
        }
    }

    /// RFC 4787, REQ-4: An even port and the next have one owner.
    #[test]
    fn rfc4787_req4_an_even_port_and_the_next_have_one_owner() {
        for count in 1..=Shard::COUNT_MAX {
            let shard = shard(0, count);
            for port in (0..=u16::MAX).step_by(2) {
                assert_eq!(shard.of_port(port), shard.of_port(port + 1));
                assert!(shard.of_port(port) < count);
            }
        }
    }

    #[test]
    fn a_forward_is_owned_by_its_inside_port_from_either_side() {
        let firewall = Firewall {
            forwards: vec![forward(8000, 6, "0.0.0.0/0"), forward(8002, 6, "0.0.0.0/0")],
            ..Firewall::default()
        };
        let steering = Steering::new(shard(0, 4), &firewall, [7; 32]);
        for port in [8000, 8002] {
            assert_eq!(steering.of_external(&firewall, Protocol::UDP, port, NEAR), 3);
            assert_eq!(steering.of_hairpin(&firewall, Protocol::UDP, port), 3);
        }
        assert_eq!(steering.of_inside(&firewall, &key(6, NEAR)), 3);
        assert_eq!(steering.of_external(&firewall, Protocol::TCP, 8002, NEAR), 1);
    }

    #[test]
    fn of_a_port_with_several_targets_the_source_decides_in_either_direction() {
        let forwards = vec![forward(8000, 6, "198.51.100.0/24"), forward(8000, 4, "203.0.113.0/24")];
        let firewall = Firewall { forwards, ..Firewall::default() };
        let steering = Steering::new(shard(0, 4), &firewall, [7; 32]);
        for (remote, owner) in [(NEAR, 3), (FAR, 2)] {
            assert_eq!(steering.of_external(&firewall, Protocol::UDP, 8000, remote), owner);
            for port in [4, 6] {
                assert_eq!(
                    steering.of_inside(&firewall, &key(port, remote)),
                    owner,
                    "what is answered to it"
                );
            }
        }
    }

    #[test]
    fn all_know_who_gathers_a_packets_fragments() {
        let steerings = [0, 1, 2].map(|index| Steering::new(shard(index, 3), &Firewall::default(), [7; 32]));
        let mut gatherers = [0; 3];
        for id in 0..300 {
            let key =
                FragmentKey { segment: None, source: NEAR, destination: FAR, protocol: Protocol::UDP, id };
            let [first, second, third] = steerings.each_ref().map(|steering| steering.of_fragment(&key));
            assert_eq!((first, first), (second, third));
            gatherers[usize::from(first)] += 1;
        }
        assert!(gatherers.iter().all(|count| *count > 50), "{gatherers:?}");
    }

    /// RFC 6864: Identifications of two workers never meet.
    #[test]
    fn rfc6864_4_1_identifications_of_two_workers_never_meet() {
        for count in [1, 3, 16] {
            let mut given = vec![None; 1 << 16];
            for index in 0..count {
                let mut identifications = Identifications::new(shard(index, count), 12_345);
                for _ in 0..2_000 {
                    let first = identifications.take(45);
                    for segment in 0..45 {
                        let owner = &mut given[usize::from(first.wrapping_add(segment))];
                        assert!(owner.is_none_or(|owner| owner == index));
                        *owner = Some(index);
                    }
                }
            }
        }
    }
}
