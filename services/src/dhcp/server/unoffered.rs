//! Verification of addresses before an offer: the server probes an address by ARP, and offers it if no host answers.
//! (RFC 2131, section 3.1)
//!
//! A DISCOVER waits for the probes of its own address; other messages are handled meanwhile. If another machine answers
//! for the address, the address is quarantined and the next one is tried. No probe is sent for an address that the
//! client had last, or that was probed for a recent offer: a known client waits for nothing. A relay agent's clients
//! are in the same network, so their addresses are probed, too.
//!
//! A gateway that gives no address is worse than one that gives a disputed one, for which its client sends a DECLINE.
//! So an address is offered unprobed if
//!
//! - [`PASSED_OVER_MAX`] addresses, or all that are free, were passed over for one DISCOVER, or
//! - [`PROBED_MAX`] addresses are probed already: then to a client of the sender with the most of them.
//!
//! A machine is believed (`answerers`) for a share of the pool only. A quarantine counts as a change of a lease by
//! the machine that answers, not by the client, and ends no other quarantine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::leases::{Claimant, ClientKey, State};
use super::probes::{Due, Schedule};
use super::shares::{self, Origin, QUARANTINE_SECS};
use super::{Client, Message, Request, Server};
use crate::clock::UnixTime;
use crate::dhcp::message;

/// A DISCOVER waits for 400 ms: its sender retransmits after about 4 s (RFC 2131, section 4.1), some boot firmware
/// after one.
pub(super) const SCHEDULE: Schedule = Schedule { probes: 2, interval: Duration::from_millis(200) };
/// The most addresses that are probed at a time.
pub const PROBED_MAX: usize = 64;
/// The most addresses in foreign use that are passed over for one DISCOVER.
pub const PASSED_OVER_MAX: usize = 32;
/// The log lines about addresses in foreign use in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL).
const LOGGED_MAX: u32 = 8;

/// What may still be tried to answer a DISCOVER.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The addresses in foreign use that were passed over.
    passed_over: BTreeSet<Ipv4Addr>,
    /// Whether the client's reserved address may be tried that another identification has leased.
    pub may_share: bool,
    /// Whether an address is probed before it is offered.
    pub may_probe: bool,
}

impl Attempt {
    /// All may be tried.
    pub const FIRST: Self = Self { passed_over: BTreeSet::new(), may_share: true, may_probe: true };
    /// Any address is offered unprobed.
    pub const LAST: Self = Self { passed_over: BTreeSet::new(), may_share: false, may_probe: false };

    /// Whether `address` was not passed over.
    pub fn allows(&self, address: Ipv4Addr) -> bool {
        !self.passed_over.contains(&address)
    }

    /// Whether an address was passed over.
    pub fn has_passed_over(&self) -> bool {
        !self.passed_over.is_empty()
    }

    /// What remains to be tried after `address`.
    fn after(mut self, address: Ipv4Addr) -> Self {
        self.passed_over.insert(address);
        if self.passed_over.len() >= PASSED_OVER_MAX {
            return Self { passed_over: self.passed_over, ..Self::LAST };
        }
        self
    }
}

/// A DISCOVER that waits for the probes of an address.
#[derive(Debug)]
pub(super) struct WaitingDiscover {
    message: Message,
    origin: Origin,
    client: ClientKey,
    /// When it began to wait for this address.
    since: Instant,
    attempt: Attempt,
}

impl Server {
    /// Whether `address` has to be probed before the client is offered it.
    pub(super) fn needs_probe(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let leases = self.leases.borrow();
        let reservation = self.reservations.at(address);
        let had_it = leases
            .at(address)
            .is_some_and(|lease| lease.state != State::Declined && request.client.has(lease, reservation));
        !had_it && !self.offers.is_probed(request.now, address)
    }

    /// What may be tried for the client's next DISCOVER: if it retransmits while one waits, what remains of that one's.
    pub(super) fn attempt_for(&self, client: &ClientKey) -> Attempt {
        let waiting = self.unoffered.iter().find(|waiting| waiting.client == *client);
        waiting.map_or(Attempt::FIRST, |waiting| waiting.attempt.clone())
    }

    /// Has the DISCOVER of `request` wait for the probes of `address`, which is reserved for its client by an offer.
    /// Returns whether it waits.
    pub(super) fn probe_first(
        &mut self,
        request: &Request<'_>,
        address: Ipv4Addr,
        attempt: &Attempt,
    ) -> bool {
        if !attempt.may_probe {
            return false;
        }
        let client = &request.client.key;
        self.unoffered.retain(|probed, waiting| probed == address || waiting.client != *client);
        if self.unoffered.len() >= PROBED_MAX
            && !self.unoffered.is_pending(address)
            && !self.make_place(request)
        {
            return false;
        }
        let waiting = WaitingDiscover {
            message: request.message.clone(),
            origin: request.origin,
            client: client.clone(),
            since: request.now,
            attempt: attempt.clone(),
        };
        match self.unoffered.reason_mut(address) {
            // The client has retransmitted, or its offer has taken the place of another one.
            Some(present) => *present = waiting,
            None => self.unoffered.begin(request.now, address, waiting),
        }
        true
    }

    /// Answers the oldest DISCOVER of the sender with the most without a further probe; `false` if that is the sender
    /// of `request`.
    fn make_place(&mut self, request: &Request<'_>) -> bool {
        let busiest = shares::busiest(self.unoffered.iter().map(|waiting| waiting.origin));
        let Some((busiest, _)) = busiest.filter(|(busiest, _)| !busiest.is_with(&request.origin)) else {
            return false;
        };
        let of_busiest = self.unoffered.iter().filter(|waiting| waiting.origin.is_with(&busiest));
        let oldest = of_busiest.min_by_key(|waiting| waiting.since).map(|waiting| waiting.client.clone());
        if let Some(waiting) = oldest.and_then(|client| self.unoffered.end_of(|it| it.client == client)) {
            self.with_request(request.now, request.unix_now, &waiting, |server, request| {
                let reply = server.offer(request, Attempt::LAST);
                server.add_ready(request.now, reply);
            });
        }
        true
    }

    /// An answer to the probe of an address that is to be offered: `by` claims `address`.
    pub(super) fn unoffered_answered(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        by: Origin,
    ) {
        let mac = by.mac;
        let Some(waiting) = self.unoffered.reason_mut(address) else { return };
        let is_its_client = mac == waiting.origin.mac || mac == message::mac(&waiting.message);
        if !is_its_client && !self.believes(now, address, by) {
            return;
        }
        let Some(waiting) = self.unoffered.end(address) else { return };
        if !self.is_still_offered(now, address, &waiting) {
            return;
        }
        if self.is_used_by_sibling(now, unix_now, address, &waiting) {
            return;
        }
        if is_its_client {
            // The client uses the address already, or a bridge answers for it.
            self.offer_probed(now, unix_now, (address, true), &waiting);
            return;
        }
        self.addresses_in_foreign_use += 1;
        self.note_conflict(
            now,
            address,
            mac,
            "another machine uses an address of the pool: it is not offered",
        );
        let is_known = self
            .leases
            .borrow()
            .at(address)
            .is_some_and(|lease| lease.state == State::Declined && lease.source == mac);
        if is_known {
            tracing::debug!(%address, %mac, "in foreign use still: it is not offered");
        } else if self.foreign_use.allows(now, LOGGED_MAX) {
            tracing::warn!(
                %address, %mac,
                "an address of the pool is in foreign use: it is not offered; give that machine a reservation or \
                 another address"
            );
        }
        self.offers.withdraw(&waiting.client);
        if self.has_room_for_quarantine(now) && self.writes.admit(now, by, false) {
            let claimant = Claimant { client: ClientKey::Mac(mac), mac, source: mac };
            self.quarantine(now, unix_now, address, claimant, QUARANTINE_SECS);
        }
        self.with_request(now, unix_now, &waiting, |server, request| {
            let reply = server.offer(request, waiting.attempt.clone().after(address));
            server.add_ready(request.now, reply);
        });
    }

    /// Whether to believe that the machine `by` uses `address`.
    fn believes(&mut self, now: Instant, address: Ipv4Addr, by: Origin) -> bool {
        let addresses_max = shares::of_source(&self.config.pool, false);
        let is_believed = self.answerers.believe(now, by, address, addresses_max);
        if !is_believed && self.disbelieved.is_due(now) {
            tracing::warn!(
                mac = %by.mac,
                "a machine answers ARP for more addresses of the pool than one can have: its answers are not believed; \
                 switch off its proxy ARP"
            );
        }
        is_believed
    }

    /// Whether `address` is still reserved for the client that waits. Its offer may have made room for another, or the
    /// client may have gone to another server; it retransmits if it wants an address.
    fn is_still_offered(&self, now: Instant, address: Ipv4Addr, waiting: &WaitingDiscover) -> bool {
        self.offers.holder(now, address) == Some(&waiting.client)
    }

    /// Whether another identification of the client's reservation has a lease of `address`, and uses it. Then the
    /// client is offered another address.
    fn is_used_by_sibling(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        waiting: &WaitingDiscover,
    ) -> bool {
        let mut is_used = false;
        self.with_request(now, unix_now, waiting, |server, request| {
            is_used = server.is_shared(request, address);
            if is_used {
                server.offers.withdraw(&waiting.client);
                let reply = server.offer(request, Attempt { may_share: false, ..waiting.attempt.clone() });
                server.add_ready(request.now, reply);
            }
        });
        is_used
    }

    /// Handles the probes before offers that are due at `now`.
    pub(super) fn unoffered_due(&mut self, now: Instant, unix_now: UnixTime) {
        while let Some(due) = self.unoffered.due(now) {
            match due {
                Due::Probe(address) => self.probes.push_back(address),
                Due::Silence(address, waiting) => {
                    self.offer_probed(now, unix_now, (address, false), &waiting);
                }
            }
        }
    }

    /// Answers the DISCOVER that has waited for the probes of `address`, which no other machine uses; its client does
    /// if it `is_in_use`.
    fn offer_probed(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        (address, is_in_use): (Ipv4Addr, bool),
        waiting: &WaitingDiscover,
    ) {
        if !self.is_still_offered(now, address, waiting) {
            return;
        }
        self.offers.note_probed(now, address, is_in_use);
        self.with_request(now, unix_now, waiting, |server, request| {
            let reply = server.offer(request, waiting.attempt.clone());
            server.add_ready(request.now, reply);
        });
    }

    fn with_request(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        waiting: &WaitingDiscover,
        handle: impl FnOnce(&mut Self, &Request<'_>),
    ) {
        let WaitingDiscover { message, origin, .. } = waiting;
        let Some(client) = Client::of(message, self.config.ignore_client_id) else { return };
        handle(self, &Request { now, unix_now, origin: *origin, message, client });
    }
}
