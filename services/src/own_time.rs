//! The gateway's own time of day: the kernel's while a daemon disciplines it, otherwise that of the time client.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;

use crate::clock::{Clock, Discipline, UnixTime, WallTime};

/// A time client's estimate of the time of day.
pub trait Estimate {
    /// The time of day at a steady time; `None` before the first measurement.
    fn time_at(&self, steady: Duration) -> Option<WallTime>;

    /// The estimate's synchronisation state and error; `None` while the error is too large. `kernel` is the state of
    /// the kernel's clock.
    fn discipline_at(&self, steady: Duration, kernel: Discipline) -> Option<Discipline>;
}

/// The machine's clocks, with a time client's time of day while the kernel's clock is unsynchronised. It does not set
/// the kernel's clock.
pub struct OwnTime {
    machine: Rc<dyn Clock>,
    estimate: OnceCell<Rc<dyn Estimate>>,
}

impl OwnTime {
    /// The time of `machine`, until [`follow`](Self::follow) sets an estimate.
    pub fn new(machine: Rc<dyn Clock>) -> Self {
        Self { machine, estimate: OnceCell::new() }
    }

    /// Follows `estimate` from now on. Only the first call has an effect.
    pub fn follow(&self, estimate: Rc<dyn Estimate>) {
        self.estimate.get_or_init(|| estimate);
    }

    /// The machine's clocks, without the estimate.
    pub fn machine(&self) -> &dyn Clock {
        &*self.machine
    }

    /// Whether a daemon disciplines the kernel's clock.
    pub fn is_kernel_disciplined(&self) -> bool {
        self.machine.discipline().is_synchronised
    }
}

impl Clock for OwnTime {
    fn now(&self) -> Instant {
        self.machine.now()
    }

    fn unix_time(&self) -> UnixTime {
        self.wall_time().secs
    }

    fn wall_time(&self) -> WallTime {
        let estimated = self.estimate.get().and_then(|estimate| estimate.time_at(self.steady_time()));
        // The system call for the kernel's state is made only if there is an estimate: the time is read often.
        estimated.filter(|_| !self.is_kernel_disciplined()).unwrap_or_else(|| self.machine.wall_time())
    }

    fn discipline(&self) -> Discipline {
        let kernel = self.machine.discipline();
        let estimate = self.estimate.get().filter(|_| !kernel.is_synchronised);
        estimate.and_then(|estimate| estimate.discipline_at(self.steady_time(), kernel)).unwrap_or(kernel)
    }

    fn steady_time(&self) -> Duration {
        self.machine.steady_time()
    }
}
