//! Taps on the workers: copies of the frames that pass, for captures.
//!
//! A worker without a tap checks once before and once after a batch that there is none. A tap's ring is bounded and
//! free of locks: a frame without a free buffer is counted as lost, and no worker waits for the reader. A tap ends when
//! its reader drops it; the workers notice that at their next batch.
//!
//! A received frame is copied before the dataplane sees it, and gets its drop reason afterwards. A frame that is handed
//! over unchanged is captured by the worker that gets it. A sent frame is copied when the dataplane has decided to send
//! it; the port may still have no room for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use gatepost_dataplane::{Batch, Config, DropReason, Ingress, Verdict};
use gatepost_ground::{Instant, InterfaceId, PortId};

use crate::control::filter::Filter;

/// The captured octets of a frame: all, unless it is a super-frame.
pub const SNAP_LEN: usize = 2_048;

/// The most frames that wait for the reader of a tap.
pub const TAPPED_MAX: usize = 4_096;

/// A frame that has passed a tap.
#[derive(Debug)]
pub(super) struct Tapped {
    /// When.
    pub at: Instant,
    /// The interface.
    pub interface: InterfaceId,
    /// Whether the gateway sends it.
    pub is_sent: bool,
    /// The length of the whole frame, in octets.
    pub original_len: usize,
    /// Why it is dropped, if it is.
    pub dropped: Option<DropReason>,
    buffer: Box<[u8; SNAP_LEN]>,
    len: usize,
}

impl Tapped {
    /// The octets of the frame, as far as they were captured.
    pub fn octets(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

/// A tap, shared by all workers and the reader.
#[derive(Debug)]
pub(super) struct Tap {
    filter: Filter,
    /// The interface whose frames are captured; `None` for all.
    interface: Option<InterfaceId>,
    full: ArrayQueue<Tapped>,
    empty: ArrayQueue<Box<[u8; SNAP_LEN]>>,
    /// Frames for which there was no buffer, by interface.
    lost: [AtomicU64; InterfaceId::COUNT_MAX],
    is_over: AtomicBool,
}

impl Tap {
    /// A tap for the frames of `interface` that pass `filter`.
    pub fn new(filter: Filter, interface: Option<InterfaceId>) -> Self {
        let empty = ArrayQueue::new(TAPPED_MAX);
        while empty.push(Box::new([0; SNAP_LEN])).is_ok() {}
        let full = ArrayQueue::new(TAPPED_MAX);
        let lost = std::array::from_fn(|_| AtomicU64::new(0));
        Self { filter, interface, full, empty, lost, is_over: AtomicBool::new(false) }
    }

    /// Ends the tap.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Gives the oldest frame to `read`, if there is one.
    pub fn read<R>(&self, read: impl FnOnce(&Tapped) -> R) -> Option<R> {
        let tapped = self.full.pop()?;
        let result = read(&tapped);
        self.give_back(tapped);
        Some(result)
    }

    /// The frames of an interface that were lost so far.
    pub fn lost(&self, interface: InterfaceId) -> u64 {
        self.lost.get(interface.index()).map_or(0, |lost| lost.load(Ordering::Relaxed))
    }

    fn give_back(&self, tapped: Tapped) {
        let returned = self.empty.push(tapped.buffer);
        debug_assert!(returned.is_ok(), "there are as many buffers as places");
    }

    /// A copy of a frame that passes the filter; `None` if it does not, or is lost.
    fn copy(&self, now: Instant, interface: InterfaceId, is_sent: bool, octets: &[u8]) -> Option<Tapped> {
        if self.interface.is_some_and(|wanted| wanted != interface) || !self.filter.passes(octets) {
            return None;
        }
        let Some(mut buffer) = self.empty.pop() else {
            self.lost.get(interface.index())?.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let len = octets.len().min(SNAP_LEN);
        buffer[..len].copy_from_slice(&octets[..len]);
        Some(Tapped { at: now, interface, is_sent, original_len: octets.len(), dropped: None, buffer, len })
    }

    fn push(&self, tapped: Tapped) {
        let pushed = self.full.push(tapped);
        debug_assert!(pushed.is_ok(), "there are as many places as buffers");
    }
}

/// The taps of one worker.
#[derive(Debug, Default)]
pub(super) struct Taps {
    taps: Vec<Arc<Tap>>,
    /// The received frames of the present batch: the tap's place, the slot's, and the copy.
    received: Vec<(usize, usize, Tapped)>,
}

impl Taps {
    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// Adds a tap.
    pub fn add(&mut self, tap: Arc<Tap>) {
        self.taps.push(tap);
    }

    /// Copies the received frames of a batch that is to be processed.
    #[cold]
    pub fn before(&mut self, now: Instant, batch: &Batch, config: &Config) {
        self.taps.retain(|tap| !tap.is_over.load(Ordering::Relaxed));
        let Self { taps, received } = self;
        for (place, slot) in batch.slots().iter().enumerate() {
            let port = match slot.ingress {
                Ingress::Port(port) => Some(port),
                Ingress::HandedOver(handoff) => handoff.unchanged_from(),
                Ingress::Stack | Ingress::RawFrame(_) | Ingress::ArpCopy(_) => None,
            };
            let Some(interface) = port.and_then(|port| config.interface_of(port)) else { continue };
            for (number, tap) in taps.iter().enumerate() {
                let copy = tap.copy(now, interface, false, slot.frame.bytes());
                received.extend(copy.map(|copy| (number, place, copy)));
            }
        }
    }

    /// Passes on the received frames of a batch that was processed, and copies those that are sent.
    #[cold]
    pub fn after(&mut self, now: Instant, batch: &Batch, config: &Config) {
        let Self { taps, received } = self;
        for (number, place, mut copy) in received.drain(..) {
            let (Some(tap), Some(slot)) = (taps.get(number), batch.slots().get(place)) else { continue };
            match (slot.verdict, slot.ingress) {
                (Verdict::HandOver(_), Ingress::HandedOver(handoff))
                    if handoff.unchanged_from().is_some() =>
                {
                    tap.give_back(copy);
                    continue;
                }
                (Verdict::Drop(reason), _) => copy.dropped = Some(reason),
                _ => {}
            }
            tap.push(copy);
        }
        let sent = |port: Option<PortId>, octets: &[u8]| {
            let Some(interface) = port.and_then(|port| config.interface_of(port)) else { return };
            for tap in &*taps {
                tap.copy(now, interface, true, octets).into_iter().for_each(|copy| tap.push(copy));
            }
        };
        for slot in batch.slots() {
            match slot.verdict {
                Verdict::Transmit(port) => sent(Some(port), slot.frame.bytes()),
                Verdict::Flood { ports, .. } => sent(ports.iter().next(), slot.frame.bytes()),
                _ => {}
            }
        }
        for (ports, frame) in batch.output().iter() {
            sent(ports.iter().next(), frame.bytes());
        }
    }
}
