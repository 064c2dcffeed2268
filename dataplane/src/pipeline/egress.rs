//! The egress stage: sends a finished IPv4 packet to its next hop, or holds it until the next hop's hardware address
//! is known.

use core::net::Ipv4Addr;

use gatepost_ground::wire::arp;
use gatepost_ground::wire::ethernet::{EtherType, Header};
use gatepost_ground::{Frame, InterfaceId, MacAddr};

use super::Dataplane;
use super::context::Call;
use super::errors::dropped_as_sent;
use super::fragments::send_fragmented;
use super::interface_facts::Facts;
use super::link::LinkTable;
use super::network::Networks;
use crate::alert::{Alert, Alerts};
use crate::config::Config;
use crate::counters::Counters;
use crate::drop_log::DropLog;
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Run, Step};
use crate::firewall::syn_reject::Quote;
use crate::flow::FlowTable;
use crate::neighbor::{Event, Resolution};
use crate::route::Route;
use crate::table::memory::Memory;
use crate::verdict::Verdict;

impl<M: Run> Dataplane<M> {
    /// Sends the packet in `frame` to `destination` by `route`.
    #[inline]
    pub(super) fn egress(
        &mut self,
        call: &mut Call<'_>,
        route: Route,
        destination: Ipv4Addr,
        frame: &mut Frame,
    ) -> Verdict {
        let next_hop = route.next_hop(destination);
        let known = self.neighbors.lookup(call.now, route.interface, next_hop);
        self.observer.note(|| Step::NextHop { interface: route.interface, address: next_hop, mac: known });
        let mac = match known {
            Some(mac) => mac,
            None => match self.neighbors.resolve(call.now, route.interface, next_hop, frame) {
                Resolution::Known(mac) => mac,
                Resolution::Held => return Verdict::Hold,
                Resolution::QueueFull => return Verdict::Drop(DropReason::NeighborQueueFull),
                Resolution::TableFull => return Verdict::Drop(DropReason::NeighborTableFull),
                Resolution::Unreachable => {
                    self.reject_unreachable(call, &mut Quote::of_frame(frame));
                    return Verdict::Drop(DropReason::NeighborUnreachable);
                }
            },
        };
        let Facts { mac: own, mtu, .. } = *self.facts.of(route.interface);
        write_link_header(own, mac, frame);
        if frame.packet_len_max() <= usize::from(mtu) {
            return self.links.verdict_to(call.now, route.interface, mac);
        }
        match send_fragmented(call.output, self.links.ports_to(call.now, route.interface, mac), frame, mtu) {
            Ok(fragments) => {
                self.counters.made += fragments;
                Verdict::Consumed
            }
            Err(reason) => Verdict::Drop(reason),
        }
    }
}

impl Dataplane {
    /// Carries out what is due in the neighbour table.
    pub(super) fn neighbor_timeout(&mut self, call: &mut Call<'_>) {
        let Self { config, networks, counters, drops, flows, links, neighbors, unreachable, alerts, .. } =
            self;
        let mut events =
            NeighborEvents { config, networks, counters, drops, flows, links, unreachable, alerts };
        neighbors.handle_timeout(call.now, &mut |event| events.handle(call, event));
        while let Some(mut quote) = self.unreachable.pop() {
            self.reject_unreachable(call, &mut quote);
        }
    }
}

/// The most senders that one call informs of a next hop that does not answer. ICMP errors are rate-limited besides.
pub(super) const UNREACHABLE_MAX: usize = 32;

/// Carries out the events of the neighbour table.
pub(super) struct NeighborEvents<'a, M: Memory> {
    pub(super) config: &'a Config,
    pub(super) networks: &'a Networks,
    pub(super) counters: &'a mut Counters,
    pub(super) drops: &'a mut DropLog,
    pub(super) flows: &'a FlowTable<Ipv4Addr, M>,
    pub(super) links: &'a LinkTable,
    /// Dropped packets whose senders are to get an ICMP error.
    pub(super) unreachable: &'a mut Vec<Quote>,
    /// Alerts for the administrator.
    pub(super) alerts: &'a mut Alerts,
}

impl<M: Memory> NeighborEvents<'_, M> {
    pub(super) fn handle(&mut self, call: &mut Call<'_>, event: Event<'_>) {
        match event {
            Event::SendRequest { interface, ip, unicast_to } => self.ask(call, interface, ip, unicast_to),
            Event::Release { interface, mac, frame } => {
                write_link_header(self.config.interface(interface).mac(), mac, frame);
                match self.release(call, interface, mac, frame) {
                    Ok(()) => self.counters.held_transmitted(),
                    Err(reason) => self.drop_held(reason, frame),
                }
            }
            Event::Expired { frame, .. } => {
                self.drop_held(DropReason::NeighborUnreachable, frame);
                if self.unreachable.len() < UNREACHABLE_MAX {
                    self.unreachable.push(Quote::of_frame(frame));
                } else {
                    self.counters.made_suppressed += 1;
                }
            }
            Event::Moved(claim) => {
                self.counters.neighbor_changes += 1;
                self.alerts.raise(call.now, Alert::NeighborMoved(claim.of_any_family()));
            }
            Event::ClaimRefused(claim) => {
                self.counters.neighbor_claims_refused += 1;
                self.alerts.raise(call.now, Alert::NeighborClaimRefused(claim.of_any_family()));
            }
        }
    }

    /// Counts and remembers a held frame that is dropped.
    fn drop_held(&mut self, reason: DropReason, frame: &Frame) {
        self.counters.held_dropped(reason);
        self.drops.push(reason, None, (None, None), dropped_as_sent(self.flows, self.networks, frame));
    }

    fn release(
        &mut self,
        call: &mut Call<'_>,
        interface: InterfaceId,
        mac: MacAddr,
        frame: &mut Frame,
    ) -> Result<(), DropReason> {
        let ports = self.links.ports_to(call.now, interface, mac);
        let mtu = self.config.interface(interface).mtu;
        if frame.packet_len_max() > usize::from(mtu) {
            self.counters.made += send_fragmented(call.output, ports, frame, mtu)?;
            Ok(())
        } else if call.output.release(ports, frame) {
            Ok(())
        } else {
            Err(DropReason::OutputFull)
        }
    }

    /// Asks for a neighbour's hardware address, from the gateway's address in the neighbour's network.
    fn ask(&mut self, call: &mut Call<'_>, id: InterfaceId, ip: Ipv4Addr, unicast_to: Option<MacAddr>) {
        let Some(network) = self.networks.towards(id, ip) else { return };
        let request = arp::Packet::request(self.config.interface(id).mac(), network.own_address(), ip);
        let to = unicast_to.unwrap_or(MacAddr::BROADCAST);
        send_arp(self.counters, self.links, call, id, &request, to);
    }
}

/// Sends an ARP packet that the gateway has made.
pub(super) fn send_arp(
    counters: &mut Counters,
    links: &LinkTable,
    call: &mut Call<'_>,
    interface: InterfaceId,
    packet: &arp::Packet,
    to: MacAddr,
) {
    let frame = packet.to_frame(to);
    let is_made = call.output.make(links.ports_to(call.now, interface, to), |buffer| {
        buffer.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(frame.len())
    });
    if is_made {
        counters.made += 1;
    } else {
        counters.made_suppressed += 1;
    }
}

/// Writes the Ethernet header of a packet that goes from the gateway's hardware address `source` to `destination`.
#[inline]
fn write_link_header(source: MacAddr, destination: MacAddr, frame: &mut Frame) {
    let header = Header { destination, source, ether_type: EtherType::IPV4 };
    // There is room for the header before a packet that was parsed.
    let is_written = frame.relink(Header::LEN).is_some_and(|link_header| header.write(link_header).is_ok());
    debug_assert!(is_written, "an Ethernet header has room before any packet");
}
