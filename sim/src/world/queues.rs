//! The queues of a simulated port, one for each worker.
//!
//! As in a TAP device of Linux, a hash of a flow's endpoints selects its queue, the same in both directions; for
//! fragments and other protocols than TCP and UDP a hash of the addresses. At times the kernel moves a flow to another
//! queue. Here the hash changes at random instants: so most frames come to a worker that does not own them, and flows
//! move at any time.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use siphasher::sip::SipHasher13;

/// The most frames in one queue; further ones are dropped, as in the kernel.
pub const WAITING_MAX: usize = 8192;
/// The longest time that flows stay with their queues, in microseconds.
const STAY_MICROS_MAX: u64 = 5_000_000;

/// The queues of one port.
pub struct Queues {
    waiting: Vec<VecDeque<Vec<u8>>>,
    steering: Steering,
}

impl Queues {
    /// So many empty queues. A single one rolls no dice.
    pub fn new(count: u8, rng: &mut StdRng) -> Self {
        let rng = if count > 1 { StdRng::from_rng(rng) } else { StdRng::seed_from_u64(0) };
        let waiting = (0..count).map(|_| VecDeque::new()).collect();
        Self { waiting, steering: Steering { rng, keys: (0, 0), until: Instant::ZERO } }
    }

    /// Distributes the frames that `arriving` gives. Says which queues have got any, by number.
    pub fn distribute(
        &mut self,
        now: Instant,
        mut arriving: impl FnMut() -> Option<Vec<u8>>,
    ) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        if self.waiting.is_empty() {
            return reached;
        }
        while let Some(frame) = arriving() {
            let number = self.steering.queue_of(now, &frame, self.waiting.len());
            if let Some(queue) = self.waiting.get_mut(number)
                && queue.len() < WAITING_MAX
            {
                queue.push_back(frame);
                reached.insert(number);
            }
        }
        reached
    }

    /// Takes the next frame out of `queue`.
    pub fn pop(&mut self, queue: u8) -> Option<Vec<u8>> {
        self.waiting.get_mut(usize::from(queue))?.pop_front()
    }
}

/// Decides on the queue of each flow.
struct Steering {
    rng: StdRng,
    keys: (u64, u64),
    /// When the next decision is due.
    until: Instant,
}

impl Steering {
    fn queue_of(&mut self, now: Instant, frame: &[u8], count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        if now >= self.until {
            self.keys = self.rng.random();
            self.until = now + Duration::from_micros(self.rng.random_range(0..=STAY_MICROS_MAX));
        }
        let hash = |end: &[u8]| {
            let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
            hasher.write(end);
            hasher.finish()
        };
        let [one, other] = ends(frame);
        let sum = hash(&one).wrapping_add(hash(&other));
        usize::try_from(sum % count as u64).unwrap_or(0)
    }
}

/// The two ends of a frame's flow: hardware addresses, or IPv4 addresses with ports where every frame of it has them.
fn ends(frame: &[u8]) -> [Vec<u8>; 2] {
    let part = |from: usize, len: usize| frame.get(from..from + len).unwrap_or_default().to_vec();
    if part(12, 2) != [8, 0] {
        return [part(0, 6), part(6, 6)];
    }
    let mut ends = [part(26, 4), part(30, 4)];
    let is_fragment = matches!(part(20, 2)[..], [flags, low] if flags & 0x3f != 0 || low != 0);
    let has_ports = matches!(part(23, 1)[..], [6 | 17]) && !is_fragment;
    if let (true, Some(first)) = (has_ports, frame.get(14)) {
        let transport = 14 + 4 * usize::from(first & 0x0f);
        ends[0].extend(part(transport, 2));
        ends[1].extend(part(transport + 2, 2));
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram with the relevant fields only.
    fn datagram(from: (u8, u16), to: (u8, u16)) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        (frame[23], frame[29], frame[33]) = (17, from.0, to.0);
        frame[34..36].copy_from_slice(&from.1.to_be_bytes());
        frame[36..38].copy_from_slice(&to.1.to_be_bytes());
        frame
    }

    fn steering() -> Steering {
        Steering { rng: StdRng::seed_from_u64(1), keys: (0, 0), until: Instant::ZERO }
    }

    #[test]
    fn a_flow_has_one_queue_in_both_directions_and_flows_use_all() {
        let mut steering = steering();
        let mut used = [0; 4];
        for port in 0..100 {
            let queue = steering.queue_of(Instant::ZERO, &datagram((1, port), (2, 53)), 4);
            assert_eq!(steering.queue_of(Instant::ZERO, &datagram((2, 53), (1, port)), 4), queue);
            used[queue] += 1;
        }
        assert!(used.iter().all(|flows| *flows > 10), "{used:?}");
    }

    #[test]
    fn all_fragments_come_to_the_queue_of_their_addresses() {
        let mut steering = steering();
        let mut queues: Vec<_> = (0..20)
            .map(|number| {
                let mut fragment = datagram((1, number), (2, 53));
                fragment[20] = if number == 0 { 0x20 } else { 0 };
                fragment[21] = u8::try_from(number).expect("small");
                steering.queue_of(Instant::ZERO, &fragment, 4)
            })
            .collect();
        queues.dedup();
        assert_eq!(queues.len(), 1);
    }

    #[test]
    fn flows_change_their_queue_at_times() {
        let mut steering = steering();
        let mut queues: Vec<_> = (0..60)
            .map(|secs| steering.queue_of(Instant::from_secs(secs), &datagram((1, 1), (2, 53)), 4))
            .collect();
        queues.dedup();
        assert!((5..55).contains(&queues.len()), "{queues:?}");
    }

    #[test]
    fn what_another_queue_gets_waits_there_in_order() {
        let mut queues = Queues::new(2, &mut StdRng::seed_from_u64(1));
        let mut arriving = (0..50).map(|port| datagram((1, port), (2, 53)));
        assert_eq!(queues.distribute(Instant::ZERO, || arriving.next()), BTreeSet::from([0, 1]));
        let mut all = |queue| std::iter::from_fn(|| queues.pop(queue)).collect::<Vec<_>>();
        let (first, second) = (all(0), all(1));
        assert!(first.is_sorted() && second.is_sorted() && !first.is_empty() && !second.is_empty());
        assert_eq!(first.len() + second.len(), 50);
    }

    #[test]
    fn a_full_queue_loses_what_comes() {
        let mut queues = Queues::new(2, &mut StdRng::seed_from_u64(1));
        let frame = datagram((1, 1), (2, 53));
        let queue = queues.steering.queue_of(Instant::ZERO, &frame, 2);
        let mut arriving = std::iter::repeat_n(frame, 2 * WAITING_MAX);
        assert_eq!(queues.distribute(Instant::ZERO, || arriving.next()), BTreeSet::from([queue]));
        assert_eq!((queues.waiting[queue].len(), queues.waiting[1 - queue].len()), (WAITING_MAX, 0));
    }

    #[test]
    fn one_queue_is_as_none() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut queues = Queues::new(1, &mut rng);
        let mut arriving = (0..9).map(|port| datagram((1, port), (2, 53)));
        assert_eq!(queues.distribute(Instant::ZERO, || arriving.next()), BTreeSet::from([0]));
        assert!((0..9).all(|_| queues.pop(0).is_some()) && queues.pop(0).is_none());
        assert_eq!(rng, StdRng::seed_from_u64(1), "no dice");
    }
}
