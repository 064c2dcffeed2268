//! Simulated time: turmoil's, which every machine reads and nothing else advances.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, Discipline, LeapSecond, UnixTime, WallTime};
use tokio::runtime::Handle;

/// The time of day at which a simulation begins, in seconds since 1970: a Monday, 08:59.
const BEGINNING_UNIX_SECS: u64 = 1_767_603_540;

const NANOS_PER_SEC: i128 = 1_000_000_000;

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

/// The state of the gateway's time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// No daemon disciplines it: it gains or loses so many microseconds each second.
    Undisciplined {
        /// The drift in parts per million.
        ppm: i32,
    },
    /// A daemon disciplines it. It is ahead by so many microseconds, within the maximum error of the kernel's state.
    Disciplined {
        /// Microseconds ahead, or behind.
        ahead: i32,
        /// The leap second to come.
        leap: Option<LeapSecond>,
    },
}

impl ClockState {
    /// The clock's drift in parts per million; a daemon corrects it.
    fn ppm(self) -> i32 {
        match self {
            Self::Undisciplined { ppm } => ppm,
            Self::Disciplined { .. } => 0,
        }
    }
}

/// The right time at `now`, and so many nanoseconds more.
fn ahead_of_right(now: Instant, nanos: i64) -> WallTime {
    let right = i128::from(BEGINNING_UNIX_SECS) * NANOS_PER_SEC + i128::from(now.as_micros()) * 1_000;
    let shown = (right + i128::from(nanos)).max(0);
    let (secs, nanos) = (shown / NANOS_PER_SEC, shown % NANOS_PER_SEC);
    WallTime {
        secs: UnixTime(u64::try_from(secs).unwrap_or(u64::MAX)),
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

/// The right time of day at `now`, as exactly as it is.
pub fn right_time(now: Instant) -> WallTime {
    ahead_of_right(now, 0)
}

/// The gateway's time of day, which may be wrong. It goes on while the gateway has no power.
#[derive(Debug)]
pub struct TimeOfDay {
    /// By how many nanoseconds it was ahead at `since`.
    ahead: Cell<i64>,
    since: Cell<Instant>,
    state: Cell<ClockState>,
    changes: Cell<u64>,
    disciplined_at: Cell<Option<Instant>>,
    /// What the oscillator had gained at `since`, in nanoseconds.
    gained: Cell<i64>,
    /// By how many parts per million its rate has changed, and when.
    rate_changes: RefCell<Vec<(Instant, u32)>>,
}

impl Default for TimeOfDay {
    /// It is right, and not disciplined.
    fn default() -> Self {
        Self {
            ahead: Cell::new(0),
            since: Cell::new(Instant::ZERO),
            state: Cell::new(ClockState::Undisciplined { ppm: 0 }),
            changes: Cell::new(0),
            disciplined_at: Cell::new(None),
            gained: Cell::new(0),
            rate_changes: RefCell::default(),
        }
    }
}

/// The time in which a time client notices a sudden change of the oscillator's rate.
const RATE_FOUND: Duration = Duration::from_secs(256);

/// The kernel's margin for the error of a disciplined clock, and its estimate.
const ERROR_MICROS: u64 = 1_000;

impl TimeOfDay {
    /// Its time at `now`.
    pub fn at(&self, now: Instant) -> WallTime {
        ahead_of_right(now, self.ahead_at(now))
    }

    /// What the oscillator has counted until `now`.
    pub fn steady_at(&self, now: Instant) -> Duration {
        let gained = i128::from(self.gained.get()) + i128::from(self.drift_at(now));
        let counted = i128::from(now.as_micros()) * 1_000 + gained;
        Duration::from_nanos(u64::try_from(counted).unwrap_or(0))
    }

    /// The error in nanoseconds of a client at `now` that assumes a steady rate of the oscillator, by sudden changes of
    /// that rate.
    pub fn surprise(&self, since: Instant, now: Instant) -> u64 {
        let changes = self.rate_changes.borrow();
        let changes = changes.iter().filter(|(at, _)| *at >= since);
        let surprise = |(at, ppm): &(Instant, u32)| now.since(*at).min(RATE_FOUND) * *ppm / 1_000_000;
        changes.map(surprise).map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).sum()
    }

    /// By how many nanoseconds it is ahead at `now`.
    pub fn ahead_at(&self, now: Instant) -> i64 {
        self.ahead.get().saturating_add(self.drift_at(now))
    }

    /// The nanoseconds that it has gained since it was last changed.
    fn drift_at(&self, now: Instant) -> i64 {
        let micros = i64::try_from(now.since(self.since.get()).as_micros()).unwrap_or(i64::MAX);
        micros.saturating_mul(self.state.get().ppm().into()) / 1_000
    }

    /// Steps it by so many seconds at `now`. The kernel treats a clock that is set as not disciplined.
    pub fn jump(&self, now: Instant, secs: i64) {
        let ppm = self.state.get().ppm();
        let ahead = self.ahead_at(now).saturating_add(secs.saturating_mul(1_000_000_000));
        self.change(now, ahead, ClockState::Undisciplined { ppm });
    }

    /// Sets its state at `now`.
    pub fn set_state(&self, now: Instant, state: ClockState) {
        let ahead = match state {
            ClockState::Undisciplined { .. } => self.ahead_at(now),
            ClockState::Disciplined { ahead, .. } => i64::from(ahead) * 1_000,
        };
        self.change(now, ahead, state);
    }

    /// The kernel's state of it.
    pub fn discipline(&self) -> Discipline {
        let precision = Duration::from_micros(1);
        match self.state.get() {
            ClockState::Undisciplined { .. } => Discipline { precision, ..Discipline::default() },
            ClockState::Disciplined { ahead, leap } => Discipline {
                is_synchronised: true,
                error_max: Duration::from_micros(u64::from(ahead.unsigned_abs()) + ERROR_MICROS),
                error_estimate: Duration::from_micros(ERROR_MICROS),
                leap,
                precision,
                source: None,
            },
        }
    }

    /// When a daemon last set it.
    pub fn disciplined_at(&self) -> Option<Instant> {
        self.disciplined_at.get()
    }

    /// The number of steps and changes of its state.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    fn change(&self, now: Instant, ahead: i64, state: ClockState) {
        self.gained.set(self.gained.get().saturating_add(self.drift_at(now)));
        let change = self.state.get().ppm().abs_diff(state.ppm());
        if change > 0 {
            self.rate_changes.borrow_mut().push((now, change));
        }
        if let ClockState::Disciplined { .. } = state {
            self.disciplined_at.set(Some(now));
        }
        self.ahead.set(ahead);
        self.since.set(now);
        self.state.set(state);
        self.changes.set(self.changes.get() + 1);
    }
}

/// The gateway's clocks. Monotonic time begins anew when it boots. For tasks that are dropped in a crash, they stop.
pub struct SimClock {
    booted: Instant,
    time_of_day: Rc<TimeOfDay>,
    latest: Cell<Instant>,
}

impl SimClock {
    /// The clocks of a gateway that boots now.
    pub fn boot(time_of_day: Rc<TimeOfDay>) -> Self {
        Self { booted: now(), time_of_day, latest: Cell::new(now()) }
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
        self.wall_time().secs
    }

    fn wall_time(&self) -> WallTime {
        self.time_of_day.at(self.read())
    }

    fn discipline(&self) -> Discipline {
        self.time_of_day.discipline()
    }

    fn steady_time(&self) -> Duration {
        self.time_of_day.steady_at(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_drifts_is_stepped_and_is_disciplined() {
        let (clock, at) = (TimeOfDay::default(), Instant::from_secs);
        let shown = |secs| (clock.at(at(secs)).secs.0 - BEGINNING_UNIX_SECS, clock.at(at(secs)).nanos);
        assert_eq!(shown(10), (10, 0));
        clock.set_state(at(10), ClockState::Undisciplined { ppm: 50 });
        assert_eq!(shown(20), (20, 500_000));
        clock.jump(at(20), 60);
        assert_eq!(shown(30), (90, 1_000_000));
        assert_eq!(clock.steady_at(at(30)), Duration::from_millis(30_001), "the jump left no trace in it");
        assert_eq!(clock.surprise(at(10), at(30)), 1_000_000);
        assert_eq!(clock.surprise(at(11), at(30)), 0);
        assert!(!clock.discipline().is_synchronised);
        clock.set_state(at(30), ClockState::Disciplined { ahead: -1_500, leap: None });
        assert_eq!(shown(40), (39, 998_500_000));
        assert_eq!(clock.discipline().error_max, Duration::from_micros(2_500));
        clock.jump(at(40), -1);
        assert_eq!((shown(50), clock.changes()), ((48, 998_500_000), 4));
        assert!(!clock.discipline().is_synchronised, "it was set");
        clock.jump(at(50), i64::MIN);
        assert_eq!(clock.at(at(50)), WallTime::default());
    }
}
