//! The observer: passes every frame on every segment to the trace's hash and the capture, and every frame at the
//! gateway's ports and every report of its tables to the checkers.

use std::cell::RefCell;
use std::hash::Hasher;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use gatepost::config::Config;
use gatepost_dataplane::flow::Pinhole;
use gatepost_ground::Instant;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::capture::Capture;
use super::disk::DiskMood;
use super::segment::SegmentId;
use crate::checkers::{Checker, Passage, Side, Sleeper, Snapshot, Step, Way};
use crate::packet::Packet;

/// The largest number of recorded violations of a promise; one is enough to fail.
pub const VIOLATIONS_MAX: usize = 20;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The promise's checker.
    pub checker: &'static str,
    /// The violation.
    pub what: String,
}

/// All that is seen of a run.
pub struct Observer {
    trace: SipHasher13,
    frames: u64,
    capture: Option<Capture>,
    checkers: Vec<Box<dyn Checker>>,
    violations: Vec<Violation>,
}

/// An observer that the hosts of a world share.
pub type Shared = Rc<RefCell<Observer>>;

impl Observer {
    /// Watches with `checkers`, and captures if there is where to.
    pub fn new(checkers: Vec<Box<dyn Checker>>, capture: Option<Capture>) -> Self {
        Self { trace: SipHasher13::new(), frames: 0, capture, checkers, violations: Vec::new() }
    }

    /// A frame is on a segment.
    ///
    /// # Panics
    ///
    /// The capture cannot be written.
    pub fn on_segment(&mut self, now: Instant, segment: SegmentId, frame: &[u8]) {
        self.frames += 1;
        self.trace.write_u64(now.as_micros());
        self.trace.write_u8(segment.0);
        self.trace.write_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        self.trace.write(frame);
        if let Some(capture) = &mut self.capture {
            capture.frame(now, segment, frame).expect("the capture can be written");
        }
    }

    /// Notes an event, which becomes a comment of the next frame in the capture.
    pub fn on_event(&mut self, event: impl ToString) {
        if let Some(capture) = &mut self.capture {
            capture.comment(event.to_string());
        }
    }

    /// Hosts have these addresses from now on.
    ///
    /// # Panics
    ///
    /// The capture cannot be written.
    pub fn on_names(&mut self, names: impl IntoIterator<Item = (Ipv4Addr, String)>) {
        if let Some(capture) = &mut self.capture {
            for (address, name) in names {
                capture.name(address, &name).expect("the capture can be written");
            }
        }
    }

    /// A frame passes a port of the gateway's.
    pub fn at_gateway(&mut self, now: Instant, way: Way, (side, segment): (Side, SegmentId), frame: &[u8]) {
        let Some(packet) = Packet::parse(frame) else { return };
        let passage = Passage { now, way, side, segment, packet: &packet };
        self.check(now, |checker| checker.on_passage(&passage));
    }

    /// The gateway boots.
    pub fn on_boot(&mut self) {
        self.checkers.iter_mut().for_each(|checker| checker.on_boot());
    }

    /// The gateway's disk becomes better or worse.
    pub fn on_disk(&mut self, mood: DiskMood) {
        self.checkers.iter_mut().for_each(|checker| checker.on_disk(mood));
    }

    /// An octet of a file of the mail store's has flipped.
    pub fn on_rot(&mut self, file: &str) {
        self.checkers.iter_mut().for_each(|checker| checker.on_rot(file));
    }

    /// The gateway begins to go over to another configuration.
    pub fn on_reload(&mut self, config: &Config) {
        self.checkers.iter_mut().for_each(|checker| checker.on_reload(config));
    }

    /// A configuration is in force, and no other.
    pub fn on_configure(&mut self, config: &Config) {
        self.checkers.iter_mut().for_each(|checker| checker.on_configure(config));
    }

    /// A change of the configuration goes on.
    pub fn on_transaction(&mut self, now: Instant, step: &Step<'_>) {
        self.checkers.iter_mut().for_each(|checker| checker.on_transaction(now, step));
    }

    /// The gateway is asked for a pinhole, which is closed at `until`.
    pub fn on_pinhole(&mut self, pinhole: &Pinhole, until: Instant) {
        self.checkers.iter_mut().for_each(|checker| checker.on_pinhole(pinhole, until));
    }

    /// The gateway reported its state.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) {
        self.check(snapshot.now, |checker| checker.on_snapshot(snapshot));
    }

    /// A thread of the gateway sleeps although it has work.
    pub fn on_oversleeping(&mut self, now: Instant, sleeper: Sleeper) {
        self.check(now, |checker| checker.on_oversleeping(sleeper));
    }

    /// The run is over.
    pub fn on_end(&mut self, now: Instant) {
        self.check(now, |checker| checker.on_end());
    }

    /// The promises watched, with their names.
    pub fn promises(&self) -> Vec<(&'static str, &'static str)> {
        self.checkers.iter().map(|checker| (checker.name(), checker.promise())).collect()
    }

    /// The violations.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Frames on all segments so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The hash of every frame on every segment so far, with its time.
    pub fn trace_hash(&self) -> u128 {
        self.trace.finish128().as_u128()
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.capture.take().map_or(Ok(()), Capture::finish)
    }

    fn check(&mut self, at: Instant, mut ask: impl FnMut(&mut dyn Checker) -> Result<(), String>) {
        for checker in &mut self.checkers {
            let is_of_checker = |violation: &&Violation| violation.checker == checker.name();
            let is_full = self.violations.iter().filter(is_of_checker).count() >= VIOLATIONS_MAX;
            if let Err(what) = ask(checker.as_mut())
                && !is_full
            {
                if let Some(capture) = &mut self.capture {
                    capture.comment(format!("{} is broken: {what}", checker.name()));
                }
                self.violations.push(Violation { at, checker: checker.name(), what });
            }
        }
    }
}
