//! The link stage: drops invalid frames, bridges frames for other stations, and passes frames for the gateway to the
//! ARP or IPv4 stage.

use std::collections::VecDeque;

use gatepost_ground::wire::ethernet::{EtherType, Header};
use gatepost_ground::wire::vlan::Tag;
use gatepost_ground::{Frame, Instant, InterfaceId, MacAddr, PortId, PortSet, Role};

use super::Dataplane;
use super::context::{Call, Context};
use super::interface_facts::Facts;
use super::vlans::Vlans;
use crate::bridge::{Bridge, Station};
use crate::config::Config;
use crate::drop_reason::DropReason;
use crate::explain::{Observer, Run, Step};
use crate::ingress::Ingress;
use crate::notice::Notice;
use crate::shard::Shard;
use crate::table::per_interface::PerInterface;
use crate::verdict::Verdict;

/// How a frame was addressed to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// To the gateway's own hardware address. The frame may be rewritten.
    Unicast,
    /// To a group address. Other stations may get the same frame, so it must not be changed.
    Group,
}

impl<M: Run> Dataplane<M> {
    /// Takes a frame that came in by `port`.
    #[inline]
    pub(super) fn link_input(
        &mut self,
        cx: &mut Context<'_, '_>,
        port: PortId,
        frame: &mut Frame,
    ) -> Verdict {
        let (mut interface, mut port) = match self.links.interface_of(port) {
            Some(interface) => (interface, port),
            None => match self.trunk_input(cx, port, frame) {
                Ok(ingress_point) => ingress_point,
                Err(verdict) => return verdict,
            },
        };
        let Ok(mut header) = Header::parse(frame.bytes()) else {
            return Verdict::Drop(DropReason::FrameTruncated);
        };
        if header.source.is_multicast()
            || header.source == MacAddr::ZERO
            || self.facts.is_own_mac(interface, header.source)
        {
            return Verdict::Drop(DropReason::SourceMacInvalid);
        }
        if header.ether_type.is_vlan() {
            match self.tagged_input(cx, (interface, port), header, frame) {
                Ok((inner, ingress_point)) => (header, (interface, port)) = (inner, ingress_point),
                Err(verdict) => return verdict,
            }
            if self.facts.is_own_mac(interface, header.source) {
                return Verdict::Drop(DropReason::SourceMacInvalid);
            }
        }
        frame.set_link_len(Header::LEN);
        if !frame.offload().fits(frame.bytes()) {
            return Verdict::Drop(DropReason::OffloadInvalid);
        }
        if let Some(reason) = self.inspect(cx, interface, &header, frame) {
            return Verdict::Drop(reason);
        }
        self.links.learn(cx.call.now, interface, header.source, port);
        self.observer.note(|| Step::Entered { interface, port });

        let Facts { role, mac, .. } = *self.facts.of(interface);
        if header.destination == mac {
            return self.network_input(cx, (interface, role), Cast::Unicast, header, frame);
        }
        if !header.destination.is_multicast() {
            return self.links.bridge(cx.call.now, interface, port, header.destination);
        }
        if is_reserved_group(header.destination) {
            return Verdict::Drop(DropReason::ReservedGroupAddress);
        }
        let verdict = self.network_input(cx, (interface, role), Cast::Group, header, frame);
        let others = self.links.others(interface, port);
        if others.is_empty() {
            return verdict;
        }
        let local = match verdict {
            Verdict::Local(class) => Some(class),
            _ => None,
        };
        Verdict::Flood { ports: others, local }
    }

    /// Takes a frame from a port whose untagged frames belong to no interface. The frame enters the interface of its
    /// VLAN tag.
    #[cold]
    #[inline(never)]
    fn trunk_input(
        &self,
        cx: &mut Context<'_, '_>,
        port: PortId,
        frame: &mut Frame,
    ) -> Result<IngressPoint, Verdict> {
        let is_tagged = Header::parse(frame.bytes()).is_ok_and(|header| header.ether_type.is_vlan());
        let tag = Tag::parse(frame.bytes()).ok().filter(|_| is_tagged);
        let ingress_point = tag.and_then(|tag| self.links.ingress_point(port, tag.vid));
        let reason =
            if self.links.has_vlans(port) { DropReason::VlanNotAllowed } else { DropReason::PortDown };
        enter(cx, ingress_point.ok_or(Verdict::Drop(reason))?, frame)
    }

    /// Takes a frame with VLAN tags. Tags of VLAN 0 are removed (priority-tagged frames, IEEE 802.1Q); a frame
    /// without further tags belongs to the untagged network, and its header is returned. A frame of a VLAN that leads
    /// to an interface enters that interface without the tag. A frame of any other VLAN is bridged unchanged, and the
    /// gateway itself does not read it.
    #[cold]
    #[inline(never)]
    fn tagged_input(
        &mut self,
        cx: &mut Context<'_, '_>,
        mut ingress_point: IngressPoint,
        mut header: Header,
        frame: &mut Frame,
    ) -> Result<(Header, IngressPoint), Verdict> {
        if !frame.offload().fits(frame.bytes()) {
            return Err(Verdict::Drop(DropReason::OffloadInvalid));
        }
        for _ in 0..Tag::COUNT_MAX {
            match Tag::parse(frame.bytes()) {
                Err(_) => return Err(Verdict::Drop(DropReason::FrameTruncated)),
                Ok(Tag { vid: 0 }) if frame.remove_tag() => {}
                Ok(Tag { vid: 0 }) => return Err(Verdict::Drop(DropReason::OffloadInvalid)),
                Ok(Tag { vid }) => match self.links.ingress_point(ingress_point.1, vid) {
                    Some(vlan) => ingress_point = enter(cx, vlan, frame)?,
                    None => break,
                },
            }
            header = Header::parse(frame.bytes()).map_err(|_| Verdict::Drop(DropReason::FrameTruncated))?;
            if !header.ether_type.is_vlan() {
                return Ok((header, ingress_point));
            }
        }
        // A station that removes all tags of VLAN 0 would read a frame that the gateway has not inspected.
        if matches!(Tag::parse(frame.bytes()), Ok(Tag { vid: 0 })) {
            return Err(Verdict::Drop(DropReason::VlanTagged));
        }
        Err(self.bridge_tagged(cx.call.now, ingress_point, &header))
    }

    /// Bridges a frame of a VLAN that leads to no interface of the gateway.
    fn bridge_tagged(&mut self, now: Instant, (interface, port): IngressPoint, header: &Header) -> Verdict {
        self.links.learn(now, interface, header.source, port);
        if header.destination == self.facts.of(interface).mac {
            return Verdict::Drop(DropReason::VlanTagged);
        }
        if !header.destination.is_multicast() {
            return self.links.bridge(now, interface, port, header.destination);
        }
        if is_reserved_group(header.destination) {
            return Verdict::Drop(DropReason::ReservedGroupAddress);
        }
        let ports = self.links.others(interface, port);
        if ports.is_empty() {
            Verdict::Drop(DropReason::VlanTagged)
        } else {
            Verdict::Flood { ports, local: None }
        }
    }

    /// Sends a whole Ethernet frame of the gateway itself out of `interface`.
    pub(super) fn host_frame(&mut self, call: &Call<'_>, interface: InterfaceId, frame: &Frame) -> Verdict {
        match Header::parse(frame.bytes()) {
            Ok(header) => self.links.verdict_to(call.now, interface, header.destination),
            Err(_) => Verdict::Drop(DropReason::FrameTruncated),
        }
    }

    #[inline]
    fn network_input(
        &mut self,
        cx: &mut Context<'_, '_>,
        (interface, role): (InterfaceId, Role),
        cast: Cast,
        header: Header,
        frame: &mut Frame,
    ) -> Verdict {
        match header.ether_type {
            EtherType::IPV4 => self.ipv4_input(cx, (interface, role), cast, frame),
            EtherType::ARP => self.arp_input(cx, interface, frame),
            _ => Verdict::Drop(DropReason::EtherTypeUnsupported),
        }
    }
}

/// The interface by which a frame came in, and its port, or the port number of a VLAN of the port.
type IngressPoint = (InterfaceId, PortId);

/// Removes the tag of a frame that enters by a VLAN of a port.
fn enter(
    cx: &mut Context<'_, '_>,
    ingress_point: IngressPoint,
    frame: &mut Frame,
) -> Result<IngressPoint, Verdict> {
    if !frame.offload().fits(frame.bytes()) || !frame.remove_tag() {
        return Err(Verdict::Drop(DropReason::OffloadInvalid));
    }
    cx.ingress = Ingress::Port(ingress_point.1);
    // The frame's VLAN goes with the frame if another worker gets it.
    cx.involves_others = true;
    Ok(ingress_point)
}

/// The ports of each interface, and the bridges that know the stations behind them.
#[derive(Clone, Debug)]
pub(super) struct LinkTable {
    /// The interface of each port; [`NOWHERE`] if the port does not exist.
    interfaces: [InterfaceId; PortId::COUNT_MAX],
    vlans: Vlans,
    ports: PerInterface<PortSet>,
    /// A bridge for each interface, indexed by [`InterfaceId`].
    bridges: Vec<Bridge>,
    /// Whether there are other workers, which get notices of stations.
    has_others: bool,
    /// The notices of stations that are not yet sent to the other workers.
    news: VecDeque<Notice>,
}

/// The most notices of stations that wait to be sent. Of a station beyond that, the other workers learn from their own
/// frames, or from the notice in the next third of the ageing time.
const NEWS_MAX: usize = 256;

impl LinkTable {
    pub(super) fn new(config: &Config, shard: Shard, mut seeds: impl FnMut() -> [u64; 4]) -> Self {
        let has_others = !shard.is_sole();
        Self {
            interfaces: interfaces_of(config),
            vlans: Vlans::of_config(config),
            ports: ports_of(config),
            bridges: config.interfaces.iter().map(|_| Bridge::new(seeds())).collect(),
            has_others,
            news: VecDeque::with_capacity(if has_others { NEWS_MAX } else { 0 }),
        }
    }

    /// Takes in changed ports and interfaces. The stations of a port that changes its interface are forgotten. The
    /// bridges of new interfaces get `seeds`.
    pub(super) fn configure(&mut self, config: &Config, mut seeds: impl FnMut() -> [u64; 4]) {
        let (ports, vlans) = (ports_of(config), Vlans::of_config(config));
        for ((bridge, old), new) in self.bridges.iter_mut().zip(self.ports.iter()).zip(ports.iter()) {
            let stays = |port: PortId| new.contains(port) && self.vlans.has_same(port, &vlans);
            old.iter().filter(|port| !stays(*port)).for_each(|port| bridge.forget_port(port));
        }
        self.interfaces = interfaces_of(config);
        self.vlans = vlans;
        self.ports = ports;
        self.bridges.resize_with(config.interfaces.len(), || Bridge::new(seeds()));
    }

    /// The interface that `port` leads to; `None` for a port or an interface that does not exist.
    #[inline]
    fn interface_of(&self, port: PortId) -> Option<InterfaceId> {
        self.interfaces.get(usize::from(port.0)).copied().filter(|id| *id != NOWHERE)
    }

    /// The interface and port number by which frames of `port` with the VLAN id `vid` come in; `None` if the VLAN
    /// leads to no interface.
    fn ingress_point(&self, port: PortId, vid: u16) -> Option<IngressPoint> {
        let number = self.vlans.port_of(port, vid)?;
        Some((self.interface_of(number)?, number))
    }

    /// Whether a VLAN of `port` leads to an interface.
    fn has_vlans(&self, port: PortId) -> bool {
        self.vlans.has_any(port)
    }

    /// All stations known.
    pub(super) fn stations(&self, now: Instant) -> impl Iterator<Item = Station> {
        self.bridges.iter().flat_map(move |bridge| bridge.stations(now))
    }

    /// The verdict on a frame that the gateway sends to `to` by `interface`.
    #[inline]
    pub(super) fn verdict_to(&self, now: Instant, interface: InterfaceId, to: MacAddr) -> Verdict {
        let ports = self.ports_to(now, interface, to);
        match ports.single() {
            Some(port) => Verdict::Transmit(port),
            None if ports.is_empty() => Verdict::Drop(DropReason::PortDown),
            None => Verdict::Flood { ports, local: None },
        }
    }

    /// The ports by which a frame that the gateway sends to `to` leaves: the station's port, or all ports of the
    /// interface if it is not known.
    #[inline]
    pub(super) fn ports_to(&self, now: Instant, interface: InterfaceId, to: MacAddr) -> PortSet {
        let ports = self.ports[interface];
        if ports.single().is_some() {
            return ports;
        }
        // A new configuration may have removed the interface since the host stack sent the frame.
        let bridge = self.bridges.get(interface.index());
        let known = bridge.and_then(|bridge| bridge.lookup(now, to)).filter(|port| ports.contains(*port));
        known.map_or(ports, PortSet::only)
    }

    /// The verdict on a unicast frame from one port of `interface` for a station other than the gateway.
    // Tagged frames use this function too, which would make the compiler call it instead of inlining it.
    #[inline(always)]
    fn bridge(&self, now: Instant, interface: InterfaceId, from: PortId, to: MacAddr) -> Verdict {
        let others = self.others(interface, from);
        if others.is_empty() {
            return Verdict::Drop(DropReason::MacNotForUs);
        }
        match self.bridges[interface.index()].lookup(now, to) {
            Some(port) if port == from => Verdict::Drop(DropReason::BridgeSamePort),
            Some(port) => Verdict::Transmit(port),
            None => Verdict::Flood { ports: others, local: None },
        }
    }

    /// Learns that `station` is behind `port`.
    // As for `bridge`.
    #[inline(always)]
    fn learn(&mut self, now: Instant, interface: InterfaceId, station: MacAddr, port: PortId) {
        if self.has_others {
            self.tell(now, interface, station, port);
        }
        self.bridges[interface.index()].learn(now, station, port);
    }

    /// Queues a notice to the other workers of a station that is about to be learnt, if they do not know it.
    #[inline(never)]
    fn tell(&mut self, now: Instant, interface: InterfaceId, station: MacAddr, port: PortId) {
        let should_announce = self.bridges[interface.index()].should_announce(now, station, port);
        if should_announce && self.news.len() < NEWS_MAX {
            self.news.push_back(Notice::Station { interface, mac: station, port });
        }
    }

    /// Learns a station from another worker's notice.
    pub(super) fn apply_remote(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        station: MacAddr,
        port: PortId,
    ) {
        if self.ports[interface].contains(port) {
            self.bridges[interface.index()].learn(now, station, port);
        }
    }

    /// The next notice to the other workers.
    pub(super) fn pop_notice(&mut self) -> Option<Notice> {
        self.news.pop_front()
    }

    #[inline]
    fn others(&self, interface: InterfaceId, port: PortId) -> PortSet {
        self.ports[interface].without(port)
    }
}

/// No interface has this number. An `Option` would cost some instructions for each frame.
const NOWHERE: InterfaceId = InterfaceId(u8::MAX);

fn interfaces_of(config: &Config) -> [InterfaceId; PortId::COUNT_MAX] {
    core::array::from_fn(|port| config.interface_of(PortId(port as u8)).unwrap_or(NOWHERE))
}

fn ports_of(config: &Config) -> PerInterface<PortSet> {
    PerInterface::from_fn(|interface| config.ports_of(interface))
}

/// Whether `mac` is a reserved group address, which no bridge forwards: spanning tree, LACP, LLDP. (IEEE 802.1D,
/// section 7.12.6)
fn is_reserved_group(mac: MacAddr) -> bool {
    matches!(mac.0, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f])
}
