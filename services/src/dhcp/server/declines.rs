//! Verification of DECLINEs: the server probes a declined address by ARP before it quarantines the address.
//!
//! An answer from another machine than the client proves the conflict. An answer from the client itself, or its
//! renewal, disproves it. Silence proves nothing.
//!
//! A proven conflict is charged to the machine that answered and not to the sender of the DECLINE: where printers have
//! addresses of the pool configured by hand, a new client may have to decline one after the other. A DECLINE that is
//! not verified, as its sender has declined too many others, still ends the lease: the client does not use the address,
//! and is offered another.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};

use super::leases::{Claimant, Lease, State};
use super::probes::{Due, Schedule};
use super::shares::{self, QUARANTINE_SECS, QUARANTINE_SHORT_SECS, SOURCE_QUARANTINES_MAX};
use super::{Reply, Request, Server};
use crate::clock::UnixTime;
use crate::dhcp::message::{self, OptionCode};

/// The most DECLINEs under verification. Further ones are ignored.
pub const DECLINES_MAX: usize = 64;
/// A neighbour on the same Ethernet answers within milliseconds; a client starts over 10 s after its DECLINE. (RFC
/// 2131, section 3.1)
pub(super) const SCHEDULE: Schedule = Schedule { probes: 3, interval: Duration::from_millis(300) };

/// A DECLINE under verification.
#[derive(Debug)]
pub(super) struct Declined {
    by: Claimant,
    /// Whether the client has released the address since.
    is_released: bool,
}

impl Server {
    /// Handles a DECLINE: verifies it if its sender may send one.
    pub(super) fn decline(&mut self, request: &Request<'_>) -> Option<Reply> {
        let address = message::address_option(request.message, OptionCode::RequestedIpAddress)?;
        let is_its_own = self.owns(request, address)
            || self.offers.holder(request.now, address) == Some(&request.client.key);
        if !request.server().is_some_and(|server| self.config.is_own(server)) || !is_its_own {
            return None;
        }
        if !self.is_from_holder(request, address) {
            self.log_unbelieved(request, address, "DECLINE", "it comes from another MAC or port");
        } else if self.declines.is_pending(address) {
            // A former DECLINE is being verified. A pending end of the lease would prevent the quarantine.
        } else if self.defer(address, request) {
            // A change is pending, so the address may belong to another client afterwards.
        } else if !self.may_change(request) {
            // A sender of so many DECLINEs does not need the address.
        } else if self.has_quarantine_share(request) {
            self.log_unbelieved(request, address, "DECLINE", "its sender has declined others");
            self.forget_declined(request, address);
        } else if self.declines.len() >= DECLINES_MAX {
            self.log_unbelieved(request, address, "DECLINE", "too many DECLINEs are being verified");
            self.forget_declined(request, address);
        } else {
            self.declines.begin(
                request.now,
                address,
                Declined { by: request.claimant(), is_released: false },
            );
            self.offers.withdraw(&request.client.key);
            self.handle_timeout(request.now, request.unix_now);
        }
        None
    }

    /// Ends the sender's offer or lease of `address`, which it does not use, so that it gets another address next.
    fn forget_declined(&mut self, request: &Request<'_>, address: Ipv4Addr) {
        self.offers.withdraw(&request.client.key);
        let reservation = self.reservations.at(address);
        let mut leases = self.leases.borrow_mut();
        let is_its_own = leases.at(address).is_some_and(|lease| request.client.has(lease, reservation));
        let ended = if is_its_own { leases.forget(request.now, request.unix_now, address) } else { Ok(()) };
        drop(leases);
        if let Err(error) = ended {
            self.log_unkept(request.now, address, "end of a declined lease", &error);
        }
    }

    /// Notes a RELEASE of an address whose DECLINE is being verified; `false` if none is. The lease ends only after the
    /// verification: a pending end would prevent the quarantine.
    pub(super) fn release_declined(&mut self, address: Ipv4Addr) -> bool {
        let declined = self.declines.reason_mut(address);
        declined.map(|declined| declined.is_released = true).is_some()
    }

    /// Another machine's or the sender's answer to the probe of a declined address: `mac` claims it.
    pub(super) fn declined_answered(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        mac: MacAddr,
    ) {
        let Some(Declined { by, is_released }) = self.declines.end(address) else { return };
        if mac == by.mac || mac == by.source {
            tracing::info!(%address, %mac, "the declining client itself answers: there is no conflict");
            if is_released {
                self.end_lease(now, unix_now, address);
            }
        } else {
            tracing::warn!(%address, %mac, client = %by.client, "declined: another host uses the address");
            self.note_conflict(now, address, mac, "its client has declined it, and this machine uses it");
            self.quarantine(now, unix_now, address, Claimant { source: mac, ..by }, QUARANTINE_SECS);
        }
    }

    /// Handles the verifications that are due at `now`.
    pub(super) fn declines_due(&mut self, now: Instant, unix_now: UnixTime) {
        while let Some(due) = self.declines.due(now) {
            match due {
                Due::Probe(address) => self.probes.push_back(address),
                Due::Silence(address, Declined { by, is_released }) => {
                    tracing::info!(%address, client = %by.client, "declined, and nobody answers for the address");
                    if self.reservations.at(address).is_none() {
                        self.quarantine(now, unix_now, address, by, QUARANTINE_SHORT_SECS);
                    } else if is_released {
                        self.end_lease(now, unix_now, address);
                    }
                }
            }
        }
    }

    /// Quarantines `address` for at most `secs_max`.
    pub(super) fn quarantine(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        by: Claimant,
        secs_max: u32,
    ) {
        let pool = &self.config.pool;
        let mut leases = self.leases.borrow_mut();
        let free = shares::pool_len(pool).saturating_sub(leases.blocked(pool, now).count());
        let in_quarantine: Vec<_> =
            leases.quarantined(pool, now).filter(|lease| lease.address != address).collect();
        let is_full = in_quarantine.len() >= shares::quarantines(pool);
        let may_end = in_quarantine.into_iter().filter(|lease| !leases.is_changing(lease.address));
        let first_to_end = may_end.min_by_key(|lease| lease.remaining(now));
        let gives_way = first_to_end.filter(|_| is_full).map(|lease| lease.address);
        let is_reserved = self.reservations.at(address).is_some();
        let secs_max = if is_reserved { QUARANTINE_SHORT_SECS } else { secs_max };
        let secs = shares::quarantine_secs(pool, free).min(secs_max);
        let freed = gives_way.map_or(Ok(()), |other| leases.forget(now, unix_now, other));
        let kept = freed.and_then(|()| leases.quarantine(now, unix_now, address, by, secs));
        drop(leases);
        if let Err(error) = kept {
            self.log_unkept(now, address, "quarantine", &error);
        }
    }

    /// Whether a further address can be quarantined without an end of another quarantine.
    pub(super) fn has_room_for_quarantine(&self, now: Instant) -> bool {
        let pool = &self.config.pool;
        self.leases.borrow().quarantined(pool, now).count() < shares::quarantines(pool)
    }

    /// Whether the message comes from the port and MAC from which the lease or offer of `address` was requested.
    pub(super) fn is_from_holder(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let leases = self.leases.borrow();
        let lease = leases.at(address).filter(|lease| lease.is_active(request.now));
        let leased_to = lease.map(|lease| ([lease.mac, lease.source], self.ports.of(address)));
        // The former client of the address and its origin are irrelevant to the present offer.
        let offered_to =
            || self.offers.origin(request.now, address).map(|origin| ([origin.mac; 2], origin.port));
        let is_same_port = |port| request.origin.port.is_none_or(|origin| origin == port);
        leased_to
            .or_else(offered_to)
            .is_some_and(|(macs, port)| macs.contains(&request.origin.mac) && port.is_none_or(is_same_port))
    }

    /// Whether the sender's quarantined addresses have reached its share.
    fn has_quarantine_share(&self, request: &Request<'_>) -> bool {
        let leases = self.leases.borrow();
        let is_in_quarantine =
            |lease: &&Lease| lease.state == State::Declined && lease.is_blocked(request.now);
        let in_quarantine = leases.of_source(request.origin.mac).filter(is_in_quarantine).count();
        let pending =
            self.declines.iter().filter(|declined| declined.by.source == request.origin.mac).count();
        in_quarantine + pending >= SOURCE_QUARANTINES_MAX
    }
}
