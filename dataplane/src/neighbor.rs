//! The neighbour table: the hardware addresses of the neighbours on all interfaces, for one address family.
//! (RFC 826; RFC 1122, section 2.3.2; the states are those of RFC 4861, section 7.3.2)
//!
//! # Theory of operation
//!
//! ```text
//!             frame           ARP from it              60 s pass            used again
//!   (absent) ───────▶ Incomplete ───────▶ Reachable ──────────────▶ Stale ─────────────▶ Probe
//!                         │                   ▲                                          │  │
//!                         │ 3 requests        └──────────────── ARP from it ─────────────┘  │
//!                         ▼ in vain                                                         │
//!                    Unreachable ──5 s──▶ (absent) ◀──────────── 3 requests in vain ────────┘
//! ```
//!
//! *Incomplete*: the table sends a broadcast request once a second, and holds frames for the neighbour. *Reachable*:
//! the hardware address is known. *Stale*: it is known, but the neighbour has sent no ARP for so long that the next use
//! sends it a unicast request. *Probe*: the requests are under way, and the address is still used. *Unreachable*: the
//! neighbour did not answer; frames for it are rejected at once, so that a dead neighbour costs at most three requests
//! every eight seconds.
//!
//! # A neighbour that is claimed by another hardware address
//!
//! ```text
//!                        ARP from another MAC             ARP from the first MAC
//!   Reachable, Stale, ───────────────────────▶ Contested ────────────────────────▶ Reachable, claim refused
//!   Probe                                       │  ▲ │
//!       │ contested less than a second ago      │  │ │ 3 requests in 300 ms in vain
//!       └──▶ Doubted ── that second ends ───────┼──┘ └──────────────────────────▶ Stale at the other MAC
//!               │                               │
//!               └──── ARP from the first MAC ───┴──▶ Reachable, claim refused
//! ```
//!
//! ARP is not signed, so one forged packet could take any neighbour off the network. Therefore a claim alone changes
//! nothing. *Contested*: the known hardware address gets [`NeighborTable::REQUESTS_MAX`] unicast requests within
//! [`NeighborTable::VERIFICATION`], and frames for the neighbour are held. If the known address answers, the claim is
//! refused; if not, the neighbour has moved to the claimant's hardware address. *Doubted*: a neighbour is contested
//! at most once in [`NeighborTable::CONTEST_INTERVAL`]; a claim that comes earlier waits until then, and frames go to
//! the known address meanwhile. So a flood of claims costs three requests a second, and a claim after a real
//! replacement of a network card is accepted within 1.3 s.
//!
//! If a lease or a reservation gives an address to a holder ([`ArpContext::holder`]), only claims of the holder are
//! accepted, and at once. When a lease begins, the neighbour's hardware address becomes the holder's
//! ([`NeighborTable::follow_holders`]). A bridge that replaces its clients' hardware address by its own (a Wi-Fi
//! repeater) is treated as if there were no lease, if the lease was requested through it: so a host that requests
//! another host's lease does not get its packets while the holder answers.
//!
//! With several workers, all get the claim. The worker that received it sends its requests first; the others send
//! theirs only if no answer has come within a third of the time.
//!
//! # Room
//!
//! An entry is created by a frame that needs it, or by a request that the neighbour sends to the gateway itself. All
//! other ARP, such as gratuitous ARP, only updates existing entries.
//!
//! Frames are held in a pool of [`NeighborTable::HELD_MAX`] buffers, [`NeighborTable::HELD_EACH_MAX`] for one
//! neighbour. When these are used up, the newest frame is rejected instead of a held one, so that each frame has a
//! final verdict when it is processed. The table has [`NeighborTable::NEIGHBORS_MAX`] slots in sets of eight by a
//! keyed hash. A new neighbour takes from its set a free slot, else an unreachable neighbour's, else an incomplete
//! one's, else the least recently used one's, but never a slot with held frames. So a scan for hosts that do not
//! exist displaces its own entries and not the router's.
//!
//! [`NeighborTable::handle_timeout`] returns the requests to send, for a new neighbour at once: its deadline is the
//! time at which it was created. The table neither builds ARP packets nor answers them.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use ahash::RandomState;
use gatepost_ground::wire::arp;
use gatepost_ground::{Frame, Instant, InterfaceId, MacAddr};

use crate::hold::FramePool;
use crate::key::Address;
use crate::table::memory::{Memory, Own, Shadow, ShadowCells};

mod entry;

use entry::{Entry, Phase, Set, WAYS};

/// The neighbours on all interfaces.
pub struct NeighborTable<A: Address = Ipv4Addr, M: Memory = Own> {
    sets: M::Cells<Set<A>>,
    hasher: RandomState,
    pool: FramePool<(), M>,
    /// The slots of all neighbours with a timer. A neighbour that no longer has one may still be listed.
    timer_list: Vec<u16>,
    /// The earliest deadline of a neighbour in a timed phase, or earlier.
    timeout: Instant,
}

/// The state of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests are sent; the hardware address is not known yet.
    Incomplete,
    /// Known.
    Reachable,
    /// Known, to be verified when it is next used.
    Stale,
    /// Known and in use, while requests are sent.
    Probe,
    /// Known, but claimed by another hardware address. Requests are sent, and frames are held meanwhile.
    Contested,
    /// Did not answer.
    Unreachable,
}

/// A neighbour as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor<A = IpAddr> {
    /// The interface that the neighbour is on.
    pub interface: InterfaceId,
    /// The neighbour's address.
    pub ip: A,
    /// The hardware address, if it is known.
    pub mac: Option<MacAddr>,
    /// The state.
    pub state: State,
    /// The number of frames held for it.
    pub held: usize,
}

/// The context of an ARP packet: what the table needs besides the packet's contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArpContext {
    /// The packet's target is the gateway's address on the interface.
    pub is_for_us: bool,
    /// Another worker received the packet, and reports what comes of it.
    pub is_copy: bool,
    /// The hardware address to which a lease or a reservation gives the sender's address. `None` without one, and for
    /// a packet from a bridge that replaces its clients' hardware address by its own, if the lease was requested
    /// through it.
    pub holder: Option<MacAddr>,
}

/// What to do with a frame for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Send it to this hardware address.
    Known(MacAddr),
    /// The table has taken the frame, and returns it in an [`Event`].
    Held,
    /// Requests for the neighbour are under way, but no more frames can be held.
    QueueFull,
    /// There is no room for another neighbour.
    TableFull,
    /// The neighbour did not answer lately.
    Unreachable,
}

/// What the table asks its caller to do.
#[derive(Debug)]
pub enum Event<'a, A = Ipv4Addr> {
    /// Send a request for `ip`.
    SendRequest {
        /// On this interface.
        interface: InterfaceId,
        /// The neighbour's address.
        ip: A,
        /// The neighbour's last hardware address; `None` to broadcast the request.
        unicast_to: Option<MacAddr>,
    },
    /// Send a frame that was held; its buffer may be exchanged for another of the same capacity.
    Release {
        /// On this interface.
        interface: InterfaceId,
        /// To this hardware address, which its header does not have yet.
        mac: MacAddr,
        /// The frame.
        frame: &'a mut Frame,
    },
    /// Drop a frame that was held: the neighbour did not answer, or the table has forgotten the neighbour.
    Expired {
        /// The frame's interface.
        interface: InterfaceId,
        /// The neighbour that the frame was for.
        ip: A,
        /// The frame.
        frame: &'a mut Frame,
    },
    /// A known neighbour has another hardware address from now on.
    Moved(Claim<A>),
    /// Another hardware address has claimed a neighbour's address, and the claim was refused.
    ClaimRefused(Claim<A>),
}

/// A claim: a hardware address uses the address of a neighbour that is known at another hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<A = IpAddr> {
    /// On this interface.
    pub interface: InterfaceId,
    /// The neighbour's address.
    pub ip: A,
    /// The hardware address that the neighbour has, or that a lease or a reservation gives the address to.
    pub known: MacAddr,
    /// The hardware address that claims it.
    pub claimant: MacAddr,
}

impl<A: Into<IpAddr>> Neighbor<A> {
    /// The neighbour with an address of any family, as reports need it.
    pub fn of_any_family(self) -> Neighbor {
        let Self { interface, ip, mac, state, held } = self;
        Neighbor { interface, ip: ip.into(), mac, state, held }
    }
}

impl<A: Into<IpAddr>> Claim<A> {
    /// The claim with an address of any family, as alerts need it.
    pub fn of_any_family(self) -> Claim {
        let Self { interface, ip, known, claimant } = self;
        Claim { interface, ip: ip.into(), known, claimant }
    }
}

/// The limits, the same for any family.
impl NeighborTable {
    /// The most neighbours known at one time.
    pub const NEIGHBORS_MAX: usize = 4096;
    /// The most frames held for one neighbour.
    pub const HELD_EACH_MAX: usize = 8;
    /// The most frames held at one time.
    pub const HELD_MAX: u16 = 256;
    /// How long a neighbour is known without a verification. (RFC 1122, section 2.3.2.1)
    pub const REACHABLE: Duration = Duration::from_secs(60);
    /// How long to wait for an answer before asking again. (RFC 1122, section 2.3.2.1)
    pub const RETRANSMISSION: Duration = Duration::from_secs(1);
    /// The most requests in a row, MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT. (RFC 4861, section 10)
    pub const REQUESTS_MAX: u8 = 3;
    /// How long a contested neighbour has to answer before the claim is accepted.
    pub const VERIFICATION: Duration = Duration::from_millis(300);
    /// The time between two verifications of one neighbour. (RFC 1122, section 2.3.2.1)
    pub const CONTEST_INTERVAL: Duration = Duration::from_secs(1);
    /// How long a neighbour that did not answer is not asked again.
    pub const UNREACHABLE: Duration = Duration::from_secs(5);
}

impl<M: Memory> NeighborTable<Ipv4Addr, M> {
    /// Learns from an ARP packet that came in on `interface`: see [`NeighborTable::learn`].
    pub fn handle_arp(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        packet: &arp::Packet,
        context: ArpContext,
        events: &mut impl FnMut(Event<'_>),
    ) {
        let asks = packet.operation == arp::Operation::Request;
        self.learn(now, interface, (packet.sender_ip, packet.sender_mac), asks, context, events);
    }
}

impl<A: Address> NeighborTable<A> {
    /// An empty table that holds frames of up to `frame_capacity` octets. The `seeds` keep a peer from
    /// choosing addresses of one set.
    pub fn new(seeds: [u64; 4], frame_capacity: usize) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            sets: (0..NeighborTable::NEIGHBORS_MAX / WAYS).map(|_| Set::default()).collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
            pool: FramePool::new(NeighborTable::HELD_MAX, frame_capacity, ()),
            timer_list: Vec::with_capacity(NeighborTable::NEIGHBORS_MAX),
            timeout: Instant::FAR_FUTURE,
        }
    }

    /// Makes room for frames of up to `frame_capacity` octets.
    pub fn reserve_frames(&mut self, frame_capacity: usize) {
        self.pool.reserve_frames(frame_capacity);
    }

    /// When [`NeighborTable::handle_timeout`] next has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.timeout != Instant::FAR_FUTURE).then_some(self.timeout)
    }

    /// Sends the requests that are due, and gives up the neighbours that did not answer.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut impl FnMut(Event<'_, A>)) {
        if now < self.timeout {
            return;
        }
        let Self { sets, pool, timer_list, timeout, .. } = self;
        *timeout = Instant::FAR_FUTURE;
        timer_list.retain(|place| {
            let (index, way) = (usize::from(*place) / WAYS, usize::from(*place) % WAYS);
            let set = &mut sets[index];
            let entry = &mut set.entries[way];
            if let Some((interface, ip)) = A::split(set.keys[way]) {
                entry.handle_timeout(now, interface, ip, pool, events);
            }
            match entry.phase {
                phase if phase.is_timed() => *timeout = (*timeout).min(entry.deadline),
                _ => entry.is_listed = false,
            }
            entry.is_listed
        });
    }

    /// Moves the neighbours on `interface` to the hardware addresses that `holder` returns for their address and
    /// known hardware address. Moved neighbours are verified when they are next used. If `holder` confirms the known
    /// hardware address of a contested neighbour, the claim is refused. Returns the numbers of moved neighbours and
    /// of refused claims.
    pub fn follow_holders(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        holder: impl Fn(A, MacAddr) -> Option<MacAddr>,
    ) -> (u64, u64) {
        let (mut moved, mut refused) = (0, 0);
        for place in 0..NeighborTable::NEIGHBORS_MAX {
            let (index, way) = (place / WAYS, place % WAYS);
            let Some((on, ip)) = A::split(self.sets[index].keys[way]) else { continue };
            let entry = &mut self.sets[index].entries[way];
            if on != interface || !entry.state(now).has_address() {
                continue;
            }
            let Some(mac) = holder(ip, entry.mac) else { continue };
            if mac == entry.mac {
                if entry.is_claimed() {
                    refused += u64::from(!entry.is_copy);
                    self.ask(now, index, way, Phase::Probe);
                }
                continue;
            }
            moved += 1;
            entry.mac = mac;
            if entry.held.len() == 0 {
                entry.phase = Phase::Known;
                entry.deadline = now;
            } else {
                self.ask(now, index, way, Phase::Probe);
            }
        }
        (moved, refused)
    }

    /// Forgets the neighbours for whose interface and address `is_gone` is true, and drops their held frames. It
    /// looks at all neighbours, so it is for changes of configuration only.
    pub fn forget(
        &mut self,
        is_gone: impl Fn(InterfaceId, A) -> bool,
        events: &mut impl FnMut(Event<'_, A>),
    ) {
        for set in &mut self.sets {
            for (key, entry) in set.keys.iter_mut().zip(&mut set.entries) {
                let Some((interface, ip)) = A::split(*key).filter(|(on, ip)| is_gone(*on, *ip)) else {
                    continue;
                };
                while let Some((frame, ())) = self.pool.release(&mut entry.held) {
                    events(Event::Expired { interface, ip, frame });
                }
                entry.phase = Phase::Unreachable;
                *key = A::OnInterface::default();
            }
        }
    }

    /// All neighbours, in a repeatable order.
    pub fn neighbors(&self, now: Instant) -> impl Iterator<Item = Neighbor<A>> {
        let places = self.sets.iter().flat_map(|set| set.keys.iter().zip(&set.entries));
        places.filter(move |(_, entry)| !entry.is_over(now)).filter_map(move |(key, entry)| {
            let (interface, ip) = A::split(*key)?;
            let state = entry.state(now);
            let mac = state.has_address().then_some(entry.mac);
            Some(Neighbor { interface, ip, mac, state, held: entry.held.len() })
        })
    }

    /// A shadow of the table.
    pub(crate) fn shadow(&self) -> NeighborTable<A, Shadow<'_>> {
        NeighborTable {
            sets: ShadowCells::of(&self.sets),
            hasher: self.hasher.clone(),
            pool: self.pool.shadow(),
            timer_list: self.timer_list.clone(),
            timeout: self.timeout,
        }
    }
}

impl<A: Address, M: Memory> NeighborTable<A, M> {
    /// The hardware address of a neighbour that is known and needs no verification: the fast path.
    #[inline]
    pub fn lookup(&self, now: Instant, interface: InterfaceId, ip: A) -> Option<MacAddr> {
        let key = ip.on(interface);
        let set = &self.sets[self.index(key)];
        let entry = &set.entries[set.find(key)?];
        matches!(entry.state(now), State::Reachable | State::Probe).then_some(entry.mac)
    }

    /// The current or last hardware address of a neighbour, for answers to it. Sends no request.
    pub fn last_known(&self, now: Instant, interface: InterfaceId, ip: A) -> Option<MacAddr> {
        let key = ip.on(interface);
        let set = &self.sets[self.index(key)];
        let entry = &set.entries[set.find(key)?];
        entry.state(now).has_address().then_some(entry.mac)
    }

    /// Resolves the hardware address for `frame` to `ip`. If it is not known yet, the table takes the frame and
    /// leaves an empty buffer instead.
    pub fn resolve(&mut self, now: Instant, interface: InterfaceId, ip: A, frame: &mut Frame) -> Resolution {
        let key = ip.on(interface);
        let index = self.index(key);
        let Some(way) = self.find_or_insert(now, index, key) else { return Resolution::TableFull };
        let entry = &mut self.sets[index].entries[way];
        entry.used = now;
        match entry.state(now) {
            State::Reachable | State::Probe => Resolution::Known(entry.mac),
            State::Stale => {
                let mac = entry.mac;
                self.ask(now, index, way, Phase::Probe);
                Resolution::Known(mac)
            }
            State::Unreachable => Resolution::Unreachable,
            State::Incomplete | State::Contested if entry.held.len() == NeighborTable::HELD_EACH_MAX => {
                Resolution::QueueFull
            }
            State::Incomplete | State::Contested => {
                let is_held = self.pool.hold(&mut entry.held, frame, ());
                if is_held { Resolution::Held } else { Resolution::QueueFull }
            }
        }
    }

    /// Learns that the neighbour `ip` on `interface` has sent from the hardware address `sender`, and releases the
    /// frames held for it. `asks` is true if the packet is a request.
    ///
    /// The neighbour's address must be in a network of the interface, and not the gateway's own.
    pub fn learn(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        (ip, sender): (A, MacAddr),
        asks: bool,
        context: ArpContext,
        events: &mut impl FnMut(Event<'_, A>),
    ) {
        if ip.is_unspecified() {
            return;
        }
        if let Some(holder) = context.holder.filter(|holder| *holder != sender) {
            if !context.is_copy {
                events(Event::ClaimRefused(Claim { interface, ip, known: holder, claimant: sender }));
            }
            return;
        }
        let key = ip.on(interface);
        let index = self.index(key);
        let asks_us = context.is_for_us && asks;
        let way = match self.sets[index].find(key) {
            Some(way) => Some(way),
            None if asks_us => self.insert(now, index, key),
            None => None,
        };
        let Some(way) = way else { return };
        let entry = &mut self.sets[index].entries[way];
        let is_claim = entry.state(now).has_address() && entry.mac != sender;
        if is_claim && context.holder.is_none() {
            self.contest(now, (index, way), sender, context.is_copy);
            return;
        }
        let claim = |known, claimant| Claim { interface, ip, known, claimant };
        if is_claim && !context.is_copy {
            events(Event::Moved(claim(entry.mac, sender)));
        } else if !is_claim && entry.is_claimed() && !entry.is_copy {
            events(Event::ClaimRefused(claim(sender, entry.claimant)));
        }
        let is_confirmed = context.is_for_us || !matches!(entry.phase, Phase::Known | Phase::Unreachable);
        if is_confirmed {
            entry.deadline = now + NeighborTable::REACHABLE;
        } else if entry.mac != sender {
            entry.deadline = now; // verified when it is next used
        }
        entry.phase = Phase::Known;
        entry.mac = sender;
        while let Some((frame, ())) = self.pool.release(&mut entry.held) {
            events(Event::Release { interface, mac: sender, frame });
        }
    }

    /// The slot of the neighbour. A neighbour that does not exist, or has been unreachable long enough, is created,
    /// and requests for it begin.
    fn find_or_insert(&mut self, now: Instant, index: usize, key: A::OnInterface) -> Option<usize> {
        let set = &self.sets[index];
        let way = match set.find(key) {
            Some(way) if !set.entries[way].is_over(now) => return Some(way),
            Some(way) => way,
            None => self.insert(now, index, key)?,
        };
        self.ask(now, index, way, Phase::Incomplete);
        Some(way)
    }

    /// Gives a new neighbour a slot, another neighbour's if need be.
    fn insert(&mut self, now: Instant, index: usize, key: A::OnInterface) -> Option<usize> {
        let set = &mut self.sets[index];
        let way = set.eviction_slot()?;
        set.keys[way] = key;
        let is_listed = set.entries[way].is_listed;
        set.entries[way] = Entry { is_listed, used: now, ..Entry::default() };
        Some(way)
    }

    /// Begins to send requests for a neighbour.
    fn ask(&mut self, now: Instant, index: usize, way: usize, phase: Phase) {
        let entry = &mut self.sets[index].entries[way];
        entry.phase = phase;
        entry.requests = 0;
        entry.deadline = now;
        self.watch(index, way);
    }

    /// Handles a claim of `claimant` to the address of a known neighbour. With `is_copy`, another worker received the
    /// claim and sends its requests first.
    fn contest(&mut self, now: Instant, (index, way): (usize, usize), claimant: MacAddr, is_copy: bool) {
        let entry = &mut self.sets[index].entries[way];
        if entry.is_claimed() {
            return; // The contest with the first claimant is not over.
        }
        entry.claimant = claimant;
        entry.is_copy = is_copy;
        entry.phase = Phase::Doubted;
        entry.deadline = entry.contest_from.max(now);
        if entry.deadline == now {
            entry.contest(now);
        }
        self.watch(index, way);
    }

    /// Schedules the deadline of a neighbour in a timed phase.
    fn watch(&mut self, index: usize, way: usize) {
        let entry = &mut self.sets[index].entries[way];
        self.timeout = self.timeout.min(entry.deadline);
        if !entry.is_listed {
            entry.is_listed = true;
            self.timer_list.push((index * WAYS + way) as u16);
        }
    }

    #[inline]
    fn index(&self, key: A::OnInterface) -> usize {
        self.hasher.hash_one(key) as usize % (NeighborTable::NEIGHBORS_MAX / WAYS)
    }
}

#[cfg(test)]
mod claim_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
