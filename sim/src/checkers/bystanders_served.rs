//! Bystanders are served: a host with a lease renews it, resolves names of the office and opens connections to the DNS
//! server, whatever other hosts do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{MessageType as DhcpKind, OptionCode};
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::{Message, MessageType};

use super::lan::Lan;
use super::observed_leases::ObservedLeases;
use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::{
    Content, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Ipv4, Transport, dhcp_message, dhcp_server_identifier,
};
use crate::world::disk::DiskMood;

const DNS_PORT: u16 = 53;
/// The longest time until an answer for which the gateway needs no other host.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The longest time until the renewal of a lease on a slow disk.
const SLOW_DISK_ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest time after an answered SYN in which a copy of it may arrive.
const COPY_MAX: Duration = Duration::from_secs(60);

/// Expects an answer to each request that the holder of a lease sends from its own hardware address.
///
/// The gateway may leave unanswered: names and connections while its ARP requests for the client fail, renewals while
/// its disk fails (a slow disk prolongs the time for the answer), and every request during a change of configuration.
/// It may also ignore a copy of the SYN of an open connection, and the renewal of a client that has lost its lease to a
/// slow disk and looks for another one. It may refuse a renewal if another address is reserved for the client: while
/// the reserved address was declined or in foreign use, the client got one of the pool.
pub struct BystandersServed {
    /// The gateway's present addresses; while they change, those that it keeps.
    lan: Lan,
    /// The gateway's hardware address on the LAN, once it is known.
    gateway_mac: Option<String>,
    /// With a dot before and after.
    domain: String,
    /// Since the gateway booted.
    leases: ObservedLeases,
    waiting: BTreeMap<Asked, Instant>,
    /// The addresses for which the gateway has sent ARP requests without a reply from their holders.
    unresolved: BTreeSet<Ipv4Addr>,
    /// The connections that were last accepted, and when.
    accepted: BTreeMap<Asked, Instant>,
    is_disk_slow: bool,
    /// When the gateway's disk was last seen to be slow.
    disk_slow_at: Option<Instant>,
}

/// A request that needs an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// The renewal of a lease: the client and the transaction.
    Renewal { client: [u8; 6], xid: u32, address: Ipv4Addr },
    /// A name of the office: the address, its port, and the question's identifier.
    Name { address: Ipv4Addr, port: u16, id: u16 },
    /// A connection to the name service.
    Connection { address: Ipv4Addr, port: u16 },
}

impl Asked {
    fn is_renewal(&self) -> bool {
        matches!(self, Self::Renewal { .. })
    }

    fn is_renewal_of(&self, client: [u8; 6]) -> bool {
        matches!(self, Self::Renewal { client: own, .. } if *own == client)
    }

    fn address(&self) -> Ipv4Addr {
        match self {
            Self::Renewal { address, .. } | Self::Name { address, .. } | Self::Connection { address, .. } => {
                *address
            }
        }
    }
}

impl BystandersServed {
    /// For the addresses and the domain of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            lan: Lan::of(config),
            gateway_mac: None,
            domain: format!(".{}.", config.system.domain),
            leases: ObservedLeases::of_config(config),
            waiting: BTreeMap::new(),
            unresolved: BTreeSet::new(),
            accepted: BTreeMap::new(),
            is_disk_slow: false,
            disk_slow_at: None,
        }
    }

    /// Whether a request of the time `since` should have been answered by `now`. The server writes a lease before it
    /// answers the renewal; no other answer waits for the disk.
    fn is_late(&self, asked: &Asked, since: Instant, now: Instant) -> bool {
        let is_slow = self.disk_slow_at.is_some_and(|at| since <= at + SLOW_DISK_ANSWER_MAX);
        let answer_max = if asked.is_renewal() && is_slow { SLOW_DISK_ANSWER_MAX } else { ANSWER_MAX };
        now.since(since) > answer_max
    }

    /// The request in a frame to the gateway, if it needs an answer.
    fn asked(&self, passage: &Passage<'_>) -> Option<Asked> {
        let ip = passage.packet.ipv4()?;
        let to = passage.packet.destination_mac;
        let is_for_gateway = to.is_multicast() || self.gateway_mac.as_ref() == Some(&to.to_string());
        let is_holders = self.leases.is_held_by(ip.source, passage.packet.source_mac, passage.now);
        if !is_for_gateway || !is_holders {
            return None;
        }
        match &ip.transport {
            Transport::Udp {
                source_port: DHCP_CLIENT_PORT,
                destination_port: DHCP_SERVER_PORT,
                payload,
                ..
            } if ip.destination.is_broadcast() || self.lan.is_own(ip.destination) => renewal(ip, payload),
            Transport::Udp { source_port, destination_port: DNS_PORT, payload, .. }
                if self.lan.is_own(ip.destination) =>
            {
                let message = Message::from_vec(payload).ok()?;
                let name = message.queries.first()?.name().to_ascii().to_lowercase();
                let is_of_office = name.ends_with(&self.domain);
                let id = message.metadata.id;
                is_of_office.then_some(Asked::Name { address: ip.source, port: *source_port, id })
            }
            Transport::Tcp { source_port, destination_port: DNS_PORT, is_opening: true, .. }
                if self.lan.is_own(ip.destination) =>
            {
                Some(Asked::Connection { address: ip.source, port: *source_port })
            }
            _ => None,
        }
    }

    /// The client that looks for a lease, and so no longer waits for a renewal.
    fn begun_anew(&self, passage: &Passage<'_>) -> Option<[u8; 6]> {
        let Transport::Udp { destination_port: DHCP_SERVER_PORT, ref payload, .. } =
            passage.packet.ipv4()?.transport
        else {
            return None;
        };
        let message = dhcp_message(payload)?;
        let client = message.chaddr().try_into().ok()?;
        let is_its_own = passage.packet.source_mac == MacAddr(client);
        (is_its_own && message.opts().msg_type() == Some(DhcpKind::Discover)).then_some(client)
    }

    /// The connection that its client resets; it needs no answer any more.
    fn given_up(&self, passage: &Passage<'_>) -> Option<Asked> {
        let ip = passage.packet.ipv4()?;
        let is_holders = self.leases.is_held_by(ip.source, passage.packet.source_mac, passage.now);
        match ip.transport {
            Transport::Tcp { source_port, destination_port: DNS_PORT, is_reset: true, .. } if is_holders => {
                Some(Asked::Connection { address: ip.source, port: source_port })
            }
            _ => None,
        }
    }

    /// Observes a frame from the gateway.
    fn answered(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if let Content::Arp { target, is_request: true, .. } = &passage.packet.content {
            // DHCP answers need no ARP.
            let is_held_up = |asked: &Asked| !asked.is_renewal() && asked.address() == *target;
            self.waiting.retain(|asked, _| !is_held_up(asked));
            self.unresolved.insert(*target);
        }
        let Some(ip) = passage.packet.ipv4() else { return Ok(()) };
        match &ip.transport {
            Transport::Udp { source_port: DHCP_SERVER_PORT, payload, .. } => return self.renewed(payload),
            Transport::Udp { source_port: DNS_PORT, destination_port: port, payload, .. } => {
                if let Ok(message) = Message::from_vec(payload)
                    && message.metadata.message_type == MessageType::Response
                {
                    let (address, id) = (ip.destination, message.metadata.id);
                    self.waiting.remove(&Asked::Name { address, port: *port, id });
                }
            }
            Transport::Tcp { source_port: DNS_PORT, destination_port: port, is_accepting: true, .. } => {
                let connection = Asked::Connection { address: ip.destination, port: *port };
                self.waiting.remove(&connection);
                self.accepted.insert(connection, passage.now);
            }
            _ => {}
        }
        Ok(())
    }

    fn renewed(&mut self, payload: &[u8]) -> Result<(), String> {
        let Some(message) = dhcp_message(payload) else { return Ok(()) };
        let Ok(client) = <[u8; 6]>::try_from(message.chaddr()) else { return Ok(()) };
        let is_it = |asked: &&Asked| match asked {
            Asked::Renewal { client: own, xid, .. } => (*own, *xid) == (client, message.xid()),
            Asked::Name { .. } | Asked::Connection { .. } => false,
        };
        let Some(asked) = self.waiting.keys().find(is_it).cloned() else { return Ok(()) };
        match message.opts().msg_type() {
            Some(DhcpKind::Ack) => {
                // The client may have asked before, while the disk failed for a moment.
                self.waiting.retain(|asked, _| !asked.is_renewal_of(client));
                Ok(())
            }
            Some(DhcpKind::Nak) => {
                self.waiting.remove(&asked);
                let (address, client) = (asked.address(), MacAddr(client));
                // A client of a network that the gateway has left has to move, too.
                if !self.lan.contains(&address) || self.leases.is_to_move_from(address, client) {
                    return Ok(());
                }
                Err(format!("{address} is refused to {client}, who holds its lease"))
            }
            _ => Ok(()),
        }
    }
}

/// The renewal that a datagram from the holder of an address asks for.
fn renewal(ip: &Ipv4, payload: &[u8]) -> Option<Asked> {
    let message = dhcp_message(payload)?;
    let is_request = message.opts().msg_type() == Some(DhcpKind::Request);
    let is_renewal = message.opts().get(OptionCode::RequestedIpAddress).is_none()
        && dhcp_server_identifier(&message).is_none();
    let client = message.chaddr().try_into().ok()?;
    let asked = Asked::Renewal { client, xid: message.xid(), address: ip.source };
    (is_request && is_renewal && message.ciaddr() == ip.source).then_some(asked)
}

impl Checker for BystandersServed {
    fn name(&self) -> &'static str {
        "bystanders-served"
    }

    fn promise(&self) -> &'static str {
        "a host with a lease renews it, resolves names of the office and connects to the DNS server within a second"
    }

    fn on_boot(&mut self) {
        self.leases.forget();
        self.waiting.clear();
        self.unresolved.clear();
        self.accepted.clear();
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.narrow(config);
        self.waiting.clear();
    }

    fn on_configure(&mut self, config: &Config) {
        self.lan.settle(config);
        self.waiting.clear();
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.is_disk_slow = mood == DiskMood::Slow;
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if passage.side != Side::Lan {
            return Ok(());
        }
        if passage.way == Way::Out {
            self.leases.observe(passage);
            return self.answered(passage);
        }
        if let Content::Arp { sender, .. } = &passage.packet.content
            && self.leases.is_held_by(*sender, passage.packet.source_mac, passage.now)
        {
            self.unresolved.remove(sender);
        }
        if let Some(given_up) = self.given_up(passage) {
            self.waiting.remove(&given_up);
        }
        if let Some(client) = self.begun_anew(passage) {
            self.waiting.retain(|asked, _| !asked.is_renewal_of(client));
        }
        if let Some(asked) = self.asked(passage)
            && !self.accepted.contains_key(&asked)
            && (asked.is_renewal() || !self.unresolved.contains(&asked.address()))
        {
            self.waiting.entry(asked).or_insert(passage.now);
        }
        self.leases.observe(passage);
        Ok(())
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.gateway_mac = Some(snapshot.status.lan.mac.clone());
        self.accepted.retain(|_, since| snapshot.now.since(*since) < COPY_MAX);
        if !snapshot.status.problems.is_empty() {
            self.waiting.retain(|asked, _| !asked.is_renewal());
        }
        if self.is_disk_slow {
            self.disk_slow_at = Some(snapshot.now);
        }
        let is_late = |(asked, since): &(&Asked, &Instant)| self.is_late(asked, **since, snapshot.now);
        let late: Vec<_> = self.waiting.iter().filter(is_late).map(|(asked, _)| asked.clone()).collect();
        let late = late.into_iter().filter_map(|asked| self.waiting.remove_entry(&asked));
        let told = late.map(|(asked, since)| format!("asked for at {since} and not answered: {asked:?}"));
        told.collect::<Vec<_>>().into_iter().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
