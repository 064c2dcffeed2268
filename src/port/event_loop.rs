//! The event loop that drives a [`Worker`] over TAP devices: mio, one thread.
//!
//! It sleeps until a device becomes readable or writable (edge-triggered), somebody calls
//! [`Handle::wake`], or the dataplane's next deadline. While things happen in quick succession it only
//! steps aside for others between two looks: to fall asleep and be woken costs more. Once a second it
//! looks after its ports, if there is reason to: a port that is gone is opened again as soon as that
//! works, and one whose namespace is gone is given up.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gatepost_dataplane::{Instant, PortId};
use gatepost_services::clock::Clock;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use tracing::{debug, warn};

use super::clock::SystemClock;
use super::tap::Tap;
use crate::config::PortSpec;
use crate::gateway::worker::Worker;

/// How often ports are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The waker's token; the ports' are their numbers.
const WAKE: Token = Token(PortId::COUNT_MAX);

/// A device to keep open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Its name and namespace.
    pub port: PortSpec,
    /// Its MTU, in octets.
    pub mtu: u16,
}

impl TapSpec {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// See [`Tap::open`].
    pub fn open(&self) -> Result<Tap, crate::error::Error> {
        Tap::open(&self.port, self.mtu)
    }
}

/// An event loop that does not run yet.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    handle: Arc<Handle>,
}

/// What other threads can do to an event loop.
#[derive(Debug)]
pub struct Handle {
    waker: Waker,
    /// Set from a wake-up until the loop has seen it, so that many cost one system call.
    woken: AtomicBool,
    stopping: AtomicBool,
}

impl Handle {
    /// Makes the loop take a turn soon.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            warn!("cannot wake the event loop: {error}");
        }
    }

    /// Makes the loop end after the turn it is in.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl EventLoop {
    /// A loop over nothing yet.
    ///
    /// # Errors
    ///
    /// The kernel has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let handle =
            Arc::new(Handle { waker, woken: AtomicBool::new(false), stopping: AtomicBool::new(false) });
        Ok(Self { poll, handle })
    }

    /// The handle for other threads.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Drives `worker`, whose ports are the devices of `specs` in this order, until it is stopped.
    ///
    /// # Errors
    ///
    /// The kernel refuses to watch a device.
    pub fn run(mut self, mut worker: Worker<Tap>, specs: &[TapSpec], clock: SystemClock) -> io::Result<()> {
        for (id, tap) in worker.ports().iter() {
            watch(self.poll.registry(), id, tap)?;
        }
        let mut events = Events::with_capacity(PortId::COUNT_MAX + 1);
        let mut upkeep_at = clock.now() + UPKEEP_INTERVAL;
        let mut more = true;
        let mut pace = Pace::default();
        while !self.handle.stopping.load(Ordering::Acquire) {
            let now = clock.now();
            let timeout = if more {
                Some(Duration::ZERO)
            } else if pace.is_quick(now) {
                thread::yield_now();
                Some(Duration::ZERO)
            } else {
                self.timeout(&worker, specs, upkeep_at, now)
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.note(&events, &mut worker),
            }
            let now = clock.now();
            if !events.is_empty() {
                pace.something_happened(now);
            }
            if now >= upkeep_at {
                upkeep_at = now + UPKEEP_INTERVAL;
                look_after_ports(self.poll.registry(), &mut worker, specs);
            }
            more = worker.turn(now);
        }
        Ok(())
    }

    /// How long to sleep: for ever if nothing is due.
    fn timeout(
        &self,
        worker: &Worker<Tap>,
        specs: &[TapSpec],
        upkeep_at: Instant,
        now: Instant,
    ) -> Option<Duration> {
        let needs_upkeep =
            worker.ports().gone().next().is_some() || specs.iter().any(|spec| spec.port.netns.is_some());
        let deadlines = [worker.poll_timeout(), needs_upkeep.then_some(upkeep_at)];
        deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now))
    }

    fn note(&self, events: &Events, worker: &mut Worker<Tap>) {
        for event in events {
            if event.token() == WAKE {
                // A swap and no store: what the turn reads next must not be read before this is seen.
                self.handle.woken.swap(false, Ordering::AcqRel);
                continue;
            }
            let Ok(number) = u8::try_from(event.token().0) else { continue };
            // A device that is gone reports an error; reading then says what is wrong.
            if event.is_readable() || event.is_error() || event.is_read_closed() {
                worker.ports_mut().set_readable(PortId(number));
            }
            if event.is_writable() {
                worker.set_writable(PortId(number));
            }
        }
    }
}

/// For so long the loop stays awake after something has happened, if things happen that quickly: about
/// ten times what falling asleep and being woken costs.
const STAY_AWAKE: Duration = Duration::from_micros(50);

/// How quickly things happen.
#[derive(Debug, Default)]
struct Pace {
    last: Instant,
    is_quick: bool,
}

impl Pace {
    fn something_happened(&mut self, now: Instant) {
        self.is_quick = now.since(self.last) < STAY_AWAKE;
        self.last = now;
    }

    /// Whether the next thing is likely to happen soon.
    fn is_quick(&self, now: Instant) -> bool {
        self.is_quick && now.since(self.last) < STAY_AWAKE
    }
}

/// Closing the device ends the watch.
fn watch(registry: &Registry, id: PortId, tap: &Tap) -> io::Result<()> {
    let token = Token(usize::from(id.0));
    registry.register(&mut SourceFd(&tap.as_raw_fd()), token, Interest::READABLE | Interest::WRITABLE)
}

fn look_after_ports(registry: &Registry, worker: &mut Worker<Tap>, specs: &[TapSpec]) {
    let orphaned: Vec<_> =
        worker.ports().iter().filter(|(_, tap)| tap.is_orphaned()).map(|(id, _)| id).collect();
    for id in orphaned {
        worker.close_port(id, "its network namespace is gone");
    }
    let gone: Vec<_> = worker.ports().gone().collect();
    for id in gone {
        let Some(spec) = specs.get(usize::from(id.0)) else { continue };
        let opened = spec.open().map_err(io::Error::other);
        match opened.and_then(|tap| watch(registry, id, &tap).map(|()| tap)) {
            Ok(tap) => worker.ports_mut().open(id, tap),
            Err(error) => debug!("port {} stays closed: {error}", spec.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_stays_awake_only_while_things_happen_quickly() {
        let at = |micros| Instant::ZERO + Duration::from_micros(micros);
        let mut pace = Pace::default();
        pace.something_happened(at(1000));
        assert!(!pace.is_quick(at(1000)), "alone after a long time");
        pace.something_happened(at(1049));
        assert!(pace.is_quick(at(1098)) && !pace.is_quick(at(1099)));
        pace.something_happened(at(1099));
        assert!(!pace.is_quick(at(1100)));
    }
}
