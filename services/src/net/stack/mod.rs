//! The gateway's own TCP and UDP, over smoltcp's codecs.
//!
//! # Theory of operation
//!
//! The dataplane delivers packets that are addressed to the gateway; the reader of its ring calls
//! [`Stack::handle_packet`]. Packets that the stack sends go one by one to the sink that it was created with, and the
//! dataplane routes them. The dataplane does the firewall, ARP and unfragmented echo requests. The stack filters
//! packets only by the access rules of its ports.
//!
//! ```text
//!   handle_packet ──▶ reassembly ──▶ UDP: socket by port       ──▶ its queue ──▶ recv_from
//!                                └─▶ TCP: socket by its two ends ──▶ connection ──▶ accept, read
//!                                                                        │
//!   sink ◀── run ◀── outbox ◀──────────── one packet per socket in turn  ┘◀── write, connect
//! ```
//!
//! All state is in one `Engine`, a state machine without I/O; streams and sockets are handles of its parts. The
//! engine is borrowed for the length of a call and never while waiting. [`Stack::run`] is the one task that lets
//! sockets send: it sleeps until the next deadline of a socket, a packet, or a service's call. Only this task and
//! `handle_packet` wake services.
//!
//! A LAN host that connects to the WAN address at a port without a listener there reaches the listener at the LAN
//! address; replies come from the WAN address. In general: if the port is closed at the address that a packet is for,
//! the service at the own address in the sender's network serves it (module `addresses`). Hosts outside the networks of
//! the stack's addresses do not reach other listeners in this way.
//!
//! A stream that is dropped or shut down leaves its socket behind, which sends its remaining data and a FIN, and ends;
//! see the module `socket`. Bound sockets can wait for their activation; see the module `staging`. The limits are in
//! [`StackConfig`] and the constants beside it; [`StackCounters`] count what was rejected because of a limit.
//!
//! Tables, queues, connections, packets and rules have addresses of either family, and both ends of a connection have
//! the same family. The module `ipv6_gate` keeps IPv6 out. Only reassembly and replies to echo are for IPv4
//! alone.
//!
//! The same packets, calls, times and seed give the same packets.
//!
//! Not done: IP options and extension headers, urgent data, path MTU discovery (packets may be fragmented
//! on their way), ICMP errors as errors of a socket, and more than one address per send (a socket on
//! the unspecified address answers from where it was asked).

mod access;
mod addresses;
mod connection;
mod cookie;
mod counters;
mod engine;
mod handles;
mod ip;
mod ipv6_gate;
mod listener;
mod numbers;
mod outbox;
mod packet;
mod port;
mod reassembly;
mod segment;
mod socket;
mod staging;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::IpNet;
use rand::rngs::StdRng;
use tokio::sync::Notify;

pub use access::AccessRule;
pub use counters::StackCounters;
pub use handles::{StackListener, StackStream, StackUdp};
pub use listener::{BACKLOG_MAX, HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE_MAX, HANDSHAKE_GRACE};
pub use staging::STAGED_BINDINGS_MAX;
pub use udp::{DATAGRAM_LEN_MAX, UDP_QUEUE_DATAGRAMS_MAX, UDP_QUEUE_OCTETS_MAX};

use super::Net;
use crate::clock::Clock;
use access::Access;
use addresses::Addresses;
use engine::{Engine, Origin};
use packet::destination;
use staging::{PendingBinds, Transport};

/// How long to wait for room in a sink that took no more.
const SINK_RETRY: Duration = Duration::from_millis(1);

/// The limits of a stack.
#[derive(Clone, Copy, Debug)]
pub struct StackConfig {
    /// The longest packet to send, in octets: the least MTU of the gateway's interfaces. Below 576 it
    /// counts as 576.
    pub mtu: usize,
    /// The most octets that a connection buffers in each direction. Its buffers have memory for what is in them, and
    /// begin with a limit of 64 KiB.
    pub tcp_buffer_len: usize,
    /// The most memory of all connections' buffers, in octets. While it is reached, buffers do not grow, and each
    /// connection has 4 KiB in each direction beside.
    pub tcp_memory_max: usize,
    /// The most connections, those included that are being opened or closed. An eighth of them only the gateway
    /// itself can open; a peer can have a quarter of them, but at least eight.
    pub connections_max: usize,
    /// The most UDP sockets.
    pub udp_sockets_max: usize,
    /// How long a connection is idle before the stack sends a keep-alive. After three times that without a segment from
    /// the peer the connection ends. RFC 9293, section 3.8.4 wants two hours or more by default.
    pub keep_alive: Duration,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            mtu: 1500,
            tcp_buffer_len: 1024 * 1024,
            tcp_memory_max: 64 * 1024 * 1024,
            connections_max: 4096,
            udp_sockets_max: 4096,
            keep_alive: Duration::from_secs(2 * 3600),
        }
    }
}

/// The gateway's own stack. Clones share it.
#[derive(Clone)]
pub struct Stack {
    shared: Rc<Shared>,
    /// The binds that wait for activation, if this is a staged handle.
    pending: Option<Rc<PendingBinds>>,
}

/// Takes a packet, or says that it cannot now.
type Sink = Box<dyn FnMut(&[u8]) -> bool>;

struct Shared {
    engine: RefCell<Engine>,
    clock: Rc<dyn Clock>,
    sink: RefCell<Sink>,
    /// Something happened that [`Stack::run`] has to look at.
    changed: Notify,
    /// There is room in the outbox again.
    room: Notify,
}

impl Stack {
    /// A stack without addresses, that sends each packet to `sink`. The sink says whether it took
    /// the packet; if not, it is offered the same one again a millisecond later. It must not call the
    /// stack.
    pub fn new(
        config: StackConfig,
        clock: Rc<dyn Clock>,
        rng: StdRng,
        sink: impl FnMut(&[u8]) -> bool + 'static,
    ) -> Self {
        let shared = Shared {
            engine: RefCell::new(Engine::new(clock.now(), config, rng)),
            clock,
            sink: RefCell::new(Box::new(sink)),
            changed: Notify::new(),
            room: Notify::new(),
        };
        Self { shared: Rc::new(shared), pending: None }
    }

    /// Replaces the gateway's addresses, each with its network. The source address for a destination outside these
    /// networks is the last address of the same family, so the caller passes the WAN addresses last. Addresses that no
    /// host can have, and more than eight, are left out.
    ///
    /// Connections from a removed address end with [`io::ErrorKind::ConnectionAborted`]. Sockets bound to it stay open,
    /// and receive nothing until the address is added again.
    pub fn set_addresses(&self, networks: &[IpNet]) {
        self.shared.engine.borrow_mut().set_addresses(networks);
        self.shared.changed.notify_one();
    }

    /// Replaces the access rules. A port without a rule admits all sources; the first rule for a port counts. Packets
    /// of established connections are checked, too.
    pub fn set_access(&self, rules: Vec<AccessRule>) {
        self.shared.engine.borrow_mut().access = Access::new(rules);
    }

    /// A handle of the same stack whose listeners and UDP sockets receive nothing until [`Stack::activate`]. It can
    /// bind ports that are in use now; a bind to port 0 takes effect at once. `networks` are the addresses that the
    /// stack will have at activation; the handle binds to no others. At most [`STAGED_BINDINGS_MAX`] binds wait at a
    /// time.
    pub fn stage(&self, networks: &[IpNet]) -> Self {
        let pending = PendingBinds::new(Addresses::new(networks));
        Self { shared: Rc::clone(&self.shared), pending: Some(Rc::new(pending)) }
    }

    /// Activates the binds of this staged handle and its clones. They take over their addresses and ports from other
    /// handles, with the queues there; see the module `staging`. From then on the handle binds at once. Does nothing on
    /// any other handle.
    pub fn activate(&self) {
        if let Some(pending) = &self.pending {
            pending.activate(&mut self.shared.engine.borrow_mut());
        }
    }

    /// Binds, or records the bind until activation. Returns the local address and the `Notify` of arrivals.
    fn bind(&self, transport: Transport, local: SocketAddr) -> io::Result<(SocketAddr, Rc<Notify>)> {
        if let Some(pending) = self.pending.as_ref().filter(|_| local.port() != 0)
            && let Some(arrived) = pending.bind(transport, local)?
        {
            return Ok((local, arrived));
        }
        let mut engine = self.shared.engine.borrow_mut();
        match transport {
            Transport::Tcp => engine.listen(local),
            Transport::Udp => engine.bind_udp(local),
        }
    }

    /// Processes a packet that the dataplane delivered, from the first octet of its IP header on;
    /// what follows its end, such as Ethernet's padding, is ignored. Any octets will do.
    ///
    /// The dataplane admits a source address in an inside network only from the inside (RFC 2827, section 3). So the
    /// stack serves such a host at every own address as at the one in the host's network.
    pub fn handle_packet(&self, packet: &[u8]) {
        let now = self.shared.clock.now();
        let mut engine = self.shared.engine.borrow_mut();
        if ipv6_gate::accepts_packet(packet) {
            engine.handle_packet(now, packet, Origin::Network);
        } else {
            engine.count_ipv6();
        }
        drop(engine);
        self.shared.changed.notify_one();
    }

    /// Sends packets and runs the timers, for ever. Without it nothing leaves the stack. Run it once.
    pub async fn run(&self) {
        loop {
            let changed = self.shared.changed.notified();
            match self.shared.pump() {
                // Either is a reason to look again.
                Some(wait) => _ = tokio::time::timeout(wait, changed).await,
                None => changed.await,
            }
        }
    }

    /// The counters.
    pub fn counters(&self) -> StackCounters {
        self.shared.engine.borrow().counters()
    }
}

impl Shared {
    /// Passes packets to the sink until none is left or the sink is full. Returns the time until the next call:
    /// [`SINK_RETRY`] if the sink is full, else the next timer of TCP; `None` if no timer runs.
    fn pump(&self) -> Option<Duration> {
        let now = self.clock.now();
        loop {
            self.engine.borrow_mut().poll(now);
            let Some(packet) = self.next_packet() else { break };
            if !self.emit(now, packet) {
                return Some(SINK_RETRY);
            }
        }
        self.engine.borrow().tcp.poll_timeout().map(|at| at.since(now))
    }

    fn next_packet(&self) -> Option<Vec<u8>> {
        let outbox = &mut self.engine.borrow_mut().ip.outbox;
        let packet = outbox.pop()?;
        self.room.notify_waiters();
        Some(packet)
    }

    /// Sends a packet where it belongs; puts it back if that takes no more.
    fn emit(&self, now: Instant, packet: Vec<u8>) -> bool {
        let is_to_self = self.engine.borrow().ip.addresses.contains(destination(&packet));
        if is_to_self {
            self.engine.borrow_mut().handle_packet(now, &packet, Origin::Own);
            return true;
        }
        let is_sent = (self.sink.borrow_mut())(&packet);
        if !is_sent {
            self.engine.borrow_mut().ip.outbox.put_back(packet);
        }
        is_sent
    }
}

impl Net for Stack {
    type Listener = StackListener;
    type Stream = StackStream;
    type Udp = StackUdp;

    async fn listen(&self, local: SocketAddr) -> io::Result<StackListener> {
        let (local, arrived) = self.bind(Transport::Tcp, ipv6_gate::check_family(local)?)?;
        Ok(StackListener::new(&self.shared, local, arrived))
    }

    async fn connect(&self, remote: SocketAddr) -> io::Result<StackStream> {
        StackStream::connect(&self.shared, ipv6_gate::check_family(remote)?).await
    }

    async fn bind_udp(&self, local: SocketAddr) -> io::Result<StackUdp> {
        let (local, arrived) = self.bind(Transport::Udp, ipv6_gate::check_family(local)?)?;
        Ok(StackUdp::new(&self.shared, local, arrived))
    }
}
