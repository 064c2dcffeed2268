//! Hops: the gateway decrements the TTL of every forwarded packet by one, in every direction, and not that of a bridged
//! one. (RFC 1812, section 5.3.1)

use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_ground::MacAddr;

use super::lan::Lan;
use super::recent::{Recent, WAIT_MAX};
use super::{Checker, Passage, Side, Way};
use crate::packet::{Ipv4, Packet};

/// The largest number of remembered packets.
const ARRIVALS_MAX: usize = 1 << 16;

/// Compares the TTL of every packet that leaves with that of the packet that arrived, which it finds by the content.
/// Packets that the gateway has fragmented or sent itself are not found.
pub struct Hops {
    /// The gateway's address on the LAN: it does not forward packets to it.
    lan: Lan,
    arrivals: Recent<u64, Arrival>,
}

/// A packet that came.
struct Arrival {
    side: Side,
    macs: (MacAddr, MacAddr),
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
}

impl Arrival {
    /// Whether a packet that leaves may be this one, bridged.
    fn may_be_bridged(&self, packet: &Packet, ip: &Ipv4) -> bool {
        self.macs == macs(packet) && (self.source, self.destination) == (ip.source, ip.destination)
    }

    /// Whether a packet that leaves on `side` may be this one, forwarded. NAT changes the address of the host inside.
    fn may_be_forwarded(&self, side: Side, ip: &Ipv4) -> bool {
        match (self.side, side) {
            (Side::Lan, Side::Wan) => self.destination == ip.destination,
            (Side::Wan, Side::Lan) => self.source == ip.source,
            // A hairpin goes to the address that its receiver sees it come from.
            (Side::Lan, Side::Lan) => {
                self.destination == ip.source
                    || (self.source, self.destination) == (ip.source, ip.destination)
            }
            (Side::Wan, Side::Wan) => false,
        }
    }
}

impl Hops {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config), arrivals: Recent::new(WAIT_MAX, ARRIVALS_MAX) }
    }
}

fn macs(packet: &Packet) -> (MacAddr, MacAddr) {
    (packet.source_mac, packet.destination_mac)
}

impl Checker for Hops {
    fn name(&self) -> &'static str {
        "hops"
    }

    fn promise(&self) -> &'static str {
        "the gateway decrements the TTL of a forwarded packet by one, and does not change that of a bridged one"
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        let Some(ip) = packet.ipv4() else { return Ok(()) };
        if way == Way::In {
            if !self.lan.is_own(ip.destination) {
                let (macs, source, destination, ttl) = (macs(packet), ip.source, ip.destination, ip.ttl);
                let arrival = Arrival { side, macs, source, destination, ttl };
                self.arrivals.push(now, ip.content, arrival);
            }
            return Ok(());
        }
        let alike = || self.arrivals.alike(&ip.content);
        let bridged: Vec<_> = alike().filter(|it| it.may_be_bridged(packet, ip)).map(|it| it.ttl).collect();
        let (taken, came): (u8, Vec<_>) = if bridged.is_empty() {
            (1, alike().filter(|it| it.may_be_forwarded(side, ip)).map(|it| it.ttl).collect())
        } else {
            (0, bridged)
        };
        if came.is_empty() || ip.is_own_reset() || came.iter().any(|ttl| *ttl == ip.ttl.saturating_add(taken))
        {
            return Ok(());
        }
        let what = if taken == 1 { "forwarded" } else { "bridged" };
        let (source, destination, ttl) = (ip.source, ip.destination, ip.ttl);
        Err(format!(
            "a packet from {source} to {destination} came with {came:?} hops and was {what} with {ttl}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, numbered, packet, passage, udp};
    use crate::packet::Content;

    const INSIDE: &str = "192.168.1.9";
    const OFFICE: &str = "203.0.113.10";
    const REMOTE: &str = "198.51.100.1";

    /// A packet with `ttl` hops, sent by the gateway or by another.
    fn hopping(source: &str, destination: &str, ttl: u8, sender: u8) -> Packet {
        let mut packet = numbered(packet(source, destination, udp(1, 2, Vec::new())), 7);
        packet.source_mac.0[5] = sender;
        let Content::Ipv4(ip) = &mut packet.content else { unreachable!("it is one") };
        ip.ttl = ttl;
        packet
    }

    /// Whether the checker reports a packet that comes as `came` and leaves as `left`.
    fn reported(came: (Side, &Packet), left: (Side, &Packet)) -> bool {
        let mut checker = Hops::new(&config());
        checker.on_passage(&passage(1, Way::In, came.0, came.1)).unwrap();
        checker.on_passage(&passage(2, Way::Out, left.0, left.1)).is_err()
    }

    #[test]
    fn what_is_forwarded_has_one_hop_less() {
        let ways = [
            ((Side::Lan, INSIDE, REMOTE), (Side::Wan, OFFICE, REMOTE)),
            ((Side::Wan, REMOTE, OFFICE), (Side::Lan, REMOTE, INSIDE)),
            ((Side::Lan, INSIDE, OFFICE), (Side::Lan, OFFICE, "192.168.1.8")),
            ((Side::Lan, INSIDE, "192.168.1.8"), (Side::Lan, INSIDE, "192.168.1.8")),
        ];
        for ((side, source, destination), (out, source_then, destination_then)) in ways {
            let came = hopping(source, destination, 64, 9);
            let reported =
                |ttl| reported((side, &came), (out, &hopping(source_then, destination_then, ttl, 1)));
            assert_eq!([62, 63, 64, 65].map(reported), [true, false, true, true], "{side:?} {out:?}");
        }
    }

    #[test]
    fn what_is_bridged_has_as_many() {
        let came = hopping(INSIDE, "192.168.1.8", 64, 9);
        let reported =
            |ttl| reported((Side::Lan, &came), (Side::Lan, &hopping(INSIDE, "192.168.1.8", ttl, 9)));
        assert_eq!([63, 64, 65].map(reported), [true, false, true]);
    }

    #[test]
    fn the_gateways_own_packets_begin_anew() {
        let came = hopping(INSIDE, "192.168.1.1", 64, 9);
        assert!(!reported((Side::Lan, &came), (Side::Lan, &hopping("192.168.1.1", INSIDE, 64, 1))));
        let came = hopping(INSIDE, "198.51.100.2", 64, 9);
        assert!(!reported((Side::Lan, &came), (Side::Wan, &hopping(OFFICE, REMOTE, 64, 1))));
    }
}
