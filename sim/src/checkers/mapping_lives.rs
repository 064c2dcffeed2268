//! Mappings live: an inside endpoint appears outside as one endpoint for as long as the RFC promises, its peers reach
//! it there, and no longer than that. (RFC 4787; RFC 5382; RFC 5508; RFC 7857)
//!
//! The checker derives all of this from frames. It recognises a packet from the LAN on the WAN by its content, which
//! reveals the mapping. From then on there are two times for each conversation: until the first it must exist, after
//! the second it must be gone. Between the two is the tolerance of timers. A reboot loses every mapping, and so does
//! another WAN address. If the gateway reports evictions, unanswered or finished flows may have been evicted.

mod conversation;
mod neighbor;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatepost::config::Config;
use gatepost::control::report::Flow;
use gatepost_dataplane::config::{Filtering, Forward};
use gatepost_ground::{Instant, MacAddr};

use self::conversation::{Conversation, Kind, SLACK, Tcp};
use self::neighbor::Neighbor;
use super::lan::Lan;
use super::observed_leases::ObservedLeases;
use super::recent::{Recent, WAIT_MAX};
use super::{Checker, Passage, Side, Snapshot, Way};
use crate::machine::attacker::FORGED_TTL;
use crate::packet::{Content, DHCP_SERVER_PORT, Ipv4, Transport};

/// How long a conversation is remembered after its end, to notice that it did not.
const MEMORY: Duration = Duration::from_secs(900);

/// An address and a port; an echo has its identifier for the asker's port, and 0 for the other.
type Endpoint = (Ipv4Addr, u16);

/// Records every mapping.
pub struct MappingLives {
    lan: Lan,
    /// The laxest filtering since the start, as mappings that it admitted may still exist.
    filtering: Filtering,
    forwards: Vec<Forward>,
    /// The targets of present and former forwards: packets from outside may reach them at any time.
    reachable: Vec<Ipv4Addr>,
    dmz_host: Option<Ipv4Addr>,
    mappings: BTreeMap<(Kind, Endpoint), Mapping>,
    owners: BTreeMap<(Kind, Endpoint), Endpoint>,
    /// Packets from the LAN that have not left yet.
    leaving: Recent<(Kind, u64), Waiting>,
    /// Packets from the WAN that have to reach the LAN.
    entering: VecDeque<Waiting>,
    neighbors: BTreeMap<Ipv4Addr, Neighbor>,
    /// The leases: the gateway accepts a leased address only from its holder.
    leases: ObservedLeases,
    wan_mac: Option<MacAddr>,
    external: Option<Ipv4Addr>,
    /// A violation, unless the gateway's next report counts flows that were recycled.
    suspicion: Option<String>,
}

/// A packet inside the gateway.
struct Waiting {
    kind: Kind,
    content: u64,
    inside: Endpoint,
    remote: Endpoint,
    at: Instant,
    /// What it belongs to may have ended to make room for others.
    may_be_recycled: bool,
}

struct Mapping {
    external: Endpoint,
    conversations: BTreeMap<Endpoint, Conversation>,
}

impl MappingLives {
    /// For the LAN, the filtering and the rules of `config`.
    pub fn new(config: &Config) -> Self {
        let forwards = forwards(config);
        Self {
            lan: Lan::of(config),
            filtering: config.nat.filtering,
            reachable: forwards.iter().map(|rule| rule.to).chain(config.firewall.dmz_host).collect(),
            forwards,
            dmz_host: config.firewall.dmz_host,
            mappings: BTreeMap::new(),
            owners: BTreeMap::new(),
            leaving: Recent::new(WAIT_MAX, usize::MAX),
            entering: VecDeque::new(),
            neighbors: BTreeMap::new(),
            leases: ObservedLeases::of_config(config),
            wan_mac: None,
            external: None,
            suspicion: None,
        }
    }

    fn forget_all(&mut self) {
        self.mappings.clear();
        self.owners.clear();
        self.leaving.clear();
        self.entering.clear();
    }

    /// Forwards may have been added or removed: connections through those have ended, and their hosts may get other
    /// mappings.
    fn forget_changed(&mut self, config: &Config) {
        let new = forwards(config);
        let is_changed = |rule: &&Forward| !(self.forwards.contains(rule) && new.contains(rule));
        let hosts: Vec<_> = self.forwards.iter().chain(&new).filter(is_changed).map(|rule| rule.to).collect();
        if hosts.is_empty() {
            return;
        }
        self.mappings.retain(|(_, inside), _| !hosts.contains(&inside.0));
        self.entering.retain(|packet| !hosts.contains(&packet.inside.0));
        // Other LAN hosts reached them by hairpin.
        for mapping in self.mappings.values_mut() {
            mapping.conversations.retain(|remote, _| Some(remote.0) != self.external);
        }
        self.reachable.extend(hosts);
    }

    /// Handles a packet from the LAN to a destination outside the LAN.
    fn leave(&mut self, ip: &Ipv4, now: Instant) {
        if !self.lan.contains(&ip.source) || self.lan.contains(&ip.destination) {
            return;
        }
        let Some((kind, from, to)) = endpoints(ip) else {
            self.may_prolong(ip, now);
            return;
        };
        self.may_reach_hairpinned(kind, (from, to), &ip.transport, now);
        // The default host's ports are also the same external ports, besides its mappings.
        if Some(ip.source) == self.dmz_host || is_echo_reply(ip) {
            return;
        }
        // Where the provider's router is not reachable a packet gets no further, and has been sent all the
        // same.
        if let Some(known) = self.conversation_mut(kind, from, to).filter(|known| !known.tcp.is_reset) {
            known.may_live_on(kind, now);
        }
        let (content, may_be_recycled) = (ip.content, false);
        let waiting = Waiting { kind, content, inside: from, remote: to, at: now, may_be_recycled };
        self.leaving.push(now, (kind, content), waiting);
    }

    /// A segment from the LAN host `from` to `to`, the external endpoint of another LAN host. The gateway may have handled
    /// it for the connection of that host, and dropped it later: it does not know the host's hardware address.
    fn may_reach_hairpinned(
        &mut self,
        kind: Kind,
        (from, to): (Endpoint, Endpoint),
        transport: &Transport,
        now: Instant,
    ) {
        let Some(inside) = self.owners.get(&(kind, to)).copied().filter(|_| kind == Kind::Tcp) else {
            return;
        };
        let mapped = self.mappings.get(&(kind, from)).map(|mapping| mapping.external);
        let remote = mapped.unwrap_or((to.0, from.1));
        if let Some(conversation) = self.conversation_mut(kind, inside, remote) {
            conversation.may_hear_outside(transport, now);
        }
    }

    /// A fragment from the LAN, of which only the gateway knows the flow, may prolong each flow between its hosts.
    fn may_prolong(&mut self, ip: &Ipv4, now: Instant) {
        let of_host = self.mappings.iter_mut().filter(|((_, inside), _)| inside.0 == ip.source);
        for ((kind, _), mapping) in of_host {
            let with_remote =
                mapping.conversations.iter_mut().filter(|(remote, _)| remote.0 == ip.destination);
            with_remote.for_each(|(_, conversation)| conversation.may_live_on(*kind, now));
        }
    }

    /// A packet that leaves from an endpoint of the WAN's address: to the WAN, or back to the LAN.
    fn left(&mut self, side: Side, ip: &Ipv4, now: Instant) -> Result<(), String> {
        let Some((kind, external, remote)) = endpoints(ip) else { return Ok(()) };
        let own = self.external;
        let is_it = |leaving: &&Waiting| match side {
            Side::Wan => leaving.remote == remote,
            Side::Lan => Some(leaving.remote.0) == own && self.lan.contains(&remote.0),
        };
        let candidates: BTreeMap<_, _> = self
            .leaving
            .alike(&(kind, ip.content))
            .filter(is_it)
            .map(|leaving| (leaving.inside, (leaving.remote, leaving.at)))
            .collect();
        // Equal packets of several hosts to one remote cannot be distinguished: the mapping may be any of theirs.
        if candidates.len() > 1 {
            for (inside, (remote, _)) in candidates {
                if let Some(known) = self.conversation_mut(kind, inside, remote) {
                    known.may_live_on(kind, now);
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
            return Err(format!("{kind:?} {inside} speaks to {remote} and appears unchanged")); // RFC 4787, REQ-9a
        }
        if let Err((may_be_recycled, message)) = self.check_identity(kind, inside, external, now) {
            if !may_be_recycled {
                return Err(message);
            }
            self.suspicion.get_or_insert(message);
        }
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
            conversation.is_answered = false;
        }
        let is_challenged = conversation.tcp.is_challenged_inside(&ip.transport);
        conversation.tcp.hear_inside(&ip.transport);
        let life = conversation.tcp.life(kind);
        conversation.must_until = sent_at + life;
        let until = now + life + SLACK;
        conversation.may_until = if is_challenged { conversation.may_until.max(until) } else { until };
        if conversation.tcp.is_reset {
            // Repeated resets do not prolong a mapping. // RFC 7857, section 7.1
            conversation.must_until = sent_at;
        }
        Ok(())
    }

    /// Checks that an inside endpoint may appear as `external`. An error says whether it is acceptable if the former
    /// mapping was recycled, and what is wrong.
    fn check_identity(
        &self,
        kind: Kind,
        inside: Endpoint,
        external: Endpoint,
        now: Instant,
    ) -> Result<(), (bool, String)> {
        if let Some(mapping) = self.mappings.get(&(kind, inside))
            && mapping.external != external
            && mapping.must_until() > now
        {
            let (before, until) = (show(mapping.external), mapping.must_until());
            let (inside, external) = (show(inside), show(external));
            let message =
                format!("{kind:?} {inside} is seen as {external}, and was to be {before} until {until}");
            return Err((mapping.may_be_recycled(kind), message));
        }
        if let Some(owner) = self.owners.get(&(kind, external)).filter(|owner| **owner != inside)
            && let Some(mapping) = self.mappings.get(&(kind, *owner))
            && mapping.external == external
            && mapping.must_until() > now
        {
            let until = mapping.must_until();
            let (owner, inside, external) = (show(*owner), show(inside), show(external));
            let message = format!("{kind:?} {external} stands for {inside}, and was {owner}'s until {until}");
            return Err((mapping.may_be_recycled(kind), message));
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
        let neighbor = self.neighbors.get(&inside.0).copied().unwrap_or_default();
        let is_reported = neighbor.is_silent(now);
        if must_pass && now < conversation.must_until && mapping.external == external && !is_reported {
            let (content, may_be_recycled) = (ip.content, conversation.may_be_recycled(kind));
            self.entering.push_back(Waiting { kind, content, inside, remote, at: now, may_be_recycled });
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
        let is_hairpinned = self.external == Some(remote.0);
        if let Some(conversation) = self.conversation_mut(kind, inside, remote) {
            conversation.reached_at = now;
            conversation.is_answered = true;
            if is_hairpinned && kind == Kind::Tcp {
                // It came in from beyond the WAN address without being seen there.
                conversation.hear_outside(&ip.transport, now);
            }
        }
        let is_hairpin = is_hairpinned || self.lan.contains(&remote.0);
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

    fn conversation(&self, kind: Kind, inside: Endpoint, remote: Endpoint) -> Option<&Conversation> {
        self.mappings.get(&(kind, inside))?.conversations.get(&remote)
    }

    fn conversation_mut(
        &mut self,
        kind: Kind,
        inside: Endpoint,
        remote: Endpoint,
    ) -> Option<&mut Conversation> {
        self.mappings.get_mut(&(kind, inside))?.conversations.get_mut(&remote)
    }

    /// Tells of a packet that should have reached the LAN by `now`, if flows have not made room for others.
    fn check_entering(&mut self, now: Instant, has_recycled: bool) -> Result<(), String> {
        while let Some(late) = self.entering.front().filter(|entering| entering.at + WAIT_MAX < now) {
            let neighbor = self.neighbors.get(&late.inside.0).copied().unwrap_or_default();
            let (kind, remote, inside, at) = (late.kind, show(late.remote), show(late.inside), late.at);
            // A segment that is overtaken by more than a window is nothing to its receiver. (RFC 9293, section
            // 3.10.7.4)
            let conversation = self.conversation(kind, late.inside, late.remote);
            let is_overtaken =
                kind == Kind::Tcp && conversation.is_some_and(|known| known.reached_at + WAIT_MAX >= at);
            let is_excused = late.may_be_recycled && has_recycled;
            self.entering.pop_front();
            if !neighbor.is_sought() && !is_overtaken && !is_excused {
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
        match self.conversation(kind, inside, remote) {
            Some(conversation) if conversation.may_until < now => Err(format!(
                "{kind:?} {} to {} was to end until {} and is {:?} with {} s left",
                flow.client, flow.destination, conversation.may_until, flow.state, flow.expires_in_secs
            )),
            _ => Ok(()),
        }
    }

    fn note_arp(&mut self, passage: &Passage<'_>, sender: Ipv4Addr, target: Ipv4Addr, is_request: bool) {
        let Passage { now, way, packet, .. } = *passage;
        match way {
            Way::In if self.leases.may_be_anothers(sender, packet.source_mac, now) => {}
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

    fn may_be_recycled(&self, kind: Kind) -> bool {
        self.conversations.values().all(|conversation| conversation.may_be_recycled(kind))
    }
}

impl Checker for MappingLives {
    fn name(&self) -> &'static str {
        "mapping-lives"
    }

    fn promise(&self) -> &'static str {
        "a mapping exists and admits answers for the time that its RFC requires after a packet from the inside, and ends then"
    }

    fn on_boot(&mut self) {
        self.forget_all();
        self.neighbors.clear();
        self.suspicion = None;
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        self.forget_changed(config);
        if config.nat.filtering != Filtering::AddressAndPortDependent {
            self.filtering = config.nat.filtering;
        }
    }

    fn on_configure(&mut self, config: &Config) {
        self.on_reload(config);
        self.forwards = forwards(config);
        self.lan.settle(config);
        let Self { lan, mappings, owners, .. } = self;
        mappings.retain(|(_, inside), _| lan.contains(&inside.0));
        owners.retain(|_, inside| lan.contains(&inside.0));
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        self.leases.observe(passage);
        match (&packet.content, side, way) {
            (Content::Arp { sender, target, is_request }, Side::Lan, _) => {
                self.note_arp(passage, *sender, *target, *is_request);
            }
            (Content::Ipv4(ip), Side::Lan, Way::In) => self.leave(ip, now),
            // The gateway's own reset does not belong to a mapping: it ends a connection that the gateway does not
            // know.
            (Content::Ipv4(ip), Side::Lan, Way::Out) if !ip.is_own_reset() => {
                self.left(side, ip, now)?;
                self.entered(ip, now)?;
            }
            (Content::Ipv4(ip), Side::Wan, Way::Out) => {
                self.wan_mac = Some(packet.source_mac);
                self.note_external(ip);
                self.left(side, ip, now)?;
            }
            // A forged packet need not reach the LAN.
            (Content::Ipv4(ip), Side::Wan, Way::In)
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
        let has_recycled = snapshot.counters.frames.flows_recycled > 0;
        if let Some(message) = self.suspicion.take().filter(|_| !has_recycled) {
            return Err(message);
        }
        self.check_entering(now, has_recycled)?;
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

fn forwards(config: &Config) -> Vec<Forward> {
    config.firewall.forwards.iter().flat_map(|forward| forward.rules.clone()).collect()
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
mod tests;
