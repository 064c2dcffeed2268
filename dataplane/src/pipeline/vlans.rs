//! The VLANs of ports, and their port numbers.

use gatepost_ground::PortId;
use gatepost_ground::wire::vlan::VlanId;

use crate::config::Config;

/// The VLANs of all ports.
#[derive(Clone, Debug)]
pub(super) struct Vlans {
    /// For each port with VLANs, the port number of each VLAN id, indexed by the id so that none is searched for.
    numbers: [Option<Box<[u8; VlanId::COUNT]>>; PortId::COUNT_MAX],
    /// The port and VLAN of each number.
    numbered: [Option<(PortId, VlanId)>; PortId::COUNT_MAX],
}

/// No port has this number.
const NOWHERE: u8 = u8::MAX;

impl Vlans {
    pub(super) fn of_config(config: &Config) -> Self {
        let mut vlans =
            Self { numbers: [const { None }; PortId::COUNT_MAX], numbered: [None; PortId::COUNT_MAX] };
        // If several entries have the same id, the first counts.
        for (number, vlan) in config.vlan_ports().rev() {
            let Some(places) = vlans.numbers.get_mut(usize::from(vlan.port.0)) else { continue };
            let places = places.get_or_insert_with(|| Box::new([NOWHERE; VlanId::COUNT]));
            places[vlan.vid.index()] = number.0;
            vlans.numbered[usize::from(number.0)] = Some((vlan.port, vlan.vid));
        }
        vlans
    }

    /// The port number of the VLAN `vid` of `port`; `None` if the VLAN leads to no interface.
    pub(super) fn port_of(&self, port: PortId, vid: u16) -> Option<PortId> {
        let places = self.numbers.get(usize::from(port.0))?.as_ref()?;
        let number = *places.get(usize::from(vid))?;
        (number != NOWHERE).then_some(PortId(number))
    }

    /// Whether a VLAN of `port` leads to an interface.
    pub(super) fn has_any(&self, port: PortId) -> bool {
        self.numbers.get(usize::from(port.0)).is_some_and(Option::is_some)
    }

    /// Whether the number `port` means the same port or VLAN in `other`.
    pub(super) fn has_same(&self, port: PortId, other: &Self) -> bool {
        let vlan = |vlans: &Self| vlans.numbered.get(usize::from(port.0)).copied().flatten();
        vlan(self) == vlan(other)
    }
}
