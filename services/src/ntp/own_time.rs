//! The gateway's own time of day: the kernel's while a daemon disciplines that, or else the time client's.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;

use super::client::course::Course;
use super::client::sample::Nanos;
use super::client::{Client, Reading};
use crate::clock::{Clock, Discipline, TimeSource, UnixTime, WallTime};

/// The machine's clocks, with the time of day of a time client while the kernel's is unsynchronised. Nothing here sets
/// the kernel's clock.
pub struct OwnTime {
    machine: Rc<dyn Clock>,
    client: RefCell<Client>,
}

impl OwnTime {
    /// The time of `machine`, until the client has measured a better one.
    pub fn new(machine: Rc<dyn Clock>) -> Self {
        Self { machine, client: RefCell::default() }
    }

    /// The time client. The caller must not hold it over an `await`, nor while it reads the time.
    pub fn client(&self) -> Ref<'_, Client> {
        self.client.borrow()
    }

    /// The time client, to change it; see [`client`](Self::client).
    pub fn client_mut(&self) -> RefMut<'_, Client> {
        self.client.borrow_mut()
    }

    /// The machine's clocks at this moment.
    pub fn reading(&self) -> Reading {
        let machine = &self.machine;
        Reading { steady: machine.steady_time(), now: machine.now(), kernel: machine.wall_time() }
    }

    /// Whether a daemon disciplines the kernel's clock.
    pub fn is_kernel_kept(&self) -> bool {
        self.machine.discipline().is_synchronised
    }

    /// The client's time, if it is the gateway's own time now.
    fn course(&self) -> Option<Course> {
        let course = self.client.borrow().course().copied()?;
        (!self.is_kernel_kept()).then_some(course)
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
        self.course()
            .map_or_else(|| self.machine.wall_time(), |course| course.time_at(self.machine.steady_time()))
    }

    fn discipline(&self) -> Discipline {
        let kernel = self.machine.discipline();
        let (course, steady) = (self.client.borrow().course().copied(), self.machine.steady_time());
        let good = course.filter(|course| !kernel.is_synchronised && course.is_good_at(steady));
        let Some(course) = good else { return kernel };
        let origin = course.origin();
        let error = span(course.error_at(steady));
        Discipline {
            is_synchronised: true,
            error_max: error,
            error_estimate: error,
            leap: origin.leap,
            precision: kernel.precision,
            source: Some(TimeSource {
                stratum: origin.stratum,
                reference_id: origin.reference_id,
                root_delay: span(origin.root_delay),
                measured: course.measured(),
            }),
        }
    }

    fn steady_time(&self) -> Duration {
        self.machine.steady_time()
    }
}

fn span(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}
