//! Short leases while the pool runs low, and one clear event when it is exhausted.
//!
//! Phones make up a MAC for each network, some for each visit, and leave without a RELEASE: a hundred of them would
//! keep the pool from others for the rest of their leases. So while less than a quarter of the pool is free, a client
//! with a locally administered MAC and without a reservation gets a lease of [`SHORT_SECS`]; if it has a longer one,
//! the rest of that. Its renewals are short until the pool has recovered.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::{Request, Server, shares};
use crate::log_limit::LogLimit;

/// The duration of leases to clients with locally administered MACs while the pool runs low.
pub const SHORT_SECS: u32 = 600;
/// How long the level of the pool is not determined again: it takes a look at each lease.
const LEVEL_LASTS: Duration = Duration::from_secs(1);
/// The interval of repeated events while the pool runs low or is exhausted.
const EVENT_INTERVAL: Duration = Duration::from_secs(3600);

/// The level of the pool.
#[derive(Debug, Default)]
pub(super) struct PoolLevel {
    /// When it was determined, and whether less than a quarter was free.
    last: Option<(Instant, bool)>,
    low: LogLimit,
    exhausted: LogLimit,
}

impl Server {
    /// The duration of a lease of `address` to the client, in seconds.
    pub(super) fn lease_secs(&mut self, request: &Request<'_>, address: Ipv4Addr) -> u32 {
        let lease_secs = self.config.lease_secs;
        let is_exempt =
            !request.client.mac.is_locally_administered() || self.reservation_of(request).is_some();
        if is_exempt || lease_secs <= SHORT_SECS || !self.is_pool_low(request.now) {
            return lease_secs;
        }
        let leases = self.leases.borrow();
        let own = leases.at(address).filter(|_| self.owns(request, address));
        let rest = own.map_or(0, |lease| lease.remaining(request.now).as_secs());
        u32::try_from(rest).unwrap_or(u32::MAX).clamp(SHORT_SECS, lease_secs)
    }

    /// Whether less than a quarter of the pool is free.
    fn is_pool_low(&mut self, now: Instant) -> bool {
        if let Some((at, is_low)) = self.pool_level.last
            && now.since(at) < LEVEL_LASTS
        {
            return is_low;
        }
        let pool = &self.config.pool;
        let len = shares::pool_len(pool);
        let taken = self.leases.borrow().blocked(pool, now).count();
        let is_low = len.saturating_sub(taken) < len / 4;
        self.pool_level.last = Some((now, is_low));
        if is_low && self.pool_level.low.allows_in(now, EVENT_INTERVAL, 1) {
            tracing::warn!(
                taken,
                of = len,
                "the pool runs low: new clients with random MACs get leases of {SHORT_SECS} s; enlarge dhcp.pool"
            );
        }
        is_low
    }

    /// Logs that no address is left for the client of `request`.
    pub(super) fn log_exhausted(&mut self, request: &Request<'_>) {
        if self.pool_level.exhausted.allows_in(request.now, EVENT_INTERVAL, 1) {
            tracing::warn!(
                client = %request.client.key,
                "no address left in the pool: enlarge dhcp.pool, or shorten dhcp.lease_secs; reserve addresses for \
                 machines that must not go without; `gatepost show leases` names the clients"
            );
        }
    }
}
