//! The event loop that drives a [`Worker`] over TAP devices: mio, one thread.
//!
//! The loop sleeps until a device becomes readable or writable (edge-triggered), another thread calls
//! [`Handle::wake`], or the dataplane's next deadline comes. While events follow each other quickly, the loop does
//! not sleep but only yields the processor between two turns: to sleep and be woken costs more, and [watching](Watch)
//! a busy device with epoll costs its sender. A [`PortSupervisor`] opens ports again that are gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gatepost_ground::{Instant, PortId};
use gatepost_services::clock::Clock;
use mio::{Events, Poll, Token, Waker};
use tracing::warn;

use super::clock::SystemClock;
use super::tap::Tap;
use super::upkeep::PortSupervisor;
use super::watch::{Pace, Watch};
use crate::gateway::wakeup::Wakeup;
use crate::gateway::worker::Worker;

/// The waker's token; the ports' are their numbers.
const WAKE: Token = Token(PortId::COUNT_MAX);

/// An event loop that does not run yet.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    handle: Arc<Handle>,
}

/// The handle by which other threads wake and stop an event loop.
#[derive(Debug)]
pub struct Handle {
    waker: Waker,
    /// Many wake-ups cost one system call.
    wakeup: Wakeup,
    stopping: AtomicBool,
}

impl Handle {
    /// Makes the loop take a turn soon.
    pub fn wake(&self) {
        if let Err(error) = self.wakeup.wake(|| self.waker.wake()) {
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
    /// A loop without ports.
    ///
    /// # Errors
    ///
    /// The kernel has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let handle = Arc::new(Handle { waker, wakeup: Wakeup::default(), stopping: AtomicBool::new(false) });
        Ok(Self { poll, handle })
    }

    /// The handle for other threads.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Drives `worker`, whose ports `supervisor` supervises, until the loop is stopped.
    ///
    /// # Errors
    ///
    /// The kernel refuses to wait for events.
    pub fn run(
        mut self,
        mut worker: Worker<Tap>,
        mut supervisor: PortSupervisor,
        clock: SystemClock,
    ) -> io::Result<()> {
        let mut watch = Watch::new(self.poll.registry().try_clone()?);
        let mut events = Events::with_capacity(PortId::COUNT_MAX + 1);
        let mut more = true;
        let mut pace = Pace::default();
        while !self.handle.stopping.load(Ordering::Acquire) {
            let now = clock.now();
            let is_awake = watch.divide(now, &mut worker) || pace.is_quick(now);
            if is_awake && !more {
                thread::yield_now();
            }
            // If no port is watched, the turn reads all ports anyway.
            if !is_awake || watch.is_any_watched() {
                let timeout = if is_awake || more {
                    Some(Duration::ZERO)
                } else {
                    let deadlines = [worker.poll_timeout(), supervisor.before_sleep(&worker)];
                    deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now))
                };
                self.wait(&mut events, timeout)?;
                note(clock.now(), &events, &mut worker, &mut supervisor);
            }
            let now = clock.now();
            supervisor.supervise(now, &mut watch, &mut worker);
            more = worker.turn(now);
            let active = worker.ports_mut().take_active();
            if !events.is_empty() || !active.is_empty() {
                let turn = now..clock.now();
                watch.frames_came(active, turn.clone());
                pace.something_happened(turn);
            }
            events.clear();
        }
        Ok(())
    }

    /// Waits for events. Whoever wakes the loop from now on does it by another event.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if events.iter().any(|event| event.token() == WAKE) {
            self.handle.wakeup.take();
        }
        Ok(())
    }
}

/// Tells the worker and its supervisor what the kernel reports of the ports.
fn note(now: Instant, events: &Events, worker: &mut Worker<Tap>, supervisor: &mut PortSupervisor) {
    for event in events.iter().filter(|event| event.token() != WAKE) {
        let Ok(number) = u8::try_from(event.token().0) else { continue };
        // A device that is gone reports an error. A read returns the error, now or soon.
        if event.is_readable() || event.is_error() || event.is_read_closed() {
            worker.ports_mut().set_readable(PortId(number));
        }
        if event.is_error() {
            supervisor.suspect(PortId(number));
        }
        if event.is_writable() {
            worker.set_writable(now, PortId(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_woken_up_can_be_woken_again() {
        let mut event_loop = EventLoop::new().expect("a file descriptor is left");
        let handle = event_loop.handle();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            // The second one of a turn costs no system call, and is no event of its own.
            (0..2).for_each(|_| handle.wake());
            event_loop.wait(&mut events, Some(Duration::ZERO)).expect("it can wait for events");
            assert_eq!(events.iter().map(mio::event::Event::token).collect::<Vec<_>>(), [WAKE]);
        }
    }
}
