//! The configuration of a DHCP server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::rc::Rc;

use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;

use super::former::FormerNetwork;
use super::leases::{ClientKey, Lease};
use super::parameters::{Match, Parameters};
use crate::dhcp::hostname;

/// The configuration of a [`Server`](super::Server).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server's address, which is its server identifier.
    pub server_address: Ipv4Addr,
    /// The network of its clients.
    pub prefix: Ipv4Net,
    /// The former network, while a change of the above waits for confirmation.
    pub former: Option<FormerNetwork>,
    /// The addresses for clients without a reservation. The server's, the router's, the network's and its
    /// broadcast address, those reserved and those outside of `prefix` are skipped.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// The duration of a lease. The client's requested duration is ignored.
    pub lease_secs: u32,
    /// Whether this is the network's only server, which sends NAKs to unknown clients.
    pub authoritative: bool,
    /// Whether clients are identified by their hardware addresses alone, not by their client identifiers.
    pub ignore_client_id: bool,
    /// The clients' router.
    pub router: Option<Ipv4Addr>,
    /// The clients' name servers, the preferred first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The clients' domain, without a trailing dot; none if empty.
    pub domain: String,
    /// The clients' time servers.
    pub ntp_servers: Vec<Ipv4Addr>,
    /// The clients' MTU, in octets; `None` leaves it to them.
    pub mtu: Option<u16>,
    /// Parameters for all clients, which take precedence over the above.
    pub parameters: Parameters,
    /// Parameters for the clients that meet criteria. If several name a parameter, the first is used.
    pub matches: Vec<Match>,
    /// The number of ports of the network.
    pub ports: usize,
    /// Reserved addresses, at most one reservation for an address.
    pub reservations: Vec<Reservation>,
}

impl Config {
    /// The configuration of the only server of `own`'s network, at this address: it leases the addresses of `pool` for
    /// an hour, and is itself the clients' router and name server. There are no reservations and no further parameters.
    pub fn new(own: Ipv4Net, pool: RangeInclusive<Ipv4Addr>) -> Self {
        Self {
            server_address: own.addr(),
            prefix: own.trunc(),
            former: None,
            pool,
            lease_secs: 3600,
            authoritative: true,
            ignore_client_id: false,
            router: Some(own.addr()),
            dns_servers: vec![own.addr()],
            domain: String::new(),
            ntp_servers: Vec::new(),
            mtu: None,
            parameters: Parameters::default(),
            matches: Vec::new(),
            ports: 1,
            reservations: Vec::new(),
        }
    }

    /// The networks that the server serves.
    pub(super) fn networks(&self) -> Vec<Ipv4Net> {
        [self.prefix].into_iter().chain(self.former.as_ref().map(|former| former.prefix)).collect()
    }

    /// Whether `address` can be a client's.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        let is_end = address == self.prefix.network() || address == self.prefix.broadcast();
        self.prefix.contains(&address)
            && (!is_end || self.prefix.prefix_len() > 30)
            && !self.is_own(address)
            && Some(address) != self.router
    }
}

/// A reservation of an address for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The client's name, which is reserved, too.
    pub hostname: Option<String>,
    /// The client's identifications, at least one: those of a machine with several interfaces or systems. The one that
    /// asks last gets the address once no other of them uses it.
    pub clients: Vec<ReservedFor>,
    /// The address, in the pool or not.
    pub address: Ipv4Addr,
    /// The client's parameters.
    pub parameters: Parameters,
}

impl Reservation {
    /// Whether the address is reserved for the client with this hardware address and client identifier.
    pub(super) fn is_for(&self, mac: MacAddr, client_id: Option<&[u8]>) -> bool {
        self.clients.iter().any(|client| match client {
            ReservedFor::Mac(reserved) => *reserved == mac,
            ReservedFor::ClientId(reserved) => client_id == Some(reserved.as_slice()),
        })
    }

    /// Whether the lease's client is one of those for which the address is reserved.
    pub(super) fn is_for_client_of(&self, lease: &Lease) -> bool {
        let client_id = match &lease.client {
            ClientKey::Id(id) => Some(id.as_slice()),
            ClientKey::Mac(_) => None,
        };
        self.is_for(lease.mac, client_id)
    }
}

/// One identification of a reservation's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservedFor {
    /// By its hardware address.
    Mac(MacAddr),
    /// By its client identifier (option 61), type octet included.
    ClientId(Vec<u8>),
}

/// Indexes of the reservations. If several are for one client, a reservation by client identifier takes precedence
/// (RFC 2131, section 4.2), then the first.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    by_address: BTreeMap<Ipv4Addr, Rc<Reservation>>,
    by_mac: BTreeMap<MacAddr, Rc<Reservation>>,
    by_client_id: BTreeMap<Vec<u8>, Rc<Reservation>>,
    /// The reserved names, as in the zone.
    names: BTreeSet<String>,
}

impl Reservations {
    /// The reservations of `config`.
    pub fn of(config: &Config) -> Self {
        let mut index = Self::default();
        for reservation in &config.reservations {
            let reservation = Rc::new(reservation.clone());
            index.by_address.entry(reservation.address).or_insert_with(|| Rc::clone(&reservation));
            index.names.extend(reservation.hostname.as_deref().and_then(hostname::label));
            for client in &reservation.clients {
                let reservation = Rc::clone(&reservation);
                match client {
                    ReservedFor::Mac(mac) => _ = index.by_mac.entry(*mac).or_insert(reservation),
                    ReservedFor::ClientId(id) => {
                        index.by_client_id.entry(id.clone()).or_insert(reservation);
                    }
                }
            }
        }
        index
    }

    /// The reservation of `address`.
    pub fn at(&self, address: Ipv4Addr) -> Option<&Reservation> {
        self.by_address.get(&address).map(Rc::as_ref)
    }

    /// The reservation for the client of this hardware address and identifier.
    pub fn for_client(&self, mac: MacAddr, client_id: Option<&[u8]>) -> Option<&Reservation> {
        let by_id = client_id.and_then(|id| self.by_client_id.get(id));
        by_id.or_else(|| self.by_mac.get(&mac)).map(Rc::as_ref)
    }

    /// Whether `name`, one label in lower case, is reserved.
    pub fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}
