//! The properties of the gateway's interfaces that the packet path needs, for any address family.

use gatepost_ground::{InterfaceId, MacAddr, Role};

use crate::config::Config;
use crate::table::octet_filter::OctetFilter;
use crate::table::per_interface::PerInterface;

/// The properties of one interface.
#[derive(Clone, Copy, Debug)]
// An index is computed faster if the size is a power of two.
#[repr(align(16))]
pub(super) struct Facts {
    /// The interface's role in the policy.
    pub(super) role: Role,
    /// The gateway's hardware address on the interface.
    pub(super) mac: MacAddr,
    /// The MTU, in octets.
    pub(super) mtu: u16,
}

/// The properties of all interfaces.
#[derive(Clone, Debug)]
pub(super) struct InterfaceFacts {
    facts: PerInterface<Facts>,
    /// The gateway's hardware addresses on inside interfaces.
    inside_macs: Box<[MacAddr]>,
    inside_mac_filter: OctetFilter,
    /// The smallest and the largest MTU of the inside interfaces.
    inside_mtus: [u16; 2],
}

impl InterfaceFacts {
    pub(super) fn of_config(config: &Config) -> Self {
        // Slots without an interface are never read.
        let mut facts = PerInterface::from_fn(|_| Facts { role: Role::Outside, mac: MacAddr::ZERO, mtu: 0 });
        for (id, interface) in config.interfaces() {
            facts[id] = Facts { role: interface.role, mac: interface.mac(), mtu: interface.mtu };
        }
        let mtus = || config.interfaces_of(Role::Inside).map(|(_, interface)| interface.mtu);
        let inside_macs: Box<[_]> =
            config.interfaces_of(Role::Inside).map(|(_, interface)| interface.mac()).collect();
        Self {
            facts,
            inside_mac_filter: OctetFilter::of(inside_macs.iter().map(|mac| mac.0[5])),
            inside_macs,
            inside_mtus: [mtus().min().unwrap_or(0), mtus().max().unwrap_or(0)],
        }
    }

    /// The properties of the interface `id`.
    #[inline]
    pub(super) fn of(&self, id: InterfaceId) -> &Facts {
        &self.facts[id]
    }

    /// Whether `mac` is the gateway's hardware address on `interface` or on an inside interface. That of an outside
    /// interface may be a copy of a LAN host's, for a provider that serves a single hardware address.
    #[inline]
    pub(super) fn is_own_mac(&self, interface: InterfaceId, mac: MacAddr) -> bool {
        mac == self.facts[interface].mac
            || self.inside_mac_filter.may_have(mac.0[5]) && self.inside_macs.contains(&mac)
    }

    /// The smallest MTU of the inside interfaces.
    #[inline]
    pub(super) fn inside_mtu_min(&self) -> u16 {
        self.inside_mtus[0]
    }

    /// The largest MTU of the inside interfaces.
    #[inline]
    pub(super) fn inside_mtu_max(&self) -> u16 {
        self.inside_mtus[1]
    }
}
