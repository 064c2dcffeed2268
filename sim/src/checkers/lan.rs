//! The gateway's addresses on the LAN, which can change under way.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gatepost::config::Config;
use ipnet::Ipv4Net;

/// The gateway's addresses on the LAN. A checker that only follows the changes knows all that the gateway has had: a
/// host keeps an address of a former network as long as its lease lasts, and a packet of it may be under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Lan {
    addresses: BTreeSet<Ipv4Net>,
}

impl Lan {
    pub(super) fn of(config: &Config) -> Self {
        Self { addresses: config.lan.addresses().collect() }
    }

    /// `config` may be in force from now on, too.
    pub(super) fn follow(&mut self, config: &Config) {
        self.addresses.extend(config.lan.addresses());
    }

    /// `config` may be in force from now on: only the addresses stay that it has, too.
    pub(super) fn narrow(&mut self, config: &Config) {
        self.addresses.retain(|address| config.lan.addresses().any(|other| other == *address));
    }

    /// `config` is in force, and no other.
    pub(super) fn settle(&mut self, config: &Config) {
        *self = Self::of(config);
    }

    /// Whether one of the LAN's networks contains `address`.
    pub(super) fn contains(&self, address: &Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.contains(address))
    }

    /// Whether `address` is the gateway's.
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }
}
