//! Supervision of ports by the event loops of a gateway together.
//!
//! A port that is gone is gone for every worker. The worker that detects it closes its own device and notifies the
//! first worker, which notifies all others, opens the port again as soon as possible, and hands every worker its queue.
//!
//! No worker waits for another: each opening of a port has a number, and the mailbox has room for the newest update
//! of each port and worker only, which replaces one that was not read. So there is no queue that could be full, and a
//! late update is recognised by its number.
//!
//! The kernel reports that a device is going before it detaches the device from its file. A read in between finds no
//! error, and no further event comes. So a port that reported an error is read some more times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use gatepost_ground::{Instant, PortId, PortSet};
use tracing::{debug, warn};

use super::event_loop::Handle;
use super::tap::Tap;
use super::watch::Watch;
use crate::config::PortSpec;
use crate::gateway::worker::Worker;

/// The time between two rounds of supervision.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The worker that opens ports.
const OPENER: usize = 0;

/// A device to keep open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Its name and namespace.
    pub port: PortSpec,
    /// Its MTU, in octets.
    pub mtu: u16,
}

impl TapSpec {
    /// Opens the device for so many workers.
    ///
    /// # Errors
    ///
    /// See [`Tap::open_for`].
    pub fn open_for(&self, workers: u8) -> Result<Vec<Tap>, crate::error::Error> {
        Tap::open_for(workers, &self.port, self.mtu)
    }

    /// Makes the device `tap` persistent, if the configuration asks for that.
    pub fn keep(&self, tap: &Tap) {
        if self.port.persist
            && let Err(error) = tap.keep()
        {
            warn!("port {} will not outlive the gateway: {error}", self.port);
        }
    }
}

/// Supervises the ports of one worker.
#[derive(Debug)]
pub struct PortSupervisor {
    number: usize,
    mailbox: Arc<Mailbox>,
    /// The worker's state of each port.
    known: Vec<Known>,
    suspects: SuspectPorts,
    due: Instant,
}

/// A worker's state of a port.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The number of the port's opening that the worker has, or had last.
    opening: u32,
    /// Whether the loss of this opening has been reported.
    is_loss_reported: bool,
}

/// The mailbox through which supervisors notify each other about ports.
#[derive(Debug)]
struct Mailbox {
    specs: Vec<TapSpec>,
    handles: Vec<Arc<Handle>>,
    /// The last opening of each port that a worker other than the opener has found gone.
    lost: Vec<AtomicU32>,
    /// For each worker, the newest update of each port.
    updates: Vec<Vec<ArrayQueue<PortUpdate>>>,
    /// Whether there is an update for each worker.
    has_update: Vec<AtomicBool>,
}

/// An update for a worker about a port.
#[derive(Debug)]
struct PortUpdate {
    opening: u32,
    /// The device of this opening; `None` if it is gone.
    tap: Option<Tap>,
}

impl Mailbox {
    fn post(&self, worker: usize, port: usize, update: PortUpdate) {
        let slot = self.updates.get(worker).and_then(|updates| updates.get(port));
        // A device that was not fetched before the next update is closed here.
        drop(slot.and_then(|slot| slot.force_push(update)));
        self.wake(worker);
    }

    fn wake(&self, worker: usize) {
        if let (Some(has_update), Some(handle)) = (self.has_update.get(worker), self.handles.get(worker)) {
            has_update.store(true, Ordering::Release);
            handle.wake();
        }
    }
}

impl PortSupervisor {
    /// A supervisor for each worker, whose event loops have these handles. The devices of `specs` are open, in this
    /// order.
    pub fn for_workers(handles: Vec<Arc<Handle>>, specs: Vec<TapSpec>, now: Instant) -> Vec<Self> {
        let workers = handles.len();
        let updates = || specs.iter().map(|_| ArrayQueue::new(1)).collect();
        let mailbox = Arc::new(Mailbox {
            lost: specs.iter().map(|_| AtomicU32::new(0)).collect(),
            updates: (0..workers).map(|_| updates()).collect(),
            has_update: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            handles,
            specs,
        });
        let known = vec![Known { opening: 1, is_loss_reported: false }; mailbox.specs.len()];
        let due = now + UPKEEP_INTERVAL;
        let supervisor = |number| Self {
            number,
            mailbox: Arc::clone(&mailbox),
            known: known.clone(),
            suspects: SuspectPorts::default(),
            due,
        };
        (0..workers).map(supervisor).collect()
    }

    /// Notes that the kernel has reported an error of this port, whose device may be about to go.
    pub fn suspect(&mut self, id: PortId) {
        self.suspects.raise(id);
    }

    /// Applies the updates of the other workers, and does what is due.
    pub fn supervise(&mut self, now: Instant, watch: &mut Watch, worker: &mut Worker<Tap>) {
        let has_update = &self.mailbox.has_update[self.number];
        if has_update.load(Ordering::Relaxed) && has_update.swap(false, Ordering::AcqRel) {
            self.apply_updates(now, watch, worker);
        }
        if now < self.due {
            return;
        }
        self.due = now + UPKEEP_INTERVAL;
        for id in self.suspects.take_looks().iter() {
            worker.ports_mut().set_readable(id);
        }
        if self.number == OPENER {
            close_orphans(now, worker);
            self.report_losses(worker);
            self.reopen(watch, worker);
        } else {
            self.report_losses(worker);
        }
    }

    /// When [`PortSupervisor::supervise`] has to be called without a wake-up. Call this before the loop sleeps: it
    /// reports lost ports to the other workers.
    pub fn before_sleep(&mut self, worker: &Worker<Tap>) -> Option<Instant> {
        self.report_losses(worker);
        let mut specs = self.mailbox.specs.iter();
        let mut opener_is_needed =
            || worker.ports().gone().next().is_some() || specs.any(|spec| spec.port.netns.is_some());
        let needs_upkeep = self.suspects.is_any() || self.number == OPENER && opener_is_needed();
        needs_upkeep.then_some(self.due)
    }

    fn apply_updates(&mut self, now: Instant, watch: &mut Watch, worker: &mut Worker<Tap>) {
        if self.number == OPENER {
            for (port, (known, lost)) in self.known.iter().zip(&self.mailbox.lost).enumerate() {
                if lost.load(Ordering::Acquire) >= known.opening {
                    close(now, worker, port);
                }
            }
            return self.report_losses(worker);
        }
        for (port, (known, slot)) in self.known.iter_mut().zip(&self.mailbox.updates[self.number]).enumerate()
        {
            let Some(PortUpdate { opening, tap }) = slot.pop() else { continue };
            close(now, worker, port);
            *known = Known { opening, is_loss_reported: tap.is_none() };
            if let Some(tap) = tap {
                open(watch, worker, port, tap);
            }
        }
    }

    /// Reports the ports that are gone, each once.
    fn report_losses(&mut self, worker: &Worker<Tap>) {
        for id in worker.ports().gone() {
            let port = usize::from(id.0);
            let Some(known) = self.known.get_mut(port).filter(|known| !known.is_loss_reported) else {
                continue;
            };
            known.is_loss_reported = true;
            if self.number == OPENER {
                let update = || PortUpdate { opening: known.opening, tap: None };
                (1..self.mailbox.handles.len()).for_each(|other| self.mailbox.post(other, port, update()));
            } else {
                self.mailbox.lost[port].fetch_max(known.opening, Ordering::AcqRel);
                self.mailbox.wake(OPENER);
            }
        }
    }

    fn reopen(&mut self, watch: &mut Watch, worker: &mut Worker<Tap>) {
        let gone: Vec<_> = worker.ports().gone().map(|id| usize::from(id.0)).collect();
        let workers = u8::try_from(self.mailbox.handles.len()).unwrap_or(1);
        for port in gone {
            let (Some(spec), Some(known)) = (self.mailbox.specs.get(port), self.known.get_mut(port)) else {
                continue;
            };
            let taps = match spec.open_for(workers) {
                Ok(taps) => taps,
                Err(error) => {
                    debug!("port {} stays closed: {error}", spec.port);
                    continue;
                }
            };
            taps.iter().take(1).for_each(|tap| spec.keep(tap));
            let opening = known.opening.saturating_add(1);
            *known = Known { opening, is_loss_reported: false };
            for (other, tap) in taps.into_iter().enumerate() {
                if other == OPENER {
                    open(watch, worker, port, tap);
                } else {
                    self.mailbox.post(other, port, PortUpdate { opening, tap: Some(tap) });
                }
            }
        }
    }
}

/// The ports that are read again after an error, with the number of reads left.
#[derive(Debug)]
struct SuspectPorts {
    looks_left: [u8; PortId::COUNT_MAX],
}

impl Default for SuspectPorts {
    fn default() -> Self {
        Self { looks_left: [0; PortId::COUNT_MAX] }
    }
}

impl SuspectPorts {
    /// The number of further reads after an error. The error may have been of the port's former device, and then no
    /// further event comes.
    const LOOKS: u8 = 3;

    fn raise(&mut self, id: PortId) {
        if let Some(left) = self.looks_left.get_mut(usize::from(id.0)) {
            *left = Self::LOOKS;
        }
    }

    fn is_any(&self) -> bool {
        self.looks_left.iter().any(|&left| left > 0)
    }

    /// Takes the ports to read now, and counts one read of each.
    fn take_looks(&mut self) -> PortSet {
        let mut due = PortSet::EMPTY;
        for (id, left) in (0..).map(PortId).zip(&mut self.looks_left) {
            if let Some(fewer) = left.checked_sub(1) {
                *left = fewer;
                due = due.with(id);
            }
        }
        due
    }
}

fn open(watch: &mut Watch, worker: &mut Worker<Tap>, port: usize, tap: Tap) {
    if let Ok(id) = u8::try_from(port).map(PortId) {
        watch.forget(id);
        worker.ports_mut().open(id, tap);
    }
}

fn close(now: Instant, worker: &mut Worker<Tap>, port: usize) {
    if let Ok(number) = u8::try_from(port) {
        worker.close_port(now, PortId(number), "another worker has found it so");
    }
}

/// Closes the ports whose network namespace is gone.
fn close_orphans(now: Instant, worker: &mut Worker<Tap>) {
    let orphaned: Vec<_> =
        worker.ports().iter().filter(|(_, tap)| tap.is_orphaned()).map(|(id, _)| id).collect();
    for id in orphaned {
        worker.close_port(now, id, "its network namespace is gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_an_error_is_looked_at_some_times_more() {
        let mut suspects = SuspectPorts::default();
        assert!(!suspects.is_any() && suspects.take_looks().is_empty());
        suspects.raise(PortId(2));
        assert_eq!(suspects.take_looks(), PortSet::only(PortId(2)));
        suspects.raise(PortId(0));
        let both = PortSet::from_iter([0, 2].map(PortId));
        assert_eq!([(); 2].map(|()| suspects.take_looks()), [both; 2]);
        assert!(suspects.is_any(), "the newer one has a look left");
        assert_eq!(suspects.take_looks(), PortSet::only(PortId(0)));
        assert!(!suspects.is_any() && suspects.take_looks().is_empty());
    }
}
