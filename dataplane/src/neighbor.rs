//! The neighbour table: which hardware address an IPv4 address of a segment is at.
//! (RFC 826, RFC 1122 section 2.3.2, and the states of RFC 4861)
//!
//! # Theory of operation
//!
//! ```text
//!             frame           ARP from it              60 s pass            used again
//!   (nobody) ───────▶ Incomplete ───────▶ Reachable ──────────────▶ Stale ─────────────▶ Probe
//!                         │                   ▲                                          │  │
//!                         │ 3 requests        └──────────────── ARP from it ─────────────┘  │
//!                         ▼ in vain                                                         │
//!                    Unreachable ──5 s──▶ (nobody) ◀──────────── 3 requests in vain ────────┘
//! ```
//!
//! *Incomplete*: asked for by broadcast, once a second; frames for it are held. *Reachable*: known.
//! *Stale*: known, but not heard for so long that its next use asks it by unicast. *Probe*: asked, and
//! still used. *Unreachable*: did not answer; frames for it are refused at once, so that a dead
//! neighbour costs no more than three requests every eight seconds.
//!
//! An entry is made by a frame that needs it, and by a request that the neighbour sends to the gateway
//! itself. Whatever else is heard, gratuitous ARP for one, only changes what is already known.
//!
//! Frames are held in a pool of [`NeighborTable::HELD_MAX`] buffers, [`NeighborTable::HELD_EACH_MAX`]
//! for one neighbour; further ones are refused, not the held ones dropped, so that each frame has its
//! verdict when it is dealt with. The table has [`NeighborTable::NEIGHBORS_MAX`] places in sets of
//! eight by a keyed hash. A new neighbour takes, of its set, a free place, else one unreachable, else
//! one incomplete, else the one used longest ago; but none that frames are held for. So a scan for
//! hosts that do not exist displaces its own entries, and not the way to the router.
//!
//! Who is to be asked is told by [`NeighborTable::handle_timeout`], for a new neighbour at once: its
//! deadline is the moment it was made. The table neither builds ARP packets nor answers them.

use core::net::Ipv4Addr;
use core::time::Duration;

use ahash::RandomState;

use crate::batch::Frame;
use crate::config::Segment;
use crate::hold::{FramePool, FrameQueue};
use crate::time::Instant;
use crate::wire::arp;
use crate::wire::ethernet::MacAddr;

/// The neighbours on both segments.
#[derive(Debug)]
pub struct NeighborTable {
    sets: Box<[Set]>,
    hasher: RandomState,
    pool: FramePool<()>,
    /// The places of all neighbours in `Incomplete` or `Probe`, and of some that no longer are.
    asked: Vec<u16>,
    /// No neighbour that is asked has an earlier deadline.
    timeout: Instant,
}

/// How far the table knows a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for, not yet known.
    Incomplete,
    /// Known.
    Reachable,
    /// Known, to be asked when it is next used.
    Stale,
    /// Known and asked.
    Probe,
    /// Did not answer.
    Unreachable,
}

/// A neighbour, as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// On which segment it is.
    pub segment: Segment,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its hardware address, if it is known.
    pub mac: Option<MacAddr>,
    /// How far it is known.
    pub state: State,
    /// The number of frames held for it.
    pub held: usize,
}

/// What becomes of a frame for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It goes to this hardware address.
    Known(MacAddr),
    /// The table has taken it; it comes back in an [`Event`].
    Held,
    /// The neighbour is being asked for, but no more frames can be held.
    QueueFull,
    /// No place for another neighbour.
    TableFull,
    /// The neighbour did not answer of late.
    Unreachable,
}

/// What the table wants done.
#[derive(Debug)]
pub enum Event<'a> {
    /// Ask who has `ip`.
    SendRequest {
        /// On this segment.
        segment: Segment,
        /// The neighbour's address.
        ip: Ipv4Addr,
        /// Where the neighbour was last; `None` to ask everybody.
        unicast_to: Option<MacAddr>,
    },
    /// Send a frame that was held; its buffer may be exchanged for another of the same capacity.
    Release {
        /// On this segment.
        segment: Segment,
        /// To this hardware address, which its header does not have yet.
        mac: MacAddr,
        /// The frame.
        frame: &'a mut Frame,
    },
    /// Give up a frame that was held: the neighbour did not answer.
    Expired {
        /// It was for this segment.
        segment: Segment,
        /// And for this neighbour.
        ip: Ipv4Addr,
        /// The frame.
        frame: &'a mut Frame,
    },
}

impl NeighborTable {
    /// The most neighbours known at one time.
    pub const NEIGHBORS_MAX: usize = 4096;
    /// The most frames held for one neighbour.
    pub const HELD_EACH_MAX: usize = 8;
    /// The most frames held at one time.
    pub const HELD_MAX: u16 = 256;
    /// How long a neighbour is taken to be where it was heard. // RFC 1122 section 2.3.2.1
    pub const REACHABLE: Duration = Duration::from_secs(60);
    /// How long to wait for an answer before asking again. // RFC 1122 section 2.3.2.1
    pub const RETRANSMISSION: Duration = Duration::from_secs(1);
    /// How often to ask. // RFC 4861 section 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
    pub const REQUESTS_MAX: u8 = 3;
    /// How long a neighbour that did not answer is not asked again.
    pub const UNREACHABLE: Duration = Duration::from_secs(5);

    /// An empty table that holds frames of up to `frame_capacity` octets. The `seeds` keep a peer from
    /// choosing addresses of one set.
    pub fn new(seeds: [u64; 4], frame_capacity: usize) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            sets: (0..Self::NEIGHBORS_MAX / WAYS).map(|_| Set::default()).collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
            pool: FramePool::new(Self::HELD_MAX, frame_capacity, ()),
            asked: Vec::with_capacity(Self::NEIGHBORS_MAX),
            timeout: Instant::FAR_FUTURE,
        }
    }

    /// Makes room for frames of up to `frame_capacity` octets, if there was less.
    pub fn reserve_frames(&mut self, frame_capacity: usize) {
        self.pool.reserve_frames(frame_capacity);
    }

    /// The hardware address of a neighbour that is known and need not be asked: the fast way.
    #[inline]
    pub fn lookup(&self, now: Instant, segment: Segment, ip: Ipv4Addr) -> Option<MacAddr> {
        let key = pack(segment, ip);
        let set = &self.sets[self.index(key)];
        let entry = &set.entries[set.find(key)?];
        matches!(entry.state(now), State::Reachable | State::Probe).then_some(entry.mac)
    }

    /// The hardware address at which a neighbour is or was last: good for what is sent in answer to it,
    /// and asks nobody.
    pub fn last_known(&self, now: Instant, segment: Segment, ip: Ipv4Addr) -> Option<MacAddr> {
        let key = pack(segment, ip);
        let set = &self.sets[self.index(key)];
        let entry = &set.entries[set.find(key)?];
        matches!(entry.state(now), State::Reachable | State::Probe | State::Stale).then_some(entry.mac)
    }

    /// Finds out where `frame` for `ip` goes. If that is not known yet, the table takes the frame and
    /// leaves an empty buffer in its stead.
    pub fn resolve(&mut self, now: Instant, segment: Segment, ip: Ipv4Addr, frame: &mut Frame) -> Resolution {
        let key = pack(segment, ip);
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
            State::Incomplete if entry.held.len() == Self::HELD_EACH_MAX => Resolution::QueueFull,
            State::Incomplete => {
                let is_held = self.pool.hold(&mut entry.held, frame, ());
                if is_held { Resolution::Held } else { Resolution::QueueFull }
            }
        }
    }

    /// Learns from an ARP packet that came in on `segment`, `is_for_us` if its target is the
    /// gateway's address there, and lets go of the frames that waited for its sender.
    ///
    /// The sender's address is to be one of the segment's network, and not the gateway's own.
    pub fn handle_arp(
        &mut self,
        now: Instant,
        segment: Segment,
        packet: &arp::Packet,
        is_for_us: bool,
        events: &mut impl FnMut(Event<'_>),
    ) {
        if packet.sender_ip.is_unspecified() {
            return;
        }
        let key = pack(segment, packet.sender_ip);
        let index = self.index(key);
        let asks_us = is_for_us && packet.operation == arp::Operation::Request;
        let way = match self.sets[index].find(key) {
            Some(way) => Some(way),
            None if asks_us => self.insert(now, index, key),
            None => None,
        };
        let Some(way) = way else { return };
        let entry = &mut self.sets[index].entries[way];
        if is_for_us || matches!(entry.phase, Phase::Incomplete | Phase::Probe) {
            entry.deadline = now + Self::REACHABLE;
        } else if entry.mac != packet.sender_mac {
            entry.deadline = now; // to be asked before it is believed for long
        }
        entry.phase = Phase::Known;
        entry.mac = packet.sender_mac;
        while let Some((frame, ())) = self.pool.release(&mut entry.held) {
            events(Event::Release { segment, mac: packet.sender_mac, frame });
        }
    }

    /// When [`NeighborTable::handle_timeout`] next has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.timeout != Instant::FAR_FUTURE).then_some(self.timeout)
    }

    /// Asks who is to be asked, and gives up who did not answer.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut impl FnMut(Event<'_>)) {
        if now < self.timeout {
            return;
        }
        let Self { sets, pool, asked, timeout, .. } = self;
        *timeout = Instant::FAR_FUTURE;
        asked.retain(|place| {
            let (index, way) = (usize::from(*place) / WAYS, usize::from(*place) % WAYS);
            let set = &mut sets[index];
            let (segment, ip) = unpack(set.keys[way]);
            let entry = &mut set.entries[way];
            entry.handle_timeout(now, segment, ip, pool, events);
            match entry.phase {
                Phase::Incomplete | Phase::Probe => *timeout = (*timeout).min(entry.deadline),
                Phase::Known | Phase::Unreachable => entry.is_listed = false,
            }
            entry.is_listed
        });
    }

    /// Forgets all neighbours on `segment`, which has become another, and gives up their frames.
    pub fn forget_segment(&mut self, segment: Segment, events: &mut impl FnMut(Event<'_>)) {
        for set in &mut self.sets {
            for (key, entry) in set.keys.iter_mut().zip(&mut set.entries) {
                let (key_segment, ip) = unpack(*key);
                if *key == EMPTY || key_segment != segment {
                    continue;
                }
                while let Some((frame, ())) = self.pool.release(&mut entry.held) {
                    events(Event::Expired { segment, ip, frame });
                }
                entry.phase = Phase::Unreachable;
                *key = EMPTY;
            }
        }
    }

    /// All neighbours, in no particular but a repeatable order.
    pub fn neighbors(&self, now: Instant) -> impl Iterator<Item = Neighbor> {
        let places = self.sets.iter().flat_map(|set| set.keys.iter().zip(&set.entries));
        places.filter(move |(key, entry)| **key != EMPTY && !entry.is_over(now)).map(move |(key, entry)| {
            let (segment, ip) = unpack(*key);
            let state = entry.state(now);
            let is_known = matches!(state, State::Reachable | State::Stale | State::Probe);
            Neighbor { segment, ip, mac: is_known.then_some(entry.mac), state, held: entry.held.len() }
        })
    }

    /// The place of the neighbour; of a new one, asked for, if it is not there or was so long ago.
    fn find_or_insert(&mut self, now: Instant, index: usize, key: u64) -> Option<usize> {
        let set = &self.sets[index];
        let way = match set.find(key) {
            Some(way) if !set.entries[way].is_over(now) => return Some(way),
            Some(way) => way,
            None => self.insert(now, index, key)?,
        };
        self.ask(now, index, way, Phase::Incomplete);
        Some(way)
    }

    /// Gives a new neighbour a place, another's if need be.
    fn insert(&mut self, now: Instant, index: usize, key: u64) -> Option<usize> {
        let set = &mut self.sets[index];
        let way = set.most_dispensable()?;
        set.keys[way] = key;
        let is_listed = set.entries[way].is_listed;
        set.entries[way] = Entry { is_listed, used: now, ..Entry::default() };
        Some(way)
    }

    /// Begins to ask for a neighbour.
    fn ask(&mut self, now: Instant, index: usize, way: usize, phase: Phase) {
        let entry = &mut self.sets[index].entries[way];
        entry.phase = phase;
        entry.requests = 0;
        entry.deadline = now;
        self.timeout = self.timeout.min(now);
        if !entry.is_listed {
            entry.is_listed = true;
            self.asked.push((index * WAYS + way) as u16);
        }
    }

    #[inline]
    fn index(&self, key: u64) -> usize {
        self.hasher.hash_one(key) as usize % (Self::NEIGHBORS_MAX / WAYS)
    }
}

/// The places of a set.
const WAYS: usize = 8;

/// The places for neighbours of one hash. The keys fill a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    keys: [u64; WAYS],
    entries: [Entry; WAYS],
}

impl Set {
    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|other| *other == key)
    }

    /// The place to give to a new neighbour: one without frames, free if there is one.
    fn most_dispensable(&self) -> Option<usize> {
        let rank = |way: &usize| {
            let entry = &self.entries[*way];
            let rank = match entry.phase {
                _ if self.keys[*way] == EMPTY => 0,
                Phase::Unreachable => 1,
                Phase::Incomplete => 2,
                Phase::Known | Phase::Probe => 3,
            };
            (rank, entry.used)
        };
        (0..WAYS).filter(|way| self.entries[*way].held.len() == 0).min_by_key(rank)
    }
}

/// A place without a neighbour.
const EMPTY: u64 = 0;
/// Marks a packed neighbour, so that none is [`EMPTY`].
const OCCUPIED: u64 = 1 << 40;
const ON_WAN: u64 = 1 << 32;

#[inline]
fn pack(segment: Segment, ip: Ipv4Addr) -> u64 {
    let segment = if segment == Segment::Wan { ON_WAN } else { 0 };
    OCCUPIED | segment | u64::from(ip.to_bits())
}

fn unpack(key: u64) -> (Segment, Ipv4Addr) {
    let segment = if key & ON_WAN != 0 { Segment::Wan } else { Segment::Lan };
    (segment, Ipv4Addr::from_bits(key as u32))
}

#[derive(Debug, Default)]
struct Entry {
    mac: MacAddr,
    phase: Phase,
    /// How often it was asked in this phase.
    requests: u8,
    /// Whether it stands in [`NeighborTable::asked`].
    is_listed: bool,
    /// The end of the phase, or the next request.
    deadline: Instant,
    /// When a frame last asked for it. [`NeighborTable::lookup`] does not count: who is used is asked
    /// for again once in a while.
    used: Instant,
    held: FrameQueue,
}

/// The states, as they are stored: `Known` is reachable until its deadline, and then stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Incomplete,
    Known,
    Probe,
    Unreachable,
}

impl Entry {
    #[inline]
    fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Incomplete => State::Incomplete,
            Phase::Known if now < self.deadline => State::Reachable,
            Phase::Known => State::Stale,
            Phase::Probe => State::Probe,
            Phase::Unreachable => State::Unreachable,
        }
    }

    /// Whether it is as if it were not there.
    fn is_over(&self, now: Instant) -> bool {
        self.phase == Phase::Unreachable && now >= self.deadline
    }

    fn handle_timeout(
        &mut self,
        now: Instant,
        segment: Segment,
        ip: Ipv4Addr,
        pool: &mut FramePool<()>,
        events: &mut impl FnMut(Event<'_>),
    ) {
        let unicast_to = match self.phase {
            _ if now < self.deadline => return,
            Phase::Incomplete => None,
            Phase::Probe => Some(self.mac),
            Phase::Known | Phase::Unreachable => return,
        };
        if self.requests < NeighborTable::REQUESTS_MAX {
            self.requests += 1;
            self.deadline = now + NeighborTable::RETRANSMISSION;
            events(Event::SendRequest { segment, ip, unicast_to });
            return;
        }
        // Who moved without a word is asked for by broadcast as soon as there is something to send.
        let pause = if self.phase == Phase::Probe { Duration::ZERO } else { NeighborTable::UNREACHABLE };
        self.phase = Phase::Unreachable;
        self.deadline = now + pause;
        while let Some((frame, ())) = pool.release(&mut self.held) {
            events(Event::Expired { segment, ip, frame });
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
