//! The ports that an event loop watches with epoll, and those that it polls itself.
//!
//! Watching a device costs its sender time: for every frame the kernel takes the locks of the watch and notes the
//! event, although the loop is busy with earlier frames. Two cores then pass those locks back and forth, which costs
//! a fifth of the throughput. So a port at which frames follow each other quickly is not watched: the loop reads it
//! at every turn until it falls quiet.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

use gatepost_ground::{Instant, PortId, PortSet};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::tap::Tap;
use crate::gateway::worker::Worker;

/// The ports of one event loop.
#[derive(Debug)]
pub struct Watch {
    registry: Registry,
    watched: PortSet,
    paces: [Pace; PortId::COUNT_MAX],
}

impl Watch {
    /// A watch without ports. Events have the ports' numbers as tokens.
    pub fn new(registry: Registry) -> Self {
        Self { registry, watched: PortSet::EMPTY, paces: [Pace::default(); PortId::COUNT_MAX] }
    }

    /// Watches the quiet ports, stops watching the busy ones, and has `worker` poll those. Returns whether there are
    /// busy ports.
    pub fn divide(&mut self, now: Instant, worker: &mut Worker<Tap>) -> bool {
        let mut busy = PortSet::EMPTY;
        let mut refused = None;
        for (id, tap) in worker.ports().iter() {
            if tap.reads() && self.paces[usize::from(id.0)].is_quick(now) {
                busy = busy.with(id);
                if self.watched.contains(id) {
                    // If this fails, the kernel goes on to report events, which does no harm.
                    _ = self.registry.deregister(&mut SourceFd(&tap.as_raw_fd()));
                    self.watched = self.watched.without(id);
                }
            } else if !self.watched.contains(id) {
                match watch(&self.registry, id, tap) {
                    Ok(()) => self.watched = self.watched.with(id),
                    Err(error) => refused = Some((id, error)),
                }
            }
        }
        for id in busy.iter() {
            worker.ports_mut().set_readable(id);
            worker.set_writable(now, id);
        }
        if let Some((id, error)) = refused {
            worker.close_port(now, id, &format!("it cannot be watched: {error}"));
        }
        !busy.is_empty()
    }

    /// Whether any port is watched.
    pub fn is_any_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Notes that frames of these ports were processed in a turn of this time.
    pub fn frames_came(&mut self, from: PortSet, turn: Range<Instant>) {
        from.iter().for_each(|id| self.paces[usize::from(id.0)].something_happened(turn.clone()));
    }

    /// Forgets the port's device, which was replaced or closed.
    pub fn forget(&mut self, id: PortId) {
        self.watched = self.watched.without(id);
    }
}

/// Watches a device. A device that another worker reads is watched for writability only. Closing the device ends the
/// watch.
fn watch(registry: &Registry, id: PortId, tap: &Tap) -> io::Result<()> {
    let token = Token(usize::from(id.0));
    let interest = if tap.reads() { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
    registry.register(&mut SourceFd(&tap.as_raw_fd()), token, interest)
}

/// How long a loop stays awake after an event, if events come that quickly: about ten times the cost of falling
/// asleep and being woken.
const STAY_AWAKE: Duration = Duration::from_micros(50);

/// The pace of events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Instant,
    is_quick: bool,
}

impl Pace {
    /// Notes an event that kept the loop busy for this time.
    pub fn something_happened(&mut self, turn: Range<Instant>) {
        self.is_quick = turn.start.since(self.last) < STAY_AWAKE;
        self.last = turn.end;
    }

    /// Whether the next event is likely to come soon.
    pub fn is_quick(&self, now: Instant) -> bool {
        self.is_quick && now.since(self.last) < STAY_AWAKE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_stays_awake_only_while_things_happen_quickly() {
        let at = |micros| Instant::ZERO + Duration::from_micros(micros);
        let mut pace = Pace::default();
        pace.something_happened(at(1000)..at(1100));
        assert!(!pace.is_quick(at(1100)), "alone after a long time");
        pace.something_happened(at(1149)..at(1249));
        assert!(pace.is_quick(at(1298)) && !pace.is_quick(at(1299)));
        pace.something_happened(at(1299)..at(1299));
        assert!(!pace.is_quick(at(1300)));
    }
}
