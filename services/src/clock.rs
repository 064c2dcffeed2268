//! Time as the services see it: handed over by whoever runs them.

use std::future::pending;

use gatepost_ground::Instant;
use tokio::time::sleep;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// Reads the time. In production the machine's clocks, in simulation the simulated ones.
///
/// It is for reading only: to wait, the shells use `tokio::time`, whose clock the simulation drives too.
pub trait Clock {
    /// Monotonic time, on the same scale as the dataplane's.
    fn now(&self) -> Instant;

    /// The time of day; it may jump.
    fn unix_time(&self) -> UnixTime;
}

/// Waits until `due`; for ever without it.
pub async fn sleep_until(clock: &dyn Clock, due: Option<Instant>) {
    match due {
        Some(due) => sleep(due.since(clock.now())).await,
        None => pending().await,
    }
}
