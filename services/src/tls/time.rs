//! The time at which certificates must be valid.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types;
use rustls::time_provider::TimeProvider;

use crate::clock::UnixTime;

/// The time of day that was set last: rustls requires a clock for any thread, and the services' clock belongs to one.
#[derive(Debug, Default)]
pub struct SharedTime(AtomicU64);

impl SharedTime {
    /// Sets the time.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl TimeProvider for SharedTime {
    fn current_time(&self) -> Option<pki_types::UnixTime> {
        Some(for_rustls(UnixTime(self.0.load(Ordering::Relaxed))))
    }
}

/// `time` in rustls's type.
pub(super) fn for_rustls(time: UnixTime) -> pki_types::UnixTime {
    pki_types::UnixTime::since_unix_epoch(Duration::from_secs(time.0))
}
