//! Who has which address of the LAN: what the DHCP server publishes, and others read.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};

/// The names of the LAN's hosts, by leases and reservations. Asked at every question, so that a name is there as
/// soon as its lease, and no longer.
pub trait LocalNames {
    /// The addresses of the host `label`, which is in lower case and without the domain. There are none if nobody has
    /// the name.
    fn addresses(&self, label: &str) -> Vec<IpAddr>;

    /// The host name, a single label, of `address`.
    fn name(&self, address: IpAddr) -> Option<String>;

    /// Whether all names are known. While the leases cannot be read they are not, and who is not found may be there.
    fn is_complete(&self) -> bool {
        true
    }

    /// Whether a lease or a reservation says that a host has `address`. Clients at other addresses, which
    /// may be forged, share a part of the tables. Where nobody keeps leases all are known.
    fn is_known(&self, _address: IpAddr) -> bool {
        true
    }
}

/// The LAN's hosts, by leases and reservations.
pub trait LanHosts: LocalNames {
    /// The leases that have not ended, by address.
    fn leases(&self) -> Vec<LeasedHost>;

    /// Who holds an address: by a reservation for good, by a lease as long as it lasts. Nobody does without a DHCP
    /// server.
    fn holders(&self) -> Vec<Holder>;

    /// Has `observer` called with each address whose holder may have changed, and its holder: once that is on disk,
    /// and before the client learns of it. There is one observer; the latest counts.
    fn observe(&self, observer: Box<dyn Fn(Ipv4Addr, Option<Holder>)>);
}

/// A host with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedHost {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The name that it goes by in the zone.
    pub hostname: Option<String>,
    /// Its client identifier, if it gave one.
    pub client_id: Option<Vec<u8>>,
    /// How long the lease lasts, if it is not renewed.
    pub remaining: Duration,
}

/// The holder of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address of the host.
    pub mac: MacAddr,
    /// The hardware address that its frames come from: a bridge's if the host asked for the lease through one.
    pub source: MacAddr,
    /// Until when it holds the address.
    pub until: Instant,
}

/// No hosts at all.
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

    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    fn observe(&self, _: Box<dyn Fn(Ipv4Addr, Option<Holder>)>) {}
}
