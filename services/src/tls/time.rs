//! The time by which certificates are judged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types;
use rustls::time_provider::TimeProvider;

use crate::clock::UnixTime;

/// The time of day that was last handed in: rustls wants a clock that any thread may read, and the services' clock
/// belongs to one.
#[derive(Debug, Default)]
pub struct HandedTime(AtomicU64);

impl HandedTime {
    /// It is `now`.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl TimeProvider for HandedTime {
    fn current_time(&self) -> Option<pki_types::UnixTime> {
        Some(for_rustls(UnixTime(self.0.load(Ordering::Relaxed))))
    }
}

/// `time` as rustls has it.
pub(super) fn for_rustls(time: UnixTime) -> pki_types::UnixTime {
    pki_types::UnixTime::since_unix_epoch(Duration::from_secs(time.0))
}
