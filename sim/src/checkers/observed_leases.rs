//! The LAN's leases, as somebody learns them who listens at the gateway's port.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use gatepost::config::{Config, ReservedFor};
use gatepost_ground::{Instant, MacAddr};

use super::{Passage, Side, Way};
use crate::packet::dhcp_message;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// A lease that the gateway has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose: the hardware address in the message.
    pub client: Vec<u8>,
    /// Since when its client has had it without a break.
    pub since: Instant,
    /// Until when.
    pub until: Instant,
    /// Whether it may be over: a frame under the client's hardware address gave it up, which another can have sent.
    pub may_be_over: bool,
}

/// All leases acknowledged so far, and the names that clients go by.
#[derive(Default)]
pub struct ObservedLeases {
    leases: BTreeMap<Ipv4Addr, Lease>,
    names: BTreeMap<String, Vec<u8>>,
    /// The names that the configuration gives to clients, by hardware address.
    given_names: BTreeMap<Vec<u8>, String>,
    /// The clients for which the configuration reserves addresses, by hardware address.
    reserved_for: BTreeMap<Ipv4Addr, Vec<u8>>,
    /// What clients have asked for and not been answered.
    asked: BTreeMap<Vec<u8>, Asked>,
}

/// What a client has asked for.
struct Asked {
    address: Ipv4Addr,
    /// Whether it was given up before it was answered: the gateway may deal with that after its answer.
    is_given_up: bool,
}

impl ObservedLeases {
    /// With the names that `config` gives.
    pub fn of_config(config: &Config) -> Self {
        let by_mac = config.services.dhcp.reservations.iter().filter_map(|it| match &it.client {
            ReservedFor::Mac(mac) => Some((mac.0.to_vec(), it)),
            ReservedFor::ClientId(_) => None,
        });
        let given_names = by_mac.clone().filter_map(|(mac, it)| Some((mac, it.hostname.clone()?)));
        let reserved_for = by_mac.clone().map(|(mac, it)| (it.address, mac));
        Self { given_names: given_names.collect(), reserved_for: reserved_for.collect(), ..Self::default() }
    }

    /// Takes a frame in. If it is an acknowledgement: the address, and the lease before.
    pub fn observe(&mut self, passage: &Passage<'_>) -> Option<(Ipv4Addr, Lease, Option<Lease>)> {
        let (_, source_port, destination_port, payload) = passage.packet.udp()?;
        if passage.side != Side::Lan {
            return None;
        }
        let message = dhcp_message(payload)?;
        let kind = message.opts().msg_type()?;
        match (passage.way, source_port, destination_port) {
            (Way::In, CLIENT_PORT, SERVER_PORT) => {
                self.observe_client(&message, kind, passage.packet.source_mac);
                None
            }
            (Way::Out, SERVER_PORT, _) => self.observe_server(&message, kind, passage.now),
            _ => None,
        }
    }

    /// Whether the client surely has a lease of `address` at `now`.
    pub fn is_held_by(&self, address: Ipv4Addr, client: MacAddr, now: Instant) -> bool {
        let lease = self.leases.get(&address).filter(|lease| lease.client == client.0);
        lease.is_some_and(|lease| now < lease.until && !lease.may_be_over)
    }

    /// Whether the gateway may know that `address` is not the client's: it is reserved for another, or another has or had
    /// a lease of it that lasts at `now`.
    pub fn may_be_anothers(&self, address: Ipv4Addr, client: MacAddr, now: Instant) -> bool {
        let leased_to =
            self.leases.get(&address).filter(|lease| now < lease.until).map(|lease| &lease.client);
        self.reserved_for.get(&address).or(leased_to).is_some_and(|holder| holder[..] != client.0)
    }

    /// The lease of `address` may be over: nobody can know.
    pub fn doubt(&mut self, address: Ipv4Addr) {
        if let Some(lease) = self.leases.get_mut(&address) {
            lease.may_be_over = true;
        }
    }

    /// The lease of the client called `name`, if it has or had one, with its address.
    pub fn lease_of(&self, name: &str) -> Option<(Ipv4Addr, &Lease)> {
        let client = self.names.get(name)?;
        let (address, lease) = self.leases.iter().find(|(_, lease)| lease.client == *client)?;
        Some((*address, lease))
    }

    /// The address that the client called `name` has asked for without an answer.
    pub fn asked_for(&self, name: &str) -> Option<Ipv4Addr> {
        self.asked.get(self.names.get(name)?).map(|asked| asked.address)
    }

    fn observe_client(&mut self, message: &Message, kind: MessageType, sender: MacAddr) {
        if let Some(name) = self.given_names.get(message.chaddr()) {
            self.names.insert(name.clone(), message.chaddr().to_vec());
        } else if let Some(DhcpOption::Hostname(name)) = message.opts().get(OptionCode::Hostname) {
            self.names.insert(name.to_lowercase(), message.chaddr().to_vec());
        }
        if kind == MessageType::Request {
            let wanted = match message.opts().get(OptionCode::RequestedIpAddress) {
                Some(DhcpOption::RequestedIpAddress(wanted)) => *wanted,
                _ => message.ciaddr(),
            };
            let asked = self.asked.entry(message.chaddr().to_vec());
            asked.or_insert(Asked { address: wanted, is_given_up: false }).address = wanted;
        }
        let given_up = match kind {
            MessageType::Release => Some(message.ciaddr()),
            MessageType::Decline => match message.opts().get(OptionCode::RequestedIpAddress) {
                Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
                _ => None,
            },
            _ => None,
        };
        // Anybody can say that another gives up its lease.
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
        let may_be_over = asked.is_some_and(|asked| asked.address == address && asked.is_given_up);
        let lease = Lease { client, since, until, may_be_over };
        self.leases.retain(|other, held| held.client != lease.client || *other == address);
        let before = self.leases.insert(address, lease.clone());
        Some((address, lease, before))
    }
}
