//! The process's clock: the only module that reads the machine's time. `timex` reads the kernel's clock discipline.

#![expect(clippy::disallowed_methods, reason = "everybody else gets the time from here")]

use std::time::{Duration, Instant as StdInstant, SystemTime};

use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, Discipline, UnixTime, WallTime};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime};

use super::timex;

/// The machine's clocks; monotonic time counts from when this value was made. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: StdInstant,
}

impl SystemClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self { origin: StdInstant::now() }
    }
}

/// The machine's monotonic time in microseconds, as other programs see it.
pub fn monotonic_micros() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(TimeSpec::new(0, 0));
    u64::try_from(time.num_microseconds()).unwrap_or(0)
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        self.wall_time().secs
    }

    fn wall_time(&self) -> WallTime {
        // A clock before 1970 is not set at all.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        WallTime { secs: UnixTime(since.as_secs()), nanos: since.subsec_nanos() }
    }

    fn discipline(&self) -> Discipline {
        timex::discipline()
    }

    fn steady_time(&self) -> Duration {
        // Unlike CLOCK_MONOTONIC it goes on while the machine is suspended.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_agree_and_time_does_not_go_back() {
        let clock = SystemClock::new();
        let earlier = clock.now();
        let copy = clock;
        assert!(copy.now() >= earlier);
        assert!(clock.unix_time() > UnixTime(0));
    }
}
