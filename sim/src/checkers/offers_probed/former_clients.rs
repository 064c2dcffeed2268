//! The clients that the DHCP server may believe to have had an address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, OptionCode};

/// The most addresses, and the most clients of each, that are remembered.
const ADDRESSES_MAX: usize = 4096;
const CLIENTS_MAX: usize = 256;

/// A client: two messages are of one client if the hardware address or the client identifier is the same.
#[derive(Clone, PartialEq, Eq)]
struct Client {
    mac: Vec<u8>,
    id: Option<Vec<u8>>,
}

impl Client {
    fn of(message: &Message) -> Self {
        let id = match message.opts().get(OptionCode::ClientIdentifier) {
            Some(DhcpOption::ClientIdentifier(id)) => Some(id.clone()),
            _ => None,
        };
        Self { mac: message.chaddr().to_vec(), id }
    }

    fn may_be(&self, other: &Self) -> bool {
        self.mac == other.mac || (self.id.is_some() && self.id == other.id)
    }
}

/// The clients of each address, the latest last.
#[derive(Default)]
pub struct FormerClients {
    by_address: BTreeMap<Ipv4Addr, Clients>,
    /// Whether there were more addresses or clients than are remembered.
    is_incomplete: bool,
}

#[derive(Default)]
struct Clients {
    all: Vec<Client>,
    /// The first in `all` of those that may have it: the last one with an ACK, and those that have asked since then. A
    /// lease can be on the disk without an ACK.
    last_from: usize,
}

impl FormerClients {
    /// The client of `message` asks for `address`.
    pub fn note_request(&mut self, address: Ipv4Addr, message: &Message) {
        self.note(address, Client::of(message));
    }

    /// The client gets `address`.
    pub fn note_ack(&mut self, address: Ipv4Addr, message: &Message) {
        self.note(address, Client::of(message));
        if let Some(clients) = self.by_address.get_mut(&address) {
            clients.last_from = clients.all.len().saturating_sub(1);
        }
    }

    fn note(&mut self, address: Ipv4Addr, client: Client) {
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address) {
            self.is_incomplete = true;
            return;
        }
        let clients = self.by_address.entry(address).or_default();
        if clients.all.last() == Some(&client) {
            return;
        }
        if clients.all.len() < CLIENTS_MAX {
            clients.all.push(client);
        } else {
            self.is_incomplete = true;
        }
    }

    /// Whether the server may believe that the client of `message` was the last one of `address`; with an `unsure` disk,
    /// that it was any one.
    pub fn may_have_had(&self, address: Ipv4Addr, message: &Message, is_unsure: bool) -> bool {
        let Some(clients) = self.by_address.get(&address) else { return self.is_incomplete };
        let first = if is_unsure { 0 } else { clients.last_from };
        let client = Client::of(message);
        self.is_incomplete || clients.all.iter().skip(first).any(|had| had.may_be(&client))
    }

    /// How many addresses of `pool` have had no client.
    pub fn untouched(&self, (first, last): (Ipv4Addr, Ipv4Addr)) -> usize {
        let len = usize::try_from(u32::from(last).saturating_sub(u32::from(first))).unwrap_or(usize::MAX);
        len.saturating_sub(self.by_address.range(first..=last.max(first)).count())
    }
}
