//! The link between the dataplane's workers and the host stack: two [rings](super::ring).
//!
//! ```text
//!  workers ── deliver ──▶ [ring] ── receive ──▶ host
//!  one     ◀── take ───── [ring] ◀── emit ─────
//! ```
//!
//! Every worker delivers frames; one worker takes the frames that the host emits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatepost_dataplane::{Batch, Ingress, LocalClass};
use gatepost_ground::wire::ethernet::Header;
use gatepost_ground::{InterfaceId, PortId};
use tokio::sync::Notify;

use super::ring::{Ring, copy};
use super::wakeup::Wakeup;

/// The most frames in each direction.
pub const RING_FRAMES_MAX: usize = 1024;

/// The most frames from one port that wait for the host, so that a flooded port leaves room for the others.
pub const RING_FRAMES_OF_PORT_MAX: usize = RING_FRAMES_MAX / 2;

#[derive(Debug)]
struct Shared {
    to_host: Ring<(LocalClass, Option<PortId>)>,
    /// The number of each port's frames in `to_host`.
    waiting: [AtomicUsize; PortId::COUNT_MAX],
    from_host: Ring<Ingress>,
    host_wakeup: Notify,
    /// Whether the worker has been woken and has not looked yet, so that another wake-up would be a needless system
    /// call.
    worker_wakeup: Wakeup,
}

/// A worker's end, to deliver.
#[derive(Clone, Debug)]
pub struct WorkerLink {
    shared: Arc<Shared>,
}

/// The end of the worker that takes the frames which the host emits.
#[derive(Debug)]
pub struct HostOutput {
    shared: Arc<Shared>,
}

/// The host's end.
pub struct HostLink {
    shared: Arc<Shared>,
    wake_worker: Box<dyn Fn() + Send + Sync>,
}

/// Makes a link whose buffers hold `frame_capacity` octets. `wake_worker` is called after the host has emitted the
/// first frame and makes the worker call [`HostOutput::take`] soon; it is not called again until the worker has done
/// so.
pub fn link(
    frame_capacity: usize,
    wake_worker: impl Fn() + Send + Sync + 'static,
) -> (WorkerLink, HostOutput, HostLink) {
    let shared = Arc::new(Shared {
        to_host: Ring::new(&[(RING_FRAMES_MAX, frame_capacity)]),
        waiting: [const { AtomicUsize::new(0) }; PortId::COUNT_MAX],
        from_host: Ring::new(&[(RING_FRAMES_MAX, frame_capacity)]),
        host_wakeup: Notify::new(),
        worker_wakeup: Wakeup::default(),
    });
    let host = HostLink { shared: Arc::clone(&shared), wake_worker: Box::new(wake_worker) };
    (WorkerLink { shared: Arc::clone(&shared) }, HostOutput { shared }, host)
}

impl Shared {
    fn waiting_of(&self, port: Option<PortId>) -> Option<&AtomicUsize> {
        self.waiting.get(usize::from(port?.0))
    }
}

impl WorkerLink {
    /// Hands the host a frame that `fill` writes to the buffer that it is given, for the part of the host that `class`
    /// names. `from` is the port that the frame came from, if it came from one. `false` if the ring is full, the port
    /// has [`RING_FRAMES_OF_PORT_MAX`] frames in it, or `fill` writes none.
    pub fn deliver_with(
        &self,
        class: LocalClass,
        from: Option<PortId>,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let waiting = self.shared.waiting_of(from);
        // The frame is counted before it is sent, so that the host never takes out more than was counted.
        let before = waiting.map_or(0, |waiting| waiting.fetch_add(1, Ordering::Relaxed));
        let is_sent = before < RING_FRAMES_OF_PORT_MAX && self.shared.to_host.send_with((class, from), fill);
        if !is_sent && let Some(waiting) = waiting {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        is_sent
    }

    /// Whether frames wait for the host.
    pub fn has_any(&self) -> bool {
        !self.shared.to_host.is_empty()
    }

    /// Wakes the host. One call after a batch is enough.
    pub fn wake_host(&self) {
        self.shared.host_wakeup.notify_one();
    }
}

impl HostOutput {
    /// Moves the frames that the host has emitted into `batch`, as many as fit. The batch's buffers must be as long as
    /// the link's.
    pub fn take(&self, batch: &mut Batch) {
        // The flag is cleared before the ring is read, so that a later emit wakes the worker again.
        self.shared.worker_wakeup.take();
        // The loop is bounded by tries, so that the host does not keep a worker busy for ever.
        for _ in 0..Batch::FRAMES_MAX {
            if batch.is_full() {
                return;
            }
            let taken = self.shared.from_host.receive(|ingress, frame| {
                let received = batch.receive(ingress, |buffer| copy(frame.bytes(), buffer).ok_or(()));
                debug_assert_eq!(received, Ok(true), "there is room, and it is long enough");
            });
            if taken.is_none() {
                return;
            }
        }
    }

    /// Whether anything that the host emitted waits.
    pub fn has_any(&self) -> bool {
        !self.shared.from_host.is_empty()
    }
}

impl HostLink {
    /// Waits until frames may have been delivered.
    pub async fn delivered(&self) {
        self.shared.host_wakeup.notified().await;
    }

    /// Gives the oldest delivered frame to `read`, with the part of the host that the frame is for and the port that
    /// the frame came from, if it came from one; `None` if there is none.
    pub fn receive<R>(&self, read: impl FnOnce(LocalClass, Option<PortId>, &[u8]) -> R) -> Option<R> {
        self.shared.to_host.receive(|(class, from), frame| {
            if let Some(waiting) = self.shared.waiting_of(from) {
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
            read(class, from, frame.bytes())
        })
    }

    /// Sends a whole Ethernet frame out of `interface`; `false` if the ring is full or the frame too long.
    pub fn emit_frame(&self, interface: InterfaceId, frame: &[u8]) -> bool {
        self.emit(Ingress::RawFrame(interface), |buffer| copy(frame, buffer))
    }

    /// Sends an IP packet of the host for the dataplane to route; `false` if the ring is full. The packet must not be
    /// longer than the MTU that the link was made for.
    pub fn emit_packet(&self, packet: &[u8]) -> bool {
        self.emit(Ingress::Stack, |buffer| {
            let len = buffer.get_mut(Header::LEN..).and_then(|buffer| copy(packet, buffer));
            debug_assert!(len.is_some(), "the host's packets fit the link's frames");
            // A packet that does not fit is sent as an empty one, which the dataplane drops and counts.
            Some(Header::LEN + len.unwrap_or(0))
        })
    }

    /// Sends the frame that `fill` writes, if it writes one.
    fn emit(&self, ingress: Ingress, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let sent = self.shared.from_host.send_with(ingress, fill);
        if self.shared.worker_wakeup.raise() {
            (self.wake_worker)();
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Delivers a frame of no port.
    fn deliver(worker: &WorkerLink, class: LocalClass, frame: &[u8]) -> bool {
        worker.deliver_with(class, None, |buffer| copy(frame, buffer))
    }

    #[test]
    fn a_port_has_its_share_of_the_ring() {
        let (worker, _, host) = link(64, || ());
        let from = |port| worker.deliver_with(LocalClass::Stack, Some(PortId(port)), |to| copy(&[0; 14], to));
        for _ in 0..RING_FRAMES_OF_PORT_MAX {
            assert!(from(1));
        }
        assert!(!from(1) && !from(1));
        for _ in 0..RING_FRAMES_MAX - RING_FRAMES_OF_PORT_MAX {
            assert!(from(2), "the rest is for others");
        }
        assert!(!from(3), "it is full");
        assert!(host.receive(|_, _, _| ()).is_some());
        assert!(!from(2) && from(1));
        while host.receive(|_, _, _| ()).is_some() {}
        assert!(from(1) && from(2) && from(3));
    }

    #[test]
    fn a_frame_crosses_with_the_port_that_it_came_from() {
        let (worker, _, host) = link(64, || ());
        let ports = [Some(PortId(3)), None, Some(PortId(0))];
        for from in ports {
            assert!(worker.deliver_with(LocalClass::DhcpServer, from, |to| copy(&[0; 14], to)));
        }
        let received = ports.map(|_| host.receive(|_, from, _| from));
        assert_eq!(received, ports.map(Some));
    }

    #[test]
    fn frames_cross_in_order_and_buffers_return() {
        let (worker, _, host) = link(64, || ());
        for round in 0..3 * RING_FRAMES_MAX {
            let byte = u8::try_from(round % 251).expect("below 251");
            assert!(deliver(&worker, LocalClass::Stack, &[byte; 20]));
            assert_eq!(
                host.receive(|class, from, bytes| (class, from, bytes.to_vec())),
                Some((LocalClass::Stack, None, vec![byte; 20]))
            );
        }
        assert_eq!(host.receive(|_, _, _| ()), None);
    }

    #[test]
    fn a_full_ring_refuses() {
        let (worker, _, host) = link(64, || ());
        for _ in 0..RING_FRAMES_MAX {
            assert!(deliver(&worker, LocalClass::DhcpClient, &[0; 14]));
        }
        assert!(!deliver(&worker, LocalClass::DhcpClient, &[0; 14]));
        assert!(host.receive(|_, _, _| ()).is_some());
        assert!(deliver(&worker, LocalClass::DhcpClient, &[0; 14]));
    }

    #[test]
    fn a_frame_too_long_is_refused_and_costs_no_buffer() {
        let (worker, output, host) = link(64, || ());
        for _ in 0..2 * RING_FRAMES_MAX {
            assert!(!deliver(&worker, LocalClass::DhcpClient, &[0; 65]));
        }
        assert_eq!(host.receive(|_, _, _| ()), None);
        assert!(
            deliver(&worker, LocalClass::DhcpClient, &[7; 64]) && !host.emit_frame(InterfaceId(1), &[7; 65])
        );
        assert!(host.emit_packet(&[7; 50]));
        let mut batch = Batch::new(64);
        output.take(&mut batch);
        assert!(!output.has_any());
        assert_eq!(batch.slots()[0].frame.bytes()[14..], [7; 50]);
    }

    #[test]
    fn the_worker_is_woken_once_until_it_looks() {
        let wakeups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakeups);
        let (_, output, host) = link(64, move || _ = counter.fetch_add(1, Ordering::Relaxed));
        let mut batch = Batch::new(64);
        for round in 1..=3 {
            for _ in 0..10 {
                assert!(host.emit_packet(&[0; 20]));
            }
            assert_eq!(wakeups.load(Ordering::Relaxed), round);
            output.take(&mut batch);
            assert!(!output.has_any());
        }
    }

    #[test]
    fn what_the_host_emits_wakes_the_worker_and_reaches_its_batch() {
        let wakeups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakeups);
        let (_, output, host) = link(64, move || _ = counter.fetch_add(1, Ordering::Relaxed));
        assert!(host.emit_frame(InterfaceId(1), &[1, 2, 3]));
        let mut batch = Batch::new(64);
        output.take(&mut batch);
        assert!(!output.has_any());
        assert_eq!(batch.slots()[0].frame.bytes(), [1, 2, 3]);
        assert_eq!(batch.slots()[0].ingress, Ingress::RawFrame(InterfaceId(1)));
        assert_eq!(wakeups.load(Ordering::Relaxed), 1);
    }
}
