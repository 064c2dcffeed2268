//! The link stage: what is no valid frame ends here, what is for others is bridged, and what is for
//! the gateway goes up to ARP or IPv4.

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
use crate::ingress::Ingress;
use crate::notice::Notice;
use crate::shard::Shard;
use crate::table::per_interface::PerInterface;
use crate::verdict::Verdict;

/// How a frame was addressed to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// To its own hardware address. The frame may be rewritten.
    Unicast,
    /// To a group. Others may get the same frame: it is only read.
    Group,
}

impl Dataplane {
    /// A frame that came in by `port`.
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
            || self.facts.is_own_mac(header.source)
        {
            return Verdict::Drop(DropReason::SourceMacInvalid);
        }
        if header.ether_type.is_vlan() {
            match self.tagged_input(cx, (interface, port), header, frame) {
                Ok((inner, ingress_point)) => (header, (interface, port)) = (inner, ingress_point),
                Err(verdict) => return verdict,
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

        let Facts { role, mac, .. } = *self.facts.of(interface);
        if header.destination == mac {
            return self.network_input(cx, (interface, role), Cast::Unicast, header, frame);
        }
        if !header.destination.is_multicast() {
            return self.links.bridge(cx.call.now, interface, port, header.destination);
        }
        if is_reserved_group(header.destination) {
            return Verdict::Drop(DropReason::MacNotForUs);
        }
        let own = self.network_input(cx, (interface, role), Cast::Group, header, frame);
        let others = self.links.others(interface, port);
        if others.is_empty() {
            return own;
        }
        let local = match own {
            Verdict::Local(class) => Some(class),
            _ => None,
        };
        Verdict::Flood { ports: others, local }
    }

    /// A frame that came in by a port that leads to no interface without a tag: it enters by the VLAN of its tag.
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
        enter(cx, ingress_point.ok_or(Verdict::Drop(DropReason::PortDown))?, frame)
    }

    /// A frame with a VLAN tag. Without tags of VLAN 0 it is a frame of the untagged network (IEEE 802.1Q, priority-tagged
    /// frames), whose header is returned. One of a VLAN that leads to an interface enters there without the tag. One of
    /// another VLAN is bridged as it is, and the gateway itself does not read it.
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
        // A station that removes them all would read a frame that nobody here has inspected.
        if matches!(Tag::parse(frame.bytes()), Ok(Tag { vid: 0 })) {
            return Err(Verdict::Drop(DropReason::VlanTagged));
        }
        Err(self.bridge_tagged(cx.call.now, ingress_point, &header))
    }

    /// A frame of a VLAN that the gateway has no part in.
    fn bridge_tagged(&mut self, now: Instant, (interface, port): IngressPoint, header: &Header) -> Verdict {
        self.links.learn(now, interface, header.source, port);
        if header.destination == self.facts.of(interface).mac {
            return Verdict::Drop(DropReason::VlanTagged);
        }
        if !header.destination.is_multicast() {
            return self.links.bridge(now, interface, port, header.destination);
        }
        if is_reserved_group(header.destination) {
            return Verdict::Drop(DropReason::MacNotForUs);
        }
        let ports = self.links.others(interface, port);
        if ports.is_empty() {
            Verdict::Drop(DropReason::VlanTagged)
        } else {
            Verdict::Flood { ports, local: None }
        }
    }

    /// A whole frame of the gateway's own for `interface`.
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

/// The interface that a frame came in on, and the port, or the number that a VLAN of a port is taken for.
type IngressPoint = (InterfaceId, PortId);

/// A frame enters by a VLAN of a port, and loses the tag.
fn enter(
    cx: &mut Context<'_, '_>,
    ingress_point: IngressPoint,
    frame: &mut Frame,
) -> Result<IngressPoint, Verdict> {
    if !frame.offload().fits(frame.bytes()) || !frame.remove_tag() {
        return Err(Verdict::Drop(DropReason::OffloadInvalid));
    }
    cx.ingress = Ingress::Port(ingress_point.1);
    // Whoever gets it from here is to know where it came in.
    cx.involves_others = true;
    Ok(ingress_point)
}

/// The ports of each interface and the stations behind them.
#[derive(Debug)]
pub(super) struct LinkTable {
    /// Where each port leads; [`NOWHERE`] if there is no such port.
    interfaces: [InterfaceId; PortId::COUNT_MAX],
    vlans: Vlans,
    ports: PerInterface<PortSet>,
    /// A bridge for each interface, indexed by [`InterfaceId`].
    bridges: Vec<Bridge>,
    /// Whether other workers are to be told of stations.
    has_others: bool,
    /// Stations that they are to be told of.
    news: VecDeque<Notice>,
}

/// The most stations that the others are still to be told of. Those beyond they hear of, or are told of in
/// the next third of the ageing time.
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

    /// Takes in other ports and interfaces. A port that leads elsewhere leaves its stations behind. The bridges of new
    /// interfaces get `seeds`.
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

    /// Where the frames of `port` with the VLAN id `vid` enter; `None` if the VLAN leads nowhere.
    fn ingress_point(&self, port: PortId, vid: u16) -> Option<IngressPoint> {
        let number = self.vlans.port_of(port, vid)?;
        Some((self.interface_of(number)?, number))
    }

    /// All stations known.
    pub(super) fn stations(&self, now: Instant) -> impl Iterator<Item = Station> {
        self.bridges.iter().flat_map(move |bridge| bridge.stations(now))
    }

    /// How a frame of the gateway's for `to` leaves by `interface`.
    #[inline]
    pub(super) fn verdict_to(&self, now: Instant, interface: InterfaceId, to: MacAddr) -> Verdict {
        let ports = self.ports_to(now, interface, to);
        match ports.single() {
            Some(port) => Verdict::Transmit(port),
            None if ports.is_empty() => Verdict::Drop(DropReason::PortDown),
            None => Verdict::Flood { ports, local: None },
        }
    }

    /// The ports by which a frame of the gateway's for `to` leaves: where it is, or all of the interface.
    #[inline]
    pub(super) fn ports_to(&self, now: Instant, interface: InterfaceId, to: MacAddr) -> PortSet {
        let ports = self.ports[interface];
        if ports.single().is_some() {
            return ports;
        }
        // The gateway's own may have sent it when there was such an interface.
        let bridge = self.bridges.get(interface.index());
        let known = bridge.and_then(|bridge| bridge.lookup(now, to)).filter(|port| ports.contains(*port));
        known.map_or(ports, PortSet::only)
    }

    /// A unicast frame from one port of `interface` for another station than the gateway.
    // Tagged frames come here too, and would have it called instead of inlined.
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

    /// Takes in that `station` is at `port`.
    // As for `bridge`.
    #[inline(always)]
    fn learn(&mut self, now: Instant, interface: InterfaceId, station: MacAddr, port: PortId) {
        if self.has_others {
            self.tell(now, interface, station, port);
        }
        self.bridges[interface.index()].learn(now, station, port);
    }

    /// Tells the other workers of a station that is about to be learnt, if that is news.
    #[inline(never)]
    fn tell(&mut self, now: Instant, interface: InterfaceId, station: MacAddr, port: PortId) {
        let is_news = self.bridges[interface.index()].is_news(now, station, port);
        if is_news && self.news.len() < NEWS_MAX {
            self.news.push_back(Notice::Station { interface, mac: station, port });
        }
    }

    /// What another worker has learnt.
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

    /// The next station that the other workers are to be told of.
    pub(super) fn pop_notice(&mut self) -> Option<Notice> {
        self.news.pop_front()
    }

    #[inline]
    fn others(&self, interface: InterfaceId, port: PortId) -> PortSet {
        self.ports[interface].without(port)
    }
}

/// No interface has this number. An `Option` costs each frame some instructions more.
const NOWHERE: InterfaceId = InterfaceId(u8::MAX);

fn interfaces_of(config: &Config) -> [InterfaceId; PortId::COUNT_MAX] {
    core::array::from_fn(|port| config.interface_of(PortId(port as u8)).unwrap_or(NOWHERE))
}

fn ports_of(config: &Config) -> PerInterface<PortSet> {
    PerInterface::from_fn(|interface| config.ports_of(interface))
}

/// Groups of one link, which no bridge passes on: spanning tree, LACP, LLDP. (IEEE 802.1D section 7.12.6)
fn is_reserved_group(mac: MacAddr) -> bool {
    matches!(mac.0, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f])
}
