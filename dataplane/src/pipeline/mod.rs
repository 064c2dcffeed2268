//! The dataplane: all tables of one worker, and the stages that a frame goes through.
//!
//! # Theory of operation
//!
//! ```text
//!  port ──▶ link ─┬─▶ bridge ───────────────────────────────────────────▶ verdict
//!                 ├─▶ arp ──▶ neighbours
//!                 └─▶ ipv4 ─┬─▶ local ──▶ host stack, or an echo reply ─┐
//!                           ├─▶ forward ──┬─────────────────────────────┼─▶ egress ──▶ verdict
//!                           │             ▼ LAN to WAN                  │
//!                           └───────────▶ nat ──▶ flows ────────────────┤
//!                    to the WAN address   ▲ │  ▲   │                    │
//!                                         │ │  └───┘ hairpin            │
//!                                         │ └─▶ steer ──▶ other worker  │
//!                                         │                             │
//!  host stack ──▶ local ──────────────────┴─────────────────────────────┘
//! ```
//!
//! Each stage is a file or a folder with methods of [`Dataplane`]: `link`, `arp`, `ipv4`, `local`, `forward`,
//! `steer`, `nat`, `hairpin`, `fragments`, `egress`; `errors` makes and translates ICMP errors. A stage returns the
//! frame's [`Verdict`] or calls the next. A stage parses itself the headers that it reads, and relies on the checks
//! of the stages before it.
//!
//! The dataplane owns its tables and no frame: the batch owns received frames, and waiting frames are in the pools of
//! the neighbour table and the fragment tracker, which give a spare buffer in exchange. Frames that the dataplane
//! makes go to the batch's [`Output`](crate::Output), and are not made if that is full.
//!
//! The [`Counters`] count exactly one verdict for every frame handed in. A held frame is counted again when it is
//! released or dropped.
//!
//! With several workers, each has a dataplane with its [`Shard`]. `nat` calls `steer`, which finds the owner of a
//! packet and hands the packet over. The worker that receives any other packet handles it. With a single worker, `nat`
//! does not call `steer`.
//!
//! The dataplane does not do IPv6, IPv4 multicast, ICMP redirects, reassembly (the host stack reassembles its own
//! packets) or application gateways in NAT.

mod arp;
mod contain;
mod context;
mod egress;
mod errors;
mod forward;
mod fragments;
mod hairpin;
mod identification;
mod inspection;
mod interface_facts;
mod ipv4;
mod link;
mod local;
mod nat;
mod nat_action;
mod network;
mod outbound_route;
mod own_address;
mod packet;
mod pinholes;
mod steer;
mod vlans;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::icmpv4::Embedded;
use gatepost_ground::{EchoLimit, Frame, Instant, MacAddr, RateLimit, Role};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::contain::{Containment, Task};
use self::context::{Call, Context};
use self::errors::dropped_as_sent;
use self::identification::Identifications;
use self::interface_facts::InterfaceFacts;
use self::link::LinkTable;
use self::nat_action::NatAction;
use self::network::Networks;
use self::own_address::OwnAddress;
pub use self::pinholes::PinholeError;
use self::steer::owners::Steering;
use crate::alert::{Alert, Alerts};
use crate::batch::{Batch, Slot};
use crate::binding::Bindings;
use crate::bridge::Station;
use crate::config::Config;
use crate::counters::Counters;
use crate::drop_log::{self, DropLog, DropsPart};
use crate::drop_reason::DropReason;
use crate::explain::{Explanation, Recorder, Run, Unobserved};
use crate::firewall;
use crate::firewall::policy::{is_allowed, reserved_ports};
use crate::firewall::syn_reject::{Quote, SynRejects};
use crate::flow::{Flow, FlowEvents, FlowTable, KeyHash, State, Timeouts, Traffic};
use crate::fragment::FragmentTracker;
use crate::icmp_error::IcmpError;
use crate::ingress::Ingress;
use crate::key::{Direction, Endpoint, FlowKey};
use crate::nat::icmp::reply_key;
use crate::neighbor::{Neighbor, NeighborTable};
use crate::notice::Notice;
use crate::route::Routes;
use crate::shard::Shard;
use crate::table::memory::{Own, Shadow};
use crate::table::per_interface::PerInterface;
use crate::verdict::Verdict;

/// A flow as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// The key of packets in the direction of the flow's first packet, as they arrive.
    pub original: FlowKey<IpAddr>,
    /// The key of the replies, as they arrive.
    pub reply: FlowKey<IpAddr>,
    /// The protocol, and the state of the connection.
    pub state: State,
    /// When the flow ends if no packet refreshes it.
    pub expires: Instant,
    /// The traffic so far, in the original and the reply direction.
    pub traffic: [Traffic; 2],
}

impl FlowInfo {
    fn of(flow: &Flow<'_>) -> Self {
        Self {
            original: flow.key(Direction::Original).of_any_family(),
            reply: flow.key(Direction::Reply).of_any_family(),
            state: flow.state(),
            expires: flow.expires(),
            traffic: Direction::BOTH.map(|direction| flow.traffic(direction)),
        }
    }
}

/// The packet path of one worker: takes batches of received frames, and decides on, rewrites and makes frames.
pub struct Dataplane<M: Run = Own> {
    config: Arc<Config>,
    shard: Shard,
    steering: Steering,
    counters: Counters,
    drops: DropLog,
    links: LinkTable,
    facts: InterfaceFacts,
    networks: Networks,
    routes: Routes,
    neighbors: NeighborTable<Ipv4Addr, M>,
    /// The leases and reservations of LAN addresses.
    bindings: Arc<Bindings>,
    flows: FlowTable<Ipv4Addr, M>,
    fragments: FragmentTracker<NatAction, Ipv4Addr, M>,
    /// The owners of the packets whose fragments this worker collects; `None` with a single worker.
    fragment_owners: Option<FragmentTracker<u8, Ipv4Addr, M>>,
    /// The buffers of a fragment while it is released, and while it is handed to its owner.
    released: Frame,
    fragment_owner_frame: Frame,
    /// The state of each own address, one for each network.
    own_addresses: Vec<OwnAddress>,
    /// One limit for each interface, so that a flood from outside does not use up the errors of the inside.
    error_limits: PerInterface<RateLimit>,
    /// The rate limit of echo replies to the outside.
    echo_limit: EchoLimit,
    syn_rejects: SynRejects,
    /// Packets dropped in this call whose senders are still to get an ICMP error.
    unreachable: Vec<Quote>,
    alerts: Alerts,
    identifications: Identifications,
    containment: Containment,
    rng: StdRng,
    observer: M::Observer,
}

/// The frames of a batch whose flows are prefetched before the first of them is processed: enough to wait for memory
/// only once, and few enough that the first flow is still in the nearest cache.
const PREFETCH_CHUNK: usize = 32;

impl Dataplane {
    /// The dataplane of `shard`, with empty tables. The secret `seed`, the same for all shards of a gateway, keys the
    /// hashes and picks the ports: the same seed and input give the same output.
    pub fn new(config: Arc<Config>, shard: Shard, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(shard.seed(seed));
        let frame_capacity = config.frame_len_max();
        let mut dataplane = Self {
            counters: Counters::default(),
            drops: DropLog::new(shard.count()),
            links: LinkTable::new(&config, shard, || rng.random()),
            facts: InterfaceFacts::of_config(&config),
            networks: Networks::of_config(&config),
            routes: Routes::of_config(&config),
            neighbors: NeighborTable::new(rng.random(), frame_capacity),
            bindings: Arc::default(),
            flows: FlowTable::new(&config.nat, Timeouts::default(), shard, rng.random()),
            fragments: FragmentTracker::new(rng.random(), frame_capacity),
            own_addresses: Vec::new(),
            error_limits: PerInterface::from_fn(|_| RateLimit::ICMP_ERRORS.divided(shard.count())),
            echo_limit: EchoLimit::new(seed, shard.count()),
            syn_rejects: SynRejects::new(),
            unreachable: Vec::with_capacity(egress::UNREACHABLE_MAX),
            alerts: Alerts::new(),
            identifications: Identifications::new(shard, rng.random()),
            containment: Containment::default(),
            fragment_owners: (!shard.is_sole()).then(|| FragmentTracker::new(rng.random(), frame_capacity)),
            released: Frame::with_capacity(frame_capacity),
            fragment_owner_frame: Frame::with_capacity(if shard.is_sole() { 0 } else { frame_capacity }),
            steering: Steering::new(shard, &config.firewall.v4, seed),
            rng,
            observer: Unobserved,
            shard,
            config,
        };
        dataplane.configure_flows(now);
        dataplane.follow_own_addresses(now);
        dataplane
    }

    /// Takes in a new configuration as a whole. Flows that it still allows go on.
    pub fn configure(&mut self, now: Instant, config: Arc<Config>) {
        self.config = config;
        self.drops.begin(now);
        self.flows.begin(now);
        self.contained(now, Task::Configuration, |dataplane| dataplane.follow_config(now));
    }

    /// Brings the tables in line with the new configuration.
    fn follow_config(&mut self, now: Instant) {
        let old = core::mem::replace(&mut self.networks, Networks::of_config(&self.config));
        self.facts = InterfaceFacts::of_config(&self.config);
        self.routes = Routes::of_config(&self.config);
        self.links.configure(&self.config, || self.rng.random());
        self.steering.configure(&self.config.firewall.v4);
        self.leave_networks(&old);
        self.follow_own_addresses(now);
        self.configure_flows(now);
        self.neighbors.reserve_frames(self.config.frame_len_max());
        self.forget_decisions();
        self.drops.forget_rules();
    }

    /// Takes in the current leases and reservations of LAN addresses.
    pub fn set_bindings(&mut self, now: Instant, bindings: Arc<Bindings>) {
        // The bindings are stored even if the task below fails, so that the caller need not repeat them.
        self.bindings = Arc::clone(&bindings);
        self.contained(now, Task::Bindings, |Self { config, neighbors, counters, shard, .. }| {
            for (interface, _) in config.interfaces_of(Role::Inside) {
                let holder = |ip, known| bindings.station(now, ip, known);
                let (moved, refused) = neighbors.follow_holders(now, interface, holder);
                // All workers see the same move; the first one counts it.
                counters.neighbor_changes += if shard.is_first() { moved } else { 0 };
                counters.neighbor_claims_refused += refused;
            }
        });
    }

    /// The leases and reservations that were last taken in.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Decides on every frame of `batch`, rewrites the frames in place, and adds frames that the gateway makes.
    pub fn process(&mut self, now: Instant, batch: &mut Batch) {
        let (slots, spare, output) = batch.split();
        self.drops.begin(now);
        self.flows.begin(now);
        let mut call = Call { now, output, spare };
        self.decide_all(&mut call, slots);
        // The first request for a new neighbour is sent at once.
        if self.neighbors.poll_timeout().is_some_and(|due| self.containment.defer(due) <= now) {
            self.contained(now, Task::Neighbors, |dataplane| dataplane.neighbor_timeout(&mut call));
        }
        debug_assert!(self.counters.balances(), "{:?}", self.counters);
    }

    /// What would become of the frame in `batch` if [`Dataplane::process`] got it now. Rewrites the frame and sets its
    /// verdict in the same way, and changes nothing else. Of several frames, only the first two are certain to get the
    /// same ports.
    ///
    /// The cost does not depend on the number of flows: the stages run over a shadow of the tables.
    pub fn explain(&self, now: Instant, batch: &mut Batch) -> Explanation {
        let mut shadow = self.shadow();
        let (slots, spare, output) = batch.split();
        shadow.decide_all(&mut Call { now, output, spare }, slots);
        Explanation { steps: shadow.observer.into_steps(), made: shadow.counters.made - self.counters.made }
    }

    /// A shadow of the dataplane, whose stages are observed.
    fn shadow(&self) -> Dataplane<Shadow<'_>> {
        Dataplane {
            config: Arc::clone(&self.config),
            shard: self.shard,
            steering: self.steering.clone(),
            counters: self.counters.clone(),
            drops: DropLog::none(),
            links: self.links.clone(),
            facts: self.facts.clone(),
            networks: self.networks.clone(),
            routes: self.routes.clone(),
            neighbors: self.neighbors.shadow(),
            bindings: Arc::clone(&self.bindings),
            flows: self.flows.shadow(),
            fragments: self.fragments.shadow(),
            fragment_owners: self.fragment_owners.as_ref().map(FragmentTracker::shadow),
            released: self.released.clone(),
            fragment_owner_frame: self.fragment_owner_frame.clone(),
            own_addresses: self.own_addresses.clone(),
            error_limits: self.error_limits,
            echo_limit: self.echo_limit.clone(),
            syn_rejects: self.syn_rejects.clone(),
            unreachable: Vec::with_capacity(egress::UNREACHABLE_MAX),
            alerts: self.alerts.clone(),
            identifications: self.identifications.clone(),
            containment: self.containment.clone(),
            // No stage draws from it.
            rng: StdRng::from_seed([0; 32]),
            observer: Recorder::default(),
        }
    }

    /// When [`Dataplane::handle_timeout`] has to be called; `None` if no timer runs. After a task has failed, no
    /// timer is due for a second.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeouts().map(|(_, due)| due).min()
    }

    /// The timers that make up [`Dataplane::poll_timeout`], with the names of the dataplane's parts that they belong
    /// to.
    pub fn timeouts(&self) -> impl Iterator<Item = (&'static str, Instant)> {
        let timeouts = [
            ("flows", self.flows.poll_timeout()),
            ("neighbors", self.neighbors.poll_timeout()),
            ("fragments", self.fragments.poll_timeout()),
            ("owners fragments", self.fragment_owners.as_ref().and_then(FragmentTracker::poll_timeout)),
            ("rejects of SYNs", self.syn_rejects.poll_timeout()),
            ("announcements", self.own_addresses.iter().filter_map(OwnAddress::due).min()),
        ];
        timeouts.into_iter().filter_map(|(what, due)| Some((what, self.containment.defer(due?))))
    }

    /// Does what is due. `batch`, which has no received frames, takes the frames to be sent.
    pub fn handle_timeout(&mut self, now: Instant, batch: &mut Batch) {
        let (_, spare, output) = batch.split();
        self.drops.begin(now);
        self.flows.begin(now);
        let mut call = Call { now, output, spare };
        self.contained(now, Task::Flows, |dataplane| dataplane.flows.handle_timeout(now));
        self.contained(now, Task::Neighbors, |dataplane| dataplane.neighbor_timeout(&mut call));
        self.contained(now, Task::Fragments, |dataplane| dataplane.fragment_timeout(now));
        self.contained(now, Task::SynRejects, |dataplane| dataplane.syn_reject_timeout(&mut call));
        self.contained(now, Task::Announcements, |dataplane| dataplane.announcement_timeout(&mut call));
        debug_assert!(self.counters.balances(), "{:?}", self.counters);
    }

    /// The counters so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a frame that the caller dropped for `reason`: the caller could not carry out the `verdict` that
    /// `process` gave, or could not hand the frame in ([`Verdict::Pending`]). `slot` has the frame, with the ingress
    /// after `process`, if the caller still has it.
    pub fn undeliverable(
        &mut self,
        now: Instant,
        verdict: Verdict,
        reason: DropReason,
        slot: Option<(Ingress, &Frame)>,
    ) {
        if !self.counters.undeliverable(verdict, reason) {
            return;
        }
        self.drops.begin(now);
        match slot {
            Some((ingress, frame)) => self.remember_undeliverable(ingress, verdict, reason, frame),
            None => self.drops.push(reason, None, (None, None), None),
        }
    }

    /// Remembers the drop of a frame after `process`, which came in by `ingress`.
    fn remember_undeliverable(
        &mut self,
        ingress: Ingress,
        verdict: Verdict,
        reason: DropReason,
        frame: &Frame,
    ) {
        let interface = self.ingress_interface(ingress);
        let (station, packet) = drop_log::received(frame);
        let is_own = |mac: &MacAddr| self.config.interfaces.iter().any(|interface| interface.mac() == *mac);
        // A routed frame has the gateway's hardware address, and a frame of the host stack may have none.
        let station = station.filter(|mac| interface.is_some() && !is_own(mac));
        let is_bridged = station.is_some() && matches!(verdict, Verdict::Transmit(_) | Verdict::Flood { .. });
        let as_sent = if is_bridged { None } else { dropped_as_sent(&self.flows, &self.networks, frame) };
        let packet = as_sent.filter(|_| packet.is_some() || interface.is_none()).or(packet);
        self.drops.push(reason, None, (interface, station), packet);
    }

    /// At most `count_max` of the last drops, from the number `from` on.
    pub fn drops(&self, from: u64, count_max: usize) -> DropsPart {
        self.drops.part(from, count_max)
    }

    /// The number of the next drop.
    pub fn drops_end(&self) -> u64 {
        self.drops.total()
    }

    /// The next alert for the administrator. The number of waiting alerts is bounded.
    pub fn pop_alert(&mut self) -> Option<Alert> {
        self.alerts.pop()
    }

    /// The next notice that all other workers' dataplanes have to [apply](Dataplane::apply_notice). The number of
    /// waiting notices is bounded; take one only when it can be sent.
    pub fn pop_notice(&mut self) -> Option<Notice> {
        let Self { flows, links, .. } = self;
        flows.pop_notice().map(Notice::HostFlows).or_else(|| links.pop_notice())
    }

    /// Takes in a notice from the worker `from`.
    pub fn apply_notice(&mut self, now: Instant, from: u8, notice: Notice) {
        self.contained(now, Task::Notice, |Self { flows, links, .. }| match notice {
            Notice::HostFlows(host) => flows.apply_remote(from, host),
            Notice::Station { interface, mac, port } => links.apply_remote(now, interface, mac, port),
        });
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> {
        self.flows.flows().map(|(_, flow)| FlowInfo::of(&flow))
    }

    /// The flows of `count_max` numbers, from the number `from` on.
    pub fn flows_from(&self, from: u32, count_max: u32) -> impl Iterator<Item = FlowInfo> {
        self.flows.flows_from(from, count_max).map(|flow| FlowInfo::of(&flow))
    }

    /// One more than the greatest number that a flow ever had.
    pub fn flows_end(&self) -> u32 {
        self.flows.numbers_end()
    }

    /// At most `count_max` of the last flows that were opened and that have ended, from the number `from` on. They are
    /// remembered from the first call on, while one call follows the other within 30 s.
    pub fn watch_flows(&mut self, now: Instant, from: u64, count_max: usize) -> FlowEvents {
        self.flows.watch(now, from, count_max)
    }

    /// The number of flows.
    pub fn flows_len(&self) -> usize {
        self.flows.len()
    }

    /// Ends the flow of which `key` is the key of the original direction: its next packet opens another one, if it may.
    /// Returns whether there was one.
    pub fn end_flow(&mut self, now: Instant, key: FlowKey<IpAddr>) -> bool {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (key.source.address, key.destination.address)
        else {
            return false;
        };
        let key = FlowKey {
            protocol: key.protocol,
            source: Endpoint::new(source, key.source.port),
            destination: Endpoint::new(destination, key.destination.port),
        };
        let Some((id, Direction::Original)) = self.flows.lookup(&key) else { return false };
        self.contained(now, Task::Command, |dataplane| dataplane.flows.remove(id));
        true
    }

    /// All neighbours, in a repeatable order.
    pub fn neighbors(&self, now: Instant) -> impl Iterator<Item = Neighbor> {
        self.neighbors.neighbors(now).map(Neighbor::of_any_family)
    }

    /// All stations that the bridges know, in a repeatable order.
    pub fn stations(&self, now: Instant) -> impl Iterator<Item = Station> {
        self.links.stations(now)
    }

    /// Rejects the unsolicited SYNs that have waited long enough and for which no flow has been opened meanwhile.
    fn syn_reject_timeout(&mut self, call: &mut Call<'_>) {
        while let Some(quote) = self.syn_rejects.pop_due(call.now) {
            let Ok(syn) = Embedded::of_packet(quote.bytes()) else { continue };
            if self.flows.lookup(&reply_key(&syn).reversed()).is_none() {
                self.reject_by_route(call, &syn.header, quote.bytes(), IcmpError::PortUnreachable);
            }
        }
    }

    /// Brings the flow table in line with the configuration.
    fn configure_flows(&mut self, now: Instant) {
        let Self { config, networks, flows, .. } = self;
        flows.configure(&config.nat);
        let externals: Vec<_> = networks.externals().filter(|_| config.mode.translates()).collect();
        flows.set_external_addresses(now, &externals);
        for protocol in [Protocol::TCP, Protocol::UDP] {
            flows.set_reserved_ports(protocol, reserved_ports(&config.firewall.v4, protocol));
        }
        flows.remove_where(now, |flow| !is_allowed(config, flow));
        self.close_forbidden_pinholes();
    }

    /// Forgets the decisions on first fragments and unsolicited SYNs, which a new configuration may change.
    fn forget_decisions(&mut self) {
        self.syn_rejects.clear();
        self.drop_held_fragments(Instant::FAR_FUTURE, DropReason::Reconfigured);
        let frame_capacity = self.config.frame_len_max();
        self.fragments = FragmentTracker::new(self.rng.random(), frame_capacity);
        if let Some(owners) = &mut self.fragment_owners {
            *owners = FragmentTracker::new(self.rng.random(), frame_capacity);
        }
        self.reserve_frames();
    }

    /// Forgets the neighbours of networks that were in `old` and are removed, and those to which ARP requests went from
    /// a removed address.
    fn leave_networks(&mut self, old: &Networks) {
        let Self { neighbors, networks, counters, drops, flows, .. } = self;
        let is_gone = |id, ip| old.towards(id, ip).is_some_and(|network| !networks.on(id).contains(network));
        neighbors.forget(is_gone, &mut |event| {
            if let crate::neighbor::Event::Expired { frame, .. } = event {
                counters.held_dropped(DropReason::Reconfigured);
                drops.push(
                    DropReason::Reconfigured,
                    None,
                    (None, None),
                    dropped_as_sent(flows, networks, frame),
                );
            }
        });
    }
}

/// What the stages need on the packet path and in an explanation.
impl<M: Run> Dataplane<M> {
    /// Decides on every frame in `slots`.
    #[inline]
    fn decide_all(&mut self, call: &mut Call<'_>, slots: &mut [Slot]) {
        for chunk in slots.chunks_mut(PREFETCH_CHUNK) {
            let hashes = self.fetch_flows(chunk);
            let mut done = 0;
            while done < chunk.len() {
                let mut rest = chunk[done..].iter_mut().zip(&hashes[done..]);
                let has_failed = contain::each(self.containment.catches(), &mut rest, |(slot, hash)| {
                    #[cfg(test)]
                    self.containment.check(slot.frame.bytes());
                    self.slot(call, *hash, slot);
                });
                let left = rest.len();
                done = chunk.len() - left;
                if has_failed {
                    self.give_up(&mut chunk[done - 1]);
                }
            }
        }
    }

    /// Decides on the frame in `slot`.
    #[inline]
    fn slot(&mut self, call: &mut Call<'_>, key_hash: Option<KeyHash>, slot: &mut Slot) {
        let mut cx = Context::new(call, slot.ingress, key_hash);
        if matches!(slot.ingress, Ingress::HandedOver(_) | Ingress::ArpCopy(_))
            && !self.accept_handoff(&mut cx, slot)
        {
            return;
        }
        let verdict = self.frame(&mut cx, &mut slot.frame);
        // The verdict is counted before it is stored, so that it is not read back from memory.
        self.count(&cx, verdict, &slot.frame);
        slot.verdict = verdict;
        if cx.involves_others {
            self.finish_handoff(&cx, slot);
        }
    }

    /// Counts the verdict on a frame, and remembers a drop.
    #[inline]
    fn count(&mut self, cx: &Context<'_, '_>, verdict: Verdict, frame: &Frame) {
        self.counters.count(verdict);
        if let Verdict::Drop(reason) = verdict {
            self.remember_drop(cx.ingress, cx.is_rewritten, reason, frame);
        }
    }

    /// Remembers a drop of a frame that came in by `ingress`, and whose packet NAT has rewritten already or not.
    #[cold]
    #[inline(never)]
    fn remember_drop(&mut self, ingress: Ingress, is_rewritten: bool, reason: DropReason, frame: &Frame) {
        let interface = self.ingress_interface(ingress);
        let (station, packet) = match interface {
            Some(_) => drop_log::received(frame),
            None => (None, drop_log::packet(frame.packet())),
        };
        let packet = if is_rewritten {
            dropped_as_sent(&self.flows, &self.networks, frame).or(packet)
        } else {
            packet
        };
        let rules = &self.config.firewall.v4;
        let rule = match (reason, packet) {
            (DropReason::ServiceSourceDenied | DropReason::ForwardSourceDenied, Some(packet)) => {
                let drop_log::DroppedPacket { protocol, source, destination } = packet;
                firewall::decide_inbound(rules, protocol, destination.port, source.address).1
            }
            _ => None,
        };
        self.drops.push(reason, rule, (interface, station), packet);
    }

    /// Drops the frame in `slot`, on which a stage has panicked.
    #[cold]
    fn give_up(&mut self, slot: &mut Slot) {
        slot.copy_to_others = false;
        slot.verdict = Verdict::Drop(DropReason::InternalError);
        // The stage may have taken one of the buffers before it panicked.
        self.reserve_frames();
        match slot.ingress {
            // A copy from another worker is not counted.
            Ingress::ArpCopy(_) => slot.verdict = Verdict::Consumed,
            Ingress::HandedOver(handoff) => {
                slot.ingress = handoff.origin.into();
                self.counters.count(slot.verdict);
                self.counters.was_taken_over();
                self.remember_drop(slot.ingress, false, DropReason::InternalError, &slot.frame);
            }
            Ingress::Port(_) | Ingress::Stack | Ingress::RawFrame(_) => {
                self.counters.count(slot.verdict);
                self.remember_drop(slot.ingress, false, DropReason::InternalError, &slot.frame);
            }
        }
    }

    /// Computes the flow keys of a chunk of frames, and prefetches their flows.
    #[inline]
    fn fetch_flows(&self, chunk: &[Slot]) -> [Option<KeyHash>; PREFETCH_CHUNK] {
        let mut hashes = [None; PREFETCH_CHUNK];
        if self.flows.is_empty() {
            return hashes;
        }
        for (slot, hash) in chunk.iter().zip(&mut hashes) {
            *hash = packet::likely_key(&slot.frame).map(|key| self.flows.hash(&key));
            hash.iter().for_each(|hash| self.flows.prefetch(*hash));
        }
        hashes.iter().flatten().for_each(|hash| self.flows.prefetch_flow(*hash));
        hashes
    }

    /// Sends a received frame through the stages.
    #[inline]
    fn frame(&mut self, cx: &mut Context<'_, '_>, frame: &mut Frame) -> Verdict {
        match cx.ingress {
            Ingress::Port(port) => self.link_input(cx, port, frame),
            Ingress::Stack => self.host_packet(cx, frame),
            Ingress::RawFrame(interface) => self.host_frame(cx.call, interface, frame),
            Ingress::HandedOver(_) | Ingress::ArpCopy(_) => {
                debug_assert!(false, "accept_handoff has replaced this ingress");
                Verdict::Drop(DropReason::InternalError)
            }
        }
    }

    /// Makes room for the longest frame in the buffers through which released fragments go.
    fn reserve_frames(&mut self) {
        let frame_capacity = self.config.frame_len_max();
        self.released.reserve(frame_capacity);
        if self.fragment_owners.is_some() {
            self.fragment_owner_frame.reserve(frame_capacity);
        }
    }
}
