//! Allocation of the external ports of one protocol to mappings.
//!
//! At most one mapping owns a port (RFC 4787, REQ-3). A mapping gets the inside host's own port if it is free.
//! Otherwise the allocator searches from a random port on (RFC 6056, section 3.3.1): first in the range of the inside
//! port (0-1023 or 1024-65535) with its parity (RFC 4787, REQ-3a, REQ-4), then with the other parity, and for a low
//! inside port also in the upper range, as there are few low ports. The search over bitmaps is exhaustive, so the last
//! free port is found as surely as the first. Reserved ports belong to the gateway's services and forwards and are
//! never given out; neither are port 0 and, with several workers, the ports of the other shards.

use core::ops::RangeInclusive;

use rand::{Rng, RngExt};

use crate::shard::Shard;

/// One shard's external ports of one protocol and address.
#[derive(Clone)]
pub(crate) struct PortAllocator {
    shard: Shard,
    owned: Bitmap,
    reserved: Bitmap,
    /// The number of ports of the upper range that are not reserved, and of those that are free.
    len: u32,
    free: u32,
}

impl PortAllocator {
    /// All ports of `shard`, free except 0.
    pub(crate) fn new(shard: Shard) -> Self {
        let mut reserved = Bitmap::default();
        let others = (0..=u16::MAX).filter(|port| shard.of_port(*port) != shard.index());
        others.chain([0]).for_each(|port| reserved.insert(port));
        let mut ports = Self { shard, owned: Bitmap::default(), reserved, len: 0, free: 0 };
        ports.count();
        ports
    }

    /// The number of ports of the range 1024-65535 that can be given out. Low ports are not counted, as most inside
    /// ports cannot get one.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The number of those that are free.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Allocates a port for the inside port `preferred`, and leaves `kept_free` ports of the upper range free. `None`
    /// if no suitable port is free.
    pub(crate) fn allocate(&mut self, preferred: u16, kept_free: u32, rng: &mut impl Rng) -> Option<u16> {
        let takes_high = self.free > kept_free;
        let is_open = takes_high || LOW.contains(&preferred);
        let port = if is_open && self.is_free(preferred) {
            preferred
        } else {
            self.search(preferred, takes_high, rng)?
        };
        self.owned.insert(port);
        self.free -= u32::from(HIGH.contains(&port));
        Some(port)
    }

    /// Frees `port`.
    pub(crate) fn release(&mut self, port: u16) {
        self.owned.remove(port);
        self.free += u32::from(HIGH.contains(&port) && !self.is_reserved(port));
    }

    /// Sets the ports that are never given out. Ports that are owned stay owned.
    pub(crate) fn set_reserved(&mut self, ports: impl Iterator<Item = RangeInclusive<u16>>) {
        *self = Self { owned: core::mem::take(&mut self.owned), ..Self::new(self.shard) };
        for port in ports.flatten() {
            self.reserved.insert(port);
        }
        self.count();
    }

    /// The same allocator with no port owned.
    pub(crate) fn blank(&self) -> Self {
        let mut ports = Self { owned: Bitmap::default(), reserved: Bitmap(self.reserved.0.clone()), ..*self };
        ports.count();
        ports
    }

    /// Takes over the reserved ports of `other`. Ports that are owned stay owned.
    pub(crate) fn reserve_as(&mut self, other: &Self) {
        self.reserved.0.clone_from(&other.reserved.0);
        self.count();
    }

    /// Whether `port` is never given out.
    pub(crate) fn is_reserved(&self, port: u16) -> bool {
        self.reserved.contains(port)
    }

    /// Recounts the ports.
    fn count(&mut self) {
        let words = self.owned.0.iter().zip(&self.reserved.0).skip(usize::from(*HIGH.start()) / 64);
        (self.len, self.free) = words.fold((0, 0), |(len, free), (owned, reserved)| {
            (len + reserved.count_zeros(), free + (owned | reserved).count_zeros())
        });
    }

    fn is_free(&self, port: u16) -> bool {
        !self.owned.contains(port) && !self.reserved.contains(port)
    }

    fn search(&self, preferred: u16, takes_high: bool, rng: &mut impl Rng) -> Option<u16> {
        let parity = if preferred.is_multiple_of(2) { EVEN } else { ODD };
        let low = LOW.contains(&preferred);
        let ranges = [LOW, HIGH].into_iter().filter(|range| if *range == LOW { low } else { takes_high });
        ranges
            .flat_map(|range| [(range.clone(), parity), (range, !parity)])
            .find_map(|(range, parity)| self.search_class(&range, parity, rng))
    }

    /// The first free port of `range` with `parity`, searched from a random port on and around the end.
    fn search_class(&self, range: &RangeInclusive<u16>, parity: u64, rng: &mut impl Rng) -> Option<u16> {
        let start = rng.random_range(range.clone());
        let (first, last) = (usize::from(*range.start()) / 64, usize::from(*range.end()) / 64);
        let middle = usize::from(start) / 64;
        let from_start = u64::MAX << (start % 64);
        core::iter::once((middle, from_start))
            .chain((middle + 1..=last).map(|word| (word, u64::MAX)))
            .chain((first..middle).map(|word| (word, u64::MAX)))
            .chain(core::iter::once((middle, !from_start)))
            .find_map(|(word, mask)| {
                let free = !(self.owned.0[word] | self.reserved.0[word]) & parity & mask;
                (free != 0).then(|| (word * 64 + free.trailing_zeros() as usize) as u16)
            })
    }
}

const LOW: RangeInclusive<u16> = 0..=1023;
const HIGH: RangeInclusive<u16> = 1024..=65535;

const EVEN: u64 = 0x5555_5555_5555_5555;
const ODD: u64 = !EVEN;

/// A set of ports.
#[derive(Clone)]
struct Bitmap(Vec<u64>);

impl Default for Bitmap {
    fn default() -> Self {
        Self(vec![0; 65536 / 64])
    }
}

impl Bitmap {
    fn insert(&mut self, port: u16) {
        self.0[usize::from(port / 64)] |= 1 << (port % 64);
    }

    fn remove(&mut self, port: u16) {
        self.0[usize::from(port / 64)] &= !(1 << (port % 64));
    }

    fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)] & 1 << (port % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn a_free_port_is_preserved() {
        let mut ports = PortAllocator::new(Shard::SOLE);
        assert_eq!(ports.allocate(5060, 0, &mut rng()), Some(5060));
        assert_eq!(ports.allocate(123, 0, &mut rng()), Some(123));
    }

    /// RFC 4787, REQ-3: A port is never given out twice.
    #[test]
    fn rfc4787_req3_a_port_is_never_given_out_twice() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        let mut given = BTreeSet::new();
        for _ in 0..2000 {
            assert!(given.insert(ports.allocate(40_000, 0, &mut rng).unwrap()));
        }
    }

    /// RFC 4787, REQ-3a: The external port is in the range of the inside port.
    /// RFC 4787, REQ-4: The external port has the parity of the inside port.
    #[test]
    fn rfc4787_req3a_and_req4_range_and_parity_are_kept() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        for preferred in [122u16, 123, 4000, 4001] {
            for _ in 0..200 {
                let port = ports.allocate(preferred, 0, &mut rng).unwrap();
                assert_eq!((port % 2, port < 1024), (preferred % 2, preferred < 1024));
            }
        }
    }

    #[test]
    fn exhaustion_goes_over_parity_and_range_to_refusal() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        let odd_low: Vec<_> = (0..512).map(|_| ports.allocate(123, 0, &mut rng).unwrap()).collect();
        assert!(odd_low.iter().all(|port| *port < 1024 && port % 2 == 1));
        let even_low: Vec<_> = (0..511).map(|_| ports.allocate(123, 0, &mut rng).unwrap()).collect();
        assert!(even_low.iter().all(|port| (1..1024).contains(port) && port % 2 == 0));
        assert!(ports.allocate(123, 0, &mut rng).unwrap() >= 1024);
        let high = core::iter::from_fn(|| ports.allocate(2000, 0, &mut rng)).count();
        assert_eq!(high, 65536 - 1024 - 1);
        assert_eq!(ports.allocate(123, 0, &mut rng), None);
        ports.release(31_337);
        assert_eq!(ports.allocate(2000, 0, &mut rng), Some(31_337), "the last free port is found");
    }

    #[test]
    fn a_high_port_never_becomes_a_low_one() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        while let Some(port) = ports.allocate(50_000, 0, &mut rng) {
            assert!(port >= 1024);
        }
        assert_eq!(ports.allocate(80, 0, &mut rng), Some(80));
    }

    #[test]
    fn ports_that_are_to_be_left_are_not_given_out() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        ports.set_reserved([2000..=65535].into_iter());
        assert_eq!((ports.len(), ports.free), (976, 976));
        let given = core::iter::from_fn(|| ports.allocate(1500, 100, &mut rng)).count();
        assert_eq!((given, ports.free), (876, 100));
        assert_eq!(ports.allocate(80, 100, &mut rng), Some(80), "a low port is none of them");
        (0..1022).for_each(|_| assert!(ports.allocate(80, 100, &mut rng).is_some_and(|port| port < 1024)));
        assert_eq!(ports.allocate(80, 100, &mut rng), None);
        assert!(ports.allocate(80, 99, &mut rng).is_some());
        ports.release(1024);
        assert_eq!(ports.free, 99 + u32::from(ports.is_free(1024)));
    }

    #[test]
    fn reserved_ports_are_not_given_out() {
        let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
        ports.set_reserved([8000..=8009, 25..=25].into_iter());
        assert!(ports.is_reserved(8005) && ports.is_reserved(0));
        assert_ne!(ports.allocate(8005, 0, &mut rng), Some(8005));
        ports.set_reserved([9000..=9000].into_iter());
        assert_eq!(ports.allocate(8005, 0, &mut rng), Some(8005));
        assert!(ports.is_reserved(0), "port 0 stays reserved");
    }

    #[test]
    fn a_shard_gives_out_its_own_ports_and_keeps_range_and_parity() {
        let shard = Shard::new(1, 3).expect("one of three");
        let (mut ports, mut rng) = (PortAllocator::new(shard), rng());
        let preferred = (2000..).find(|port| shard.of_port(*port) == 1).expect("one of its own");
        assert_eq!(ports.allocate(preferred, 0, &mut rng), Some(preferred));
        let given: Vec<_> = core::iter::from_fn(|| ports.allocate(preferred, 0, &mut rng)).collect();
        assert!(given.iter().all(|port| *port >= 1024 && shard.of_port(*port) == 1));
        let (alike, others) = given.split_at(given.len() / 2);
        assert!(alike.iter().all(|port| port % 2 == preferred % 2));
        assert!(others.iter().skip(1).all(|port| port % 2 != preferred % 2));
        assert_eq!(given.len() + 1, (1024..=u16::MAX).filter(|port| shard.of_port(*port) == 1).count());
    }

    /// RFC 4787, REQ-11: The same seed gives the same ports.
    #[test]
    fn rfc4787_req11_the_same_seed_gives_the_same_ports() {
        let run = || {
            let (mut ports, mut rng) = (PortAllocator::new(Shard::SOLE), rng());
            (0..100).map(|_| ports.allocate(1234, 0, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u16),
        /// Gives back one of the ports that are owned.
        Release(usize),
        Reserve(RangeInclusive<u16>),
    }

    /// The model: every port that might do, looked at one by one.
    struct Model {
        owned: BTreeSet<u16>,
        reserved: RangeInclusive<u16>,
    }

    impl Model {
        fn is_free(&self, port: u16) -> bool {
            let is_used = USED.iter().any(|range| range.contains(&port));
            port != 0 && is_used && !self.owned.contains(&port) && !self.reserved.contains(&port)
        }

        /// The ports of which a host with `preferred` may get any: the best that there are.
        fn choices(&self, preferred: u16) -> Vec<u16> {
            let is_low = |port: u16| port < 1024;
            let is_alike = |port: u16| port % 2 == preferred % 2;
            let may = |port: &u16| !is_low(*port) || is_low(preferred);
            let rank = |port: u16| (port != preferred, is_low(port) != is_low(preferred), !is_alike(port));
            let free = || USED.iter().cloned().flatten().filter(|port| self.is_free(*port)).filter(may);
            let best = free().map(rank).min();
            free().filter(|port| Some(rank(*port)) == best).collect()
        }
    }

    /// All other ports are taken, so that few steps exhaust what there is: words of the bitmaps that are
    /// full, cut, the first and the last.
    const USED: [RangeInclusive<u16>; 4] = [0..=5, 1020..=1030, 4095..=4097, 65_530..=65_535];

    fn step() -> impl Strategy<Value = Step> {
        let port = || prop::sample::select(USED.to_vec()).prop_flat_map(|range| range);
        prop_oneof![
            6 => port().prop_map(Step::Allocate),
            3 => any::<usize>().prop_map(Step::Release),
            1 => (port(), 0..8_u16).prop_map(|(first, len)| Step::Reserve(first..=first.saturating_add(len))),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_model_that_looks_at_every_port(
            steps in prop::collection::vec(step(), 1..100),
            seed: u64,
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut ports = PortAllocator::new(Shard::SOLE);
            ports.owned.0.fill(u64::MAX);
            ports.count();
            USED.into_iter().flatten().for_each(|port| ports.release(port));
            let mut model = Model { owned: BTreeSet::new(), reserved: 0..=0 };
            for step in steps {
                match step {
                    Step::Allocate(preferred) => {
                        let choices = model.choices(preferred);
                        let given = ports.allocate(preferred, 0, &mut rng);
                        prop_assert_eq!(given.is_none(), choices.is_empty(), "{:?} of {:?}", given, choices);
                        if let Some(port) = given {
                            prop_assert!(choices.contains(&port), "{} of {:?}", port, choices);
                            model.owned.insert(port);
                        }
                    }
                    Step::Release(nth) => {
                        let Some(nth) = nth.checked_rem(model.owned.len()) else { continue };
                        let port = *model.owned.iter().nth(nth).expect("as many are owned");
                        model.owned.remove(&port);
                        ports.release(port);
                    }
                    Step::Reserve(range) => {
                        ports.set_reserved(core::iter::once(range.clone()));
                        model.reserved = range;
                    }
                }
                for port in USED.into_iter().flatten() {
                    prop_assert_eq!(ports.is_free(port), model.is_free(port), "{}", port);
                }
            }
        }
    }
}
