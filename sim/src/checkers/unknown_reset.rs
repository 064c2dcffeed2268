//! Unknown connections are reset: a LAN host that sends in a TCP connection from before the gateway's last start gets a
//! reset, and accepts it. (RFC 9293, section 3.5.2; RFC 9293, section 3.10.7.1)
//!
//! The checker derives this from frames. The gateway can know a connection if a SYN of it has passed since the last
//! boot. It may be slow, as resets are rate limited, and while it has no address outside it sends none: so a host must
//! get a reset once it has sent [`TRIES`] times in an unknown connection over [`PATIENCE`].
//!
//! Packets of the gateway itself are recognised by their time to live.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatepost::config::Config;
use gatepost_ground::Instant;

use super::lan::Lan;
use super::observed_leases::ObservedLeases;
use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::{Content, Ipv4, Transport};

/// The number of a host's segments in an unknown connection, and their least time span, after which a reset is due.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the checker remembers an idle connection: longer than a flow lives. (RFC 5382, REQ-5)
const MEMORY: Duration = Duration::from_secs(2 * 3_600 + 600);
/// The most connections that the checker remembers. Beyond, it judges none until the next boot.
const CONNECTIONS_MAX: usize = 100_000;
/// The most segments of a host that may be under way on its cable.
const AWAITED_MAX: usize = 64;
/// Ports below are the gateway's own services; the host stack answers their old connections.
const SERVICE_PORTS_END: u16 = 1_024;

/// An address and a port.
type Endpoint = (Ipv4Addr, u16);

/// Records every connection between the LAN and the outside.
pub struct UnknownReset {
    lan: Lan,
    /// By the LAN host's endpoint and the remote one.
    connections: BTreeMap<(Endpoint, Endpoint), Connection>,
    /// The connections opened on the WAN since the last boot, by the gateway's endpoint and the remote one.
    opened_outside: BTreeMap<(Endpoint, Endpoint), Instant>,
    leases: ObservedLeases,
    /// The gateway's hardware address on the LAN.
    own_mac: String,
    /// Its address outside: the host stack itself answers LAN hosts there.
    external: Option<Ipv4Addr>,
    has_address: bool,
    is_full: bool,
}

struct Connection {
    /// A SYN has passed since the last boot.
    is_known: bool,
    /// The next sequence numbers that the host expected in its last segments (RCV.NXT), the newest first: each segment
    /// that a cable has delayed gets a reset.
    awaited: VecDeque<u32>,
    heard_at: Instant,
    /// The number of the host's segments without a reset, and the time of the first.
    unanswered: u32,
    unanswered_since: Instant,
}

impl UnknownReset {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            lan: Lan::of(config),
            connections: BTreeMap::new(),
            opened_outside: BTreeMap::new(),
            leases: ObservedLeases::of_config(config),
            own_mac: String::new(),
            external: None,
            has_address: false,
            is_full: false,
        }
    }

    /// The connection between `host` and `remote`, which has a segment at `now`; `None` if there is no room.
    fn connection(&mut self, host: Endpoint, remote: Endpoint, now: Instant) -> Option<&mut Connection> {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.is_full = true;
            return None;
        }
        let new = Connection {
            is_known: false,
            awaited: VecDeque::new(),
            heard_at: now,
            unanswered: 0,
            unanswered_since: now,
        };
        let connection = self.connections.entry((host, remote)).or_insert(new);
        connection.heard_at = now;
        Some(connection)
    }

    /// A LAN host sends a segment to a remote host.
    fn hear(&mut self, passage: &Passage<'_>, ip: &Ipv4) -> Result<(), String> {
        let Passage { now, packet, .. } = *passage;
        let Some(segment) = Segment::of(ip) else { return Ok(()) };
        let is_for_gateway = packet.destination_mac.to_string() == self.own_mac;
        let is_heard = is_for_gateway
            && self.has_address
            && self.external != Some(ip.destination)
            && segment.checksum_ok
            && ip.ttl > 1
            && !self.leases.may_be_anothers(ip.source, packet.source_mac, now);
        let Some(connection) = self.connection(segment.from, segment.to, now) else { return Ok(()) };
        connection.is_known |= segment.is_syn;
        if let Some(awaited) = segment.awaited {
            connection.awaited.truncate(AWAITED_MAX - 1);
            connection.awaited.push_front(awaited);
        }
        if connection.is_known || segment.is_reset || !is_heard {
            return Ok(());
        }
        if connection.unanswered == 0 {
            connection.unanswered_since = now;
        }
        connection.unanswered += 1;
        if connection.unanswered >= TRIES && connection.unanswered_since + PATIENCE <= now && !self.is_full {
            let (host, remote) = (show(segment.from), show(segment.to));
            return Err(format!("{host} sends to {remote} in an unknown connection, and gets no reset"));
        }
        Ok(())
    }

    /// A segment leaves to the LAN.
    fn tell(&mut self, passage: &Passage<'_>, ip: &Ipv4) -> Result<(), String> {
        let Some(segment) = Segment::of(ip) else { return Ok(()) };
        let is_own = ip.is_own_reset()
            && self.external != Some(ip.source)
            && passage.packet.source_mac.to_string() == self.own_mac;
        let Some(connection) = self.connection(segment.to, segment.from, passage.now) else { return Ok(()) };
        connection.is_known |= segment.is_syn;
        if !is_own {
            return Ok(());
        }
        connection.unanswered = 0;
        if connection.awaited.contains(&segment.sequence) {
            return Ok(());
        }
        let (host, awaited) = (show(segment.to), connection.awaited.front());
        Err(format!("{host} is reset with the number {}, and waits for {awaited:?}", segment.sequence))
    }

    /// A segment passes on the WAN.
    fn pass_outside(&mut self, passage: &Passage<'_>, ip: &Ipv4) -> Result<(), String> {
        let Some(segment) = Segment::of(ip) else { return Ok(()) };
        let leaves = passage.way == Way::Out;
        if leaves {
            self.external = Some(ip.source);
        }
        let (own, remote) = if leaves { (segment.from, segment.to) } else { (segment.to, segment.from) };
        if segment.is_syn {
            if self.opened_outside.len() < CONNECTIONS_MAX {
                self.opened_outside.insert((own, remote), passage.now);
            } else {
                self.is_full = true;
            }
        }
        let is_own = leaves && ip.is_own_reset() && own.1 >= SERVICE_PORTS_END;
        if !is_own || self.is_full || self.opened_outside.contains_key(&(own, remote)) {
            return Ok(());
        }
        Err(format!("the gateway resets a connection of {} that it does not know", show(remote)))
    }
}

impl Checker for UnknownReset {
    fn name(&self) -> &'static str {
        "unknown-reset"
    }

    fn promise(&self) -> &'static str {
        "a LAN host that sends in a TCP connection that the gateway cannot know gets a reset with the sequence number \
         that it expects, and no host on the WAN gets one"
    }

    fn on_boot(&mut self) {
        self.connections.clear();
        self.opened_outside.clear();
        self.has_address = false;
        self.is_full = false;
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        self.leases.observe(passage);
        let Content::Ipv4(ip) = &passage.packet.content else { return Ok(()) };
        match (passage.side, passage.way) {
            (Side::Lan, Way::In) if self.lan.contains(&ip.source) && !self.lan.contains(&ip.destination) => {
                self.hear(passage, ip)
            }
            (Side::Lan, Way::Out) if self.lan.contains(&ip.destination) && !self.lan.contains(&ip.source) => {
                self.tell(passage, ip)
            }
            (Side::Lan, _) => Ok(()),
            (Side::Wan, _) => self.pass_outside(passage, ip),
        }
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let Snapshot { now, status, .. } = snapshot;
        self.own_mac.clone_from(&status.lan.mac);
        self.has_address = status.wan.as_ref().is_some_and(|wan| wan.address.is_some());
        if !self.has_address {
            self.connections.values_mut().for_each(|connection| connection.unanswered = 0);
        }
        self.connections.retain(|_, connection| connection.heard_at + MEMORY > *now);
        self.opened_outside.retain(|_, at| *at + MEMORY > *now);
        Ok(())
    }
}

/// The fields of a TCP segment that the checker compares.
struct Segment {
    from: Endpoint,
    to: Endpoint,
    sequence: u32,
    awaited: Option<u32>,
    is_syn: bool,
    is_reset: bool,
    checksum_ok: bool,
}

impl Segment {
    fn of(ip: &Ipv4) -> Option<Self> {
        let Transport::Tcp {
            source_port,
            destination_port,
            sequence,
            acknowledgment,
            is_opening,
            is_accepting,
            is_reset,
            checksum_ok,
            ..
        } = ip.transport
        else {
            return None;
        };
        Some(Self {
            from: (ip.source, source_port),
            to: (ip.destination, destination_port),
            sequence,
            awaited: acknowledgment,
            is_syn: is_opening || is_accepting,
            is_reset,
            checksum_ok,
        })
    }
}

fn show((address, port): Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, packet, passage, segment, snapshot};
    use crate::packet::Packet;

    const PC: &str = "192.168.1.9";
    const WAN: &str = "203.0.113.10";
    const SERVER: &str = "198.51.100.7";

    /// A gateway that has booted, and has an address.
    fn booted() -> UnknownReset {
        let mut checker = UnknownReset::new(&config());
        checker.on_boot();
        checker.on_snapshot(&snapshot(1)).expect("nothing has happened");
        checker
    }

    fn pass(
        checker: &mut UnknownReset,
        at: (u64, Way, Side),
        mut packet: Packet,
        ttl: u8,
        number: u32,
    ) -> Result<(), String> {
        let (secs, way, side) = at;
        // `packet` has the gateway's for its source.
        if way == Way::In {
            std::mem::swap(&mut packet.source_mac, &mut packet.destination_mac);
        }
        let Content::Ipv4(ip) = &mut packet.content else { unreachable!("it is one") };
        ip.ttl = ttl;
        if let Transport::Tcp { sequence, acknowledgment, .. } = &mut ip.transport {
            *sequence = number;
            *acknowledgment = acknowledgment.map(|_| number);
        }
        checker.on_passage(&passage(secs, way, side, &packet))
    }

    /// The PC sends a segment in its connection, and expects the sequence number 77.
    fn speaks(checker: &mut UnknownReset, secs: u64, flags: &str) -> Result<(), String> {
        pass(checker, (secs, Way::In, Side::Lan), packet(PC, SERVER, segment(1_000, 80, flags)), 64, 77)
    }

    fn is_reset(checker: &mut UnknownReset, secs: u64, number: u32) -> Result<(), String> {
        let reset = packet(SERVER, PC, segment(80, 1_000, "R"));
        pass(checker, (secs, Way::Out, Side::Lan), reset, 64, number)
    }

    #[test]
    fn a_host_that_is_told_nothing_is_noticed_at_its_third_try() {
        let mut checker = booted();
        speaks(&mut checker, 10, "A").expect("once");
        speaks(&mut checker, 11, "A").expect("twice");
        speaks(&mut checker, 14, "A").expect_err("it gets no reset");
    }

    #[test]
    fn a_host_that_is_told_and_one_that_the_gateway_knows_are_well() {
        let mut checker = booted();
        for secs in 10..30 {
            speaks(&mut checker, secs, "A").expect("it may get a reset later");
            is_reset(&mut checker, secs, 77).expect("the number that it waits for");
        }
        speaks(&mut checker, 40, "S").expect("it connects anew");
        (41..60).for_each(|secs| speaks(&mut checker, secs, "A").expect("the gateway knows it"));
        checker.on_boot();
        checker.on_snapshot(&snapshot(60)).expect("nothing");
        (61..64).for_each(|secs| speaks(&mut checker, secs, "A").expect("not for long"));
        speaks(&mut checker, 64, "A").expect_err("the gateway has forgotten it");
    }

    #[test]
    fn without_an_address_outside_nobody_is_owed_anything() {
        let mut checker = booted();
        let mut homeless = snapshot(5);
        homeless.status.wan = None;
        checker.on_snapshot(&homeless).expect("nothing");
        (10..30).for_each(|secs| speaks(&mut checker, secs, "A").expect("it is owed nothing"));
    }

    #[test]
    fn each_of_several_segments_on_the_way_may_be_answered() {
        let mut checker = booted();
        for number in [77, 80] {
            let said = packet(PC, SERVER, segment(1_000, 80, "A"));
            pass(&mut checker, (10, Way::In, Side::Lan), said, 64, number).expect("not for long");
        }
        is_reset(&mut checker, 10, 77).expect("the first");
        is_reset(&mut checker, 10, 80).expect("the second");
    }

    #[test]
    fn a_reset_with_another_number_is_noticed() {
        let mut checker = booted();
        speaks(&mut checker, 10, "A").expect("once");
        is_reset(&mut checker, 10, 78).expect_err("another number");
    }

    #[test]
    fn a_reset_to_the_wan_is_noticed_unless_the_connection_is_known() {
        let mut checker = booted();
        let reset = || packet(WAN, SERVER, segment(40_000, 80, "R"));
        let leaves = |secs| (secs, Way::Out, Side::Wan);
        pass(&mut checker, leaves(10), reset(), 63, 1).expect("a LAN host's");
        pass(&mut checker, leaves(11), reset(), 64, 1).expect_err("the gateway's own");
        let service = packet(WAN, SERVER, segment(25, 4_000, "R"));
        pass(&mut checker, leaves(12), service, 64, 1).expect("a service answers for itself");
        pass(&mut checker, leaves(13), packet(WAN, SERVER, segment(40_000, 80, "S")), 64, 1).expect("a SYN");
        pass(&mut checker, leaves(14), reset(), 64, 1).expect("the gateway's own connection");
    }
}
