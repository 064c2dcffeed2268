//! Between workers: frames that another one owns, and what each tells the others.
//!
//! Each worker has an inbox, in which all others leave frames and notices: two bounded lock-free rings. A full
//! [ring](gatepost_services::ring) refuses a frame, which is a drop with a reason. A notice is never lost: it waits
//! until each of the others has room, and the next ones wait in the dataplane.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use gatepost_dataplane::offload::FRAME_LEN_MAX;
use gatepost_dataplane::{Batch, Frame, Ingress, Notice, Shard};
use gatepost_services::ring::{Ring, copy};

/// Usual frames that wait for a worker.
pub const FRAMES_MAX: usize = 1024;

/// Long ones, above all super-frames, that do.
pub const LONG_FRAMES_MAX: usize = 64;

/// Notices that wait for a worker.
pub const NOTICES_MAX: usize = 1024;

/// Makes the worker with this number take a turn soon.
pub type Wake = Arc<dyn Fn(u8) + Send + Sync>;

/// What waits for one worker.
#[derive(Debug)]
struct Inbox {
    frames: Ring<Ingress>,
    notices: ArrayQueue<(u8, Notice)>,
}

/// A worker's own inbox, and its way to those of the others.
pub struct Handover {
    shard: Shard,
    inboxes: Arc<[Inbox]>,
    wake: Wake,
    /// Those who have got something since they were last woken.
    to_wake: Workers,
    /// The notice under way, and who is still to get it.
    telling: Option<(Notice, Workers)>,
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
    /// One for each worker of a gateway, whose usual frames have up to `frame_capacity` octets.
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
            telling: None,
        };
        shards.into_iter().map(handover).collect()
    }

    /// Which worker this is, and of how many.
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

    /// Tells all others what `next` gives, as long as it does and there is room for it. Says whether there was not.
    pub fn tell(&mut self, mut next: impl FnMut() -> Option<Notice>) -> bool {
        loop {
            let Some((notice, mut waiting)) = self.telling.take().or_else(|| {
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
                self.telling = Some((notice, waiting));
                return true;
            }
        }
    }

    /// Wakes the workers that something was left for since the last time.
    pub fn wake(&mut self) {
        let Self { to_wake, wake, .. } = self;
        to_wake.retain(|worker| {
            wake(worker);
            false
        });
    }

    /// Moves frames that others have left into `batch`, as many as fit.
    pub fn take(&self, batch: &mut Batch) {
        let Some(inbox) = self.inbox() else { return };
        while !batch.is_full() {
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

    /// Gives each notice that others have left to `hear`, with who left it.
    pub fn notices(&self, mut hear: impl FnMut(u8, Notice)) {
        let Some(inbox) = self.inbox() else { return };
        // No more than fit, however quickly others leave new ones.
        for _ in 0..NOTICES_MAX {
            let Some((from, notice)) = inbox.notices.pop() else { return };
            hear(from, notice);
        }
    }

    /// Whether others have left something.
    pub fn has_any(&self) -> bool {
        self.inbox().is_some_and(|inbox| !inbox.frames.is_empty() || !inbox.notices.is_empty())
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inboxes.get(usize::from(self.shard.index()))
    }
}
