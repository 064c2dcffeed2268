//! The DHCP client: a state machine without I/O, over whole Ethernet frames. (RFC 2131, section 4.4; RFC 5227)
//!
//! ```text
//!             ┌───────────────── NAK, no answer, DECLINE ◀─────────────────────┐
//!             ▼                                                                │
//!   start ─▶ init ─▶ selecting ─ OFFER ─▶ requesting ─ ACK ─▶ probing ─────────┤
//!     │                                                          │ quiet       │
//!     └─ a remembered address ─▶ rebooting ─ ACK ─▶ probing      ▼             │
//!                                                              bound ◀─ ACK ─┐ │
//!                                                                │ T1        │ │
//!                                                                ▼           │ │
//!                                                             renewing ──────┤ │
//!                                                                │ T2        │ │
//!                                                                ▼           │ │
//!                                                            rebinding ──────┘ │
//!                                                                └── expiry ───┘
//! ```
//!
//! The caller passes every frame for UDP port 68 and every ARP frame of the segment to [`Client::handle_frame`], calls
//! [`Client::handle_timeout`] when [`Client::poll_timeout`] is due, and after either drains [`Client::poll_output`]:
//! frames to send, and events of the lease. The client takes the first acceptable offer. It probes an address by ARP
//! before it uses the address, never afterwards: the user of an address defends it.
//!
//! The client serves both the gateway on the WAN and a host on a LAN. It sends frames for a server to the hardware
//! address from which the ACK came: the server's, its relay agent's or a router's.

mod lease;
mod outgoing;
mod remark;
mod routes;
mod taken;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::RngExt;
use rand::rngs::StdRng;

use self::lease::Timers;
pub use self::lease::{DNS_SERVERS_MAX, Lease};
use self::outgoing::Transaction;
use self::remark::ReasonLimits;
pub use self::remark::{Reason, Remark};
pub use self::routes::{ROUTES_MAX, Route};
pub use self::taken::Taken;
use super::frame::{Arp, Datagram};
use super::message::{self, Message, MessageType, Opcode, OptionCode};

/// REQUESTs for an offer before it is given up: about 60 s. (RFC 2131, section 3.1)
const REQUESTS_MAX: u32 = 4;
/// REQUESTs for a remembered address before the client sends a DISCOVER: about 12 s.
const REBOOT_REQUESTS_MAX: u32 = 2;
/// RFC 2131, section 4.1: 4 s, doubled up to 64 s, give or take one.
const BACK_OFF_SECS: (u64, u64) = (4, 64);
const BACK_OFF_JITTER_MILLIS: u64 = 1000;
/// RFC 2131, section 4.4.5: half of the time left, but not below.
const RENEW_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// RFC 2131, section 3.1: before starting over after a DECLINE.
const DECLINE_DELAY: Duration = Duration::from_secs(10);
/// The delay before starting over after a NAK. As the delay after a DECLINE, it doubles up to that of retransmissions
/// while there is no lease, so that a server that rejects its own offers is not flooded.
const NAK_DELAY: Duration = Duration::from_secs(1);
/// RFC 5227, section 1.1 probes 3 times within 4 to 9 s, too long for an office that waits to go online. A
/// neighbour on the same Ethernet answers within milliseconds.
const PROBES: u32 = 2;
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// The configuration of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The hardware address of its interface.
    pub mac: MacAddr,
    /// Its client identifier, type octet included; without one servers identify it by its hardware address.
    pub client_id: Option<Vec<u8>>,
    /// The host name that it requests.
    pub hostname: Option<String>,
    /// Its vendor class.
    pub vendor_class: Option<String>,
    /// The codes of options that it requests beside those that it uses.
    pub request_options: Vec<u8>,
    /// Asks servers to broadcast their answers, for an interface that does not receive unicast before its address is
    /// configured.
    pub broadcast: bool,
    /// The networks of other interfaces. A lease that overlaps one is refused, as the hosts on the two sides could not
    /// be told apart (RFC 4787, REQ-7).
    pub taken: Taken,
}

impl Config {
    /// A client that servers identify by the hardware address `mac`.
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            client_id: None,
            hostname: None,
            vendor_class: None,
            request_options: Vec::new(),
            broadcast: false,
            taken: Taken::default(),
        }
    }

    /// Whether both have the same hardware address and client identifier: some servers look at both.
    pub fn is_same_client(&self, other: &Self) -> bool {
        (self.mac, &self.client_id) == (other.mac, &other.client_id)
    }
}

/// An action for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this Ethernet frame.
    Transmit(Vec<u8>),
    /// Report this event.
    Event(Event),
}

/// A change of the lease, or what the administrator should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Use this lease. Each renewal repeats the event, even without a change.
    Configured(Lease),
    /// Stop using the lease.
    Lost,
    /// Write this to the log. A reason is logged once in ten minutes.
    Remarked(Remark),
    /// Show the administrator from now on why there is no lease; `None`: there is one, or servers give no reason any
    /// more.
    Refused(Option<Remark>),
}

/// A DHCP client.
#[derive(Debug)]
pub struct Client {
    config: Config,
    rng: StdRng,
    state: State,
    transaction: Transaction,
    /// When the client began to search for an address; `None` while it has one.
    began: Option<Instant>,
    /// The address that it prefers.
    remembered: Option<Ipv4Addr>,
    /// How often it has started over since it had a lease.
    failures: u32,
    log: ReasonLimits,
    /// The last refusal, as long as there is no lease and each DISCOVER is followed by a refusal.
    refusal: Option<Remark>,
    /// Whether a refusal came since the last DISCOVER.
    is_refused: bool,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
enum State {
    Init { at: Instant },
    InitReboot { address: Ipv4Addr },
    Selecting { retry: Retry },
    Requesting { retry: Retry, requested: Instant, offer: Lease },
    Rebooting { retry: Retry, requested: Instant, address: Ipv4Addr },
    Probing { bound: Bound, sent: u32, next: Instant },
    Bound { bound: Bound },
    Renewing { bound: Bound, requested: Instant, next: Instant },
    Rebinding { bound: Bound, requested: Instant, next: Instant },
    Stopped,
}

/// The sender of a frame: a server, its relay agent or a router.
#[derive(Clone, Copy, Debug)]
struct Source {
    mac: MacAddr,
    address: Ipv4Addr,
}

/// Retransmissions with exponential back-off.
#[derive(Clone, Copy, Debug)]
struct Retry {
    sent: u32,
    next: Instant,
}

/// A lease in use, or about to be used.
#[derive(Clone, Debug)]
struct Bound {
    lease: Lease,
    timers: Timers,
    server_mac: MacAddr,
}

impl Client {
    /// A client in INIT, or in INIT-REBOOT with `remembered`, its former address, if the lease has not expired. `rng`
    /// provides transaction identifiers and jitter.
    pub fn new(config: Config, rng: StdRng, remembered: Option<Ipv4Addr>) -> Self {
        let state = match remembered {
            Some(address) => State::InitReboot { address },
            None => State::Init { at: Instant::ZERO },
        };
        Self {
            config,
            rng,
            state,
            transaction: Transaction { xid: 0, secs: 0 },
            began: None,
            remembered,
            failures: 0,
            log: ReasonLimits::default(),
            refusal: None,
            is_refused: false,
            outputs: VecDeque::new(),
        }
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { bound } | State::Renewing { bound, .. } | State::Rebinding { bound, .. } => {
                Some(&bound.lease)
            }
            _ => None,
        }
    }

    /// The next action; `None` if there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Client::handle_timeout`] must be called; `None` after [`Client::release`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Init { at } => Some(*at),
            State::InitReboot { .. } => Some(Instant::ZERO),
            State::Selecting { retry } | State::Requesting { retry, .. } | State::Rebooting { retry, .. } => {
                Some(retry.next)
            }
            State::Probing { next, .. } => Some(*next),
            State::Bound { bound } => Some(bound.timers.renew),
            State::Renewing { bound, next, .. } => Some((*next).min(bound.timers.rebind)),
            State::Rebinding { bound, next, .. } => Some((*next).min(bound.timers.expire)),
            State::Stopped => None,
        }
    }

    /// Handles the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.state.clone() {
            State::Init { .. } => self.discover(now, 0),
            State::InitReboot { address } => self.verify(now, address),
            State::Selecting { retry } => self.discover(now, retry.sent),
            State::Requesting { retry, .. } if retry.sent == REQUESTS_MAX => self.discover(now, 0),
            State::Requesting { retry, requested, offer } => self.select(now, requested, offer, retry.sent),
            State::Rebooting { retry, .. } if retry.sent == REBOOT_REQUESTS_MAX => self.discover(now, 0),
            State::Rebooting { retry, requested, address } => {
                self.send_verify(now, requested, address, retry.sent);
            }
            State::Probing { bound, sent: PROBES, .. } => self.bind(bound),
            State::Probing { bound, sent, .. } => self.probe(now, bound, sent),
            State::Bound { bound } | State::Renewing { bound, .. } | State::Rebinding { bound, .. }
                if now >= bound.timers.expire =>
            {
                self.lose(now);
            }
            State::Bound { bound } | State::Renewing { bound, .. } if now >= bound.timers.rebind => {
                self.begin_transaction();
                self.rebind(now, now, bound);
            }
            State::Bound { bound } => {
                self.begin_transaction();
                self.renew(now, now, bound);
            }
            State::Renewing { bound, requested, .. } => self.renew(now, requested, bound),
            State::Rebinding { bound, requested, .. } => self.rebind(now, requested, bound),
            State::Stopped => {}
        }
    }

    /// Handles a frame of the segment. Frames for others are ignored.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        if let Some(arp) = Arp::parse(frame) {
            self.handle_arp(now, &arp);
            return;
        }
        let Some(datagram) = Datagram::parse(frame) else { return };
        let source = Source { mac: datagram.source_mac, address: *datagram.source.ip() };
        match message::decode(datagram.payload) {
            Ok(message)
                if message.opcode() == Opcode::BootReply
                    && message.xid() == self.transaction.xid
                    && message::mac(&message) == self.config.mac =>
            {
                self.handle_message(now, source, &message);
            }
            Err(why) if message::xid(datagram.payload) == Some(self.transaction.xid) => {
                self.remark(now, source.address, Reason::Malformed(why));
            }
            _ => {}
        }
    }

    /// Releases the lease, if there is one, and stops.
    pub fn release(&mut self) {
        self.begin_transaction();
        let state = std::mem::replace(&mut self.state, State::Stopped);
        let (bound, is_in_use) = match state {
            State::Bound { bound } | State::Renewing { bound, .. } | State::Rebinding { bound, .. } => {
                (bound, true)
            }
            // The server's ACK has made the lease.
            State::Probing { bound, .. } => (bound, false),
            _ => return,
        };
        self.transmit(outgoing::release(&self.config, self.transaction, &bound));
        if is_in_use {
            self.outputs.push_back(Output::Event(Event::Lost));
        }
    }

    fn handle_message(&mut self, now: Instant, source: Source, message: &Message) {
        let server = message::address_option(message, OptionCode::ServerIdentifier);
        match (message.opts().msg_type(), self.state.clone()) {
            (Some(MessageType::Offer), State::Selecting { .. }) => {
                let (lease, _) = self.read_lease(message);
                match lease {
                    Ok(offer) => self.select(now, now, offer, 0),
                    Err(reason) => self.remark(now, server.unwrap_or(source.address), reason),
                }
            }
            (Some(MessageType::Ack), state) => self.handle_ack(now, source, message, state),
            (Some(MessageType::Nak), State::Requesting { offer, .. })
                if server.is_some_and(|server| server != offer.server) => {}
            (Some(MessageType::Nak), State::Requesting { .. } | State::Rebooting { .. }) => {
                self.handle_nak(now, source, message);
            }
            (Some(MessageType::Nak), State::Renewing { .. } | State::Rebinding { .. }) => {
                self.outputs.push_back(Output::Event(Event::Lost));
                self.handle_nak(now, source, message);
            }
            _ => {}
        }
    }

    fn handle_nak(&mut self, now: Instant, source: Source, message: &Message) {
        let server = message::address_option(message, OptionCode::ServerIdentifier);
        let reason = Reason::nak(message::text_option(message, OptionCode::Message));
        self.start_over(now, NAK_DELAY);
        self.remark(now, server.unwrap_or(source.address), reason);
    }

    fn handle_ack(&mut self, now: Instant, source: Source, message: &Message, state: State) {
        let (requested_at, requested, prolonged) = match &state {
            State::Requesting { requested, offer, .. }
                if message::address_option(message, OptionCode::ServerIdentifier) == Some(offer.server) =>
            {
                (*requested, offer.address.addr(), None)
            }
            State::Rebooting { requested, address, .. } => (*requested, *address, None),
            State::Renewing { bound, requested, .. } | State::Rebinding { bound, requested, .. } => {
                (*requested, bound.lease.address.addr(), Some(bound.lease.address))
            }
            _ => return,
        };
        let server = message::address_option(message, OptionCode::ServerIdentifier).unwrap_or(source.address);
        let (mut lease, remarks) = self.read_lease(message);
        // A server that prolongs a lease need not repeat the mask.
        if let (Ok(lease), Some(known)) = (&mut lease, prolonged)
            && message::address_option(message, OptionCode::SubnetMask).is_none()
        {
            lease.address = Ipv4Net::new_assert(lease.address.addr(), known.prefix_len());
        }
        let is_other = |lease: &Lease| lease.address.addr() != requested;
        let lease = match lease {
            Ok(lease) if is_other(&lease) => Err(Reason::OtherAddress(lease.address.addr(), requested)),
            lease => lease,
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(reason) => return self.remark(now, server, reason),
        };
        let fuzz = self.rng.random_range(0.0..=1.0);
        let timers = Timers::new(requested_at, message, lease.lease_secs, fuzz);
        let bound = Bound { lease, timers, server_mac: source.mac };
        if prolonged.is_none() {
            // A renewal would repeat them.
            remarks.into_iter().for_each(|reason| self.remark(now, server, reason));
            self.probe(now, bound, 0);
        } else {
            self.bind(bound);
        }
    }

    /// The lease in `message`, with what there is to say of it.
    fn read_lease(&self, message: &Message) -> (Result<Lease, Reason>, Vec<Reason>) {
        let mut remarks = Vec::new();
        (Lease::from_message(message, &self.config.taken.networks(), &mut remarks), remarks)
    }

    /// Logs `reason`, unless that was done a short time ago, and shows it if it is why there is no lease.
    fn remark(&mut self, now: Instant, server: Ipv4Addr, reason: Reason) {
        let is_due = self.log.is_due(now, &reason);
        let remark = Remark { server, reason };
        if remark.reason.is_refusal() && self.lease().is_none() {
            self.is_refused = true;
            self.show_refusal(Some(remark.clone()));
        }
        if is_due {
            self.outputs.push_back(Output::Event(Event::Remarked(remark)));
        }
    }

    fn show_refusal(&mut self, refusal: Option<Remark>) {
        if self.refusal != refusal {
            self.refusal.clone_from(&refusal);
            self.outputs.push_back(Output::Event(Event::Refused(refusal)));
        }
    }

    /// RFC 5227, section 2.1.1: the address is in use if another host claims it, or probes for it too.
    fn handle_arp(&mut self, now: Instant, arp: &Arp) {
        let State::Probing { bound, .. } = &self.state else { return };
        let address = bound.lease.address.addr();
        let is_probe = arp.sender.is_unspecified() && arp.target == address;
        if arp.sender_mac != self.config.mac && (arp.sender == address || is_probe) {
            let lease = bound.lease.clone();
            self.begin_transaction();
            self.remark(now, lease.server, Reason::InUse(address, arp.sender_mac));
            self.transmit(outgoing::decline(&self.config, self.transaction, &lease));
            self.start_over(now, DECLINE_DELAY);
        }
    }

    fn discover(&mut self, now: Instant, sent: u32) {
        if sent == 0 {
            self.begin_transaction();
        }
        if !std::mem::take(&mut self.is_refused) {
            self.show_refusal(None);
        }
        self.transaction.secs = self.secs_since_begin(now);
        self.transmit(outgoing::discover(&self.config, self.transaction, self.remembered));
        self.state = State::Selecting { retry: self.retry(now, sent) };
    }

    // RFC 2131, section 4.4.1: xid and secs are those of the DISCOVER.
    fn select(&mut self, now: Instant, requested: Instant, offer: Lease, sent: u32) {
        self.transmit(outgoing::select(&self.config, self.transaction, &offer));
        self.state = State::Requesting { retry: self.retry(now, sent), requested, offer };
    }

    /// The time for which it has searched for an address.
    fn secs_since_begin(&mut self, now: Instant) -> u16 {
        let began = *self.began.get_or_insert(now);
        u16::try_from(now.since(began).as_secs()).unwrap_or(u16::MAX)
    }

    fn verify(&mut self, now: Instant, address: Ipv4Addr) {
        self.begin_transaction();
        self.send_verify(now, now, address, 0);
    }

    fn send_verify(&mut self, now: Instant, requested: Instant, address: Ipv4Addr, sent: u32) {
        self.transaction.secs = self.secs_since_begin(now);
        self.transmit(outgoing::verify(&self.config, self.transaction, address));
        self.state = State::Rebooting { retry: self.retry(now, sent), requested, address };
    }

    fn probe(&mut self, now: Instant, bound: Bound, sent: u32) {
        self.transmit(Arp::probe_frame(self.config.mac, bound.lease.address.addr()));
        self.state = State::Probing { bound, sent: sent + 1, next: now + PROBE_INTERVAL };
    }

    fn bind(&mut self, bound: Bound) {
        (self.began, self.failures) = (None, 0);
        self.remembered = Some(bound.lease.address.addr());
        self.show_refusal(None);
        self.outputs.push_back(Output::Event(Event::Configured(bound.lease.clone())));
        self.state = State::Bound { bound };
    }

    fn renew(&mut self, now: Instant, requested: Instant, bound: Bound) {
        self.transmit(outgoing::renew(&self.config, self.transaction, &bound));
        let next = now + half_until(now, bound.timers.rebind);
        self.state = State::Renewing { bound, requested, next };
    }

    fn rebind(&mut self, now: Instant, requested: Instant, bound: Bound) {
        self.transmit(outgoing::rebind(&self.config, self.transaction, &bound));
        let next = now + half_until(now, bound.timers.expire);
        self.state = State::Rebinding { bound, requested, next };
    }

    /// The lease has expired; the client still prefers its address.
    fn lose(&mut self, now: Instant) {
        self.outputs.push_back(Output::Event(Event::Lost));
        self.discover(now, 0);
    }

    /// Searches for another address after `pause`, or later if that has failed before.
    fn start_over(&mut self, now: Instant, pause: Duration) {
        let pause = match self.failures {
            0 => pause,
            failures => self.back_off(pause.as_secs(), failures).max(pause),
        };
        self.failures = self.failures.saturating_add(1);
        self.remembered = None;
        self.state = State::Init { at: now + pause };
    }

    fn begin_transaction(&mut self) {
        self.transaction = Transaction { xid: self.rng.random(), secs: 0 };
    }

    fn retry(&mut self, now: Instant, sent: u32) -> Retry {
        let (first, _) = BACK_OFF_SECS;
        Retry { sent: sent + 1, next: now + self.back_off(first, sent) }
    }

    /// `first_secs`, at least 1 and doubled `times` times, give or take a second.
    fn back_off(&mut self, first_secs: u64, times: u32) -> Duration {
        let (_, last) = BACK_OFF_SECS;
        let millis = first_secs.saturating_mul(1 << times.min(8)).min(last) * 1000;
        let jitter = self.rng.random_range(0..=2 * BACK_OFF_JITTER_MILLIS);
        Duration::from_millis(millis - BACK_OFF_JITTER_MILLIS + jitter)
    }

    fn transmit(&mut self, frame: Vec<u8>) {
        self.outputs.push_back(Output::Transmit(frame));
    }
}

fn half_until(now: Instant, end: Instant) -> Duration {
    (end.since(now) / 2).max(RENEW_INTERVAL_MIN)
}

#[cfg(test)]
mod tests;
