//! Announcing and defending the gateway's own addresses: each is announced when the gateway takes it, and defended
//! when another host claims it. (RFC 5227)

use core::net::Ipv4Addr;
use core::time::Duration;

use gatepost_ground::wire::arp::Packet;
use gatepost_ground::{Instant, InterfaceId, MacAddr};

use super::Dataplane;
use super::context::Call;
use super::egress::send_arp;
use super::network::Network;
use crate::explain::Run;

/// The least time between two answers to a conflict, DEFEND_INTERVAL. (RFC 5227, section 1.1)
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// The number of announcements of a new address, ANNOUNCE_NUM. (RFC 5227, section 1.1)
const ANNOUNCEMENTS: u8 = 2;
/// The time between two announcements, ANNOUNCE_INTERVAL. (RFC 5227, section 1.1)
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// One of the gateway's own addresses, with its remaining announcements and the time until which conflicts are not
/// answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnAddress {
    network: Network,
    /// The interface's hardware address, which is announced.
    mac: MacAddr,
    announcements_left: u8,
    /// When the next announcement is due.
    due: Option<Instant>,
    defended_until: Instant,
}

impl OwnAddress {
    /// A new address, to be announced from now on if `is_announced`.
    fn new(network: Network, mac: MacAddr, now: Instant, is_announced: bool) -> Self {
        let (announcements_left, due) = if is_announced { (ANNOUNCEMENTS, Some(now)) } else { (0, None) };
        Self { network, mac, announcements_left, due, defended_until: now }
    }

    /// When the next announcement is due; `None` if no announcement is left.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    fn announced(&mut self, now: Instant) {
        self.announcements_left = self.announcements_left.saturating_sub(1);
        self.due = (self.announcements_left > 0).then(|| now + ANNOUNCE_INTERVAL);
    }
}

impl<M: Run> Dataplane<M> {
    /// Takes in the gateway's current addresses. The first worker announces those that are new, or have got another
    /// hardware address.
    pub(super) fn follow_own_addresses(&mut self, now: Instant) {
        let is_announced = self.shard.is_first();
        let known = core::mem::take(&mut self.own_addresses);
        let of_network = |network: &Network| {
            let mac = self.config.interface(network.interface()).mac();
            let known = known.iter().find(|own| own.network == *network && own.mac == mac).copied();
            known.unwrap_or_else(|| OwnAddress::new(*network, mac, now, is_announced))
        };
        self.own_addresses = self.networks.all().iter().map(of_network).collect();
    }

    /// Announces the gateway's address `own`, which another host claims, at most once in [`DEFEND_INTERVAL`]: two
    /// gateways that answered every claim would cause a storm. The gateway defends its address indefinitely, option
    /// (c). (RFC 5227, section 2.4)
    pub(super) fn defend(&mut self, call: &mut Call<'_>, interface: InterfaceId, own: Ipv4Addr) {
        if !self.shard.is_first() {
            return;
        }
        let of_interface = |address: &&mut OwnAddress| {
            address.network.interface() == interface && address.network.own_address() == own
        };
        let Some(address) = self.own_addresses.iter_mut().find(of_interface) else { return };
        if call.now < address.defended_until {
            return;
        }
        address.defended_until = call.now + DEFEND_INTERVAL;
        self.announce(call, interface, own);
    }

    /// Sends the announcements that are due.
    pub(super) fn announcement_timeout(&mut self, call: &mut Call<'_>) {
        for index in 0..self.own_addresses.len() {
            let address = &mut self.own_addresses[index];
            if address.due.is_some_and(|due| due <= call.now) {
                address.announced(call.now);
                let (interface, own) = (address.network.interface(), address.network.own_address());
                self.announce(call, interface, own);
            }
        }
    }

    fn announce(&mut self, call: &mut Call<'_>, interface: InterfaceId, own: Ipv4Addr) {
        let packet = Packet::announcement(self.config.interface(interface).mac(), own);
        send_arp(&mut self.counters, &self.links, call, interface, &packet, MacAddr::BROADCAST);
    }
}
