//! Whether the gateway has power.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch. Clones are the same one; the gateway's disk turns it off in the middle of an operation.
#[derive(Clone, Debug)]
pub struct Power(Arc<AtomicBool>);

impl Power {
    /// It is on.
    pub fn on() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns it on or off; returns whether it was on.
    pub fn switch(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed)
    }
}
