//! The TCP/IP of a machine: smoltcp on an Ethernet card.
//!
//! A machine gives a [`Stack`] its frames and lets it work whenever it is polled itself; sockets are smoltcp's.
//!
//! ```
//! use gatepost_ground::{Instant, MacAddr};
//! use gatepost_sim::machine::stack::Stack;
//!
//! let mut stack = Stack::new(MacAddr([2, 0, 0, 0, 0, 1]), 7);
//! stack.set_address(Some(([192, 168, 1, 9].into(), 24)));
//! stack.set_router(Some([192, 168, 1, 1].into()));
//! let socket = stack.bind_udp(4_000);
//! stack.send_udp(socket, "198.18.7.7:9000".parse().expect("an address"), b"hello");
//! let mut sent = Vec::new();
//! stack.poll(Instant::ZERO);
//! stack.drain(&mut |frame| sent.push(frame));
//! assert_eq!(sent.len(), 1, "it asks for the router's hardware address first");
//! assert_eq!(stack.receive_udp(socket), None);
//! ```

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::{Instant, MacAddr};
pub use smoltcp::iface::SocketHandle;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Cidr};

use crate::machine::identity::Identity;

/// Octets that a TCP socket buffers in each direction.
const TCP_BUFFER_LEN: usize = 8_192;
/// Datagrams and octets that a UDP socket buffers in each direction.
const UDP_QUEUE_DATAGRAMS: usize = 64;
const UDP_BUFFER_LEN: usize = 32_768;
/// An Ethernet frame with the usual MTU of 1500 octets.
const FRAME_LEN_MAX: usize = 1_514;

/// An interface with its sockets.
pub struct Stack {
    /// smoltcp's interface, to configure.
    pub iface: Interface,
    /// The sockets.
    pub sockets: SocketSet<'static>,
    card: Card,
    mac: MacAddr,
}

impl Stack {
    /// The stack of a machine with the fixed address of `identity`, which draws its numbers by `seed`.
    pub fn of(identity: &Identity, seed: u64) -> Self {
        let mut stack = Self::new(identity.mac, seed);
        stack.set_address(Some((identity.address.addr(), identity.address.prefix_len())));
        stack.set_router(Some(identity.router));
        stack
    }

    /// A stack without an address. The same `seed` draws the same numbers.
    pub fn new(mac: MacAddr, seed: u64) -> Self {
        let mut card = Card::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = seed;
        let iface = Interface::new(config, &mut card, smoltcp::time::Instant::ZERO);
        Self { iface, sockets: SocketSet::new(Vec::new()), card, mac }
    }

    /// The card's address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Replaces the address and the length of its prefix.
    pub fn set_address(&mut self, address: Option<(Ipv4Addr, u8)>) {
        self.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some((address, prefix_len)) = address {
                let cidr = IpCidr::Ipv4(Ipv4Cidr::new(address, prefix_len));
                addresses.push(cidr).expect("there is room for one address");
            }
        });
    }

    /// Sends packets for other networks through `router`; `None` drops them.
    pub fn set_router(&mut self, router: Option<Ipv4Addr>) {
        let routes = self.iface.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(router) = router {
            routes.add_default_ipv4_route(router).expect("there is room for one route");
        }
    }

    /// Takes a frame in.
    pub fn handle_frame(&mut self, frame: Vec<u8>) {
        self.card.received.push_back(frame);
    }

    /// Lets smoltcp work until it has nothing to do at `now`.
    pub fn poll(&mut self, now: Instant) {
        self.iface.poll(smol_time(now), &mut self.card, &mut self.sockets);
    }

    /// Gives the frames made so far to `transmit`.
    pub fn drain(&mut self, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.card.sent.drain(..).for_each(transmit);
    }

    /// When smoltcp next has something to do.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let due = self.iface.poll_at(smol_time(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(due.total_micros()).unwrap_or(0)))
    }

    /// Adds a UDP socket bound to `port` on every address.
    pub fn bind_udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || {
            udp::PacketBuffer::new(
                vec![udp::PacketMetadata::EMPTY; UDP_QUEUE_DATAGRAMS],
                vec![0; UDP_BUFFER_LEN],
            )
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("no port is bound twice");
        self.sockets.add(socket)
    }

    /// Sends a datagram from a UDP socket; it is lost, as on the way, if 64 wait already.
    pub fn send_udp(&mut self, handle: SocketHandle, to: SocketAddrV4, payload: &[u8]) {
        // A full queue is a lost datagram.
        _ = self.udp(handle).send_slice(payload, (*to.ip(), to.port()));
    }

    /// Drops the datagrams that the socket has queued. smoltcp sends the first of them only once its neighbour has
    /// answered ARP, so a neighbour that is gone would hold up all others.
    pub fn drop_queued_udp(&mut self, handle: SocketHandle) {
        let socket = self.udp(handle);
        let endpoint = socket.endpoint();
        socket.close();
        socket.bind(endpoint).expect("the port that it had");
    }

    /// The next datagram of a UDP socket, with its sender.
    pub fn receive_udp(&mut self, handle: SocketHandle) -> Option<(SocketAddrV4, Vec<u8>)> {
        let (payload, from) = self.udp(handle).recv().ok()?;
        let IpAddress::Ipv4(sender) = from.endpoint.addr else { return None };
        Some((SocketAddrV4::new(sender, from.endpoint.port), payload.to_vec()))
    }

    /// Adds a socket for pings with `identifier`.
    pub fn bind_icmp(&mut self, identifier: u16) -> SocketHandle {
        let buffer = || {
            icmp::PacketBuffer::new(
                vec![icmp::PacketMetadata::EMPTY; UDP_QUEUE_DATAGRAMS],
                vec![0; UDP_BUFFER_LEN],
            )
        };
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(identifier)).expect("a new socket can be bound");
        self.sockets.add(socket)
    }

    /// Adds a TCP socket that does nothing yet.
    pub fn add_tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER_LEN]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// A UDP socket.
    pub fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A socket for pings.
    pub fn icmp(&mut self, handle: SocketHandle) -> &mut icmp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A TCP socket.
    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// A machine's turn: its `stack` handles the frames that have come, the machine does its `work`, and what that sends goes
/// out at once.
pub(super) fn turn<M>(
    machine: &mut M,
    now: Instant,
    transmit: &mut dyn FnMut(Vec<u8>),
    stack: impl Fn(&mut M) -> &mut Stack,
    work: impl FnOnce(&mut M),
) {
    stack(machine).poll(now);
    work(machine);
    let stack = stack(machine);
    stack.poll(now);
    stack.drain(transmit);
}

fn smol_time(at: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
}

/// A network card: frames in both directions.
#[derive(Default)]
struct Card {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_LEN_MAX;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push(frame);
        result
    }
}
