//! The DHCP client: a state machine without I/O, over whole Ethernet frames. (RFC 2131 section 4.4, 5227)
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
//! The caller hands over every frame for UDP port 68 and every ARP frame of the segment
//! ([`Client::handle_frame`]), calls [`Client::handle_timeout`] when [`Client::poll_timeout`] is due, and
//! after either drains [`Client::poll_output`]: frames to send, and what has become of the lease. The
//! first acceptable offer is taken. An address is probed by ARP before it is used, never afterwards: who
//! uses the address, defends it.
//!
//! It serves the gateway on the WAN and any host on a LAN alike. Frames for a server are sent to the
//! interface that its ACK came from, which is its own, its relay agent's or a router's.

mod lease;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gatepost_dataplane::{Instant, MacAddr};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use self::lease::Timers;
pub use self::lease::{DNS_SERVERS_MAX, Lease};
use super::frame::{Arp, CLIENT_PORT, Datagram, SERVER_PORT};
use super::message::{self, DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};

/// REQUESTs for an offer before it is given up: about 60 s. // RFC 2131 section 3.1
const REQUESTS_MAX: u32 = 4;
/// REQUESTs for a remembered address before the client asks for any: about 12 s.
const REBOOT_REQUESTS_MAX: u32 = 2;
/// RFC 2131 section 4.1: 4 s, doubled up to 64 s, give or take one.
const BACK_OFF_SECS: (u64, u64) = (4, 64);
const BACK_OFF_JITTER_MILLIS: u64 = 1000;
/// RFC 2131 section 4.4.5: half of the time left, but not below.
const RENEW_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// RFC 2131 section 3.1: before starting over after a DECLINE.
const DECLINE_DELAY: Duration = Duration::from_secs(10);
/// Before starting over after a NAK, so that a server that refuses what it offers is not stormed.
const NAK_DELAY: Duration = Duration::from_secs(1);
/// RFC 5227 section 1.1 probes 3 times within 4 to 9 s, too long for an office that waits to go online. A
/// neighbour on the same Ethernet answers within milliseconds.
const PROBES: u32 = 2;
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// The largest message that is understood, as an IP packet.
const MESSAGE_OCTETS_MAX: u16 = 1500;
const PARAMETERS: [OptionCode; 5] = [
    OptionCode::SubnetMask,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
];

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its interface.
    pub mac: MacAddr,
    /// Its client identifier, type octet included; without one it is known by its interface.
    pub client_id: Option<Vec<u8>>,
    /// The name that it would like to be known by.
    pub hostname: Option<String>,
    /// Asks servers to broadcast their answers, for an interface that takes no packets to an address
    /// before that is configured.
    pub broadcast: bool,
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this Ethernet frame.
    Transmit(Vec<u8>),
    /// Use this lease. It comes again with each renewal, changed or not.
    Configured(Lease),
    /// Stop using the lease.
    Lost,
}

/// A DHCP client.
#[derive(Debug)]
pub struct Client {
    config: Config,
    rng: StdRng,
    state: State,
    /// The current transaction.
    xid: u32,
    /// When the client began to look for an address.
    began: Instant,
    /// An address that the client would like to have again.
    remembered: Option<Ipv4Addr>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
enum State {
    Init { at: Instant },
    Selecting { retry: Retry },
    Requesting { retry: Retry, offer: Lease, secs: u16, requested: Instant },
    Rebooting { retry: Retry, address: Ipv4Addr, requested: Instant },
    Probing { bound: Bound, sent: u32, next: Instant },
    Bound(Bound),
    Renewing { bound: Bound, requested: Instant, next: Instant },
    Rebinding { bound: Bound, requested: Instant, next: Instant },
    Stopped,
}

/// Retransmissions with growing pauses.
#[derive(Clone, Copy, Debug)]
struct Retry {
    sent: u32,
    next: Instant,
}

/// A lease in use, or about to be.
#[derive(Clone, Debug)]
struct Bound {
    lease: Lease,
    timers: Timers,
    server_mac: MacAddr,
}

impl Client {
    /// A client that looks for an address; for `remembered`, if it was given that before and its lease
    /// has not ended. `rng` makes transaction identifiers and jitter.
    pub fn new(config: Config, rng: StdRng, remembered: Option<Ipv4Addr>) -> Self {
        Self {
            config,
            rng,
            state: State::Init { at: Instant::ZERO },
            xid: 0,
            began: Instant::ZERO,
            remembered,
            outputs: VecDeque::new(),
        }
    }
}
