//! The connections and the listeners.
//!
//! A flow is found by its two ends and, from the service's side, by a number that is never used again:
//! a stream may outlive its connection while the same ends are connected anew. smoltcp has neither
//! backlog nor index: a SYN is looked at here first, and gets a socket of its own if somebody listens
//! and there is room. What becomes of it otherwise, the module `listener` tells.
//!
//! ```text
//!            SYN, room                 handshake done            accept
//!  listener ───────────▶ HalfOpen ───────────────────▶ Backlog ─────────▶ Stream
//!     │ SYN, no room                                      ▲                  │ dropped
//!     └────────────▶ cookie, no state ────────────────────┘                  ▼
//!  service ──────────────────────────────────────────────────▶ Stream ──▶ Nobody ──▶ gone
//!            connect
//! ```
//!
//! The table of connections has a share for each peer, a reserve for those that the gateway opens, and gives
//! up the oldest that no service has any more when a peer begins another.
//!
//! A flow with something to do waits in `due`, in turn, one packet each; the others in `deadlines`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use smoltcp::socket::tcp::State;
use smoltcp::wire::IPV4_HEADER_LEN;
use tokio::sync::Notify;

use super::addresses::Addresses;
use super::cookie::Cookies;
use super::flow::{Flow, Owner, Progress, Tuple};
use super::ip::IpLayer;
use super::listener::{Admission, Listening};
use super::port::{choose_port, is_taken};
use super::segment::{Segment, Syn, cookie_answer};
use super::{StackConfig, StackCounters};

/// A peer's part of the table of connections.
const SOURCE_SHARE: usize = 4;
/// A peer's part, however small the table is.
const SOURCE_CONNECTIONS_MIN: usize = 8;
/// The gateway's own part of the table of connections: as many remain for those that it opens.
const OWN_RESERVE: usize = 8;
/// The headers of a packet without options, in octets.
const HEADERS_LEN: usize = IPV4_HEADER_LEN + 20;

/// Names a flow, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowId(u64);

/// The state of all TCP.
pub(super) struct Tcp {
    config: StackConfig,
    flows: BTreeMap<FlowId, Entry>,
    ids: BTreeMap<Tuple, FlowId>,
    next_id: u64,
    listeners: BTreeMap<(u16, Ipv4Addr), Listening>,
    cookies: Cookies,
    /// How many connections each peer has begun that are still in the table.
    sources: BTreeMap<Ipv4Addr, usize>,
    /// Connections that no service has any more, with the time since when.
    orphans: BTreeSet<(Instant, FlowId)>,
    due: VecDeque<FlowId>,
    deadlines: BTreeSet<(Instant, FlowId)>,
}

struct Entry {
    flow: Flow,
    schedule: Schedule,
    /// The peer's address if it is the peer that began the connection.
    began_by_peer: Option<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    Due,
    At(Instant),
    /// The connection is over; only its stream still holds it.
    Never,
}

impl Tcp {
    pub(super) fn new(config: StackConfig) -> Self {
        Self {
            config,
            flows: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            listeners: BTreeMap::new(),
            cookies: Cookies::default(),
            sources: BTreeMap::new(),
            orphans: BTreeSet::new(),
            due: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// How many connections there are, in whatever state.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// How many handshakes are under way that peers have begun.
    pub(super) fn half_open(&self) -> usize {
        self.listeners.values().map(Listening::half_open).sum()
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

    /// Gives a listener, which need not exist yet, to another holder, with its queues.
    pub(super) fn take_over(&mut self, listener: SocketAddrV4, holder: Rc<Notify>) {
        // What is ready was told to the former holder only.
        holder.notify_one();
        self.listeners.entry((listener.port(), *listener.ip())).or_default().arrived = holder;
    }

    /// Takes the oldest connection that `listener` has ready, if `holder` still holds the listener.
    pub(super) fn accept(&mut self, listener: SocketAddrV4, holder: &Rc<Notify>) -> Option<FlowId> {
        let listening = self.listening(listener).filter(|listening| Rc::ptr_eq(&listening.arrived, holder));
        let id = listening?.pop_ready()?;
        self.flow(id).owner = Owner::Stream;
        Some(id)
    }

    /// Closes a listener and resets what it has not handed over, if `holder` still holds the listener.
    pub(super) fn unlisten(&mut self, now: Instant, listener: SocketAddrV4, holder: &Rc<Notify>) {
        if !self.listening(listener).is_some_and(|listening| Rc::ptr_eq(&listening.arrived, holder)) {
            return;
        }
        self.listeners.remove(&(listener.port(), *listener.ip()));
        let waits =
            |flow: &Flow| matches!(flow.owner, Owner::HalfOpen(of) | Owner::Backlog(of) if of == listener);
        let ids: Vec<FlowId> =
            self.flows.iter().filter(|(_, entry)| waits(&entry.flow)).map(|(id, _)| *id).collect();
        for id in ids {
            let flow = self.flow(id);
            flow.owner = Owner::Nobody(now);
            flow.abort(io::ErrorKind::ConnectionAborted);
            self.orphans.insert((now, id));
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
        Ok(self.insert(now, Flow::connect(now, tuple, ip, &self.config)))
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
        let known = self.ids.get(&segment.tuple).copied();
        if let Some(id) = known
            && let Owner::HalfOpen(listener) = self.flow(id).owner
            && let Some(begun) = self.acknowledged_cookie(now, listener, segment, rng)
        {
            // A cookie answered its first SYN, and there was room for the repeated one.
            self.finish(id);
            return self.begin_by_cookie(now, listener, segment, begun, ip, counters);
        }
        let Some(id) = known.or_else(|| self.begin(now, segment, ip, rng, counters)) else { return };
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
        let Entry { flow, schedule, .. } = self.flows.get_mut(&id).expect("a stream's flow stays");
        let is_finished = *schedule == Schedule::Never;
        let is_unanswered = flow.state() == State::SynSent;
        flow.orphan(now);
        self.orphans.insert((now, id));
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

    fn insert(&mut self, now: Instant, flow: Flow) -> FlowId {
        let id = FlowId(self.next_id);
        self.next_id += 1;
        self.ids.insert(flow.tuple(), id);
        let peer = *flow.tuple().1.ip();
        let began_by_peer = match flow.owner {
            Owner::HalfOpen(listener) => {
                self.listening(listener).expect("it was asked before").handshake_began(now, id, peer);
                Some(peer)
            }
            Owner::Backlog(listener) => {
                self.listening(listener).expect("it was asked before").push_ready(id);
                Some(peer)
            }
            Owner::Stream | Owner::Nobody(_) => None,
        };
        if let Some(peer) = began_by_peer {
            *self.sources.entry(peer).or_default() += 1;
        }
        self.flows.insert(id, Entry { flow, schedule: Schedule::Due, began_by_peer });
        self.due.push_back(id);
        id
    }

    fn listening(&mut self, listener: SocketAddrV4) -> Option<&mut Listening> {
        self.listeners.get_mut(&(listener.port(), *listener.ip()))
    }

    /// The connection that `segment` begins by its SYN. One that it begins by acknowledging a cookie has processed
    /// it already. What begins nothing is answered as it deserves.
    fn begin(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) -> Option<FlowId> {
        if let Some(listener) = self.listener_for(segment.tuple, &ip.addresses) {
            if segment.is_syn() {
                return self.begin_by_syn(now, listener, segment, ip, rng, counters);
            }
            if let Some(begun) = self.acknowledged_cookie(now, listener, segment, rng) {
                self.begin_by_cookie(now, listener, segment, begun, ip, counters);
                return None;
            }
            if segment.is_acknowledgement() && self.listening(listener)?.has_sent_cookies(now) {
                // It may have overtaken the one that fits, and that one must not find the peer reset.
                counters.syn_cookies_refused += 1;
                return None;
            }
        }
        if segment.tcp.rst() {
            counters.resets_ignored += 1;
        } else {
            counters.segments_unwanted += 1;
            ip.refuse(now, segment.packet);
        }
        None
    }

    fn begin_by_syn(
        &mut self,
        now: Instant,
        listener: SocketAddrV4,
        segment: &Segment<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) -> Option<FlowId> {
        let source = *segment.tuple.1.ip();
        let gives_way = match self.listening(listener)?.admit(now, source) {
            Admission::Place => None,
            Admission::PlaceOf(oldest) => Some(oldest),
            Admission::Cookie => {
                self.answer_by_cookie(now, listener, segment, ip, rng, counters);
                return None;
            }
            Admission::BacklogFull => {
                counters.syns_dropped_backlog_full += 1;
                return None;
            }
        };
        // First, so that nothing gives way to what is refused all the same.
        if !self.is_within_share(source, counters) {
            return None;
        }
        if let Some(oldest) = gives_way {
            counters.half_open_recycled += 1;
            self.finish(oldest);
        }
        if !self.has_room(counters) {
            return None;
        }
        ip.reseed(now, rng);
        Some(self.insert(now, Flow::listen(now, segment.tuple, Owner::HalfOpen(listener), &self.config)))
    }

    /// Answers a SYN without keeping anything of it.
    fn answer_by_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddrV4,
        segment: &Segment<'_>,
        ip: &mut IpLayer,
        rng: &mut StdRng,
        counters: &mut StackCounters,
    ) {
        let peer = segment.tcp.seq_number().0 as u32;
        let cookie = self.cookies.make(now, segment.tuple, peer, segment.segment_size(), rng);
        let window = u16::try_from(self.config.tcp_buffer_len).unwrap_or(u16::MAX);
        let segment_size = u16::try_from(ip.outbox.mtu() - HEADERS_LEN).unwrap_or(u16::MAX);
        let answer = cookie_answer(segment.tuple, peer, cookie, window, segment_size);
        if !ip.outbox.has_room_for(answer.len()) {
            ip.replies_dropped += 1;
            return;
        }
        ip.outbox.push(answer);
        counters.syn_cookies_sent += 1;
        self.listening(listener).expect("its SYN found the listener").cookie_sent(now);
    }

    /// The SYN, and the cookie that answered it, if `segment` is the peer's next after both.
    fn acknowledged_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddrV4,
        segment: &Segment<'_>,
        rng: &mut StdRng,
    ) -> Option<(Syn, u32)> {
        if !segment.is_acknowledgement() || !self.listening(listener)?.has_sent_cookies(now) {
            return None;
        }
        let sequence = (segment.tcp.seq_number().0 as u32).wrapping_sub(1);
        let cookie = (segment.tcp.ack_number().0 as u32).wrapping_sub(1);
        let segment_size = self.cookies.check(now, segment.tuple, sequence, cookie, rng)?;
        Some((Syn { sequence, segment_size, window: segment.tcp.window_len() }, cookie))
    }

    fn begin_by_cookie(
        &mut self,
        now: Instant,
        listener: SocketAddrV4,
        segment: &Segment<'_>,
        begun: (Syn, u32),
        ip: &mut IpLayer,
        counters: &mut StackCounters,
    ) {
        if self.listening(listener).is_none_or(|listening| listening.is_backlog_full()) {
            counters.syns_dropped_backlog_full += 1;
        } else if ip.outbox.is_full() {
            ip.replies_dropped += 1;
        } else if self.is_within_share(*segment.tuple.1.ip(), counters)
            && self.has_room(counters)
            && let Some(mut flow) = Flow::from_cookie(now, segment.tuple, listener, begun, ip, &self.config)
        {
            flow.receive(now, segment, ip);
            if flow.is_handshake_done() {
                counters.syn_cookies_accepted += 1;
                self.insert(now, flow);
            }
        }
    }

    /// Who listens for connections with these ends. What nobody listens for at its own address is for whoever does at
    /// the one that [stands in](Addresses::stands_in_for) for it.
    fn listener_for(&self, (local, remote): Tuple, addresses: &Addresses) -> Option<SocketAddrV4> {
        let stand_in = addresses.stands_in_for(*local.ip(), *remote.ip());
        let address = [*local.ip(), Ipv4Addr::UNSPECIFIED]
            .into_iter()
            .chain(stand_in)
            .find(|ip| remote.port() != 0 && self.listeners.contains_key(&(local.port(), *ip)))?;
        Some(SocketAddrV4::new(address, local.port()))
    }

    /// Whether `source` has begun fewer connections than its share.
    fn is_within_share(&self, source: Ipv4Addr, counters: &mut StackCounters) -> bool {
        let share = (self.config.connections_max / SOURCE_SHARE).max(SOURCE_CONNECTIONS_MIN);
        let is_within = self.sources.get(&source).is_none_or(|count| *count < share);
        counters.syns_dropped_source_share += u64::from(!is_within);
        is_within
    }

    /// Whether there is room for one more connection that a peer begins. If there is not, but a connection that no
    /// service has any more, that one makes room.
    fn has_room(&mut self, counters: &mut StackCounters) -> bool {
        let connections_max = self.config.connections_max;
        if self.flows.len() < connections_max - connections_max / OWN_RESERVE {
            return true;
        }
        let Some((_, oldest)) = self.orphans.first().copied() else {
            counters.syns_dropped_connections_full += 1;
            return false;
        };
        counters.orphans_recycled += 1;
        self.finish(oldest);
        true
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
        if !flow.is_handshake_done() {
            return;
        }
        flow.owner = Owner::Backlog(listener);
        let listening = self.listening(listener).expect("closing it disowns its flows");
        listening.handshake_ended(id);
        listening.push_ready(id);
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
                self.listening(listener).expect("closing it disowns its flows").handshake_ended(id);
            }
            Owner::Backlog(listener) => {
                self.listening(listener).expect("closing it disowns its flows").remove_ready(id);
            }
            Owner::Nobody(since) => _ = self.orphans.remove(&(since, id)),
        }
        let peer = self.flows.remove(&id).and_then(|entry| entry.began_by_peer);
        if let Some(peer) = peer
            && let Some(count) = self.sources.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&peer);
            }
        }
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
