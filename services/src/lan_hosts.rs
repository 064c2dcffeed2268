//! The LAN's hosts and their addresses, which the DHCP server publishes to other services.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};

/// The names of the LAN's hosts, from leases and reservations. DNS asks for every query, so a name appears and
/// disappears with its lease.
pub trait LocalNames {
    /// The addresses of the host `label`, which is in lower case and without the domain; none if no host has the name.
    fn addresses(&self, label: &str) -> Vec<IpAddr>;

    /// The labels of all hosts with a name, each once; none if they are not enumerated.
    fn labels(&self) -> Vec<String> {
        Vec::new()
    }

    /// The host name, a single label, of `address`.
    fn name(&self, address: IpAddr) -> Option<String>;

    /// Whether all names are known. While the leases cannot be read, a host that is not found may exist.
    fn is_complete(&self) -> bool {
        true
    }

    /// Whether a lease or a reservation assigns `address`. Clients at other addresses, which may be forged, share one
    /// quota of the tables. Without a DHCP server all addresses count as known.
    fn is_known(&self, _address: IpAddr) -> bool {
        true
    }
}

/// The LAN's hosts, from leases and reservations.
pub trait LanHosts: LocalNames {
    /// The leases that have not ended, by address.
    fn leases(&self) -> Vec<LeasedHost>;

    /// The addresses of leases that have ended, and those in quarantine, the latest first: `max` at most.
    fn former_leases(&self, max: usize) -> Vec<LeasedHost>;

    /// The holders of addresses: by a reservation permanently, by a lease until it ends; none without a DHCP server.
    fn holders(&self) -> Vec<Holder>;

    /// Registers the one `observer`, replacing the former one. It is called with the addresses whose holders may have
    /// changed, and with these, once the changes are on disk and before the clients get their ACKs: once for all
    /// changes that one write has put there.
    fn observe(&self, observer: Box<dyn Fn(BTreeMap<Ipv4Addr, Option<Holder>>)>);
}

/// A host with a lease, or the last one that had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedHost {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address; of a quarantined address, that of the machine that answers for the address or, if none
    /// does, of the client that has declined it.
    pub mac: MacAddr,
    /// The host's name in the zone.
    pub hostname: Option<String>,
    /// Its client identifier, if it gave one.
    pub client_id: Option<Vec<u8>>,
    /// The state of its lease.
    pub state: LeaseState,
    /// The time since the lease was last granted, renewed, or released, or since the quarantine began.
    pub age: Duration,
    /// The time until the lease or the quarantine ends.
    pub remaining: Duration,
}

/// The state of an address that the DHCP server leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// A client has it.
    Bound,
    /// The lease has ended without a renewal.
    Expired,
    /// The client has released it. (RFC 2131, section 4.3.4)
    Released,
    /// Another machine was found to use it: no client gets it until the quarantine ends.
    Quarantined,
}

impl LeaseState {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The holder of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address of the host.
    pub mac: MacAddr,
    /// The hardware address that sends the host's frames: a bridge's, if the host requested the lease through one.
    pub source: MacAddr,
    /// When the holder loses the address.
    pub until: Instant,
}

/// No hosts.
impl LocalNames for () {
    fn addresses(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn name(&self, _: IpAddr) -> Option<String> {
        None
    }
}

impl LanHosts for () {
    fn leases(&self) -> Vec<LeasedHost> {
        Vec::new()
    }

    fn former_leases(&self, _: usize) -> Vec<LeasedHost> {
        Vec::new()
    }

    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    fn observe(&self, _: Box<dyn Fn(BTreeMap<Ipv4Addr, Option<Holder>>)>) {}
}
