//! What packets of any family ask of the gateway's interfaces themselves.

use core::ops::Range;

use gatepost_ground::{InterfaceId, MacAddr, Role};

use crate::config::{Config, Interface};
use crate::table::octet_filter::OctetFilter;
use crate::table::per_interface::PerInterface;

/// What packets ask of an interface.
#[derive(Clone, Copy, Debug)]
// A power of two is quicker to find.
#[repr(align(16))]
pub(super) struct Facts {
    /// What the interface is to the policy.
    pub(super) role: Role,
    /// The gateway's hardware address there.
    pub(super) mac: MacAddr,
    /// The largest packet that it carries, in octets.
    pub(super) mtu: u16,
}

/// The facts of all interfaces.
#[derive(Clone, Debug)]
pub(super) struct InterfaceFacts {
    facts: PerInterface<Facts>,
    /// The gateway's hardware addresses.
    macs: Box<[MacAddr]>,
    mac_filter: OctetFilter,
    inside_mtus: Range<u16>,
}

impl InterfaceFacts {
    pub(super) fn of_config(config: &Config) -> Self {
        // The places without an interface are never asked for.
        let mut facts = PerInterface::from_fn(|_| Facts { role: Role::Outside, mac: MacAddr::ZERO, mtu: 0 });
        for (id, interface) in config.interfaces() {
            facts[id] = Facts { role: interface.role, mac: interface.mac(), mtu: interface.mtu };
        }
        let mtus = || config.interfaces_of(Role::Inside).map(|(_, interface)| interface.mtu);
        let macs: Box<[_]> = config.interfaces.iter().map(Interface::mac).collect();
        Self {
            facts,
            mac_filter: OctetFilter::of(macs.iter().map(|mac| mac.0[5])),
            macs,
            inside_mtus: mtus().min().unwrap_or(0)..mtus().max().unwrap_or(0),
        }
    }

    /// What packets ask of the interface `id`.
    #[inline]
    pub(super) fn of(&self, id: InterfaceId) -> &Facts {
        &self.facts[id]
    }

    /// Whether `mac` is one of the gateway's.
    #[inline]
    pub(super) fn is_own_mac(&self, mac: MacAddr) -> bool {
        self.mac_filter.may_have(mac.0[5]) && self.macs.contains(&mac)
    }

    /// The smallest and the largest MTU of the inside.
    #[inline]
    pub(super) fn inside_mtus(&self) -> Range<u16> {
        self.inside_mtus.clone()
    }
}
