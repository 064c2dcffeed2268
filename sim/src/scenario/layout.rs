//! The consequences of an office's choices: the place, address and cable of each machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::action::Action;
use super::office::{FIXED_HOST, LAN_ONLY, LEASED_HOST, Office, PROVIDER_HOST, WanBy, pc_number};
use crate::machine::internet::WEB_PORT;
use crate::mistake::Line;
use crate::world::disk::DiskMood;
use crate::world::link::{Link, perfect};

impl Office {
    /// The events, in the order of time; at one time, in the order of the scenario.
    pub(super) fn actions_in_order(&self) -> Vec<&(Duration, Action, Line)> {
        let mut actions: Vec<_> = self.actions.iter().collect();
        actions.sort_by_key(|(time, ..)| *time);
        actions
    }

    /// Whether there is a WAN.
    pub(super) fn has_wan(&self) -> bool {
        self.mode != LAN_ONLY
    }

    /// Whether there is a printer.
    pub(super) fn has_printer(&self) -> bool {
        self.printer.is_some()
    }

    /// Whether the PC with this number serves pages.
    pub(super) fn is_server(&self, pc: usize) -> bool {
        self.servers.iter().any(|server| pc_number(&server.pc) == Some(pc))
    }

    /// The server that the PC with this number visits through the WAN address, if any.
    pub(super) fn own_server_for(&self, pc: usize) -> Option<(Ipv4Addr, u16)> {
        let is_visitor = pc + self.hairpinning >= self.pcs && !self.is_server(pc);
        let port = self.servers.iter().find_map(|server| server.port).filter(|_| is_visitor)?;
        Some((self.wan_address(), port))
    }

    /// The ports of the WAN's address that lead to servers.
    pub(super) fn server_ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port.unwrap_or(WEB_PORT)).collect()
    }

    /// The gateway's address on the WAN, until the provider renumbers.
    pub(super) fn wan_address(&self) -> Ipv4Addr {
        match self.wan {
            WanBy::Dhcp => self.isp_host(LEASED_HOST),
            WanBy::Fixed => self.fixed_address(),
        }
    }

    /// The gateway's address if it is configured.
    pub(super) fn fixed_address(&self) -> Ipv4Addr {
        self.isp_host(FIXED_HOST)
    }

    /// The provider's router.
    pub(super) fn isp_router(&self) -> Ipv4Addr {
        self.isp_host(PROVIDER_HOST)
    }

    /// A host of the provider's network.
    pub(super) fn isp_host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.isp_network.network().to_bits() + number)
    }

    /// Whether any cable can invert bits, now or later.
    pub(super) fn bits_flip(&self) -> bool {
        let later = self.actions.iter().filter_map(|(_, action, _)| match action {
            Action::Link { link, .. } => Some(link),
            _ => None,
        });
        self.links.iter().map(|(_, link, _)| link).chain(later).any(Link::corrupts)
    }

    /// Whether the gateway's time of day can be wrong when it starts, so that it cannot know which leases
    /// have ended.
    pub(super) fn starts_at_a_wrong_time(&self) -> bool {
        self.clock_jumps() && self.actions.iter().any(|(_, action, _)| *action == Action::PowerBack)
    }

    /// Whether the gateway's time of day is wrong at some time.
    fn clock_jumps(&self) -> bool {
        self.actions.iter().any(|(_, action, _)| matches!(action, Action::ClockJumps(_)))
    }

    /// Whether there is a time at which others cannot verify the gateway's certificates: its time of day is wrong, or
    /// it cannot read its authority, and uses another one meanwhile.
    pub(super) fn is_disbelieved(&self) -> bool {
        let is_unreadable = |action: &Action| *action == Action::Disk(DiskMood::Unreadable);
        self.clock_jumps() || self.actions.iter().any(|(_, action, _)| is_unreadable(action))
    }

    /// The cable of `name` in the beginning; the last line for it or its group counts.
    pub(super) fn link_of(&self, name: &str, group: &str) -> Link {
        let mut matching = self.links.iter().rev().filter(|(of, ..)| of == name || of == group);
        let link = matching.next().map_or_else(perfect, |(_, link, _)| link.clone());
        self.fitted(name, link)
    }

    /// `link`, as it applies to the cable of `name`.
    pub(super) fn fitted(&self, name: &str, link: Link) -> Link {
        let is_within_mtu =
            name == "wan" || self.member(name).is_some_and(|member| member.is_within_wan_mtu());
        if is_within_mtu { link.within_mtu(self.wan_mtu) } else { link }
    }
}
