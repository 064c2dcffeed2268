//! The gateway's own time of day: the machine's while somebody keeps that, or else what a time client has found.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;

use crate::clock::{Clock, Discipline, UnixTime, WallTime};

/// What a time client has found out about the time of day.
pub trait Estimate {
    /// The time of day at a steady time; `None` until it is known.
    fn time_at(&self, steady: Duration) -> Option<WallTime>;

    /// How good that is; `None` until it is of use. `kernel` is what is known of the kernel's time.
    fn discipline_at(&self, steady: Duration, kernel: Discipline) -> Option<Discipline>;
}

/// The machine's clocks, with the time of day of a time client while the kernel's is unsynchronised. The kernel's is
/// not set.
pub struct OwnTime {
    machine: Rc<dyn Clock>,
    estimate: OnceCell<Rc<dyn Estimate>>,
}

impl OwnTime {
    /// The time of `machine`, until a client has found a better one.
    pub fn new(machine: Rc<dyn Clock>) -> Self {
        Self { machine, estimate: OnceCell::new() }
    }

    /// Tells what `estimate` finds from now on. The first one stays.
    pub fn follow(&self, estimate: Rc<dyn Estimate>) {
        self.estimate.get_or_init(|| estimate);
    }

    /// The machine's clocks, which no estimate changes.
    pub fn machine(&self) -> &dyn Clock {
        &*self.machine
    }

    /// Whether somebody keeps the kernel's time of day.
    pub fn is_kernel_kept(&self) -> bool {
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
        // The kernel is asked of its clock's state only if there is an estimate: this is read often.
        estimated.filter(|_| !self.is_kernel_kept()).unwrap_or_else(|| self.machine.wall_time())
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
