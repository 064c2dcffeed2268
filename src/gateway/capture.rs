//! `gatepost capture`: the frames that pass the workers' taps, as a file that Wireshark opens.

use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::{Instant, InterfaceId};
use gatepost_services::clock::Clock;

use super::inspector::Inspector;
use super::requests::{Merge, Request};
use super::tap::{TAPPED_MAX, Tap};
use crate::config::Config;
use crate::control::capture::Wanted;
use crate::control::filter::Filter;
use crate::control::mail::Undone;
use crate::control::server::Capturing;
use crate::pcapng::{Direction, PcapNg};

/// The most frames in one part of a capture.
const PART_FRAMES_MAX: usize = 2_048;

/// A running capture. Dropping it ends it.
pub struct Capture {
    pub(super) tap: Arc<Tap>,
    interfaces: Vec<InterfaceId>,
    file: PcapNg<Vec<u8>>,
    clock: Rc<dyn Clock>,
}

/// The workers' answer to a tap: they have it.
#[derive(Debug, Default)]
pub(super) struct Tapping;

impl Merge for Tapping {
    fn merge(&mut self, _: Self) {}
}

impl Inspector {
    /// Begins a capture.
    ///
    /// # Errors
    ///
    /// The filter is not understood, or the workers do not answer.
    pub async fn capture(&self, wanted: &Wanted) -> Result<Capture, Undone> {
        let undone = |why: String, remedy: &str| Undone { why, remedy: remedy.to_owned() };
        let wrong = |why| undone(why, "write another --filter");
        let filter = Filter::parse(wanted.filter.as_deref().unwrap_or_default()).map_err(wrong)?;
        let host = wanted.host.map_or(Filter::All, Filter::host);
        let ids: Vec<_> = (0..).map(InterfaceId).take(self.plan.load().interfaces.len()).collect();
        let named = |id: &InterfaceId| Config::interface_name(*id);
        let interface = wanted.interface.and_then(|wanted| ids.iter().find(|id| named(id) == wanted.name()));
        let tap = Arc::new(Tap::new(host.and(filter), interface.copied()));
        let file = PcapNg::begin(Vec::new(), ids.iter().map(named));
        let file = file.map_err(|error| undone(error.to_string(), "see the log"))?;
        let capture = Capture { tap: Arc::clone(&tap), interfaces: ids, file, clock: Rc::clone(&self.clock) };
        let tapped = self.requests.put(|reply| Request::Tap(Arc::clone(&tap), reply)).await;
        let Tapping = tapped.map_err(|error| undone(error.to_string(), "try again"))?;
        Ok(capture)
    }
}

impl Capture {
    /// Microseconds since 1970 at `at`, which is not in the future.
    fn micros(&self, at: Instant) -> u64 {
        let (now, wall_time) = (self.clock.now(), self.clock.wall_time());
        let micros = wall_time.secs.0.saturating_mul(1_000_000) + u64::from(wall_time.nanos) / 1_000;
        micros.saturating_sub(now.since(at).as_micros().try_into().unwrap_or(u64::MAX))
    }

    /// Writes the frames that wait, at most `count_max`.
    fn write(&mut self, count_max: usize) {
        for _ in 0..count_max {
            let tap = Arc::clone(&self.tap);
            let written = tap.read(|frame| {
                let comments: Vec<_> = frame
                    .dropped
                    .iter()
                    .map(|reason| format!("dropped, {reason}: {}", reason.meaning()))
                    .collect();
                let direction = if frame.is_sent { Direction::Outbound } else { Direction::Inbound };
                let interface = u32::from(frame.interface.0);
                let at = self.micros(frame.at);
                let (octets, len) = (frame.octets(), frame.original_len);
                self.file.passed(at, interface, direction, octets, len, &comments)
            });
            match written {
                Some(written) => debug_assert!(written.is_ok(), "memory takes it"),
                None => return,
            }
        }
    }
}

impl Capturing for Capture {
    fn part(&mut self) -> Vec<u8> {
        self.write(PART_FRAMES_MAX);
        self.file.take_written()
    }

    fn finish(mut self) -> Vec<u8> {
        self.tap.end();
        self.write(TAPPED_MAX);
        let now = self.micros(self.clock.now());
        for id in self.interfaces.clone() {
            let written = self.file.statistics(now, u32::from(id.0), self.tap.lost(id));
            debug_assert!(written.is_ok(), "memory takes it");
        }
        self.file.take_written()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.tap.end();
    }
}
