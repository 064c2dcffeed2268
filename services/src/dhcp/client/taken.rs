//! The networks that a lease must not overlap.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use ipnet::Ipv4Net;

/// The networks of the gateway's other interfaces. Clones share them, so that they can change while a client runs, which
/// then keeps its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken(Rc<RefCell<Vec<Ipv4Net>>>);

impl Taken {
    /// These networks.
    pub fn new(networks: Vec<Ipv4Net>) -> Self {
        Self(Rc::new(RefCell::new(networks)))
    }

    /// The networks now.
    pub fn networks(&self) -> Ref<'_, Vec<Ipv4Net>> {
        self.0.borrow()
    }

    /// Replaces the networks, for all clones, by those that `new` has now.
    pub fn follow(&self, new: &Self) {
        let networks = new.networks().clone();
        *self.0.borrow_mut() = networks;
    }
}
