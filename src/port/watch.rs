//! Which ports an event loop has watched, and which it looks at itself.
//!
//! A device that epoll watches costs whoever sends to it: for every frame the kernel takes the locks of the watch and
//! notes that there is something, although the loop is at work on the frames before. Two cores then pass those
//! locks to and fro, which takes a fifth of the frames that a second could carry. So a port at which frames come in
//! quick succession is not watched: the loop reads it at every turn until it falls quiet.

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
    /// Nothing is watched yet. Events will have the ports' numbers as tokens.
    pub fn new(registry: Registry) -> Self {
        Self { registry, watched: PortSet::EMPTY, paces: [Pace::default(); PortId::COUNT_MAX] }
    }

    /// Has the quiet ports watched and the busy ones not, and tells `worker` to look at those. Whether there are any.
    pub fn divide(&mut self, now: Instant, worker: &mut Worker<Tap>) -> bool {
        let mut busy = PortSet::EMPTY;
        let mut refused = None;
        for (id, tap) in worker.ports().iter() {
            if tap.reads() && self.paces[usize::from(id.0)].is_quick(now) {
                busy = busy.with(id);
                if self.watched.contains(id) {
                    // What the kernel does not let go it will report, which does no harm.
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
            worker.set_writable(id);
        }
        if let Some((id, error)) = refused {
            worker.close_port(id, &format!("it cannot be watched: {error}"));
        }
        !busy.is_empty()
    }

    /// Whether any port is watched.
    pub fn is_any_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Frames of these ports have been worked off in a turn of this time.
    pub fn frames_came(&mut self, from: PortSet, turn: Range<Instant>) {
        from.iter().for_each(|id| self.paces[usize::from(id.0)].something_happened(turn.clone()));
    }

    /// The port has another device, or none.
    pub fn forget(&mut self, id: PortId) {
        self.watched = self.watched.without(id);
    }
}

/// Frames that are read elsewhere wake nobody here. Closing the device ends the watch.
fn watch(registry: &Registry, id: PortId, tap: &Tap) -> io::Result<()> {
    let token = Token(usize::from(id.0));
    let interest = if tap.reads() { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
    registry.register(&mut SourceFd(&tap.as_raw_fd()), token, interest)
}

/// For so long a loop stays awake after something has happened, if things happen that quickly: about
/// ten times what falling asleep and being woken costs.
const STAY_AWAKE: Duration = Duration::from_micros(50);

/// How quickly things happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Instant,
    is_quick: bool,
}

impl Pace {
    /// Something did, and kept the loop at work for this time.
    pub fn something_happened(&mut self, turn: Range<Instant>) {
        self.is_quick = turn.start.since(self.last) < STAY_AWAKE;
        self.last = turn.end;
    }

    /// Whether the next thing is likely to happen soon.
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
