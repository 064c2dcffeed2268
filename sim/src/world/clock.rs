//! Simulated time: turmoil's, which every machine reads and nothing else advances.

use std::cell::Cell;
use std::rc::Rc;

use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, UnixTime};
use tokio::runtime::Handle;

/// When a simulation begins by the calendar, in seconds since 1970: a Monday, a minute before nine.
const BEGINNING_UNIX_SECS: u64 = 1_767_603_540;

/// The simulated time at this moment. Only software that runs on a turmoil host can ask.
pub fn now() -> Instant {
    Instant::ZERO + turmoil::sim_elapsed().expect("asked from within a simulated host")
}

/// Sleeps until `deadline`; for ever if there is none.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now())).await,
        None => std::future::pending().await,
    }
}

/// The right time of day at `now`.
pub fn time_of_day(now: Instant) -> UnixTime {
    UnixTime(BEGINNING_UNIX_SECS + now.as_secs())
}

/// The gateway's clocks. Monotonic time begins anew when it boots; the time of day is wrong by a
/// skew that the simulation sets. For what is dropped when the gateway crashes, they stand still.
pub struct SimClock {
    booted: Instant,
    skew: Rc<Cell<i64>>,
    latest: Cell<Instant>,
}

impl SimClock {
    /// The clocks of a gateway that boots now. `skew` is by how many seconds its time of day is
    /// ahead.
    pub fn boot(skew: Rc<Cell<i64>>) -> Self {
        Self { booted: now(), skew, latest: Cell::new(now()) }
    }

    fn read(&self) -> Instant {
        // Outside of its host's runtime, turmoil would read the machine's clock.
        if Handle::try_current().is_ok() {
            self.latest.set(now());
        }
        self.latest.get()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.read().since(self.booted)
    }

    fn unix_time(&self) -> UnixTime {
        let right = time_of_day(self.read());
        UnixTime(right.0.saturating_add_signed(self.skew.get()))
    }
}
