//! The time client with the clocks that it reads, and its served time as an [`Estimate`].

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use super::client::sample::Nanos;
use super::client::{Client, Reading};
use crate::clock::{Clock, Discipline, TimeSource, WallTime};
use crate::own_time::{Estimate, OwnTime};

/// The time client of a gateway, whose own time follows it.
#[derive(Clone)]
pub struct Timekeeper {
    client: Rc<RefCell<Client>>,
    own_time: Rc<OwnTime>,
}

impl Timekeeper {
    /// A client without sources, which `own_time` follows from now on.
    pub fn new(own_time: Rc<OwnTime>) -> Self {
        let client: Rc<RefCell<Client>> = Rc::default();
        own_time.follow(Rc::clone(&client) as _);
        Self { client, own_time }
    }

    /// The time client. It must not be held over an `await`.
    pub fn client(&self) -> Ref<'_, Client> {
        self.client.borrow()
    }

    /// The time client, mutable. It must not be held while the gateway's own time is read, either.
    pub fn client_mut(&self) -> RefMut<'_, Client> {
        self.client.borrow_mut()
    }

    /// The machine's clocks, which the client does not change.
    pub fn machine(&self) -> &dyn Clock {
        self.own_time.machine()
    }

    /// The machine's clocks now.
    pub fn reading(&self) -> Reading {
        let machine = self.machine();
        Reading { steady: machine.steady_time(), now: machine.now(), kernel: machine.wall_time() }
    }

    /// Whether a daemon disciplines the kernel's clock.
    pub fn is_kernel_disciplined(&self) -> bool {
        self.own_time.is_kernel_disciplined()
    }
}

impl Estimate for RefCell<Client> {
    fn time_at(&self, steady: Duration) -> Option<WallTime> {
        self.borrow().served_time().map(|served| served.time_at(steady))
    }

    fn discipline_at(&self, steady: Duration, kernel: Discipline) -> Option<Discipline> {
        let client = self.borrow();
        let served = client.served_time().filter(|served| served.is_good_at(steady))?;
        let (origin, error) = (served.origin(), span(served.error_at(steady)));
        Some(Discipline {
            is_synchronised: true,
            error_max: error,
            error_estimate: error,
            leap: origin.leap,
            precision: kernel.precision,
            source: Some(TimeSource {
                stratum: origin.stratum,
                reference_id: origin.reference_id,
                root_delay: span(origin.root_delay),
                measured: served.measured(),
            }),
        })
    }
}

fn span(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}
