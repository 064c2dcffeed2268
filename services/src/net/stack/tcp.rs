//! The connections and the listeners.
//!
//! A flow is found by its two ends and, from the service's side, by a number that is never used again:
//! a stream may outlive its connection while the same ends are connected anew. smoltcp has neither
//! backlog nor index: a SYN is looked at here first, and gets a socket of its own if somebody listens
//! and there is room.
//!
//! ```text
//!            SYN, room                 handshake done            accept
//!  listener ───────────▶ HalfOpen ───────────────────▶ Backlog ─────────▶ Stream
//!                                                                            │ dropped
//!            connect                                                         ▼
//!  service ──────────────────────────────────────────────────▶ Stream ──▶ Nobody ──▶ gone
//! ```
//!
//! A flow with something to do waits in `due`, in turn, one packet each; the others in `deadlines`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use gatepost_dataplane::Instant;
use rand::rngs::StdRng;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{IpProtocol, Ipv4Packet, TcpPacket};
use tokio::sync::Notify;

use super::flow::{Flow, Owner, Progress, Tuple};
use super::ip::IpLayer;
use super::port::{choose_port, is_taken};
use super::{StackConfig, StackCounters};

/// Connections that a listener keeps for its service, half open ones included.
pub const BACKLOG_MAX: usize = 128;

/// Names a flow, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowId(u64);

/// A received segment, as far as it says whom it concerns.
pub(super) struct Segment<'a> {
    pub(super) packet: &'a [u8],
    pub(super) tcp: TcpPacket<&'a [u8]>,
    tuple: Tuple,
}

/// The state of all TCP.
pub(super) struct Tcp {
    config: StackConfig,
    flows: BTreeMap<FlowId, Entry>,
    ids: BTreeMap<Tuple, FlowId>,
    next_id: u64,
    listeners: BTreeMap<(u16, Ipv4Addr), Listening>,
    due: VecDeque<FlowId>,
    deadlines: BTreeSet<(Instant, FlowId)>,
}

struct Entry {
    flow: Flow,
    schedule: Schedule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    Due,
    At(Instant),
    /// The connection is over; only its stream still holds it.
    Never,
}

#[derive(Default)]
struct Listening {
    half_open: usize,
    ready: VecDeque<FlowId>,
    arrived: Rc<Notify>,
}

impl<'a> Segment<'a> {
    /// What a whole IPv4 packet carries, if it is TCP and long enough.
    pub(super) fn parse(packet: &Ipv4Packet<&'a [u8]>) -> Option<Self> {
        debug_assert_eq!(packet.next_header(), IpProtocol::Tcp);
        let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
        let local = SocketAddrV4::new(packet.dst_addr(), tcp.dst_port());
        let remote = SocketAddrV4::new(packet.src_addr(), tcp.src_port());
        Some(Self { packet: packet.clone().into_inner(), tcp, tuple: (local, remote) })
    }

    /// Whether it asks for a connection.
    fn is_syn(&self) -> bool {
        self.tcp.syn() && !self.tcp.ack() && !self.tcp.rst()
    }
}

impl Tcp {
    pub(super) fn new(config: StackConfig) -> Self {
        Self {
            config,
            flows: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            listeners: BTreeMap::new(),
            due: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// How many connections there are, in whatever state.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn flow(&mut self, id: FlowId) -> &mut Flow {
        &mut self.flows.get_mut(&id).expect("a stream's flow stays until it is released").flow
    }

    /// Opens a listener; says where, and what tells of arrivals.
    pub(super) fn listen(
        &mut self,
        local: SocketAddrV4,
        rng: &mut StdRng,
    ) -> io::Result<(SocketAddrV4, Rc<Notify>)> {
        let port = match local.port() {
            0 => choose_port(rng, |port| !is_taken(&self.listeners, port, *local.ip())),
            port => Some(port).filter(|port| !is_taken(&self.listeners, *port, *local.ip())),
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let listening = self.listeners.entry((port, *local.ip())).or_default();
        Ok((SocketAddrV4::new(*local.ip(), port), Rc::clone(&listening.arrived)))
    }

    /// Takes the oldest connection that `listener` has ready.
    pub(super) fn accept(&mut self, listener: SocketAddrV4) -> Option<FlowId> {
        let id = self.listening(listener)?.ready.pop_front()?;
        self.flow(id).owner = Owner::Stream;
        Some(id)
    }

    /// Closes a listener and resets what it has not handed over.
    pub(super) fn unlisten(&mut self, now: Instant, listener: SocketAddrV4) {
        self.listeners.remove(&(listener.port(), *listener.ip()));
        let waits =
            |flow: &Flow| matches!(flow.owner, Owner::HalfOpen(of) | Owner::Backlog(of) if of == listener);
        let ids: Vec<FlowId> =
            self.flows.iter().filter(|(_, entry)| waits(&entry.flow)).map(|(id, _)| *id).collect();
        for id in ids {
            let flow = self.flow(id);
            flow.owner = Owner::Nobody(now);
            flow.abort(io::ErrorKind::ConnectionAborted);
            self.make_due(id);
        }
    }

    /// Begins a connection from `source` to `remote`, on a random port.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        source: Ipv4Addr,
        remote: SocketAddrV4,
        ip: &mut IpLayer,
        rng: &mut StdRng,
    ) -> io::Result<FlowId> {
        if self.flows.len() >= self.config.connections_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many connections"));
        }
        let port = choose_port(rng, |port| {
            let is_connected = self.ids.contains_key(&(SocketAddrV4::new(source, port), remote));
            !is_connected && !is_taken(&self.listeners, port, source)
        });
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        ip.reseed(now, rng);
        let tuple = (SocketAddrV4::new(source, port), remote);
        Ok(self.insert(Flow::connect(now, tuple, ip, &self.config)))
    }

    /// Processes a segment that is addressed to the gateway.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        let id = match self.ids.get(&segment.tuple) {
            Some(id) => *id,
            None => match self.listener_for(segment) {
                None => return ip.refuse(now, segment.packet),
                Some(listener) if self.has_room_for(listener, counters) => {
                    ip.reseed(now, rng);
                    self.insert(Flow::listen(now, segment.tuple, listener, &self.config))
                }
                Some(_) => return,
            },
        };
        self.flow(id).receive(now, segment, ip);
        self.make_due(id);
    }

    /// Lets flows send that have to, in turn, until the outbox is full.
    pub(super) fn poll(&mut self, now: Instant, ip: &mut IpLayer) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            debug_assert_eq!(self.flows[&id].schedule, Schedule::At(at));
            self.make_due(id);
        }
        while !ip.outbox.is_full()
            && let Some(id) = self.due.pop_front()
        {
            // It may be gone since it was queued.
            if self.flows.get(&id).is_some_and(|entry| entry.schedule == Schedule::Due) {
                self.poll_flow(now, id, ip);
            }
        }
    }

    /// When [`Tcp::poll`] has to be called again, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The service did something to the flow.
    pub(super) fn make_due(&mut self, id: FlowId) {
        let schedule = self.flows.get(&id).map(|entry| entry.schedule);
        if matches!(schedule, Some(Schedule::At(_))) {
            self.set_schedule(id, Schedule::Due);
            self.due.push_back(id);
        }
    }

    /// The stream was dropped.
    pub(super) fn release(&mut self, now: Instant, id: FlowId) {
        let Entry { flow, schedule } = self.flows.get_mut(&id).expect("a stream's flow stays");
        let is_finished = *schedule == Schedule::Never;
        let is_unanswered = flow.state() == State::SynSent;
        flow.orphan(now);
        if is_finished || is_unanswered {
            self.finish(id);
        } else {
            self.make_due(id);
        }
    }

    /// Ends what used addresses that are not the gateway's any more. Nothing is sent: it could not be
    /// from there.
    pub(super) fn retain_addresses(&mut self, is_own: impl Fn(Ipv4Addr) -> bool) {
        let ends: Vec<(Tuple, FlowId)> = self.ids.iter().map(|(tuple, id)| (*tuple, *id)).collect();
        for ((local, _), id) in ends {
            if !is_own(*local.ip()) {
                self.flow(id).abort(io::ErrorKind::ConnectionAborted);
                self.finish(id);
            }
        }
    }

    fn insert(&mut self, flow: Flow) -> FlowId {
        let id = FlowId(self.next_id);
        self.next_id += 1;
        self.ids.insert(flow.tuple(), id);
        if let Owner::HalfOpen(listener) = flow.owner {
            self.listening(listener).expect("its SYN found the listener").half_open += 1;
        }
        self.flows.insert(id, Entry { flow, schedule: Schedule::Due });
        self.due.push_back(id);
        id
    }

    fn listening(&mut self, listener: SocketAddrV4) -> Option<&mut Listening> {
        self.listeners.get_mut(&(listener.port(), *listener.ip()))
    }

    /// Who listens for the connection that `segment` begins, if it does begin one.
    fn listener_for(&self, segment: &Segment<'_>) -> Option<SocketAddrV4> {
        let (local, remote) = segment.tuple;
        if !segment.is_syn() || remote.port() == 0 {
            return None;
        }
        let addresses = [*local.ip(), Ipv4Addr::UNSPECIFIED];
        let address = addresses.into_iter().find(|ip| self.listeners.contains_key(&(local.port(), *ip)))?;
        Some(SocketAddrV4::new(address, local.port()))
    }

    fn has_room_for(&mut self, listener: SocketAddrV4, counters: &mut StackCounters) -> bool {
        let is_table_full = self.flows.len() >= self.config.connections_max;
        let waiting = self.listening(listener).map_or(0, |it| it.half_open + it.ready.len());
        if is_table_full {
            counters.syns_dropped_connections_full += 1;
        } else if waiting >= BACKLOG_MAX {
            counters.syns_dropped_backlog_full += 1;
        }
        !is_table_full && waiting < BACKLOG_MAX
    }

    fn poll_flow(&mut self, now: Instant, id: FlowId, ip: &mut IpLayer) {
        match self.flow(id).poll(now, ip) {
            Progress::Sent => self.due.push_back(id),
            Progress::IdleUntil(at) => self.set_schedule(id, Schedule::At(at)),
            Progress::Finished => return self.finish(id),
        }
        self.promote(id);
    }

    /// Hands a connection whose handshake is done to its listener.
    fn promote(&mut self, id: FlowId) {
        let flow = self.flow(id);
        let Owner::HalfOpen(listener) = flow.owner else { return };
        if matches!(flow.state(), State::SynReceived | State::Closed) {
            return;
        }
        flow.owner = Owner::Backlog(listener);
        let listening = self.listening(listener).expect("closing it disowns its flows");
        listening.half_open -= 1;
        listening.ready.push_back(id);
        listening.arrived.notify_one();
    }

    /// Frees the flow's ends, and all of it unless a stream holds it.
    fn finish(&mut self, id: FlowId) {
        self.set_schedule(id, Schedule::Never);
        let flow = self.flow(id);
        let (tuple, owner) = (flow.tuple(), flow.owner);
        if self.ids.get(&tuple) == Some(&id) {
            self.ids.remove(&tuple);
        }
        match owner {
            Owner::Stream => return,
            Owner::HalfOpen(listener) => {
                self.listening(listener).expect("closing it disowns its flows").half_open -= 1;
            }
            Owner::Backlog(listener) => {
                let listening = self.listening(listener).expect("closing it disowns its flows");
                listening.ready.retain(|ready| *ready != id);
            }
            Owner::Nobody(_) => {}
        }
        self.flows.remove(&id);
    }

    fn set_schedule(&mut self, id: FlowId, schedule: Schedule) {
        let entry = self.flows.get_mut(&id).expect("only what exists is scheduled");
        if let Schedule::At(at) = std::mem::replace(&mut entry.schedule, schedule) {
            self.deadlines.remove(&(at, id));
        }
        if let Schedule::At(at) = schedule {
            self.deadlines.insert((at, id));
        }
    }
}
