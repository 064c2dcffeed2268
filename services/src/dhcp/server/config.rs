//! What a DHCP server is told.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use gatepost_dataplane::MacAddr;
use ipnet::Ipv4Net;

/// The configuration of a [`Server`](super::Server).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server's own address, by which clients know it.
    pub server_address: Ipv4Addr,
    /// The network of its clients.
    pub prefix: Ipv4Net,
    /// The addresses for clients without a reservation. The server's, the router's, the network's and its
    /// broadcast address, those reserved and those outside of `prefix` are skipped.
    pub pool: RangeInclusive<Ipv4Addr>,
    /// How long a lease lasts. A client's own wish is not heeded.
    pub lease_secs: u32,
    /// Whether this is the network's only server, which refuses what it does not know.
    pub authoritative: bool,
    /// The clients' router.
    pub router: Option<Ipv4Addr>,
    /// The clients' name servers, the preferred first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The clients' domain, without a trailing dot; none if empty.
    pub domain: String,
    /// The clients' time servers.
    pub ntp_servers: Vec<Ipv4Addr>,
    /// The clients' MTU, in octets, if they shall not use their own.
    pub mtu: Option<u16>,
    /// Addresses kept for certain clients. No two for one address.
    pub reservations: Vec<Reservation>,
}

impl Config {
    /// The reservation of `address`.
    pub(super) fn reservation_at(&self, address: Ipv4Addr) -> Option<&Reservation> {
        self.reservations.iter().find(|reservation| reservation.address == address)
    }

    /// Whether `address` can be a client's.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        let is_end = address == self.prefix.network() || address == self.prefix.broadcast();
        self.prefix.contains(&address)
            && (!is_end || self.prefix.prefix_len() > 30)
            && address != self.server_address
            && Some(address) != self.router
    }
}

/// An address kept for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The client's name, which nobody else is given.
    pub hostname: Option<String>,
    /// How the client is recognised.
    pub client: ReservedFor,
    /// Its address, in the pool or not.
    pub address: Ipv4Addr,
}

/// How a reservation recognises its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservedFor {
    /// By its hardware address.
    Mac(MacAddr),
    /// By its client identifier (option 61), type octet included.
    ClientId(Vec<u8>),
}
