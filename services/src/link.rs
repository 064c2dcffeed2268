//! The link between a dataplane's worker and the host stack: two bounded lock-free rings.
//!
//! Frames are copied into buffers that circulate, so that neither side allocates or waits for the
//! other. A full ring refuses, and whoever was refused counts it.
//!
//! ```text
//!  worker ── deliver ──▶ [ring] ── receive ──▶ host
//!         ◀── take ───── [ring] ◀── emit ─────
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use gatepost_dataplane::config::Segment;
use gatepost_dataplane::{Batch, Frame, Ingress};
use tokio::sync::Notify;

/// Frames that fit in each direction.
pub const RING_FRAMES_MAX: usize = 1024;

/// One direction: filled buffers, and the emptied ones on their way back.
#[derive(Debug)]
struct Ring<T> {
    full: ArrayQueue<(T, Frame)>,
    empty: ArrayQueue<Frame>,
}

impl<T> Ring<T> {
    fn new(frame_capacity: usize) -> Self {
        let ring = Self { full: ArrayQueue::new(RING_FRAMES_MAX), empty: ArrayQueue::new(RING_FRAMES_MAX) };
        while ring.empty.push(Frame::with_capacity(frame_capacity)).is_ok() {}
        ring
    }

    /// Sends what `fill` writes, unless the ring is full; says whether it did.
    fn send(&self, tag: T, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(mut frame) = self.empty.pop() else { return false };
        let len = fill(frame.buffer_mut());
        frame.set_len(len);
        self.full.push((tag, frame)).is_ok()
    }

    /// Gives the oldest frame to `read`, if there is one.
    fn receive<R>(&self, read: impl FnOnce(T, &[u8]) -> R) -> Option<R> {
        let (tag, frame) = self.full.pop()?;
        let result = read(tag, frame.bytes());
        let returned = self.empty.push(frame);
        debug_assert!(returned.is_ok(), "there are as many buffers as places");
        Some(result)
    }
}

#[derive(Debug)]
struct Shared {
    to_host: Ring<Segment>,
    from_host: Ring<Ingress>,
    host_wakeup: Notify,
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerLink {
    shared: Arc<Shared>,
}

/// The host's end.
pub struct HostLink {
    shared: Arc<Shared>,
    wake_worker: Box<dyn Fn() + Send + Sync>,
}

/// Makes a link whose buffers hold `frame_capacity` octets. `wake_worker` is called after the host has
/// emitted frames and shall make the worker call [`WorkerLink::take`] soon.
pub fn link(frame_capacity: usize, wake_worker: impl Fn() + Send + Sync + 'static) -> (WorkerLink, HostLink) {
    let shared = Arc::new(Shared {
        to_host: Ring::new(frame_capacity),
        from_host: Ring::new(frame_capacity),
        host_wakeup: Notify::new(),
    });
    (WorkerLink { shared: Arc::clone(&shared) }, HostLink { shared, wake_worker: Box::new(wake_worker) })
}

impl WorkerLink {
    /// Hands a frame from `segment` to the host; `false` if the ring is full or the frame too long.
    pub fn deliver(&self, segment: Segment, frame: &[u8]) -> bool {
        let mut fits = true;
        let sent = self.shared.to_host.send(segment, |buffer| match buffer.get_mut(..frame.len()) {
            Some(target) => {
                target.copy_from_slice(frame);
                frame.len()
            }
            None => {
                fits = false;
                0
            }
        });
        sent && fits
    }

    /// Wakes the host; once after a batch is enough.
    pub fn wake_host(&self) {
        self.shared.host_wakeup.notify_one();
    }

    /// Moves what the host emitted into `batch`, as much as fits. Says whether anything is left.
    pub fn take(&self, batch: &mut Batch) -> bool {
        while !batch.is_full() {
            let taken = self.shared.from_host.receive(|ingress, bytes| {
                let copy = |buffer: &mut [u8]| {
                    let len = bytes.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&bytes[..len]);
                    Ok::<_, Infallible>(len)
                };
                let Ok(_) = batch.receive(ingress, copy);
            });
            if taken.is_none() {
                return false;
            }
        }
        !self.shared.from_host.full.is_empty()
    }
}

impl HostLink {
    /// Waits until frames may have been delivered.
    pub async fn delivered(&self) {
        self.shared.host_wakeup.notified().await;
    }

    /// Gives the oldest delivered frame, with its segment, to `read`; `None` if there is none.
    pub fn receive<R>(&self, read: impl FnOnce(Segment, &[u8]) -> R) -> Option<R> {
        self.shared.to_host.receive(read)
    }

    /// Sends the Ethernet frame that `fill` writes (it returns the length); `false` if the ring is
    /// full, and then `fill` was not called. For [`Ingress::Host`] the first 14 octets, the Ethernet
    /// header, are left to the dataplane.
    pub fn emit(&self, ingress: Ingress, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let sent = self.shared.from_host.send(ingress, fill);
        (self.wake_worker)();
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn frames_cross_in_order_and_buffers_return() {
        let (worker, host) = link(64, || ());
        for round in 0..3 * RING_FRAMES_MAX {
            let byte = u8::try_from(round % 251).expect("below 251");
            assert!(worker.deliver(Segment::Lan, &[byte; 20]));
            assert_eq!(
                host.receive(|segment, bytes| (segment, bytes.to_vec())),
                Some((Segment::Lan, vec![byte; 20]))
            );
        }
        assert_eq!(host.receive(|_, _| ()), None);
    }

    #[test]
    fn a_full_ring_refuses() {
        let (worker, host) = link(64, || ());
        for _ in 0..RING_FRAMES_MAX {
            assert!(worker.deliver(Segment::Wan, &[0; 14]));
        }
        assert!(!worker.deliver(Segment::Wan, &[0; 14]));
        assert!(host.receive(|_, _| ()).is_some());
        assert!(worker.deliver(Segment::Wan, &[0; 14]));
    }

    #[test]
    fn what_the_host_emits_wakes_the_worker_and_reaches_its_batch() {
        let wakeups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakeups);
        let (worker, host) = link(64, move || _ = counter.fetch_add(1, Ordering::Relaxed));
        assert!(host.emit(Ingress::Host, |buffer| {
            buffer[..3].copy_from_slice(&[1, 2, 3]);
            3
        }));
        let mut batch = Batch::new(64);
        assert!(!worker.take(&mut batch));
        assert_eq!(batch.slots()[0].frame.bytes(), [1, 2, 3]);
        assert_eq!(wakeups.load(Ordering::Relaxed), 1);
    }
}
