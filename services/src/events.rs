//! Events of the services, for those who watch them live.
//!
//! While nobody watches, an event costs one check, and nothing is kept: no history of who asked for which name comes
//! into being. While somebody does, a bounded ring holds the last events. Each watcher has a place in the ring; one
//! that reads too slowly is told how many events it has missed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use gatepost_ground::Instant;

/// The most events of one kind that wait for watchers.
pub const EVENTS_MAX: usize = 4_096;

/// The events of one kind. Clones are the same events.
pub struct Events<T> {
    ring: Rc<RefCell<Ring<T>>>,
}

struct Ring<T> {
    watchers: usize,
    events: VecDeque<(Instant, T)>,
    /// The number of the oldest event in the ring, counted from the first of all.
    first: u64,
}

/// A place among the events. Dropping the last one empties the ring.
pub struct Watcher<T> {
    ring: Rc<RefCell<Ring<T>>>,
    /// The number of the next event.
    next: u64,
}

/// The events since a watcher last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvents<T> {
    /// The events with their times, the oldest first.
    pub events: Vec<(Instant, T)>,
    /// The events that were forgotten before the watcher asked.
    pub missed: u64,
}

impl<T> Default for Events<T> {
    fn default() -> Self {
        let ring = Ring { watchers: 0, events: VecDeque::new(), first: 0 };
        Self { ring: Rc::new(RefCell::new(ring)) }
    }
}

impl<T> Clone for Events<T> {
    fn clone(&self) -> Self {
        Self { ring: Rc::clone(&self.ring) }
    }
}

impl<T> Events<T> {
    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        self.ring.borrow().watchers > 0
    }

    /// Notes the event that `event` returns, if somebody watches.
    pub fn note(&self, at: Instant, event: impl FnOnce() -> T) {
        if !self.is_watched() {
            return;
        }
        let event = event();
        let mut ring = self.ring.borrow_mut();
        if ring.events.len() >= EVENTS_MAX {
            ring.events.pop_front();
            ring.first += 1;
        }
        ring.events.push_back((at, event));
    }

    /// A watcher of the events from now on.
    pub fn watch(&self) -> Watcher<T> {
        let mut ring = self.ring.borrow_mut();
        ring.watchers += 1;
        let next = ring.end();
        drop(ring);
        Watcher { ring: Rc::clone(&self.ring), next }
    }
}

impl<T> Ring<T> {
    /// The number that the next event gets.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl<T: Clone> Watcher<T> {
    /// The next events, at most `count_max`; the next call returns those after them.
    pub fn take(&mut self, count_max: usize) -> NewEvents<T> {
        let ring = self.ring.borrow();
        let missed = ring.first.saturating_sub(self.next);
        let from = self.next.max(ring.first);
        let skipped = usize::try_from(from - ring.first).unwrap_or(usize::MAX);
        let events: Vec<_> = ring.events.iter().skip(skipped).take(count_max).cloned().collect();
        self.next = from + events.len() as u64;
        NewEvents { events, missed }
    }
}

impl<T> Drop for Watcher<T> {
    fn drop(&mut self) {
        let mut ring = self.ring.borrow_mut();
        ring.watchers -= 1;
        if ring.watchers == 0 {
            ring.first = ring.end();
            ring.events = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(events: &Events<u64>, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| events.note(Instant::from_secs(number), || number));
    }

    fn taken(watcher: &mut Watcher<u64>, count_max: usize) -> (Vec<u64>, u64) {
        let NewEvents { events, missed } = watcher.take(count_max);
        assert!(events.iter().all(|(at, number)| at.as_secs() == *number));
        (events.into_iter().map(|(_, number)| number).collect(), missed)
    }

    #[test]
    fn without_a_watcher_nothing_is_made_or_kept() {
        let events = Events::<u64>::default();
        events.note(Instant::ZERO, || unreachable!("nobody watches"));
        let mut first = events.watch();
        note(&events, 0..3);
        let mut second = events.watch();
        note(&events, 3..4);
        assert_eq!((taken(&mut first, 9), taken(&mut second, 9)), ((vec![0, 1, 2, 3], 0), (vec![3], 0)));
        drop(first);
        assert!(events.is_watched() && events.ring.borrow().events.len() == 4);
        drop(second);
        assert!(!events.is_watched() && events.ring.borrow().events.capacity() == 0);
        assert_eq!(taken(&mut events.watch(), 9), (vec![], 0), "what was before is not shown");
    }

    #[test]
    fn a_slow_watcher_is_told_how_many_events_it_has_missed() {
        let events = Events::default();
        let mut watcher = events.watch();
        note(&events, 0..EVENTS_MAX as u64 + 7);
        assert_eq!(events.ring.borrow().events.len(), EVENTS_MAX);
        assert_eq!(taken(&mut watcher, 2), (vec![7, 8], 7));
        assert_eq!(taken(&mut watcher, 1), (vec![9], 0), "each is missed once");
        assert_eq!(taken(&mut watcher, EVENTS_MAX).0.len(), EVENTS_MAX - 3);
        assert_eq!(taken(&mut watcher, 1), (vec![], 0));
    }
}
