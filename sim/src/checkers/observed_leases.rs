//! The LAN's leases, as observed at the gateway's port.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use gatepost::config::{Config, ReservedFor};
use gatepost_ground::{Instant, MacAddr};

use super::{Passage, Side, Way};
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, dhcp_message};

/// By how much a lease ends earlier for the gateway than for an observer of its ACK at the port.
pub const LEASE_END_GRACE: Duration = Duration::from_secs(2);
/// How long answers that wait in the gateway may still have a client's former name.
const FORMER_NAME_MAX: Duration = Duration::from_secs(4);

/// A lease that the gateway has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client: the hardware address in the message.
    pub client: Vec<u8>,
    /// Since when its client has had it without a break.
    pub since: Instant,
    /// Until when.
    pub until: Instant,
    /// Whether it may be over: a frame with the client's hardware address, perhaps forged, released it.
    pub may_be_over: bool,
}

/// All leases acknowledged so far, and the clients' names.
#[derive(Default)]
pub struct ObservedLeases {
    leases: BTreeMap<Ipv4Addr, Lease>,
    names: BTreeMap<String, Named>,
    /// The former names of clients, and when they took others.
    former_names: BTreeMap<String, Instant>,
    /// The names that the configuration gives to clients, by hardware address.
    given_names: BTreeMap<Vec<u8>, String>,
    /// The clients for which the configuration reserves addresses, by hardware address.
    reserved_for: BTreeMap<Ipv4Addr, Vec<u8>>,
    /// Requests without an answer so far, by client.
    asked: BTreeMap<Vec<u8>, Asked>,
}

/// The client that has a name.
struct Named {
    client: Vec<u8>,
    /// Since when.
    since: Instant,
    /// Whether it is uncertain that the gateway knows the client by this name.
    is_doubtful: bool,
}

/// A client's request.
struct Asked {
    address: Ipv4Addr,
    /// The name that it wants, if it sends one.
    name: Option<String>,
    /// Whether the client released the address before the answer: the gateway may process the release after the answer.
    is_given_up: bool,
}

impl ObservedLeases {
    /// With the names that `config` gives.
    pub fn of_config(config: &Config) -> Self {
        let by_mac = config.services.dhcp.reservations.iter().filter_map(|it| match &it.clients[..] {
            [ReservedFor::Mac(mac)] => Some((mac.0.to_vec(), it)),
            _ => None,
        });
        let given_names = by_mac.clone().filter_map(|(mac, it)| Some((mac, it.hostname.clone()?)));
        let reserved_for = by_mac.clone().map(|(mac, it)| (it.address, mac));
        Self { given_names: given_names.collect(), reserved_for: reserved_for.collect(), ..Self::default() }
    }

    /// Forgets all but what the configuration says.
    pub fn forget(&mut self) {
        let Self { given_names, reserved_for, .. } = std::mem::take(self);
        *self = Self { given_names, reserved_for, ..Self::default() };
    }

    /// Observes a frame. If it is an ACK: the address, and the lease before.
    pub fn observe(&mut self, passage: &Passage<'_>) -> Option<(Ipv4Addr, Lease, Option<Lease>)> {
        let (_, source_port, destination_port, payload) = passage.packet.udp()?;
        if passage.side != Side::Lan {
            return None;
        }
        let message = dhcp_message(payload)?;
        let kind = message.opts().msg_type()?;
        match (passage.way, source_port, destination_port) {
            (Way::In, DHCP_CLIENT_PORT, DHCP_SERVER_PORT) => {
                self.observe_client(&message, kind, passage.packet.source_mac);
                None
            }
            (Way::Out, DHCP_SERVER_PORT, _) => self.observe_server(&message, kind, passage.now),
            _ => None,
        }
    }

    /// Whether the client surely has a lease of `address` at `now`.
    pub fn is_held_by(&self, address: Ipv4Addr, client: MacAddr, now: Instant) -> bool {
        let lease = self.leases.get(&address).filter(|lease| lease.client == client.0);
        lease.is_some_and(|lease| now < lease.until && !lease.may_be_over)
    }

    /// Whether any client surely has a lease of `address` at `now`.
    pub fn is_held(&self, address: Ipv4Addr, now: Instant) -> bool {
        self.leases.get(&address).is_some_and(|lease| now < lease.until && !lease.may_be_over)
    }

    /// Whether the client surely has a lease of another address than `address` at `now`.
    pub fn holds_another(&self, address: Ipv4Addr, client: MacAddr, now: Instant) -> bool {
        self.leases.keys().any(|other| *other != address && self.is_held_by(*other, client, now))
    }

    /// Whether the client has had a lease.
    pub fn is_known(&self, client: &[u8]) -> bool {
        self.leases.values().any(|lease| lease.client == client)
    }

    /// Whether the configuration reserves `address`.
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.reserved_for.contains_key(&address)
    }

    /// Whether the configuration reserves another address than `address` for the client. The gateway may refuse to renew
    /// a lease of `address`, so that the client moves to the reserved one.
    pub fn is_to_move_from(&self, address: Ipv4Addr, client: MacAddr) -> bool {
        self.reserved_for.iter().any(|(reserved, holder)| *reserved != address && holder[..] == client.0)
    }

    /// How many leases last at `now`.
    pub fn active(&self, now: Instant) -> usize {
        self.leases.values().filter(|lease| now < lease.until).count()
    }

    /// Whether the gateway may know that `address` is not the client's: it is reserved for another, or another has or
    /// had a lease of it that lasts at `now`.
    pub fn may_be_anothers(&self, address: Ipv4Addr, client: MacAddr, now: Instant) -> bool {
        let leased_to =
            self.leases.get(&address).filter(|lease| now < lease.until).map(|lease| &lease.client);
        self.reserved_for.get(&address).or(leased_to).is_some_and(|holder| holder[..] != client.0)
    }

    /// From now on it is uncertain whether the lease of `address` is over.
    pub fn doubt(&mut self, address: Ipv4Addr) {
        if let Some(lease) = self.leases.get_mut(&address) {
            lease.may_be_over = true;
        }
    }

    /// Whether a client has taken another name by an acknowledgement at `now`.
    pub fn is_renamed(&self, now: Instant) -> bool {
        self.former_names.values().any(|at| *at == now)
    }

    /// The lease of the client called `name`, now or before: its address, and since when the client has had both.
    pub fn lease_of(&self, name: &str) -> Option<(Ipv4Addr, &Lease, Instant)> {
        let named = self.names.get(name)?;
        let (address, lease) = self.leases.iter().find(|(_, lease)| lease.client == named.client)?;
        Some((*address, lease, lease.since.max(named.since)))
    }

    /// The name by which the gateway surely knows `address` by a lease, from `since` to `now`.
    pub fn name_of(&self, address: Ipv4Addr, since: Instant, now: Instant) -> Option<&str> {
        let lease = self.leases.get(&address)?;
        let (name, named) = self.names.iter().find(|(_, named)| named.client == lease.client)?;
        let is_sure = lease.since.max(named.since) <= since
            && now + LEASE_END_GRACE < lease.until
            && !lease.may_be_over
            && !self.is_doubtful(name, now);
        is_sure.then_some(name)
    }

    /// Whether it is uncertain that the gateway knows a client by `name`.
    pub fn is_doubtful(&self, name: &str, now: Instant) -> bool {
        let is_former = self.former_names.get(name).is_some_and(|at| now.since(*at) <= FORMER_NAME_MAX);
        is_former
            || self.names.get(name).is_some_and(|named| named.is_doubtful || self.takes_another(name, named))
    }

    /// Whether the client with `name` has requested another name without an answer so far.
    fn takes_another(&self, name: &str, named: &Named) -> bool {
        let asked = self.asked.get(&named.client).and_then(|asked| asked.name.as_ref());
        asked.is_some_and(|asked| asked != name)
    }

    /// The address in the unanswered request of a client that wants the name `name`.
    pub fn asked_for(&self, name: &str) -> Option<Ipv4Addr> {
        let asks = |asked: &&Asked| asked.name.as_deref() == Some(name);
        self.asked.values().find(asks).map(|asked| asked.address)
    }

    /// `client` has the name `name` from now on, unless another client has it.
    fn rename(&mut self, client: &[u8], name: String, now: Instant) {
        let held = self.names.get(&name).filter(|named| named.client != client);
        let holds = |lease: &&Lease| held.is_some_and(|named| named.client == lease.client);
        let holders = self.leases.values().find(holds);
        let is_held = |lease: &Lease| now < lease.until + LEASE_END_GRACE;
        let is_surely_held = |lease: &Lease| now + LEASE_END_GRACE < lease.until && !lease.may_be_over;
        let is_taken = holders.is_some_and(is_surely_held);
        let is_doubtful = !is_taken && holders.is_some_and(is_held);
        let is_other = |other: &String| is_taken || *other != name;
        let former = self.names.extract_if(.., |other, named| named.client == client && is_other(other));
        self.former_names.extend(former.map(|(former, _)| (former, now)));
        self.former_names.retain(|_, at| now.since(*at) <= FORMER_NAME_MAX);
        if !is_taken {
            let known = self.names.get(&name).filter(|named| named.client == client);
            let since = known.map_or(now, |named| named.since);
            self.names.insert(name, Named { client: client.to_vec(), since, is_doubtful });
        }
    }

    fn observe_client(&mut self, message: &Message, kind: MessageType, sender: MacAddr) {
        if kind == MessageType::Request {
            let wants = match message.opts().get(OptionCode::Hostname) {
                Some(DhcpOption::Hostname(name)) => Some(name.to_lowercase()),
                _ => None,
            };
            let name = self.given_names.get(message.chaddr()).cloned().or(wants);
            let wanted = match message.opts().get(OptionCode::RequestedIpAddress) {
                Some(DhcpOption::RequestedIpAddress(wanted)) => *wanted,
                _ => message.ciaddr(),
            };
            let asked = self.asked.entry(message.chaddr().to_vec());
            let asked = asked.or_insert(Asked { address: wanted, name: None, is_given_up: false });
            (asked.address, asked.name) = (wanted, name);
        }
        let given_up = match kind {
            MessageType::Release => Some(message.ciaddr()),
            MessageType::Decline => match message.opts().get(OptionCode::RequestedIpAddress) {
                Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
                _ => None,
            },
            _ => None,
        };
        // Any host can forge a RELEASE of another's lease.
        let Some(address) = given_up.filter(|_| message.chaddr() == sender.0) else { return };
        if let Some(asked) = self.asked.get_mut(message.chaddr()).filter(|asked| asked.address == address) {
            asked.is_given_up = true;
        }
        if self.leases.get(&address).is_some_and(|lease| lease.client == message.chaddr()) {
            self.doubt(address);
        }
    }

    fn observe_server(
        &mut self,
        message: &Message,
        kind: MessageType,
        now: Instant,
    ) -> Option<(Ipv4Addr, Lease, Option<Lease>)> {
        let address = message.yiaddr();
        let is_answer = matches!(kind, MessageType::Ack | MessageType::Nak);
        let asked = if is_answer { self.asked.remove(message.chaddr()) } else { None };
        let Some(DhcpOption::AddressLeaseTime(secs)) = message.opts().get(OptionCode::AddressLeaseTime)
        else {
            return None;
        };
        if kind != MessageType::Ack || address.is_unspecified() {
            return None;
        }
        let until = now + Duration::from_secs(u64::from(*secs));
        let client = message.chaddr().to_vec();
        let has_it = |lease: &&Lease| lease.client == client && now < lease.until && !lease.may_be_over;
        let since = self.leases.get(&address).filter(has_it).map_or(now, |lease| lease.since);
        let may_be_over = asked.as_ref().is_some_and(|asked| asked.address == address && asked.is_given_up);
        if let Some(name) = asked.and_then(|asked| asked.name) {
            self.rename(&client, name, now);
        }
        let lease = Lease { client, since, until, may_be_over };
        self.leases.retain(|other, held| held.client != lease.client || *other == address);
        let before = self.leases.insert(address, lease.clone());
        Some((address, lease, before))
    }
}
