//! Fragments on their way through: what becomes of the first becomes of the rest.
//!
//! # Theory of operation
//!
//! Only the first fragment of a packet has the transport header, by which flows, NAT and firewall
//! decide. What they decided is noted here as a value `T` under the packet's key, and the other
//! fragments look it up; nothing is put together. (RFC 4787, REQ-14)
//!
//! ```text
//!               later fragment                    first fragment
//!   (nothing) ───────────────────▶ waiting ─────────────────────────▶ known ──15 s──▶ (nothing)
//!       │                             │  its fragments are let go       ▲
//!       │                             └──2 s──▶ (nothing), they expire  │
//!       └──────────────────── first fragment ───────────────────────────┘
//! ```
//!
//! Fragments that overtake the first are held until it comes. A flood of such is bounded by
//! [`FragmentTracker::HELD_MAX`] buffers, [`FragmentTracker::HELD_EACH_MAX`] for one packet, and 2 s;
//! when they are used up further ones are refused, while packets whose first fragment comes first
//! still pass.
//!
//! There are [`FragmentTracker::PACKETS_MAX`] places in sets of eight by a keyed hash. A new packet
//! takes, of its set, a free place, else that of the known packet whose first fragment came longest
//! ago, which has most likely passed; never one that fragments are held for.
//!
//! A sender may use an identification again within that time. A fragment that overtakes the first one of the new packet
//! is taken for one of the old packet. So whoever notes a new value under the same key keeps of the old one what all
//! fragments must have in common, which is the identification that NAT gives them.
//!
//! A packet's fragments are not counted: its place is free after the time only, so that duplicates and
//! stragglers find it. Ports must not be forged by overlapping: see [`is_sound`].

use core::net::Ipv4Addr;
use core::time::Duration;

use ahash::RandomState;
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Protocol, icmpv4, tcp, udp};
use gatepost_ground::{Frame, Instant, InterfaceId};

use crate::hold::{FramePool, FrameQueue};
use crate::ingress::Ingress;
use crate::key::Address;

/// Which packet a fragment is of. (RFC 791, section 3.2)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey<A = Ipv4Addr> {
    /// The interface it came from; `None` from the gateway's own host stack.
    pub interface: Option<InterfaceId>,
    /// As it came, before NAT.
    pub source: A,
    /// As it came, before NAT.
    pub destination: A,
    /// What the whole packet carries.
    pub protocol: Protocol,
    /// What the sender calls it. One of IPv4 has 16 bits.
    pub id: u32,
}

impl FragmentKey {
    /// The key of a fragment with `header` that came from `interface`.
    pub fn new(interface: Option<InterfaceId>, header: &Header) -> Self {
        let Header { source, destination, protocol, id, .. } = *header;
        Self { interface, source, destination, protocol, id: id.into() }
    }
}

/// Whether a fragment is neither too small nor where it could replace a part of the transport header:
/// no sender makes such, but who wants past a firewall does. (RFC 1858, RFC 3128)
pub fn is_sound(header: &Header) -> bool {
    let transport_len = match header.protocol {
        Protocol::TCP => tcp::Header::LEN_MIN,
        Protocol::UDP => udp::Header::LEN,
        Protocol::ICMP => icmpv4::Header::LEN,
        _ => 0,
    };
    let reaches = if header.is_first_fragment() { header.payload_len() } else { header.fragment_offset };
    usize::from(reaches) >= transport_len
}

/// What becomes of a fragment that is not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterFragment<T> {
    /// The same as of the first.
    Known(T),
    /// The tracker has taken it, to wait for the first.
    Held,
    /// No more fragments can be held.
    Full,
}

/// The packets of which fragments are on their way.
#[derive(Debug)]
pub struct FragmentTracker<T, A = Ipv4Addr> {
    sets: Box<[[Entry<T, A>; WAYS]]>,
    hasher: RandomState,
    pool: FramePool<Ingress>,
    /// The places of all packets that wait, oldest first.
    waiting: Vec<usize>,
}

/// The places of a set.
const WAYS: usize = 8;

#[derive(Debug)]
struct Entry<T, A> {
    key: Option<FragmentKey<A>>,
    /// `None` while the packet waits for its first fragment.
    value: Option<T>,
    /// When it is forgotten.
    deadline: Instant,
    held: FrameQueue,
}

/// The limits, the same for any family.
impl<T> FragmentTracker<T> {
    /// The most packets tracked at one time.
    pub const PACKETS_MAX: usize = 4096;
    /// The most fragments held at one time.
    pub const HELD_MAX: u16 = 256;
    /// The most fragments held for one packet: the largest one's on an Ethernet, without the first.
    pub const HELD_EACH_MAX: usize = 44;
    /// How long a fragment waits for the first: far beyond any reordering, short for a flood's sake.
    pub const HELD: Duration = Duration::from_secs(2);
    /// How long the first fragment's way is remembered. (RFC 791, section 3.2)
    pub const KNOWN: Duration = Duration::from_secs(15);
}

impl<T: Copy, A: Address> FragmentTracker<T, A> {
    /// An empty tracker that holds frames of up to `frame_capacity` octets. The `seeds` keep a peer
    /// from choosing packets of one set.
    pub fn new(seeds: [u64; 4], frame_capacity: usize) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            sets: (0..FragmentTracker::<T>::PACKETS_MAX / WAYS)
                .map(|_| core::array::from_fn(|_| Entry::default()))
                .collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
            pool: FramePool::new(FragmentTracker::<T>::HELD_MAX, frame_capacity, Ingress::Host),
            waiting: Vec::with_capacity(usize::from(FragmentTracker::<T>::HELD_MAX)),
        }
    }

    /// The first fragment of a packet has come, and `value` is what becomes of it. What waited for it is
    /// now to be [released](FragmentTracker::release).
    ///
    /// Returns `false` if there was no place to note it; its other fragments will then not pass.
    pub fn first(&mut self, now: Instant, key: &FragmentKey<A>, value: T) -> bool {
        let Some(place) = self.find(now, key).or_else(|| self.insert(key)) else { return false };
        let entry = &mut self.sets[place / WAYS][place % WAYS];
        entry.value = Some(value);
        entry.deadline = now + FragmentTracker::<T>::KNOWN;
        self.waiting.retain(|waiting| *waiting != place);
        true
    }

    /// What becomes of the fragments of a packet whose first has come, if it is still remembered.
    pub fn known(&self, now: Instant, key: &FragmentKey<A>) -> Option<T> {
        self.find(now, key).and_then(|place| self.sets[place / WAYS][place % WAYS].value)
    }

    /// Takes out the next fragment that waited for the first, which has come, into `frame`; returns where
    /// it came from.
    pub fn release(&mut self, now: Instant, key: &FragmentKey<A>, frame: &mut Frame) -> Option<Ingress> {
        let place = self.find(now, key)?;
        let (held, ingress) = self.pool.release(&mut self.sets[place / WAYS][place % WAYS].held)?;
        held.give_to(frame);
        Some(ingress)
    }

    /// A fragment that is not the first has come in `frame`. If the first has not come yet, the
    /// tracker takes the frame and leaves an empty buffer in its stead.
    pub fn later(
        &mut self,
        now: Instant,
        key: &FragmentKey<A>,
        ingress: Ingress,
        frame: &mut Frame,
    ) -> LaterFragment<T> {
        if let Some(value) = self.known(now, key) {
            return LaterFragment::Known(value);
        }
        let found = self.find(now, key);
        if !self.pool.has_spare() {
            return LaterFragment::Full;
        }
        let Some(place) = found.or_else(|| self.insert(key)) else { return LaterFragment::Full };
        let entry = &mut self.sets[place / WAYS][place % WAYS];
        if entry.held.len() == FragmentTracker::<T>::HELD_EACH_MAX
            || !self.pool.hold(&mut entry.held, frame, ingress)
        {
            return LaterFragment::Full;
        }
        if entry.held.len() == 1 {
            entry.deadline = now + FragmentTracker::<T>::HELD;
            self.waiting.push(place);
        }
        LaterFragment::Held
    }

    /// When [`FragmentTracker::handle_timeout`] next has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|place| self.sets[place / WAYS][place % WAYS].deadline)
    }

    /// Gives up the fragments whose first did not come in time, each to `expire`.
    pub fn handle_timeout(&mut self, now: Instant, expire: &mut impl FnMut(Ingress, &mut Frame)) {
        while let Some(&place) = self.waiting.first() {
            let entry = &mut self.sets[place / WAYS][place % WAYS];
            if now < entry.deadline {
                return;
            }
            entry.key = None;
            self.let_go(place, expire);
        }
    }

    /// Hands over all frames held at a place.
    fn let_go(&mut self, place: usize, take: &mut impl FnMut(Ingress, &mut Frame)) {
        let held = &mut self.sets[place / WAYS][place % WAYS].held;
        while let Some((frame, ingress)) = self.pool.release(held) {
            take(ingress, frame);
        }
        self.waiting.retain(|waiting| *waiting != place);
    }

    fn find(&self, now: Instant, key: &FragmentKey<A>) -> Option<usize> {
        let index = self.index(key);
        let is_it = |entry: &Entry<T, A>| entry.key == Some(*key) && now < entry.deadline;
        self.sets[index].iter().position(is_it).map(|way| index * WAYS + way)
    }

    /// Gives a new packet a place, another's if need be, but none that fragments are held for.
    fn insert(&mut self, key: &FragmentKey<A>) -> Option<usize> {
        let index = self.index(key);
        let set = &mut self.sets[index];
        let age = |way: &usize| set[*way].key.map(|_| set[*way].deadline);
        let way = (0..WAYS).filter(|way| set[*way].held.len() == 0).min_by_key(age)?;
        set[way] = Entry { key: Some(*key), ..Entry::default() };
        Some(index * WAYS + way)
    }

    fn index(&self, key: &FragmentKey<A>) -> usize {
        self.hasher.hash_one(key) as usize % (FragmentTracker::<T>::PACKETS_MAX / WAYS)
    }
}

impl<T, A> Default for Entry<T, A> {
    fn default() -> Self {
        Self { key: None, value: None, deadline: Instant::ZERO, held: FrameQueue::default() }
    }
}

#[cfg(test)]
mod tests;
