//! Which worker owns a packet.
//!
//! # Theory of operation
//!
//! A gateway with `n` workers has `n` dataplanes, each with its [`Shard`]. The dataplanes share no mutable state,
//! and any of them may receive any frame. All packets of one conversation are translated by one dataplane, their owner:
//!
//! | packet                                           | owner                                          |
//! |--------------------------------------------------|------------------------------------------------|
//! | from an inside host's port p                     | shard(p) = p / 2 mod n                         |
//! | from outside to an external port e               | shard(e)                                       |
//! | from outside to a forward's external port        | shard(p), p being the inside port              |
//! | an ICMP query or its reply                       | shard(its identifier)                          |
//! | an ICMP error                                    | as of the packet that it quotes                |
//! | a fragment                                       | a keyed hash of its packet names the shard     |
//! |                                                  | that collects the fragments; the owner follows |
//! |                                                  | from the first fragment                        |
//! | from an inside host to the external address      | shard(p), then as from outside (`hairpin`)     |
//! | from outside to a service of the gateway         | shard(port of the service)                     |
//! | an echo request from outside to the gateway      | the worker that receives it                    |
//! | every packet that does not cross the WAN address | the worker that receives it                    |
//!
//! A shard gives inside hosts only external ports of its own. So both directions of a conversation, the mapping and
//! the state of its filter are in one shard. A shard queries another only for the first packet of a hairpin: whether a
//! LAN host has the port (`hairpin`). The ports of a shard come in pairs, so that a mapping can have the parity of the
//! inside port. (RFC 4787, REQ-4)
//!
//! If forwards with different sources send one external port to different inside ports, the remote's address decides
//! the owner in both directions.
//!
//! The caller carries frames and [notices](crate::Notice) between the dataplanes. No frame is handed over twice for
//! the same reason: while a new configuration is being swapped in, workers may disagree about an owner, and must not
//! send a frame in circles.

use core::marker::PhantomData;
use core::net::Ipv4Addr;

use ahash::RandomState;
use gatepost_ground::wire::Protocol;

use crate::config::InboundRules;
use crate::firewall::{InboundMatch, external_port, hairpin_target, match_inbound, target};
use crate::fragment::FragmentKey;
use crate::key::{Address, Endpoint, FlowKey};
use crate::shard::Shard;

/// The owners of one address family's packets, computed from a configuration.
#[derive(Clone)]
pub(in crate::pipeline) struct Steering<A = Ipv4Addr> {
    shard: Shard,
    /// The owners of the external ports of TCP and UDP; empty with a single worker.
    by_external: [Box<[u8]>; 2],
    /// Whether there are [`BY_REMOTE`] ports.
    has_by_remote: bool,
    hasher: RandomState,
    family: PhantomData<fn(A)>,
}

/// Marks an external port whose owner depends on the remote address.
const BY_REMOTE: u8 = u8::MAX;

impl<A: Address> Steering<A> {
    /// The steering of the dataplane `shard`, for the inbound `rules`. The secret `seed` is the same for all
    /// shards.
    pub(in crate::pipeline) fn new(shard: Shard, rules: &InboundRules<A>, seed: [u8; 32]) -> Self {
        let (words, _) = seed.as_chunks();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        let hasher = RandomState::with_seeds(word(0), word(1), word(2), word(3));
        let by_external = Default::default();
        let mut steering = Self { shard, by_external, has_by_remote: false, hasher, family: PhantomData };
        steering.configure(rules);
        steering
    }

    /// Takes in changed forwards and services.
    pub(in crate::pipeline) fn configure(&mut self, rules: &InboundRules<A>) {
        if self.shard.is_sole() {
            return;
        }
        let shard = self.shard;
        self.by_external = [Protocol::TCP, Protocol::UDP].map(|protocol| owners(shard, rules, protocol));
        self.has_by_remote = self.by_external.iter().any(|owners| owners.contains(&BY_REMOTE));
    }

    /// The owner of a packet from the outside address `remote` to an external port.
    pub(in crate::pipeline) fn of_external(
        &self,
        rules: &InboundRules<A>,
        protocol: Protocol,
        port: u16,
        remote: A,
    ) -> u8 {
        self.of_target(protocol, port, || match match_inbound(rules, protocol, port, remote) {
            InboundMatch::Forward(target) => Some(target),
            // A denied source may still get replies to what the forward's host sends it.
            InboundMatch::ForwardDenied => hairpin_target(rules, protocol, port),
            InboundMatch::Service | InboundMatch::ServiceDenied | InboundMatch::None => None,
        })
    }

    /// The owner of the inbound half of a hairpin to an external port.
    pub(in crate::pipeline) fn of_hairpin(
        &self,
        rules: &InboundRules<A>,
        protocol: Protocol,
        port: u16,
    ) -> u8 {
        self.of_target(protocol, port, || hairpin_target(rules, protocol, port))
    }

    /// The owner of a packet with `key` that an inside host sends.
    pub(in crate::pipeline) fn of_inside(&self, rules: &InboundRules<A>, key: &FlowKey<A>) -> u8 {
        if self.has_by_remote
            && let Some(port) = external_port(rules, key.protocol, key.source)
        {
            return self.of_external(rules, key.protocol, port, key.destination.address);
        }
        // The key of an ICMP query has its identifier as the source port, that of a reply as the destination port.
        let port = if key.protocol == Protocol::ICMP {
            key.source.port | key.destination.port
        } else {
            key.source.port
        };
        self.shard.of_port(port)
    }

    /// The worker that collects the fragments of a packet until their owner is known.
    pub(in crate::pipeline) fn of_fragment(&self, key: &FragmentKey<A>) -> u8 {
        (self.hasher.hash_one(key) % u64::from(self.shard.count())) as u8
    }

    fn of_target(&self, protocol: Protocol, port: u16, target: impl FnOnce() -> Option<Endpoint<A>>) -> u8 {
        let owners = match protocol {
            Protocol::TCP => &self.by_external[0],
            Protocol::UDP => &self.by_external[1],
            _ => return self.shard.of_port(port),
        };
        match owners.get(usize::from(port)) {
            Some(&BY_REMOTE) => self.shard.of_port(target().map_or(port, |target| target.port)),
            Some(owner) => *owner,
            None => self.shard.index(),
        }
    }
}

/// The owners of the external ports of `protocol`.
fn owners<A: Address>(shard: Shard, rules: &InboundRules<A>, protocol: Protocol) -> Box<[u8]> {
    let mut owners: Box<[u8]> = (0..=u16::MAX).map(|port| shard.of_port(port)).collect();
    let mut is_forwarded = vec![false; owners.len()];
    for forward in rules.forwards.iter().filter(|forward| forward.protocol == protocol) {
        for port in forward.wan_ports.clone() {
            let at = usize::from(port);
            let owner = shard.of_port(target(forward, port).port);
            let is_other = is_forwarded[at] && owners[at] != owner;
            owners[at] = if is_other { BY_REMOTE } else { owner };
            is_forwarded[at] = true;
        }
    }
    for service in rules.wan_services.iter().filter(|service| service.protocol == protocol) {
        owners[usize::from(service.port)] = shard.of_port(service.port);
    }
    owners
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use ipnet::Ipv6Net;

    use super::*;
    use crate::config::Forward;
    use crate::key::testing::v6;

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
    fn a_forward_is_owned_by_its_inside_port_from_either_side() {
        let rules = InboundRules {
            forwards: vec![forward(8000, 6, "0.0.0.0/0"), forward(8002, 6, "0.0.0.0/0")],
            ..InboundRules::default()
        };
        let steering = Steering::new(shard(0, 4), &rules, [7; 32]);
        for port in [8000, 8002] {
            assert_eq!(steering.of_external(&rules, Protocol::UDP, port, NEAR), 3);
            assert_eq!(steering.of_hairpin(&rules, Protocol::UDP, port), 3);
        }
        assert_eq!(steering.of_inside(&rules, &key(6, NEAR)), 3);
        assert_eq!(steering.of_external(&rules, Protocol::TCP, 8002, NEAR), 1);
    }

    #[test]
    fn of_a_port_with_several_targets_the_source_decides_in_either_direction() {
        let forwards = vec![forward(8000, 6, "198.51.100.0/24"), forward(8000, 4, "203.0.113.0/24")];
        let rules = InboundRules { forwards, ..InboundRules::default() };
        let steering = Steering::new(shard(0, 4), &rules, [7; 32]);
        for (remote, owner) in [(NEAR, 3), (FAR, 2)] {
            assert_eq!(steering.of_external(&rules, Protocol::UDP, 8000, remote), owner);
            for port in [4, 6] {
                assert_eq!(steering.of_inside(&rules, &key(port, remote)), owner, "what is answered to it");
            }
        }
    }

    #[test]
    fn either_way_of_a_conversation_of_ipv6_has_one_owner() {
        let (host, near, far) = (v6(7, 20), v6(8, 7), v6(9, 9));
        let forward = |to_port, from: Ipv6Addr| Forward {
            protocol: Protocol::UDP,
            wan_ports: 8000..=8000,
            to: host,
            to_port,
            from: vec![Ipv6Net::new_assert(from, 64)],
        };
        let rules =
            InboundRules { forwards: vec![forward(6, near), forward(4, far)], ..InboundRules::default() };
        let steering = Steering::new(shard(0, 4), &rules, [7; 32]);
        for (remote, port, owner) in [(near, 6, 3), (far, 4, 2)] {
            assert_eq!(steering.of_external(&rules, Protocol::UDP, 8000, remote), owner);
            let key = FlowKey {
                protocol: Protocol::UDP,
                source: Endpoint::new(host, port),
                destination: Endpoint::new(remote, 9),
            };
            assert_eq!(steering.of_inside(&rules, &key), owner);
        }
        let key =
            FragmentKey { interface: None, source: near, destination: far, protocol: Protocol::UDP, id: 9 };
        let other = Steering::new(shard(3, 4), &rules, [7; 32]);
        assert_eq!(steering.of_fragment(&key), other.of_fragment(&key));
    }

    #[test]
    fn all_know_who_collects_a_packets_fragments() {
        let steerings =
            [0, 1, 2].map(|index| Steering::new(shard(index, 3), &InboundRules::default(), [7; 32]));
        let mut collectors = [0; 3];
        for id in 0..300 {
            let key =
                FragmentKey { interface: None, source: NEAR, destination: FAR, protocol: Protocol::UDP, id };
            let [first, second, third] = steerings.each_ref().map(|steering| steering.of_fragment(&key));
            assert_eq!((first, first), (second, third));
            collectors[usize::from(first)] += 1;
        }
        assert!(collectors.iter().all(|count| *count > 50), "{collectors:?}");
    }
}
