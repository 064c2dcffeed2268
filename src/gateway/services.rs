//! services
use std::rc::Rc;

use gatepost_services::link::HostLink;
use rand::rngs::StdRng;

use super::identity::Identity;
use super::inspector::Inspector;
use crate::error::Error;

/// services
pub struct Services<C, D> {
    pub(super) inspector: Inspector<C>,
    pub(super) identity: Identity,
    pub(super) disk: Rc<D>,
    pub(super) link: HostLink,
    pub(super) rng: StdRng,
}

impl<C: Clone, D> Services<C, D> {
    /// i
    pub fn inspector(&self) -> Inspector<C> {
        self.inspector.clone()
    }

    /// run
    pub async fn run(self, ready: impl FnOnce(), stop: impl Future<Output = ()>) -> Result<(), Error> {
        ready();
        stop.await;
        Ok(())
    }
}
