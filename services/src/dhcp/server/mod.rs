//! The DHCP server: a state machine without I/O. (RFC 2131, 2132, 3046, 3396, 4702, 6842)
//!
//! ```text
//!              DISCOVER                REQUEST                 expiry, RELEASE
//!   unknown ─────────────▶ offered ─────────────▶ leased ─────────────────────▶ remembered
//!                             │ 28 s                │ DECLINE                      │ DISCOVER
//!                             ▼                     ▼                              ▼
//!                          unknown             quarantined ──────▶ remembered    offered
//! ```
//!
//! The server owns the configuration and the open [offers], which need not survive the process. The [lease
//! table](leases) is shared with its readers, DNS and `show`; only the server changes it. [`Server::handle_message`]
//! takes a message with the time and returns the answer, if there is one at once. An ACK waits until the lease is on
//! disk: the caller performs the requests of [`Server::poll_request`] elsewhere, passes their outcomes to
//! [`Server::handle_done`], and sends the replies of [`Server::poll_reply`]. If the disk fails, an ACK confirms only
//! what is on disk already: the rest of the client's lease, or its reservation. While changes are pending (`waiting`)
//! other clients are served. Expiry is evaluated lazily. Only probes, and leases that could not be read, have a timer:
//! the caller passes ARP frames to [`Server::handle_arp`], calls [`Server::handle_timeout`] when
//! [`Server::poll_timeout`] is due, and sends the probes of [`Server::poll_probe`].
//!
//! A client is identified by its client identifier, or else by its hardware address; by the hardware address alone if
//! the configuration ignores client identifiers, which differ between the systems of one machine. It is offered, in
//! this order: its reserved address, which it shares with the other identifications of its reservation; its
//! present, last or offered one; its requested one; an address that was never used; the least recently used one. If
//! there is none, the server does not answer and logs that. While the pool runs low, leases to random MACs are
//! short (`scarcity`).
//!
//! The server serves one network. A relay agent's message is answered if its `giaddr` is in that network. An address
//! that the client has not had is [probed](unoffered) before it is offered: if another machine answers, it is
//! quarantined, and the next one is tried. A client that detects a conflict later declines. A DECLINE or RELEASE is
//! accepted only from the MAC and port that requested the lease. A declined address is out of use while it is
//! [probed](declines): if another host answers, it is quarantined for [`QUARANTINE_SECS`] or, while the pool runs low,
//! shorter; if none does, for a minute, and a reserved address stays its client's. [shares] bound what one machine can
//! take of the pool, and likewise its writes to the disk: a frequently renewed lease is acknowledged with its remaining
//! time.
//!
//! While the lease table could not be read, only clients of reservations get an offer, and no REQUEST is rejected for
//! want of a lease: the server does not know its leases, and a client without an answer keeps its address for the rest
//! of its lease. Likewise, an unknown REQUEST gets no answer while a damaged journal may have held its lease.

mod answer;
mod answerers;
mod bootp;
mod config;
pub mod declines;
mod events;
pub mod foreign_servers;
pub mod former;
mod index;
mod journal;
mod keeper;
pub mod leases;
pub mod offers;
mod parameters;
mod pending_replies;
mod probes;
mod records;
mod scarcity;
pub mod shares;
mod sharing;
pub mod unoffered;
mod waiting;
mod writes;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

pub use answer::{Destination, Reply};
pub use config::{Config, Reservation, ReservedFor};
pub use events::DhcpEvent;
pub use former::{FormerNetwork, FormerParameters};
use gatepost_ground::{Instant, MacAddr};
pub use keeper::{Completion, Request as DiskRequest};
pub use parameters::{Criteria, Match, Parameters, Pattern};
pub use shares::{Origin, QUARANTINE_SECS};
use tokio::sync::Notify;
pub use waiting::WAITING_MAX;

use self::answerers::Answerers;
use self::config::Reservations;
use self::declines::Declined;
use self::foreign_servers::{ForeignServers, Sender};
use self::leases::{Claimant, ClientKey, Grant, Lease, Leases, State};
use self::offers::Offers;
use self::pending_replies::{PendingReplies, PendingReply};
use self::probes::Probes;
use self::scarcity::PoolLevel;
use self::shares::Ports;
use self::unoffered::{Attempt, WaitingDiscover};
use self::writes::Writes;
use super::hostname;
use super::intake::DhcpCounters;
use super::message::{self, Message, MessageType, Opcode, OptionCode};
use crate::clock::UnixTime;
use crate::events::Events;
use crate::log_limit::LogLimit;

/// The duration of leases of reserved addresses while leases cannot be recorded.
const UNKEPT_SECS: u32 = 600;

/// New leases that the log names in each [`LOG_INTERVAL`](crate::log_limit::LOG_INTERVAL): more than an office's
/// morning has, and no flood of them.
const LEASES_LOGGED_MAX: u32 = 100;

/// A DHCP server.
pub struct Server {
    config: Config,
    /// The same for clients of the former network, if there is one.
    former_config: Option<Config>,
    reservations: Reservations,
    leases: Rc<RefCell<Leases>>,
    offers: Offers,
    /// The declined addresses that are probed.
    declines: Probes<Declined>,
    /// The addresses that are probed before they are offered.
    unoffered: Probes<WaitingDiscover>,
    /// The addresses to probe now.
    probes: VecDeque<Ipv4Addr>,
    /// The machines that have answered for addresses that were to be offered.
    answerers: Answerers,
    /// How often another machine has answered for an address that was to be offered.
    addresses_in_foreign_use: u64,
    foreign_servers: ForeignServers,
    ports: Ports,
    pool_level: PoolLevel,
    writes: Writes,
    holding: PendingReplies,
    /// Notifies other instances of this server that the disk is free.
    disk_free: Rc<Notify>,
    exhausted: LogLimit,
    bootp_unanswered: LogLimit,
    unkept: LogLimit,
    leased: LogLimit,
    unbelieved: LogLimit,
    foreign_use: LogLimit,
    disbelieved: LogLimit,
    events: Events<DhcpEvent>,
}

impl Server {
    /// A server that grants `leases` by `config`. There is one server for a lease table.
    pub fn new(config: Config, leases: Rc<RefCell<Leases>>) -> Self {
        leases.borrow_mut().serve(config.networks());
        Self {
            reservations: Reservations::of(&config),
            former_config: config.of_former(),
            config,
            leases,
            offers: Offers::default(),
            declines: Probes::new(declines::SCHEDULE),
            unoffered: Probes::new(unoffered::SCHEDULE),
            probes: VecDeque::new(),
            answerers: Answerers::default(),
            addresses_in_foreign_use: 0,
            foreign_servers: ForeignServers::default(),
            ports: Ports::default(),
            pool_level: PoolLevel::default(),
            writes: Writes::new(),
            holding: PendingReplies::default(),
            disk_free: Rc::default(),
            exhausted: LogLimit::default(),
            bootp_unanswered: LogLimit::default(),
            unkept: LogLimit::default(),
            leased: LogLimit::default(),
            unbelieved: LogLimit::default(),
            foreign_use: LogLimit::default(),
            disbelieved: LogLimit::default(),
            events: Events::default(),
        }
    }

    /// The same server, whose events are among `events`.
    pub fn with_events(self, events: Events<DhcpEvent>) -> Self {
        Self { events, ..self }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets the configuration. Leases that it does not allow are rejected at their next renewal.
    pub fn set_config(&mut self, config: Config) {
        self.leases.borrow_mut().serve(config.networks());
        self.reservations = Reservations::of(&config);
        self.former_config = config.of_former();
        self.config = config;
        self.pool_level = PoolLevel::default();
        self.offers = Offers::default();
        // Their clients retransmit.
        self.unoffered.retain(|_, _| false);
    }

    /// The counts of what only the server sees.
    pub fn counters(&self) -> DhcpCounters {
        DhcpCounters {
            unanswered_disk_busy: self.leases.borrow().turned_away(),
            addresses_in_foreign_use: self.addresses_in_foreign_use,
            from_other_servers: self.foreign_servers.messages(),
            ..DhcpCounters::default()
        }
    }

    /// Handles a message from a frame of `origin`, and answers it; an answer that has to wait for a write comes from
    /// [`Server::poll_reply`].
    pub fn handle_message(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        origin: impl Into<Origin>,
        message: &Message,
    ) -> Option<Reply> {
        let origin = origin.into();
        if message.opcode() == Opcode::BootReply {
            self.hear_server(now, origin, message);
            return None;
        }
        self.note_received(now, message);
        self.answer_message(now, unix_now, origin, message)
    }

    /// Answers a client's message, which may have waited for the disk.
    fn answer_message(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        origin: Origin,
        message: &Message,
    ) -> Option<Reply> {
        let client = Client::of(message, self.config.ignore_client_id)
            .filter(|_| message.opcode() == Opcode::BootRequest)?;
        if !message.giaddr().is_unspecified() && !self.config.prefix.contains(&message.giaddr()) {
            tracing::debug!(giaddr = %message.giaddr(), "a relay agent of a network that is not served");
            return None;
        }
        let request = Request { now, unix_now, origin, message, client };
        if self.reads_first(&request) {
            return None;
        }
        let reply = match message.opts().msg_type() {
            None => self.bootp(&request),
            Some(MessageType::Discover) => self.discover(&request),
            Some(MessageType::Request) => self.request(&request),
            Some(MessageType::Decline) => self.decline(&request),
            Some(MessageType::Release) => self.release(&request),
            Some(MessageType::Inform) => self.inform(&request),
            Some(_) => None,
        };
        self.note_sent(now, reply)
    }

    /// When [`Server::handle_timeout`] and [`Server::poll_request`] are due; `None` if no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probes = [self.declines.poll_timeout(), self.unoffered.poll_timeout()];
        probes.into_iter().chain([self.leases.borrow().read_due()]).flatten().min()
    }

    /// Handles the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, unix_now: UnixTime) {
        self.declines_due(now, unix_now);
        self.unoffered_due(now, unix_now);
    }

    /// The next address to probe by ARP.
    pub fn poll_probe(&mut self) -> Option<Ipv4Addr> {
        self.probes.pop_front()
    }

    /// Handles ARP of the network: the machine `by` claims `address`.
    pub fn handle_arp(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr, by: impl Into<Origin>) {
        let by = by.into();
        self.declined_answered(now, unix_now, address, by.mac);
        self.unoffered_answered(now, unix_now, address, by);
        self.handle_timeout(now, unix_now);
    }

    fn discover(&mut self, request: &Request<'_>) -> Option<Reply> {
        let reply = self.offer(request, self.attempt_for(&request.client.key));
        self.handle_timeout(request.now, request.unix_now);
        reply
    }

    /// Offers the client an address, once nobody else is known to use it.
    fn offer(&mut self, request: &Request<'_>, attempt: Attempt) -> Option<Reply> {
        let reserved = self.reserved_for(request).filter(|address| attempt.allows(*address));
        if self.leases.borrow().is_unread() && reserved.is_none() {
            // No ACK could follow: leases have to be on disk first.
            self.note_unanswered(
                request,
                None,
                "the leases cannot be read, and no address is reserved for it",
            );
            return None;
        }
        let shared = if attempt.may_share { self.shared_address(request) } else { None };
        let shared = shared.filter(|address| attempt.allows(*address));
        let address = shared.or(reserved).or_else(|| self.address_for(request, &attempt));
        if address.is_some_and(|address| !self.is_within_share(request, address)) {
            return None;
        }
        let Some(address) = address else {
            if attempt.has_passed_over() {
                return self.offer(request, Attempt::LAST);
            }
            self.log_exhausted(request);
            self.note_unanswered(request, None, "no address is free");
            return None;
        };
        let share = self.source_share(request);
        self.offers.make(request.now, address, &request.client.key, request.origin, share);
        if self.needs_probe(request, address) && self.probe_first(request, address, &attempt) {
            self.note_probe(request, address);
            return None;
        }
        let name = self.name_for(request, address);
        let offered = (address, self.lease_secs(request, address));
        Some(answer::lease(
            &self.terms(request, address),
            request,
            MessageType::Offer,
            offered,
            name.as_deref(),
        ))
    }

    fn request(&mut self, request: &Request<'_>) -> Option<Reply> {
        let asked = message::address_option(request.message, OptionCode::RequestedIpAddress);
        let ciaddr = Some(request.message.ciaddr()).filter(|address| !address.is_unspecified());
        let address = asked.or(ciaddr)?;
        if let Some(server) = request.server().filter(|server| !self.config.is_own(*server)) {
            self.note_foreign_server(request.now, server, Sender::Client(request.origin));
            self.offers.withdraw(&request.client.key);
            self.note_unanswered(request, Some(address), &format!("it takes the offer of {server}"));
            return None;
        }
        if self.holding.is_for(address, &request.client.key) {
            self.replace_held(address, request);
            return None;
        }
        match request.server() {
            // RFC 2131, section 4.3.2: it answers our offer.
            Some(server) if server == self.config.server_address => {}
            Some(_) => return Some(answer::nak(&self.config, request, "the server has another address now")),
            // It has a lease, or believes so: INIT-REBOOT, RENEWING or REBINDING.
            None if self.extends_former(request, address) => {
                self.former_config.as_ref()?;
                self.declines.end(address);
                return self.acknowledge(request, address);
            }
            None if !self.config.prefix.contains(&address) => {
                return Some(answer::nak(&self.config, request, "wrong network"));
            }
            None => match self.known_address(request) {
                Some(known) if known == address => {}
                Some(_) => return Some(answer::nak(&self.config, request, "not your address")),
                None if self.config.authoritative && self.knows_all_leases(request.now) => {
                    return Some(answer::nak(&self.config, request, "unknown lease"));
                }
                None => {
                    let why = "its lease is unknown here, and may be another server's or have been lost";
                    self.note_unanswered(request, Some(address), why);
                    return None;
                }
            },
        }
        if request.server().is_none() && self.owns(request, address) {
            // Its client uses the address, so there is no conflict.
            self.declines.end(address);
        }
        let reserved = self.reserved_for(request);
        // An offer of another address means that the reserved one is in foreign use.
        let is_offered = self.offers.holder(request.now, address) == Some(&request.client.key);
        if reserved.is_some_and(|reserved| reserved != address) && !is_offered {
            return Some(answer::nak(&self.config, request, "another address is reserved for you"));
        }
        if !self.is_free_for(request, address) {
            return Some(answer::nak(&self.config, request, "address not available"));
        }
        if !self.is_within_share(request, address) {
            return None;
        }
        self.acknowledge(request, address)
    }

    fn acknowledge(&mut self, request: &Request<'_>, address: Ipv4Addr) -> Option<Reply> {
        let hostname = self.name_for(request, address);
        let mut by = request.claimant();
        if by.source != by.mac
            && let Some(lease) = self.leases.borrow().at(address).filter(|_| self.owns(request, address))
        {
            // Another sender does not become the one that can end the client's lease.
            by.source = lease.source;
        }
        let Claimant { client, mac, source } = by;
        let lease_secs = self.lease_secs(request, address);
        let grant = Grant { address, client, mac, source, hostname: hostname.clone(), lease_secs };
        let is_renewed = self.owns(request, address);
        let is_known = is_renewed || self.reservations.at(address).is_some();
        let is_admitted =
            if is_known { self.writes.admit_known(request.now, address) } else { self.may_change(request) };
        if !is_admitted {
            return match is_renewed {
                true => self.acknowledge_rest(request, address),
                false => self.acknowledge_unkept(request, address),
            };
        }
        let bound = self.leases.borrow_mut().bind(request.now, request.unix_now, grant);
        match bound {
            Ok(()) => {
                let (message, client) = (request.message.clone(), request.client.key.clone());
                let held = PendingReply {
                    message,
                    origin: request.origin,
                    client,
                    hostname,
                    lease_secs,
                    is_renewed,
                };
                self.hold(address, held);
                None
            }
            // The client retransmits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.note_unanswered(request, Some(address), "too many leases wait for the disk");
                None
            }
            Err(error) => {
                self.log_unkept(request.now, address, "lease", &error);
                self.acknowledge_unkept(request, address)
            }
        }
    }

    /// The most leases of clients behind the sender's MAC.
    fn source_share(&self, request: &Request<'_>) -> usize {
        shares::of_source(&self.config.pool, !request.message.giaddr().is_unspecified())
    }

    /// Whether the shares of the sender's MAC and port allow the client `address`.
    fn is_within_share(&mut self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        if self.reservations.at(address).is_some() || self.owns(request, address) {
            return true;
        }
        let leases = self.leases.borrow();
        let is_others = |lease: &&Lease| lease.is_active(request.now) && lease.client != request.client.key;
        let Origin { mac, port } = request.origin;
        let waiting =
            |counts: &dyn Fn(&Origin) -> bool| self.holding.count_others(&request.client.key, counts);
        let of_source =
            leases.of_source(mac).filter(is_others).count() + waiting(&|origin| origin.mac == mac);
        let is_active = |address| leases.at(address).is_some_and(|lease| lease.is_active(request.now));
        let port_share = shares::of_port(&self.config.pool, self.config.ports);
        let port_share = port_share.saturating_sub(waiting(&|origin| origin.port == port));
        let has_port_share = port.is_some_and(|port| self.ports.has_share(port, port_share, is_active));
        drop(leases);
        let is_within = of_source < self.source_share(request) && !has_port_share;
        if !is_within && self.exhausted.is_due(request.now) {
            let port = port.map(|port| port.0);
            tracing::warn!(%mac, port, "this MAC or port has reached its share of the pool: no further address");
        }
        if !is_within {
            let why = "its MAC or its port of the gateway has reached its share of the pool";
            self.note_unanswered(request, Some(address), why);
        }
        is_within
    }

    fn release(&mut self, request: &Request<'_>) -> Option<Reply> {
        let address = request.message.ciaddr();
        let is_for_us = request.server().is_none_or(|server| self.config.is_own(server));
        if !is_for_us || !self.owns(request, address) {
            return None;
        }
        if !self.is_from_holder(request, address) {
            self.log_unbelieved(request, address, "RELEASE", "it comes from another MAC or port");
        } else if self.release_declined(address) {
            // The lease ends after the verification of its client's DECLINE.
        } else if self.defer(address, request) {
            // A change is pending, so the address may belong to another client afterwards.
        } else if self.may_change(request) {
            self.end_lease(request.now, request.unix_now, address);
        }
        None
    }

    /// Ends the lease that its client has released.
    fn end_lease(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr) {
        let released = self.leases.borrow_mut().release(now, unix_now, address);
        if let Err(error) = released {
            self.log_unkept(now, address, "release", &error);
        }
    }

    fn inform(&self, request: &Request<'_>) -> Option<Reply> {
        let address = request.message.ciaddr();
        let configs = [Some(&self.config), self.former_config.as_ref()];
        let is_configured = configs.into_iter().flatten().any(|config| config.prefix.contains(&address));
        is_configured.then(|| answer::parameters(&self.terms(request, address), request))
    }

    /// Whether an unknown sender's change may be written now.
    fn may_change(&mut self, request: &Request<'_>) -> bool {
        let is_relayed = !request.message.giaddr().is_unspecified();
        let is_admitted = self.writes.admit(request.now, request.origin, is_relayed);
        if !is_admitted && self.exhausted.is_due(request.now) {
            let Origin { mac, port } = request.origin;
            let port = port.map(|port| port.0);
            tracing::warn!(%mac, port, "this MAC or port has changed many leases: no further change now");
        }
        if !is_admitted {
            let why = "its MAC or its port of the gateway has changed many leases: nothing is written now";
            self.note_unanswered(request, None, why);
        }
        is_admitted
    }

    /// Acknowledges the remaining time of the client's lease of `address` on disk.
    fn acknowledge_rest(&self, request: &Request<'_>, address: Ipv4Addr) -> Option<Reply> {
        let leases = self.leases.borrow();
        let lease = leases.at(address)?;
        let left_secs = u32::try_from(lease.remaining(request.now).as_secs()).unwrap_or(u32::MAX);
        let given = (address, left_secs.min(self.config.lease_secs));
        let name = lease.hostname.as_deref();
        let answer = || answer::lease(&self.terms(request, address), request, MessageType::Ack, given, name);
        (left_secs > 0).then(answer)
    }

    /// Acknowledges without a write: the remaining time of a lease on disk, or for a short time an address that the
    /// configuration reserves for the client.
    fn acknowledge_unkept(&self, request: &Request<'_>, address: Ipv4Addr) -> Option<Reply> {
        let is_reserved =
            self.reservations.at(address).is_some_and(|reserved| request.client.is_meant_by(reserved));
        let lease = self.leases.borrow().at(address).filter(|_| self.owns(request, address)).cloned();
        let left_secs =
            lease.as_ref().and_then(|lease| u32::try_from(lease.remaining(request.now).as_secs()).ok());
        let secs = left_secs.max(is_reserved.then_some(UNKEPT_SECS))?.min(self.config.lease_secs);
        let name = if is_reserved { self.name_for(request, address) } else { lease?.hostname };
        if is_reserved && let Some(name) = &name {
            let ends = request.now + Duration::from_secs(secs.into());
            self.leases.borrow_mut().note_unkept(address, name.clone(), ends);
        }
        let answer = || {
            let terms = self.terms(request, address);
            answer::lease(&terms, request, MessageType::Ack, (address, secs), name.as_deref())
        };
        (secs > 0).then(answer)
    }

    /// The address to offer, if none is reserved for the client.
    fn address_for(&self, request: &Request<'_>, attempt: &Attempt) -> Option<Ipv4Addr> {
        let is_free = |address: &Ipv4Addr| attempt.allows(*address) && self.is_free_for(request, *address);
        let asked = || message::address_option(request.message, OptionCode::RequestedIpAddress);
        let pool = &self.config.pool;
        let leases = self.leases.borrow();
        let unused = || leases.unknown(pool).find(is_free);
        // Addresses that are missing in a damaged journal may be in use.
        let unused_first = || if leases.is_incomplete(request.now) { None } else { unused() };
        let oldest = || {
            let suits = |address| attempt.allows(address) && self.could_be_free_for(request, address);
            leases.least_recently_used(pool, request.now, suits)
        };
        let to_evict = || {
            let suits = |address| attempt.allows(address) && self.is_fit_for(request, address);
            self.offers.to_evict(request.origin, suits)
        };
        let last = leases.of_client(&request.client.key).map(|lease| lease.address).filter(is_free);
        // A client that has had an address of another network since had one of this network before.
        let had = || {
            let of_machine = leases.of_source(request.origin.mac);
            let own = of_machine
                .filter(|lease| lease.client == request.client.key && lease.state != State::Declined);
            own.filter(|lease| is_free(&lease.address))
                .max_by_key(|lease| lease.until)
                .map(|lease| lease.address)
        };
        last.or_else(had)
            .or_else(|| self.offers.of_client(request.now, &request.client.key).filter(is_free))
            .or_else(|| asked().filter(is_free))
            .or_else(unused_first)
            .or_else(oldest)
            .or_else(unused)
            .or_else(to_evict)
    }

    /// The client's present or last address in the table.
    fn known_address(&self, request: &Request<'_>) -> Option<Ipv4Addr> {
        let had = self.leases.borrow().of_client(&request.client.key).map(|lease| lease.address);
        had.or_else(|| self.reserved_for(request))
    }

    /// Whether a client without a lease in the table certainly has none. Otherwise it may have one that could not be
    /// read.
    fn knows_all_leases(&self, now: Instant) -> bool {
        let leases = self.leases.borrow();
        !leases.is_unread() && !leases.is_incomplete(now)
    }

    /// The address reserved for the client, unless another client holds it.
    fn reserved_for(&self, request: &Request<'_>) -> Option<Ipv4Addr> {
        Some(self.reservation_of(request)?.address).filter(|address| self.is_free_for(request, *address))
    }

    /// The client's reservation.
    fn reservation_of(&self, request: &Request<'_>) -> Option<&Reservation> {
        let Client { mac, client_id, .. } = &request.client;
        self.reservations.for_client(*mac, client_id.as_deref())
    }

    /// Whether the client may have `address`, by the configuration and by the state of the table.
    fn is_free_for(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let leases = self.leases.borrow();
        let doubtful = leases.at(address).filter(|lease| lease.is_doubtful(request.now));
        let reservation = self.reservations.at(address);
        let is_suspect = leases.is_suspect(address, request.now) && reservation.is_none();
        let is_its_own = leases.at(address).is_some_and(|lease| request.client.has(lease, reservation));
        let is_sure = is_its_own || (doubtful.is_none() && !is_suspect);
        let is_offered = || self.offers.holder(request.now, address) == Some(&request.client.key);
        self.could_be_free_for(request, address) && (is_sure || is_offered())
    }

    /// The same as a last resort: certainly no other client has it.
    fn could_be_free_for(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let offered_to = self.offers.holder(request.now, address);
        offered_to.is_none_or(|client| *client == request.client.key) && self.is_fit_for(request, address)
    }

    /// The same without regard to offers.
    fn is_fit_for(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let is_allowed = match self.reservations.at(address) {
            Some(reservation) => request.client.is_meant_by(reservation),
            None => self.config.pool.contains(&address),
        };
        let is_promised =
            self.leases.borrow().is_changing(address) && !self.holding.is_for(address, &request.client.key);
        let is_blocked = self.leases.borrow().at(address).is_some_and(|lease| lease.is_blocked(request.now));
        self.config.is_host(address)
            && is_allowed
            && !self.declines.is_pending(address)
            && !is_promised
            && (!is_blocked || self.owns(request, address) || self.may_take_over(request, address))
    }

    /// Whether the client's lease of `address` is active.
    fn owns(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let leases = self.leases.borrow();
        let lease = leases.at(address).filter(|lease| lease.is_active(request.now));
        lease.is_some_and(|lease| request.client.has(lease, self.reservations.at(address)))
    }

    /// The client's name: the reservation's, or else the requested or present one, if it is free.
    fn name_for(&self, request: &Request<'_>, address: Ipv4Addr) -> Option<String> {
        let reservation = self.reservations.at(address);
        if let Some(name) = reservation.and_then(|reservation| reservation.hostname.as_deref()) {
            return hostname::label(name);
        }
        let leases = self.leases.borrow();
        let had = || leases.at(address).filter(|_| self.owns(request, address))?.hostname.clone();
        let name = hostname::requested(request.message).or_else(had)?;
        let is_reserved = self.reservations.has_name(&name);
        let holder = leases.address_of(&name, request.now).and_then(|holder| leases.at(holder));
        let is_other = |client: &ClientKey| *client != request.client.key;
        let is_taken = holder.is_some_and(|lease| is_other(&lease.client))
            || leases.to_be_named(&name).is_some_and(is_other);
        Some(name).filter(|_| !is_reserved && !is_taken)
    }

    fn log_unkept(&mut self, now: Instant, address: Ipv4Addr, what: &str, error: &io::Error) {
        if self.unkept.is_due(now) {
            tracing::error!(%address, %error, "the {what} was not stored");
        }
    }

    fn log_unbelieved(&mut self, request: &Request<'_>, address: Ipv4Addr, what: &str, why: &str) {
        if self.unbelieved.is_due(request.now) {
            let Origin { mac, port } = request.origin;
            tracing::warn!(%address, %mac, port = port.map(|port| port.0), "ignored a {what}: {why}");
        }
        self.note_unanswered(request, Some(address), &format!("the {what} is ignored: {why}"));
    }
}

/// A client's message with its context.
struct Request<'a> {
    now: Instant,
    unix_now: UnixTime,
    origin: Origin,
    message: &'a Message,
    client: Client,
}

impl Request<'_> {
    /// The sender of the message.
    fn claimant(&self) -> Claimant {
        let Client { key, mac, .. } = &self.client;
        Claimant { client: key.clone(), mac: *mac, source: self.origin.mac }
    }

    /// The server identifier in the message.
    fn server(&self) -> Option<Ipv4Addr> {
        message::address_option(self.message, OptionCode::ServerIdentifier)
    }
}

/// The client of a message.
struct Client {
    key: ClientKey,
    mac: MacAddr,
    client_id: Option<Vec<u8>>,
}

impl Client {
    /// The client by its identifier, unless identifiers are ignored. `None` if the hardware address is not a unicast
    /// address.
    fn of(message: &Message, ignore_client_id: bool) -> Option<Self> {
        let mac = Some(message::mac(message)).filter(|mac| !mac.is_multicast() && *mac != MacAddr::ZERO)?;
        let client_id = message::client_id(message).filter(|_| !ignore_client_id).map(<[u8]>::to_vec);
        // RFC 2131, section 4.2: the identifier takes precedence over the hardware address. An identifier that only
        // repeats the hardware address is ignored, as the firmware of the same machine may leave it out.
        let distinct_id = client_id.clone().filter(|id| !is_hardware_address(id, mac));
        let key = distinct_id.map_or(ClientKey::Mac(mac), ClientKey::Id);
        Some(Self { key, mac, client_id })
    }

    fn is_meant_by(&self, reservation: &Reservation) -> bool {
        reservation.is_for(self.mac, self.client_id.as_deref())
    }

    /// Whether `lease`, whose address is reserved by `reservation`, is this client's own. A machine's firmware,
    /// installer and system may use different identifiers: its hardware address decides if the reservation has that.
    fn has(&self, lease: &Lease, reservation: Option<&Reservation>) -> bool {
        let is_same_interface = lease.mac == self.mac;
        let is_by_interface =
            reservation.is_some_and(|reservation| reservation.clients.contains(&ReservedFor::Mac(self.mac)));
        lease.client == self.key || (is_same_interface && is_by_interface)
    }
}

/// Whether a client identifier is the type octet of Ethernet and `mac`. (RFC 2132, section 9.14)
fn is_hardware_address(id: &[u8], mac: MacAddr) -> bool {
    matches!(id, [1, octets @ ..] if octets == mac.0)
}

#[cfg(test)]
mod tests;
