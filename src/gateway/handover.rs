//! The exchange between workers: frames that another worker owns, copies of ARP frames, and notices.
//!
//! Each worker has an inbox, in which all others leave frames and notices: two bounded lock-free rings. A full ring
//! rejects a frame, which is a drop with a reason. A notice is never lost: it waits until every other inbox has room,
//! and the next notices wait in the dataplane.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use gatepost_dataplane::{Batch, Ingress, Notice, Shard};
use gatepost_ground::Frame;
use gatepost_ground::offload::FRAME_LEN_MAX;

use super::ring::{Ring, copy};

/// The most frames of usual length that wait for a worker.
pub const FRAMES_MAX: usize = 1024;

/// The most long frames, usually super-frames, that wait for a worker.
pub const LONG_FRAMES_MAX: usize = 64;

/// The most notices that wait for a worker.
pub const NOTICES_MAX: usize = 1024;

/// Makes the worker with this number take a turn soon.
pub type Wake = Arc<dyn Fn(u8) + Send + Sync>;

/// The frames and notices that wait for one worker.
#[derive(Debug)]
struct Inbox {
    frames: Ring<Ingress>,
    notices: ArrayQueue<(u8, Notice)>,
}

/// One worker's access to its own inbox and to those of the others.
pub struct Handover {
    shard: Shard,
    inboxes: Arc<[Inbox]>,
    wake: Wake,
    /// The workers with something new since their last wake-up.
    to_wake: Workers,
    /// The notice that is being delivered, and the workers that have not got it yet.
    delivering: Option<(Notice, Workers)>,
}

/// A set of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Workers(u16);

impl Workers {
    fn insert(&mut self, worker: u8) {
        self.0 |= 1 << worker;
    }

    fn retain(&mut self, mut keeps: impl FnMut(u8) -> bool) {
        for worker in 0..Shard::COUNT_MAX {
            if self.0 & (1 << worker) != 0 && !keeps(worker) {
                self.0 &= !(1 << worker);
            }
        }
    }
}

impl Handover {
    /// A handover for each worker of a gateway, whose usual frames have up to `frame_capacity` octets.
    pub fn for_workers(count: u8, frame_capacity: usize, wake: &Wake) -> Vec<Self> {
        let shards: Vec<_> = (0..count).filter_map(|index| Shard::new(index, count)).collect();
        // A sole worker hands nothing over.
        let inbox = |_: &Shard| Inbox {
            frames: Ring::new(&[(FRAMES_MAX, frame_capacity), (LONG_FRAMES_MAX, FRAME_LEN_MAX)]),
            notices: ArrayQueue::new(NOTICES_MAX),
        };
        let inboxes: Arc<[_]> = shards.iter().filter(|_| count > 1).map(inbox).collect();
        let handover = |shard| Self {
            shard,
            inboxes: Arc::clone(&inboxes),
            wake: Arc::clone(wake),
            to_wake: Workers::default(),
            delivering: None,
        };
        shards.into_iter().map(handover).collect()
    }

    /// The worker's shard.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Leaves a copy of `frame` for another worker; `false` if its ring is full. [`Handover::wake`] then wakes it.
    pub fn offer(&mut self, worker: u8, ingress: Ingress, frame: &Frame) -> bool {
        let inbox = self.inboxes.get(usize::from(worker));
        let taken = inbox.is_some_and(|inbox| inbox.frames.send(ingress, frame));
        if taken {
            self.to_wake.insert(worker);
        }
        taken
    }

    /// Delivers the notices that `next` returns to all others, while there are notices and room. Returns whether room
    /// was missing.
    pub fn tell(&mut self, mut next: impl FnMut() -> Option<Notice>) -> bool {
        loop {
            let Some((notice, mut waiting)) = self.delivering.take().or_else(|| {
                let mut others = Workers::default();
                let notice = next()?;
                self.shard.others().for_each(|other| others.insert(other));
                Some((notice, others))
            }) else {
                return false;
            };
            let Self { shard, inboxes, to_wake, .. } = self;
            waiting.retain(|worker| {
                let inbox = inboxes.get(usize::from(worker));
                let refused = inbox.is_some_and(|inbox| inbox.notices.push((shard.index(), notice)).is_err());
                to_wake.insert(worker);
                refused
            });
            if waiting != Workers::default() {
                self.delivering = Some((notice, waiting));
                return true;
            }
        }
    }

    /// Wakes the workers that have got something since the last call.
    pub fn wake(&mut self) {
        let Self { to_wake, wake, .. } = self;
        to_wake.retain(|worker| {
            wake(worker);
            false
        });
    }

    /// Moves frames from the inbox into `batch`, as many as fit.
    pub fn take(&self, batch: &mut Batch) {
        let Some(inbox) = self.inbox() else { return };
        // The loop is bounded by tries, so that an inbox that is filled quickly does not keep a worker busy for ever.
        for _ in 0..Batch::FRAMES_MAX {
            if batch.is_full() {
                return;
            }
            let taken = inbox.frames.receive(|ingress, frame| {
                let received = batch.receive_offloaded(ingress, |buffer, rest| {
                    let (first, second) = frame.bytes().split_at(frame.bytes().len().min(buffer.len()));
                    copy(first, buffer).zip(copy(second, rest)).ok_or(())?;
                    Ok::<_, ()>((frame.bytes().len(), frame.offload()))
                });
                debug_assert_eq!(
                    received,
                    Ok(true),
                    "there is room, and no frame is longer than its buffers"
                );
            });
            if taken.is_none() {
                return;
            }
        }
    }

    /// Gives each notice in the inbox to `apply`, with the number of its sender.
    pub fn notices(&self, mut apply: impl FnMut(u8, Notice)) {
        let Some(inbox) = self.inbox() else { return };
        // The loop is bounded, however quickly other workers leave new notices.
        for _ in 0..NOTICES_MAX {
            let Some((from, notice)) = inbox.notices.pop() else { return };
            apply(from, notice);
        }
    }

    /// Whether the inbox has frames or notices.
    pub fn has_any(&self) -> bool {
        self.inbox().is_some_and(|inbox| !inbox.frames.is_empty() || !inbox.notices.is_empty())
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inboxes.get(usize::from(self.shard.index()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use gatepost_ground::offload::PartialChecksum;
    use gatepost_ground::{InterfaceId, MacAddr, Offload, PortId};

    use super::*;

    const CAPACITY: usize = 64;

    /// Workers, and a log of the wake-ups.
    fn workers(count: u8) -> (Vec<Handover>, Arc<Mutex<Vec<u8>>>) {
        let woken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&woken);
        let wake: Wake = Arc::new(move |worker| log.lock().expect("nobody panics").push(worker));
        (Handover::for_workers(count, CAPACITY, &wake), woken)
    }

    fn frame(len: usize) -> Frame {
        let mut frame = Frame::with_capacity(len);
        frame.buffer_mut().iter_mut().zip((0..251).cycle()).for_each(|(octet, value)| *octet = value);
        frame.set_len(len);
        frame
    }

    fn station(number: u8) -> Notice {
        Notice::Station {
            interface: InterfaceId(0),
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            port: PortId(number),
        }
    }

    #[test]
    fn frames_of_any_length_reach_their_owner_in_order_and_it_is_woken_once() {
        let (mut workers, woken) = workers(3);
        let mut long = frame(40_000);
        long.set_offload(Offload::Checksum(PartialChecksum { start: 34, offset: 16 }));
        let frames = [frame(20), long, frame(CAPACITY), frame(CAPACITY + 1)];
        for (number, frame) in (0..).zip(&frames) {
            assert!(workers[0].offer(2, Ingress::ArpCopy(PortId(number)), frame));
        }
        assert!(woken.lock().expect("nobody panics").is_empty());
        workers[0].wake();
        workers[0].wake();
        assert_eq!(*woken.lock().expect("nobody panics"), [2]);
        assert!(!workers[0].has_any() && !workers[1].has_any() && workers[2].has_any());

        let mut batch = Batch::new(CAPACITY);
        workers[1].take(&mut batch);
        assert!(batch.is_empty());
        workers[2].take(&mut batch);
        assert!(!workers[2].has_any());
        for ((slot, frame), number) in batch.slots().iter().zip(&frames).zip(0..) {
            assert_eq!(slot.ingress, Ingress::ArpCopy(PortId(number)));
            assert_eq!((slot.frame.bytes(), slot.frame.offload()), (frame.bytes(), frame.offload()));
        }
        assert_eq!(batch.len(), frames.len());
    }

    #[test]
    fn a_full_ring_refuses_until_its_owner_looks() {
        let (mut workers, _) = workers(2);
        let ingress = Ingress::ArpCopy(PortId(0));
        for (len, room) in [(CAPACITY, FRAMES_MAX), (CAPACITY + 1, LONG_FRAMES_MAX)] {
            assert!((0..room).all(|_| workers[1].offer(0, ingress, &frame(len))));
            assert!(!workers[1].offer(0, ingress, &frame(len)));
        }
        let mut batch = Batch::new(CAPACITY);
        workers[0].take(&mut batch);
        assert_eq!(batch.len(), Batch::FRAMES_MAX);
        assert!(workers[1].offer(0, ingress, &frame(CAPACITY)) && workers[0].has_any());
        assert!(!workers[1].offer(2, ingress, &frame(20)), "there is no such worker");
    }

    #[test]
    fn every_notice_reaches_all_others_however_slow_one_of_them_is() {
        let (mut workers, woken) = workers(3);
        let all = |from: &Handover| {
            let mut heard = Vec::new();
            from.notices(|from, notice| heard.push((from, notice)));
            heard
        };
        let mut numbers = (0..NOTICES_MAX + 100).map(|number| station((number % 200) as u8));
        assert!(workers[1].tell(|| numbers.next()), "more than there is room for");
        workers[1].wake();
        assert_eq!(*woken.lock().expect("nobody panics"), [0, 2]);
        // One of them has read its inbox, and gets each notice once only.
        let mut heard = all(&workers[0]);
        assert!(workers[1].tell(|| numbers.next()));
        heard.extend(all(&workers[0]));
        assert_eq!(heard.len(), NOTICES_MAX + 1);
        let mut heard = all(&workers[2]);
        assert!(!workers[1].tell(|| numbers.next()));
        heard.extend(all(&workers[2]));
        let expected: Vec<_> =
            (0..NOTICES_MAX + 100).map(|number| (1, station((number % 200) as u8))).collect();
        assert_eq!(heard, expected);
        assert_eq!(all(&workers[0]).len(), 99);
        assert!(!workers[1].has_any() && all(&workers[1]).is_empty());
    }

    #[test]
    fn a_sole_worker_has_nobody_to_tell_and_no_buffers() {
        let (mut workers, woken) = workers(1);
        assert!(workers[0].inboxes.is_empty() && workers[0].shard() == Shard::SOLE);
        let mut notices = [station(1)].into_iter();
        assert!(!workers[0].tell(|| notices.next()) && !workers[0].has_any());
        workers[0].wake();
        assert!(woken.lock().expect("nobody panics").is_empty());
    }
}
