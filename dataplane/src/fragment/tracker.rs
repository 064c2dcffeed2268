//! Received fragments: the decision on a packet's first fragment applies to all of its fragments.
//!
//! # Theory of operation
//!
//! Only the first fragment of a packet has the transport header, by which flows, NAT and firewall decide. The tracker
//! stores the decision as a value `T` under the packet's key, and the further fragments look it up; nothing is
//! reassembled. (RFC 4787, REQ-14)
//!
//! ```text
//!               later fragment                    first fragment
//!   (nothing) ───────────────────▶ waiting ─────────────────────────▶ known ──15 s──▶ (nothing)
//!       │                             │  its fragments are released     ▲
//!       │                             └──2 s──▶ (nothing), they expire  │
//!       └──────────────────── first fragment ───────────────────────────┘
//! ```
//!
//! Fragments that arrive before the first one are held until it comes. A flood of them is bounded by
//! [`FragmentTracker::HELD_MAX`] buffers, [`FragmentTracker::HELD_EACH_MAX`] for one packet, and 2 s. When the
//! buffers are used up, further such fragments are rejected, while packets whose first fragment arrives first still
//! pass.
//!
//! There are [`FragmentTracker::PACKETS_MAX`] slots in sets of eight by a keyed hash. A new packet takes from its set
//! a free slot, else the slot of the known packet whose first fragment came longest ago, as that packet has most
//! likely passed; never a slot with held fragments.
//!
//! A sender may use an identification again while the old packet is known. Then a fragment of the new packet that
//! arrives before its first one is taken for a fragment of the old packet. So a caller that stores a new value under
//! the same key keeps the part of the old value that all fragments must share: the identification that NAT gives
//! them.
//!
//! A packet's fragments are not counted: its slot is freed by time only, so that duplicates and late fragments find
//! it. An overlapping fragment must not replace the ports: see [`is_sound`].

use core::net::Ipv4Addr;
use core::time::Duration;

use ahash::RandomState;
use gatepost_ground::wire::ipv4::Header;
use gatepost_ground::wire::{Protocol, icmpv4, tcp, udp};
use gatepost_ground::{Frame, Instant, InterfaceId};

use crate::hold::{FramePool, FrameQueue};
use crate::ingress::Ingress;
use crate::key::Address;
use crate::table::memory::{Memory, Own, Shadow, ShadowCells};

/// The identity of the packet that a fragment belongs to. (RFC 791, section 3.2)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey<A = Ipv4Addr> {
    /// The interface that received the fragment; `None` for the gateway's own host stack.
    pub interface: Option<InterfaceId>,
    /// The source as received, before NAT.
    pub source: A,
    /// The destination as received, before NAT.
    pub destination: A,
    /// The protocol of the whole packet.
    pub protocol: Protocol,
    /// The identification. An IPv4 identification has 16 bits.
    pub id: u32,
}

impl FragmentKey {
    /// The key of a fragment with `header` that came from `interface`.
    pub fn new(interface: Option<InterfaceId>, header: &Header) -> Self {
        let Header { source, destination, protocol, id, .. } = *header;
        Self { interface, source, destination, protocol, id: id.into() }
    }
}

/// Whether a fragment is large enough for the transport header and does not overlap it. Other
/// fragments are attempts to pass a firewall. (RFC 1858, sections 3 and 4; RFC 3128)
pub fn is_sound(header: &Header) -> bool {
    let transport_len = match header.protocol {
        Protocol::TCP => tcp::Header::LEN_MIN,
        Protocol::UDP => udp::Header::LEN,
        Protocol::ICMP => icmpv4::Header::LEN,
        _ => 0,
    };
    let reaches = if header.has_transport_header() { header.payload_len() } else { header.fragment_offset };
    usize::from(reaches) >= transport_len
}

/// What to do with a fragment that is not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterFragment<T> {
    /// The value stored for the first fragment applies.
    Known(T),
    /// The tracker has taken the fragment, which waits for the first one.
    Held,
    /// No more fragments can be held.
    Full,
}

/// The packets whose fragments are tracked.
pub struct FragmentTracker<T: Copy + 'static, A: Address = Ipv4Addr, M: Memory = Own> {
    sets: M::Cells<[Entry<T, A>; WAYS]>,
    hasher: RandomState,
    pool: FramePool<Ingress, M>,
    /// The slots of all packets that wait for their first fragment, oldest first.
    waiting: Vec<usize>,
}

/// The slots of a set.
const WAYS: usize = 8;

#[derive(Clone, Debug)]
struct Entry<T, A> {
    key: Option<FragmentKey<A>>,
    /// `None` while the packet waits for its first fragment.
    value: Option<T>,
    /// When the packet is forgotten.
    deadline: Instant,
    held: FrameQueue,
}

/// The limits, the same for any family.
impl<T: Copy + 'static> FragmentTracker<T> {
    /// The most packets tracked at one time.
    pub const PACKETS_MAX: usize = 4096;
    /// The most fragments held at one time.
    pub const HELD_MAX: u16 = 256;
    /// The most fragments held for one packet: those of the largest packet on an Ethernet, without the first.
    pub const HELD_EACH_MAX: usize = 44;
    /// How long a fragment waits for the first one: far longer than any reordering, and short because of floods.
    pub const HELD: Duration = Duration::from_secs(2);
    /// How long the value of the first fragment is remembered. (RFC 791, section 3.2)
    pub const KNOWN: Duration = Duration::from_secs(15);
}

impl<T: Copy + 'static, A: Address> FragmentTracker<T, A> {
    /// An empty tracker that holds frames of up to `frame_capacity` octets. The `seeds` keep a peer
    /// from choosing packets of one set.
    pub fn new(seeds: [u64; 4], frame_capacity: usize) -> Self {
        let [a, b, c, d] = seeds;
        Self {
            sets: (0..FragmentTracker::<T>::PACKETS_MAX / WAYS)
                .map(|_| core::array::from_fn(|_| Entry::default()))
                .collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
            pool: FramePool::new(FragmentTracker::<T>::HELD_MAX, frame_capacity, Ingress::Stack),
            waiting: Vec::with_capacity(usize::from(FragmentTracker::<T>::HELD_MAX)),
        }
    }

    /// A shadow of the tracker.
    pub(crate) fn shadow(&self) -> FragmentTracker<T, A, Shadow<'_>> {
        FragmentTracker {
            sets: ShadowCells::of(&self.sets),
            hasher: self.hasher.clone(),
            pool: self.pool.shadow(),
            waiting: self.waiting.clone(),
        }
    }
}

impl<T: Copy + 'static, A: Address, M: Memory> FragmentTracker<T, A, M> {
    /// Stores `value`, the decision on a packet's first fragment. The caller then
    /// [releases](FragmentTracker::release) the fragments that waited for it.
    ///
    /// Returns `false` if there is no room; then the further fragments of the packet do not pass.
    pub fn first(&mut self, now: Instant, key: &FragmentKey<A>, value: T) -> bool {
        let Some(place) = self.find(now, key).or_else(|| self.insert(key)) else { return false };
        let entry = &mut self.sets[place / WAYS][place % WAYS];
        entry.value = Some(value);
        entry.deadline = now + FragmentTracker::<T>::KNOWN;
        self.waiting.retain(|waiting| *waiting != place);
        true
    }

    /// The value of a packet whose first fragment has come, if it is still remembered.
    pub fn known(&self, now: Instant, key: &FragmentKey<A>) -> Option<T> {
        self.find(now, key).and_then(|place| self.sets[place / WAYS][place % WAYS].value)
    }

    /// Moves the next fragment that waited for the first one into `frame`, and returns the fragment's ingress.
    pub fn release(&mut self, now: Instant, key: &FragmentKey<A>, frame: &mut Frame) -> Option<Ingress> {
        let place = self.find(now, key)?;
        let (held, ingress) = self.pool.release(&mut self.sets[place / WAYS][place % WAYS].held)?;
        held.give_to(frame);
        Some(ingress)
    }

    /// Looks up the value for the fragment in `frame`, which is not a first one. If the first one has not come yet,
    /// the tracker takes the frame and leaves an empty buffer instead.
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

    /// Gives `expire` each held fragment whose first fragment did not come in time.
    pub fn handle_timeout(&mut self, now: Instant, expire: &mut impl FnMut(Ingress, &mut Frame)) {
        while let Some(&place) = self.waiting.first() {
            let entry = &mut self.sets[place / WAYS][place % WAYS];
            if now < entry.deadline {
                return;
            }
            entry.key = None;
            self.release_all(place, expire);
        }
    }

    /// Gives `take` all frames held in a slot.
    fn release_all(&mut self, place: usize, take: &mut impl FnMut(Ingress, &mut Frame)) {
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

    /// Gives a new packet a slot, another packet's if need be, but never one with held fragments.
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
