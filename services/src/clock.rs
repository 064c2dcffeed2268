//! Clocks of the services, which the caller of the services provides.

use std::future::pending;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::time::sleep;

use crate::calendar::{Date, MONTHS};

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The time of day to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime {
    /// The whole seconds.
    pub secs: UnixTime,
    /// The nanoseconds since the last whole second, less than 1,000,000,000.
    pub nanos: u32,
}

impl WallTime {
    /// The time in milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.secs.0.saturating_mul(1_000).saturating_add(u64::from(self.nanos / 1_000_000))
    }

    /// The time in milliseconds since 1970 as text in UTC, such as `1970-01-01T00:00:00.000Z`. (RFC 3339)
    pub fn text_of_millis(millis: u64) -> String {
        let Date { year, month, day, hour, minute, second, .. } = Date::after_1970(millis / 1_000);
        let month = MONTHS.iter().take_while(|name| **name != month).count() + 1;
        let millis = millis % 1_000;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// What the program that disciplines the time of day, such as an NTP client of this machine, reports of it. By default
/// there is no such program, and the clock is read in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Whether the time of day follows a time source. If not, its error is unknown.
    pub is_synchronised: bool,
    /// The most by which the time of day may be wrong.
    pub error_max: Duration,
    /// The estimated error of the time of day; zero without an estimate.
    pub error_estimate: Duration,
    /// The leap second at the end of this UTC day, if there is one.
    pub leap: Option<LeapSecond>,
    /// The resolution of the time of day.
    pub precision: Duration,
    /// The source of time, if it is known: the kernel knows none.
    pub source: Option<TimeSource>,
}

/// The source of the time of day, as in the answers of a server that follows it. (RFC 5905, section 7.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSource {
    /// The stratum of a server that follows it: one more than its own.
    pub stratum: u8,
    /// Its address.
    pub reference_id: [u8; 4],
    /// The time on the way to the root and back. Half of it is a part of the most by which the time of day may be
    /// wrong.
    pub root_delay: Duration,
    /// When it was last asked, by the time of day.
    pub measured: WallTime,
}

impl Default for Discipline {
    fn default() -> Self {
        Self {
            is_synchronised: false,
            error_max: Duration::ZERO,
            error_estimate: Duration::ZERO,
            leap: None,
            precision: Duration::from_secs(1),
            source: None,
        }
    }
}

/// A leap second to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeapSecond {
    /// The last minute of the day has 61 seconds.
    Inserted,
    /// The last minute of the day has 59 seconds.
    Deleted,
}

/// Reads the time: the machine's clocks in production, the simulated ones in the simulation.
///
/// To wait, the shells use `tokio::time`, whose clock the simulation drives, too.
pub trait Clock {
    /// Monotonic time, on the same scale as the dataplane's.
    fn now(&self) -> Instant;

    /// The time of day; it may be stepped.
    fn unix_time(&self) -> UnixTime;

    /// The time of day in the clock's full resolution.
    fn wall_time(&self) -> WallTime {
        WallTime { secs: self.unix_time(), nanos: 0 }
    }

    /// The synchronisation state and the error of the time of day.
    fn discipline(&self) -> Discipline {
        Discipline::default()
    }

    /// Time since an arbitrary moment by the machine's oscillator, suspends included (CLOCK_BOOTTIME). It
    /// drifts as an undisciplined time of day does, and setting the time of day does not affect it.
    fn steady_time(&self) -> Duration {
        Duration::from_micros(self.now().as_micros())
    }
}

/// Waits until `due`; for ever without it.
pub async fn sleep_until(clock: &dyn Clock, due: Option<Instant>) {
    match due {
        Some(due) => sleep(due.since(clock.now())).await,
        None => pending().await,
    }
}
