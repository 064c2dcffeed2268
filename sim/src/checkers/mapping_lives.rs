//! Mappings live: an inside endpoint is seen outside as one endpoint for as long as the RFC promises, is
//! reached there by whom it spoke to, and no longer than that. (RFC 4787, RFC 5382, RFC 5508, RFC 7857)
//!
//! The books are kept from the frames alone. A packet that comes from the LAN is found again on its way out
//! by its content, which tells the mapping. From then on there are two times for each conversation: until
//! the first it must stand, from the second on it must be gone. Between the two lies the slack of timers.
//! A reboot loses every mapping, and so does another WAN address.

mod under_way;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatepost::config::Config;
use gatepost::control::report::Flow;
use gatepost_dataplane::config::{Filtering, Segment};
use gatepost_dataplane::{Instant, MacAddr};
use ipnet::Ipv4Net;

use self::under_way::{UnderWay, Waiting};
use super::{Checker, Passage, Snapshot, Way};
use crate::machine::attacker::FORGED_TTL;
use crate::packet::{Content, Ipv4, Transport};

const UDP_LIFE: Duration = Duration::from_secs(300); // RFC 4787 REQ-5c
const ECHO_LIFE: Duration = Duration::from_secs(60); // RFC 5508 REQ-2
const TCP_ESTABLISHED_LIFE: Duration = Duration::from_secs(7_440); // RFC 5382 REQ-5
const TCP_TRANSITORY_LIFE: Duration = Duration::from_secs(240); // RFC 5382 REQ-5, RFC 7857 section 2
/// A timer counts whole seconds and is worked off within another.
const SLACK: Duration = Duration::from_secs(3);
/// How long a packet may wait in the gateway, for a neighbour.
const WAIT_MAX: Duration = Duration::from_secs(4);
/// How long a conversation is remembered after its end, to notice that it did not.
const MEMORY: Duration = Duration::from_secs(900);
const DHCP_SERVER_PORT: u16 = 67;

/// An address and a port; an echo has its identifier for the asker's port, and 0 for the other.
type Endpoint = (Ipv4Addr, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tcp,
    Udp,
    Echo,
}

/// Keeps a book of every mapping.
pub struct MappingLives {
    lan: Ipv4Net,
    filtering: Filtering,
    /// Hosts that rules let others speak to at any time.
    reachable: Vec<Ipv4Addr>,
    dmz_host: Option<Ipv4Addr>,
    mappings: BTreeMap<(Kind, Endpoint), Mapping>,
    owners: BTreeMap<(Kind, Endpoint), Endpoint>,
    /// Packets from the LAN that have not left yet.
    leaving: UnderWay,
    /// Packets from the WAN that have to reach the LAN.
    entering: VecDeque<Waiting>,
    neighbors: BTreeMap<Ipv4Addr, Neighbor>,
    wan_mac: Option<MacAddr>,
    external: Option<Ipv4Addr>,
}

struct Mapping {
    external: Endpoint,
    conversations: BTreeMap<Endpoint, Conversation>,
}

/// What an inside endpoint has with one outside endpoint.
#[derive(Default)]
struct Conversation {
    /// It stands before this moment.
    must_until: Instant,
    /// It is gone from this moment on.
    may_until: Instant,
    /// When something from outside reached the inside last.
    reached_at: Instant,
    tcp: Tcp,
}

/// What was seen of a connection.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are seen in any order")]
struct Tcp {
    is_accepted: bool,
    is_established: bool,
    is_closed_inside: bool,
    is_closed_outside: bool,
    is_reset: bool,
}

/// When the gateway asked for a neighbour, and when that spoke.
#[derive(Clone, Copy, Default)]
struct Neighbor {
    asked_at: Option<Instant>,
    heard_at: Option<Instant>,
}

impl MappingLives {
    /// For the LAN, the filtering and the rules of `config`.
    pub fn new(config: &Config) -> Self {
        let rules = config.firewall.forwards.iter().flat_map(|forward| &forward.rules);
        Self {
            lan: config.lan.address.trunc(),
            filtering: config.nat.filtering,
            reachable: rules.map(|rule| rule.to).chain(config.firewall.dmz_host).collect(),
            dmz_host: config.firewall.dmz_host,
            mappings: BTreeMap::new(),
            owners: BTreeMap::new(),
            leaving: UnderWay::default(),
            entering: VecDeque::new(),
            neighbors: BTreeMap::new(),
            wan_mac: None,
            external: None,
        }
    }

    fn forget_all(&mut self) {
        self.mappings.clear();
        self.owners.clear();
        self.leaving.clear();
        self.entering.clear();
    }

    /// A packet from the LAN for somebody beyond it.
    fn leave(&mut self, ip: &Ipv4, now: Instant) {
        let Some((kind, from, to)) = endpoints(ip) else { return };
        if !self.lan.contains(&ip.source) || self.lan.contains(&ip.destination) {
            return;
        }
        // The default machine has each of its ports outside too, besides its mappings.
        if Some(ip.source) == self.dmz_host || is_echo_reply(ip) {
            return;
        }
        // Where the provider's router is not reachable a packet gets no further, and has been sent all the same.
        let mapping = self.mappings.get_mut(&(kind, from));
        if let Some(known) = mapping.and_then(|mapping| mapping.conversations.get_mut(&to))
            && !known.tcp.is_reset
        {
            known.may_until = known.may_until.max(now + known.tcp.life(kind) + SLACK);
        }
        self.leaving.push(Waiting { kind, content: ip.content, inside: from, remote: to, at: now });
    }

    /// A packet that leaves from an endpoint of the WAN's address: to the WAN, or back to the LAN.
    fn left(&mut self, side: Segment, ip: &Ipv4, now: Instant) -> Result<(), String> {
        let Some((kind, external, remote)) = endpoints(ip) else { return Ok(()) };
        let own = self.external;
        let is_it = |leaving: &&Waiting| match side {
            Segment::Wan => leaving.remote == remote,
            Segment::Lan => Some(leaving.remote.0) == own && self.lan.contains(&remote.0),
        };
        let candidates: BTreeMap<_, _> = self
            .leaving
            .alike(kind, ip.content)
            .filter(is_it)
            .map(|leaving| (leaving.inside, (leaving.remote, leaving.at)))
            .collect();
        // Hosts that say the same to the same cannot be told apart: each of them may be meant.
        if candidates.len() > 1 {
            for (inside, (remote, _)) in candidates {
                let mapping = self.mappings.get_mut(&(kind, inside));
                if let Some(known) = mapping.and_then(|mapping| mapping.conversations.get_mut(&remote)) {
                    known.may_until = known.may_until.max(now + known.tcp.life(kind) + SLACK);
                }
            }
            return Ok(());
        }
        let Some((inside, (remote, sent_at))) = candidates.into_iter().next() else { return Ok(()) };
        // Resets are all alike: this may be one of the gateway's own.
        let is_reset = matches!(ip.transport, Transport::Tcp { is_reset: true, .. });
        if is_reset && self.mappings.get(&(kind, inside)).is_some_and(|known| known.external != external) {
            return Ok(());
        }
        if external == inside {
            let (inside, remote) = (show(inside), show(remote));
            return Err(format!("{kind:?} {inside} speaks to {remote} and is seen as it is")); // RFC 4787 REQ-9a
        }
        self.check_identity(kind, inside, external, now)?;
        let mapping = self
            .mappings
            .entry((kind, inside))
            .or_insert_with(|| Mapping { external, conversations: BTreeMap::new() });
        if mapping.external != external {
            *mapping = Mapping { external, conversations: BTreeMap::new() };
        }
        self.owners.insert((kind, external), inside);
        let conversation = mapping.conversations.entry(remote).or_default();
        if conversation.must_until <= now {
            conversation.tcp = Tcp::default();
        }
        conversation.tcp.hear_inside(&ip.transport);
        let life = conversation.tcp.life(kind);
        conversation.must_until = sent_at + life;
        conversation.may_until = now + life + SLACK;
        if conversation.tcp.is_reset {
            // Who resets again and again prolongs nothing. // RFC 7857 section 7.1
            conversation.must_until = sent_at;
        }
        Ok(())
    }

    /// Whether an inside endpoint may be seen as `external`.
    fn check_identity(
        &self,
        kind: Kind,
        inside: Endpoint,
        external: Endpoint,
        now: Instant,
    ) -> Result<(), String> {
        if let Some(mapping) = self.mappings.get(&(kind, inside))
            && mapping.external != external
            && mapping.must_until() > now
        {
            let (before, until) = (show(mapping.external), mapping.must_until());
            let (inside, external) = (show(inside), show(external));
            return Err(format!(
                "{kind:?} {inside} is seen as {external}, and was to be {before} until {until}"
            ));
        }
        if let Some(owner) = self.owners.get(&(kind, external)).filter(|owner| **owner != inside)
            && let Some(mapping) = self.mappings.get(&(kind, *owner))
            && mapping.external == external
            && mapping.must_until() > now
        {
            let until = mapping.must_until();
            let (owner, inside, external) = (show(*owner), show(inside), show(external));
            return Err(format!("{kind:?} {external} stands for {inside}, and was {owner}'s until {until}"));
        }
        Ok(())
    }

    /// A packet from the WAN to the gateway.
    fn enter(&mut self, ip: &Ipv4, now: Instant) {
        let Some((kind, remote, external)) = endpoints(ip) else { return };
        let Some(inside) = self.owners.get(&(kind, external)).copied() else { return };
        let Some(mapping) = self.mappings.get_mut(&(kind, inside)) else { return };
        let Some(conversation) = mapping.conversations.get_mut(&remote) else { return };
        let must_pass = match ip.transport {
            Transport::Tcp { is_opening: false, is_accepting: false, is_reset: false, .. } => {
                conversation.tcp.is_established && !conversation.tcp.is_reset
            }
            Transport::Tcp { .. } => false,
            _ => true,
        };
        if must_pass && now < conversation.must_until && mapping.external == external {
            self.entering.push_back(Waiting { kind, content: ip.content, inside, remote, at: now });
        }
        if kind == Kind::Tcp {
            conversation.hear_outside(&ip.transport, now);
        }
    }

    /// A packet that reaches the LAN from beyond it.
    fn entered(&mut self, ip: &Ipv4, now: Instant) -> Result<(), String> {
        let Some((kind, remote, inside)) = endpoints(ip) else { return Ok(()) };
        let is_it = |entering: &Waiting| {
            (entering.kind, entering.content, entering.inside, entering.remote)
                == (kind, ip.content, inside, remote)
        };
        if let Some(at) = self.entering.iter().position(is_it) {
            self.entering.remove(at);
        }
        if let Some(conversation) = self.conversation_mut(kind, inside, remote) {
            conversation.reached_at = now;
        }
        let is_hairpin = self.external == Some(remote.0) || self.lan.contains(&remote.0);
        if is_hairpin || self.reachable.contains(&inside.0) || is_echo_request(ip) {
            return Ok(());
        }
        let Some(mapping) = self.mappings.get(&(kind, inside)) else { return Ok(()) };
        let until = match self.filtering {
            Filtering::AddressAndPortDependent => {
                mapping.conversations.get(&remote).map(|conversation| conversation.may_until)
            }
            _ => mapping.conversations.values().map(|conversation| conversation.may_until).max(),
        };
        match until.filter(|until| *until < now) {
            Some(until) => {
                let (inside, remote) = (show(inside), show(remote));
                Err(format!("{kind:?} {remote} reaches {inside}, whose mapping was to end until {until}"))
            }
            None => Ok(()),
        }
    }

    fn conversation_mut(
        &mut self,
        kind: Kind,
        inside: Endpoint,
        remote: Endpoint,
    ) -> Option<&mut Conversation> {
        self.mappings.get_mut(&(kind, inside))?.conversations.get_mut(&remote)
    }

    /// Tells of a packet that should have reached the LAN by `now`.
    fn check_entering(&mut self, now: Instant) -> Result<(), String> {
        while let Some(late) = self.entering.front().filter(|entering| entering.at + WAIT_MAX < now) {
            let neighbor = self.neighbors.get(&late.inside.0).copied().unwrap_or_default();
            let is_sought = neighbor.asked_at.is_some() && neighbor.asked_at >= neighbor.heard_at;
            let (kind, remote, inside, at) = (late.kind, show(late.remote), show(late.inside), late.at);
            // A segment that is overtaken by more than a window is nothing to its receiver. (RFC 9293 section 3.10.7.4)
            let conversation =
                self.mappings.get(&(kind, late.inside)).and_then(|m| m.conversations.get(&late.remote));
            let is_overtaken =
                kind == Kind::Tcp && conversation.is_some_and(|known| known.reached_at + WAIT_MAX >= at);
            self.entering.pop_front();
            if !is_sought && !is_overtaken {
                return Err(format!("{kind:?} {remote} does not reach {inside}, for all it sent at {at}"));
            }
        }
        Ok(())
    }

    fn check_reported(&self, flow: &Flow, now: Instant) -> Result<(), String> {
        let kind = match flow.protocol.as_str() {
            "tcp" => Kind::Tcp,
            "udp" => Kind::Udp,
            _ => Kind::Echo,
        };
        let (Some(inside), Some(remote)) = (reported(&flow.client), reported(&flow.destination)) else {
            return Ok(());
        };
        if flow.destination != flow.server {
            return Ok(());
        }
        let mapping = self.mappings.get(&(kind, inside));
        match mapping.and_then(|mapping| mapping.conversations.get(&remote)) {
            Some(conversation) if conversation.may_until < now => Err(format!(
                "{kind:?} {} to {} was to end until {} and is {:?} with {} s left",
                flow.client, flow.destination, conversation.may_until, flow.state, flow.expires_in_secs
            )),
            _ => Ok(()),
        }
    }

    fn note_arp(&mut self, way: Way, sender: Ipv4Addr, target: Ipv4Addr, is_request: bool, now: Instant) {
        match way {
            Way::In => self.neighbors.entry(sender).or_default().heard_at = Some(now),
            Way::Out if is_request => self.neighbors.entry(target).or_default().asked_at = Some(now),
            Way::Out => {}
        }
    }

    fn note_external(&mut self, ip: &Ipv4) {
        // Who asks for an address has none.
        let asks = matches!(ip.transport, Transport::Udp { destination_port: DHCP_SERVER_PORT, .. })
            && ip.source.is_unspecified();
        let has = (!ip.source.is_unspecified()).then_some(ip.source);
        if asks || (has.is_some() && self.external.is_some() && has != self.external) {
            self.forget_all();
        }
        self.external = has;
    }
}

impl Mapping {
    fn must_until(&self) -> Instant {
        self.conversations.values().map(|conversation| conversation.must_until).max().unwrap_or_default()
    }
}

impl Conversation {
    /// Only of an established connection, to which the inside has agreed, do segments from outside
    /// prolong the life; what ends it gives the transitory life once.
    fn hear_outside(&mut self, transport: &Transport, now: Instant) {
        let before = (self.tcp.is_reset, self.tcp.is_closing());
        self.tcp.hear_outside(transport);
        let after = (self.tcp.is_reset, self.tcp.is_closing());
        let is_prolonged = if after == (false, false) { self.tcp.is_established } else { after != before };
        if is_prolonged {
            let life = self.tcp.life(Kind::Tcp);
            self.must_until = now + life;
            self.may_until = now + life + SLACK;
        }
    }
}

impl Tcp {
    fn hear_inside(&mut self, transport: &Transport) {
        let Transport::Tcp { is_opening, is_closing, is_reset, .. } = *transport else { return };
        if is_reset {
            self.is_reset = true;
        } else if is_opening {
            if self.is_reset || self.is_closing() {
                *self = Self::default();
            }
        } else {
            self.is_reset = false;
            self.is_established |= self.is_accepted;
            self.is_closed_inside |= is_closing;
        }
    }

    fn hear_outside(&mut self, transport: &Transport) {
        let Transport::Tcp { is_opening, is_accepting, is_closing, is_reset, .. } = *transport else {
            return;
        };
        if is_reset {
            self.is_reset = true;
        } else if !is_opening {
            self.is_reset = false;
            self.is_accepted |= is_accepting;
            self.is_closed_outside |= is_closing && self.is_accepted;
        }
    }

    fn is_closing(&self) -> bool {
        self.is_closed_inside && self.is_closed_outside
    }

    fn life(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Udp => UDP_LIFE,
            Kind::Echo => ECHO_LIFE,
            Kind::Tcp if self.is_established && !self.is_closing() && !self.is_reset => TCP_ESTABLISHED_LIFE,
            Kind::Tcp => TCP_TRANSITORY_LIFE,
        }
    }
}

impl Checker for MappingLives {
    fn name(&self) -> &'static str {
        "mapping-lives"
    }

    fn promise(&self) -> &'static str {
        "a mapping stands and lets answers in for its RFC's time after the inside has sent, and ends then"
    }

    fn on_boot(&mut self) {
        self.forget_all();
        self.neighbors.clear();
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet } = *passage;
        match (&packet.content, side, way) {
            (Content::Arp { sender, target, is_request }, Segment::Lan, _) => {
                self.note_arp(way, *sender, *target, *is_request, now);
            }
            (Content::Ipv4(ip), Segment::Lan, Way::In) => self.leave(ip, now),
            (Content::Ipv4(ip), Segment::Lan, Way::Out) => {
                self.left(side, ip, now)?;
                self.entered(ip, now)?;
            }
            (Content::Ipv4(ip), Segment::Wan, Way::Out) => {
                self.wan_mac = Some(packet.source_mac);
                self.note_external(ip);
                self.left(side, ip, now)?;
            }
            // What is forged has to be kept out.
            (Content::Ipv4(ip), Segment::Wan, Way::In)
                if self.wan_mac == Some(packet.destination_mac) && ip.ttl != FORGED_TTL =>
            {
                self.enter(ip, now);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let now = snapshot.now;
        if snapshot.status.wan.as_ref().is_none_or(|wan| wan.address.is_none()) {
            self.forget_all();
        }
        self.check_entering(now)?;
        for flow in snapshot.flows.iter().flat_map(|flows| &flows.flows) {
            self.check_reported(flow, now)?;
        }
        for mapping in self.mappings.values_mut() {
            mapping.conversations.retain(|_, conversation| conversation.may_until + MEMORY > now);
        }
        self.mappings.retain(|_, mapping| !mapping.conversations.is_empty());
        Ok(())
    }
}

/// What a packet belongs to: its kind, from where it comes and where it goes.
fn endpoints(ip: &Ipv4) -> Option<(Kind, Endpoint, Endpoint)> {
    let (kind, source, destination) = match ip.transport {
        Transport::Tcp { source_port, destination_port, .. } => (Kind::Tcp, source_port, destination_port),
        Transport::Udp { source_port, destination_port, .. } => (Kind::Udp, source_port, destination_port),
        Transport::Echo { id, is_reply: false } => (Kind::Echo, id, 0),
        Transport::Echo { id, is_reply: true } => (Kind::Echo, 0, id),
        Transport::IcmpError { .. } | Transport::Other => return None,
    };
    Some((kind, (ip.source, source), (ip.destination, destination)))
}

fn is_echo_request(ip: &Ipv4) -> bool {
    matches!(ip.transport, Transport::Echo { is_reply: false, .. })
}

fn is_echo_reply(ip: &Ipv4) -> bool {
    matches!(ip.transport, Transport::Echo { is_reply: true, .. })
}

fn reported(endpoint: &str) -> Option<Endpoint> {
    match endpoint.parse().ok()? {
        SocketAddr::V4(endpoint) => Some((*endpoint.ip(), endpoint.port())),
        SocketAddr::V6(_) => None,
    }
}

fn show((address, port): Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{arp, config, flow, numbered, packet, passage, segment, udp};
    use crate::packet::Packet;

    const PC: &str = "192.168.1.9";
    const OTHER_PC: &str = "192.168.1.8";
    const WAN: &str = "203.0.113.100";
    const SERVER: &str = "198.51.100.7";

    struct Office {
        checker: MappingLives,
        content: u64,
    }

    impl Office {
        fn new() -> Self {
            Self { checker: MappingLives::new(&config()), content: 0 }
        }

        fn pass(&mut self, secs: u64, way: Way, side: Segment, packet: Packet) -> Result<(), String> {
            self.checker.on_passage(&passage(secs, way, side, &numbered(packet, self.content)))
        }

        /// A packet from `pc` leaves the gateway from `port`.
        fn out(&mut self, secs: u64, pc: &str, port: u16, transport: Transport) -> Result<(), String> {
            self.content += 1;
            self.pass(secs, Way::In, Segment::Lan, packet(pc, SERVER, transport.clone()))?;
            self.pass(secs, Way::Out, Segment::Wan, packet(WAN, SERVER, from(transport, port)))
        }

        fn arrives(&mut self, secs: u64, port: u16, transport: Transport) {
            self.content += 1;
            let mut packet = packet(SERVER, WAN, to(transport, port));
            packet.destination_mac = packet.source_mac;
            self.pass(secs, Way::In, Segment::Wan, packet).unwrap();
        }

        /// A packet from the server to `port` reaches the PC.
        fn back(&mut self, secs: u64, port: u16, transport: Transport) -> Result<(), String> {
            self.arrives(secs, port, transport.clone());
            self.pass(secs, Way::Out, Segment::Lan, packet(SERVER, PC, to(transport, 1_000)))
        }

        fn lost(&mut self, secs: u64) -> Result<(), String> {
            self.checker.check_entering(Instant::from_secs(secs) + WAIT_MAX + Duration::from_secs(1))
        }
    }

    fn query() -> Transport {
        udp(1_000, 7, Vec::new())
    }

    fn answer() -> Transport {
        udp(7, 1_000, Vec::new())
    }

    fn from(mut transport: Transport, port: u16) -> Transport {
        if let Transport::Udp { source_port, .. } | Transport::Tcp { source_port, .. } = &mut transport {
            *source_port = port;
        }
        transport
    }

    fn to(mut transport: Transport, port: u16) -> Transport {
        if let Transport::Udp { destination_port, .. } | Transport::Tcp { destination_port, .. } =
            &mut transport
        {
            *destination_port = port;
        }
        transport
    }

    fn established(office: &mut Office) {
        office.out(0, PC, 1_000, segment(1_000, 80, "S")).unwrap();
        office.back(0, 1_000, segment(80, 1_000, "SA")).unwrap();
        office.out(0, PC, 1_000, segment(1_000, 80, "A")).unwrap();
    }

    #[test]
    fn an_answer_within_the_life_must_come_through_and_later_must_not() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        assert_eq!(office.back(299, 1_000, answer()), Ok(()));
        assert_eq!(office.lost(299), Ok(()));
        office.arrives(299, 1_000, answer());
        assert!(office.lost(299).unwrap_err().contains("does not reach"));
        assert!(office.back(304, 1_000, answer()).unwrap_err().contains("was to end"));
    }

    #[test]
    fn a_host_that_does_not_answer_the_gateway_need_not_be_reached() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        office.arrives(10, 1_000, answer());
        let question = arp("192.168.1.1", PC, true);
        office.checker.on_passage(&passage(10, Way::Out, Segment::Lan, &question)).unwrap();
        assert_eq!(office.lost(10), Ok(()));
    }

    #[test]
    fn inbound_traffic_prolongs_nothing_and_outbound_does() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        office.back(200, 1_000, answer()).unwrap();
        assert!(office.back(400, 1_000, answer()).is_err());
        office.out(410, PC, 1_000, query()).unwrap();
        assert_eq!(office.back(700, 1_000, answer()), Ok(()));
    }

    #[test]
    fn an_endpoint_keeps_its_mapping_and_nobody_else_gets_it() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        assert!(office.out(100, PC, 2_000, query()).unwrap_err().contains("was to be"));
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        assert!(office.out(100, OTHER_PC, 1_000, query()).unwrap_err().contains("stands for"));
        assert_eq!(office.out(301, OTHER_PC, 1_000, query()), Ok(()));
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        office.checker.on_boot();
        assert_eq!(office.out(100, PC, 2_000, query()), Ok(()));
    }

    #[test]
    fn a_connection_lives_for_two_hours_and_a_closed_one_for_minutes() {
        let mut office = Office::new();
        established(&mut office);
        office.arrives(7_439, 1_000, segment(80, 1_000, "A"));
        assert!(office.lost(7_439).is_err());
        let mut office = Office::new();
        established(&mut office);
        assert_eq!(office.back(7_000, 1_000, segment(80, 1_000, "A")), Ok(()));
        assert_eq!(office.back(14_000, 1_000, segment(80, 1_000, "A")), Ok(()));
        assert_eq!(office.out(14_001, PC, 1_000, segment(1_000, 80, "FA")), Ok(()));
        assert_eq!(office.back(14_002, 1_000, segment(80, 1_000, "FA")), Ok(()));
        assert!(office.back(14_246, 1_000, segment(80, 1_000, "A")).is_err());
    }

    #[test]
    fn a_connection_that_is_refused_is_forgotten_in_minutes() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, segment(1_000, 80, "S")).unwrap();
        office.back(1, 1_000, segment(80, 1_000, "RA")).unwrap();
        assert!(office.back(245, 1_000, segment(80, 1_000, "RA")).is_err());
    }

    #[test]
    fn a_hairpin_is_seen_as_to_the_internet_and_never_as_it_is() {
        let mut office = Office::new();
        office.out(0, PC, 1_001, query()).unwrap();
        let mut hairpin = |source, port| {
            office.content += 1;
            office.pass(1, Way::In, Segment::Lan, packet(PC, WAN, udp(1_000, 8_000, Vec::new()))).unwrap();
            office.pass(1, Way::Out, Segment::Lan, packet(source, OTHER_PC, udp(port, 80, Vec::new())))
        };
        assert_eq!(hairpin(WAN, 1_001), Ok(()));
        assert!(hairpin(WAN, 1_000).unwrap_err().contains("was to be"));
        assert!(hairpin(PC, 1_000).unwrap_err().contains("as it is"));
    }

    #[test]
    fn a_flow_that_is_still_reported_after_its_life_is_told() {
        let mut office = Office::new();
        office.out(0, PC, 1_000, query()).unwrap();
        let flow = flow("192.168.1.9:1000", "203.0.113.100:1000", "198.51.100.7:7");
        assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(300)), Ok(()));
        assert!(office.checker.check_reported(&flow, Instant::from_secs(304)).is_err());
        // The provider's router is gone: the packet does not leave.
        office.pass(310, Way::In, Segment::Lan, packet(PC, SERVER, query())).unwrap();
        assert_eq!(office.checker.check_reported(&flow, Instant::from_secs(610)), Ok(()));
        assert!(office.checker.check_reported(&flow, Instant::from_secs(614)).is_err());
    }
}
