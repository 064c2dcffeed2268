//! The identity that a machine gets when it is made.

use std::net::Ipv4Addr;

use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;

/// Who a machine of the scenario's own is: what [`Office::machine`](crate::scenario::Office::machine) gives to the function that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// A hardware address that no other machine has.
    pub mac: MacAddr,
    /// An address that is set aside for it, with the prefix of its network: by a reservation of `mac` on the LAN, so
    /// that DHCP gives the same one, and beside the provider's own on the WAN.
    pub address: Ipv4Net,
    /// Its next hop: the gateway on the LAN, the provider's router on the WAN.
    pub router: Ipv4Addr,
    /// The gateway's address on the WAN, until the provider renumbers ([`Machine::on_renumber`](super::Machine::on_renumber)).
    pub office: Ipv4Addr,
    /// What everything random of the machine's is drawn from; another one in every run with another seed.
    pub seed: u64,
}
