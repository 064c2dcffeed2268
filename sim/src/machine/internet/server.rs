//! A server of the internet: its requests over UDP and TCP, and its answers.
//!
//! The internet is a list of servers. Each has a name, addresses and ports, and a [`Server`] that answers. The
//! internet's machine ([`Internet`](super::Internet)) has the network card, ARP, IP, TCP and the sockets for all of
//! them; a server sees datagrams and connections of its own addresses and ports, through a [`Wire`].
//!
//! A server that answers every datagram with its length, and can be silenced:
//!
//! ```
//! use gatepost_ground::Instant;
//! use gatepost_sim::machine::internet::server::{Server, Wire};
//!
//! #[derive(Default)]
//! struct Measure {
//!     is_silent: bool,
//! }
//!
//! impl Server for Measure {
//!     fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
//!         while let Some(question) = wire.receive() {
//!             if !self.is_silent {
//!                 let answer = question.payload.len().to_string();
//!                 wire.send(question.to, question.from, answer.as_bytes());
//!             }
//!         }
//!     }
//!
//!     fn calm(&mut self) {
//!         self.is_silent = false;
//!     }
//! }
//! ```

use std::any::Any;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{tcp, udp};

use super::connections::{self, ConnectionId, Connections};
use crate::machine::Record;
use crate::machine::stack::Stack;

/// A server of the internet.
///
/// Its behaviour depends only on `now`, on its input over the [`Wire`] and on its seed: no clock, no randomness of its
/// own, no table with a random order.
pub trait Server: Any {
    /// Handles input, and answers. Called whenever a frame reaches the internet, and at [`Server::poll_timeout`].
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>);

    /// When to poll even if nothing comes in; `None`: never.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// A connection has ended, and its number means nothing any more.
    fn on_closed(&mut self, _connection: ConnectionId) {}

    /// Everything behind the provider's router is switched off: its state and connections are lost.
    fn on_switched_off(&mut self) {}

    /// The provider has moved to `network`: the customer's old address is unused.
    fn on_renumber(&mut self, _network: Ipv4Net) {}

    /// All faults end: it behaves correctly from now on.
    fn calm(&mut self) {}

    /// Its record.
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(())
    }
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sender, as seen on the internet.
    pub from: SocketAddrV4,
    /// The server's address and port.
    pub to: SocketAddrV4,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The provider's side of the WAN.
pub(super) struct Uplink {
    /// The network that it gives out.
    pub network: Ipv4Net,
    /// Whether packets to networks unknown go to the customer: where it does not translate.
    pub routes_back: bool,
    /// The address that a client was given last.
    pub customer: Option<Ipv4Addr>,
}

impl Uplink {
    pub(super) fn is_customer(&self, address: Ipv4Addr) -> bool {
        self.routes_back || self.network.contains(&address)
    }
}

/// A server's view of the network: the datagrams and connections of its own addresses and ports.
pub struct Wire<'a> {
    pub(super) stack: &'a mut Stack,
    /// The UDP sockets of all servers, with their ports.
    pub(super) sockets: &'a [(u16, SocketHandle)],
    pub(super) connections: &'a mut Connections,
    /// The server's number.
    pub(super) server: usize,
    pub(super) inbox: &'a mut VecDeque<Datagram>,
    pub(super) uplink: &'a mut Uplink,
}

impl Wire<'_> {
    /// The next datagram that has come.
    pub fn receive(&mut self) -> Option<Datagram> {
        self.inbox.pop_front()
    }

    /// Sends a datagram from an address and a port of the server's. It is lost if there is no host at `to`, if the port
    /// is no UDP port of the server's, or if 64 datagrams wait already.
    pub fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let socket = self.sockets.iter().find(|(port, _)| *port == from.port());
        if let Some((_, handle)) = socket
            && (to.ip().is_broadcast() || self.is_customer(*to.ip()))
        {
            let to =
                udp::UdpMetadata { local_address: Some((*from.ip()).into()), ..(*to.ip(), to.port()).into() };
            // A full queue is a lost datagram.
            _ = self.stack.udp(*handle).send_slice(payload, to);
        }
    }

    /// Whether `address` is one that the provider forwards packets to.
    pub fn is_customer(&self, address: Ipv4Addr) -> bool {
        self.uplink.is_customer(address)
    }

    /// Gives each open connection to `serve`, in the order in which they were opened.
    pub fn each_connection(&mut self, mut serve: impl FnMut(&mut Connection<'_>)) {
        for open in self.connections.of(self.server) {
            serve(&mut Connection { id: open.id, local: open.local, socket: self.stack.tcp(open.handle) });
        }
    }

    /// The connection with this number, if it is open.
    pub fn connection(&mut self, id: ConnectionId) -> Option<Connection<'_>> {
        let open = self.connections.of(self.server).find(|open| open.id == id)?;
        Some(Connection { id, local: open.local, socket: self.stack.tcp(open.handle) })
    }

    /// The provider's DHCP server has given `customer` its address.
    pub(super) fn give(&mut self, customer: Ipv4Addr) {
        self.uplink.customer = Some(customer);
        if self.uplink.routes_back {
            self.stack.set_router(Some(customer));
        }
    }
}

/// An open TCP connection with a server.
pub struct Connection<'a> {
    id: ConnectionId,
    local: SocketAddrV4,
    pub(super) socket: &'a mut tcp::Socket<'static>,
}

impl Connection<'_> {
    /// Its number, never used twice.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The server's address and port.
    pub fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// Appends received octets to `unread`.
    pub fn receive(&mut self, unread: &mut Vec<u8>) {
        connections::receive(self.socket, unread);
    }

    /// Sends as much of `octets` as there is room for, and says how much that was.
    pub fn send(&mut self, octets: &[u8]) -> usize {
        self.socket.send_slice(octets).unwrap_or(0)
    }

    /// Whether the client will send nothing more.
    pub fn is_half_closed(&self) -> bool {
        self.socket.state() == tcp::State::CloseWait
    }

    /// Closes the sending side.
    pub fn close(&mut self) {
        self.socket.close();
    }

    /// Resets it.
    pub fn abort(&mut self) {
        self.socket.abort();
    }
}
