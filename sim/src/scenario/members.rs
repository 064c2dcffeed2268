//! The members: every machine of an office by its name, with its role and its segment.
//!
//! The names in scenarios, the cables of machines, and the machines of a world all follow from this one list.

use super::office::Office;

/// A machine of an office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) plug: Plug,
}

/// The role of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The PC with this number.
    Pc(usize),
    Spoofer,
    /// The provider's router, and the internet behind it.
    Internet,
    Attacker,
    Visitor,
    /// The scenario's own machine with this number.
    Own(usize),
}

/// The segment of a machine in the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plug {
    /// Into a port of the office's switch.
    Lan(usize),
    /// On the WAN, beside the provider's router.
    Wan,
}

pub(super) const SPOOFER: &str = "spoofer";
pub(super) const INTERNET: &str = "internet";
pub(super) const ATTACKER: &str = "attacker";
pub(super) const VISITOR: &str = "visitor";
/// The cables of all PCs.
pub(super) const PCS: &str = "pcs";

impl Member {
    fn new(name: impl Into<String>, role: Role, plug: Plug) -> Self {
        Self { name: name.into(), role, plug }
    }

    /// Whether the machine is on the LAN.
    pub(super) fn is_on_lan(&self) -> bool {
        matches!(self.plug, Plug::Lan(_))
    }

    /// The group of cables that its cable belongs to; its own name if there is no such group.
    pub(super) fn group(&self) -> &str {
        if matches!(self.role, Role::Pc(_)) { PCS } else { &self.name }
    }

    /// Whether [`super::link`] of this name changes its cable. The spoofer's cable changes with those of the PCs.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || name == PCS && matches!(self.role, Role::Pc(_) | Role::Spoofer)
    }

    /// Whether its cable has the MTU of the WAN.
    pub(super) fn is_within_wan_mtu(&self) -> bool {
        self.plug == Plug::Wan && self.role != Role::Attacker
    }
}

impl Office {
    /// All machines but the gateway, in the order in which the world draws their seeds.
    pub(super) fn members(&self) -> Vec<Member> {
        let pc = |number| {
            Member::new(format!("pc-{number}"), Role::Pc(number), Plug::Lan(number % self.lan_ports))
        };
        let mut members: Vec<_> = (0..self.pcs).map(pc).collect();
        members.extend([
            Member::new(SPOOFER, Role::Spoofer, Plug::Lan(0)),
            Member::new(INTERNET, Role::Internet, Plug::Wan),
            Member::new(ATTACKER, Role::Attacker, Plug::Wan),
            Member::new(VISITOR, Role::Visitor, Plug::Wan),
        ]);
        members.extend(self.own_machines.iter().enumerate().map(|(number, own)| {
            let plug = self.lan_port(&own.port).map_or(Plug::Wan, Plug::Lan);
            Member::new(&own.name, Role::Own(number), plug)
        }));
        members
    }

    /// The machine called `name`.
    pub(super) fn member(&self, name: &str) -> Option<Member> {
        self.members().into_iter().find(|member| member.name == name)
    }
}
