//! The provider and the internet behind it, as one machine: the WAN's router with its DHCP server, and
//! beyond it a name server, web sites and a chat server.
//!
//! It has all their addresses, so that a packet to any of them goes through the router as far as
//! the gateway can tell. Its faults are [`DnsMood`]s, a DHCP server that falls silent, renumbering, and
//! [`ProviderMood`]s of the machine as a whole.

mod dhcp;
mod dns;

use std::net::Ipv4Addr;

use gatepost_dataplane::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint, Ipv4Cidr};

use self::dhcp::DhcpServer;
pub use self::dns::{DnsMood, address_of};
use super::Machine;
use super::stack::Stack;
use crate::packet::{Packet, Transport};

/// The name server.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
/// The web servers.
pub const WEB_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 80), Ipv4Addr::new(198, 51, 100, 81)];
/// The chat server.
pub const CHAT_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Web sites: `site-0.example` and so on, on the web servers in turn.
pub const SITES: usize = 20;
/// Names are asked for here.
pub const DNS_PORT: u16 = 53;
/// Pages are fetched here.
pub const WEB_PORT: u16 = 80;
/// Chats are held here.
pub const CHAT_PORT: u16 = 7;
/// Connections served at a time; further ones are refused.
pub const CONNECTIONS_MAX: usize = 2_048;

const DHCP_SERVER_PORT: u16 = 67;
const DHCP_CLIENT_PORT: u16 = 68;
/// The period of a page's pattern: prime, so that a shift by any packet length shows.
const PAGE_PERIOD: u32 = 251;
const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x20, 0x00, 0x01]);

/// Whether `octets` are what a page has from `offset` on.
pub fn is_page(offset: u32, octets: &[u8]) -> bool {
    (offset..).zip(octets).all(|(at, octet)| *octet == page_octet(at))
}

fn page_octet(at: u32) -> u8 {
    u8::try_from(at % PAGE_PERIOD).expect("the period is below 256")
}

/// What the provider's machine is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderMood {
    /// It works.
    #[default]
    Up,
    /// Its router answers for itself and gives out addresses, but forwards nothing.
    NotForwarding,
    /// It is off: router, DHCP, DNS and all that is behind. When it returns it has forgotten its connections.
    Gone,
}

/// The provider and the internet.
pub struct Internet {
    stack: Stack,
    mood: ProviderMood,
    rng: StdRng,
    dhcp: DhcpServer,
    dhcp_socket: SocketHandle,
    dns_socket: SocketHandle,
    dns_mood: DnsMood,
    /// Whether packets to networks unknown go to the customer: where it does not translate.
    routes_back: bool,
    /// Answers of a slow name server.
    late: Vec<(Instant, Vec<u8>, udp::UdpMetadata)>,
    connections: Vec<Connection>,
    due: Option<Instant>,
}

struct Connection {
    handle: SocketHandle,
    serves: Serves,
}

enum Serves {
    Page { wanted: Option<u32>, sent: u32 },
    Chat,
}

impl Internet {
    /// An internet whose provider gives out addresses of `network` for `lease_secs`.
    pub fn new(network: Ipv4Net, lease_secs: u32, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stack = Stack::new(MAC, rng.random());
        let dhcp_socket = stack.bind_udp(DHCP_SERVER_PORT);
        let dns_socket = stack.bind_udp(DNS_PORT);
        let mut this = Self {
            stack,
            mood: ProviderMood::Up,
            rng,
            dhcp: DhcpServer::new(network, lease_secs),
            dhcp_socket,
            dns_socket,
            dns_mood: DnsMood::Truthful,
            routes_back: false,
            late: Vec::new(),
            connections: Vec::new(),
            due: None,
        };
        this.take_addresses();
        this
    }

    /// Gives out addresses of another network from now on, and knows nothing of the old one.
    pub fn renumber(&mut self, network: Ipv4Net) {
        self.dhcp.renumber(network);
        self.take_addresses();
        // smoltcp keeps what it cannot route any more, and everything behind that.
        self.stack.sockets.remove(self.dns_socket);
        self.dns_socket = self.stack.bind_udp(DNS_PORT);
        self.late.clear();
    }

    /// Makes the DHCP server fall silent, or answer again.
    pub fn set_dhcp_silent(&mut self, is_silent: bool) {
        self.dhcp.is_silent = is_silent;
    }

    /// What the machine is like from now on; it wants to be polled then.
    pub fn set_mood(&mut self, mood: ProviderMood) {
        self.mood = mood;
        if mood == ProviderMood::Gone {
            for connection in self.connections.drain(..) {
                self.stack.sockets.remove(connection.handle);
            }
            self.late.clear();
        }
        self.due = Some(Instant::ZERO);
    }

    /// Whether a frame to or from here passes the router.
    fn passes(&self, frame: &[u8]) -> bool {
        match self.mood {
            ProviderMood::Up => true,
            ProviderMood::Gone => false,
            ProviderMood::NotForwarding => {
                let packet = Packet::parse(frame);
                let Some(ip) = packet.as_ref().and_then(Packet::ipv4) else { return true };
                let router = self.dhcp.router();
                ip.source == router || ip.destination == router || ip.destination.is_broadcast()
            }
        }
    }

    /// How names are answered from now on.
    pub fn set_dns_mood(&mut self, mood: DnsMood) {
        self.dns_mood = mood;
    }

    /// Sends what is for networks that nobody here knows to the customer, whose address is
    /// `customer` or what it will be given.
    pub fn route_back_to_customer(&mut self, customer: Option<Ipv4Addr>) {
        self.routes_back = true;
        if let Some(customer) = customer {
            self.set_route_back(customer);
        }
    }

    fn set_route_back(&mut self, customer: Ipv4Addr) {
        let routes = self.stack.iface.routes_mut();
        routes.add_default_ipv4_route(customer).expect("there is room for one route");
    }

    /// The address that a client was given last.
    pub fn customer(&self) -> Option<Ipv4Addr> {
        self.dhcp.last_given()
    }

    /// The network that the provider gives out.
    pub fn network(&self) -> Ipv4Net {
        self.dhcp.network()
    }

    fn take_addresses(&mut self) {
        let router = Ipv4Cidr::new(self.dhcp.router(), self.dhcp.network().prefix_len());
        let hosts = [DNS_ADDRESS, CHAT_ADDRESS].into_iter().chain(WEB_ADDRESSES);
        self.stack.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            for cidr in [router].into_iter().chain(hosts.map(|host| Ipv4Cidr::new(host, 32))) {
                addresses.push(IpCidr::Ipv4(cidr)).expect("smoltcp is built for as many addresses");
            }
        });
    }

    /// Listens for a connection that is about to be opened.
    fn expect_connection(&mut self, frame: &[u8]) {
        let Some(packet) = Packet::parse(frame) else { return };
        let Some(ip) = packet.ipv4() else { return };
        let Transport::Tcp { destination_port, is_opening: true, .. } = ip.transport else { return };
        let serves = match destination_port {
            WEB_PORT => Serves::Page { wanted: None, sent: 0 },
            CHAT_PORT => Serves::Chat,
            _ => return,
        };
        let local = IpEndpoint::new(ip.destination.into(), destination_port);
        let is_expected = self.connections.iter().any(|connection| {
            let socket = self.stack.sockets.get::<tcp::Socket<'_>>(connection.handle);
            socket.is_listening() && socket.listen_endpoint() == local.into()
        });
        if !is_expected && self.connections.len() < CONNECTIONS_MAX {
            let handle = self.stack.add_tcp();
            self.stack.tcp(handle).listen(local).expect("a new socket can listen");
            self.connections.push(Connection { handle, serves });
        }
    }

    fn serve_connections(&mut self) {
        for Connection { handle, serves } in &mut self.connections {
            let socket = self.stack.tcp(*handle);
            match serves {
                Serves::Page { wanted, sent } => serve_page(socket, wanted, sent),
                Serves::Chat => serve_chat(socket),
            }
        }
        let stack = &mut self.stack;
        self.connections.retain(|connection| {
            let state = stack.tcp(connection.handle).state();
            let is_over = matches!(state, tcp::State::Closed | tcp::State::TimeWait);
            if is_over {
                stack.sockets.remove(connection.handle);
            }
            !is_over
        });
    }

    fn serve_dhcp(&mut self) {
        while let Ok((payload, _)) = self.stack.udp(self.dhcp_socket).recv() {
            let payload = payload.to_vec();
            let Some(reply) = self.dhcp.answer(&payload) else { continue };
            if let Some(customer) = self.dhcp.last_given().filter(|_| self.routes_back) {
                self.set_route_back(customer);
            }
            // Always by broadcast: a client without an address hears it too.
            let to = udp::UdpMetadata {
                local_address: Some(self.dhcp.router().into()),
                ..(Ipv4Addr::BROADCAST, DHCP_CLIENT_PORT).into()
            };
            // A full queue is a lost datagram.
            _ = self.stack.udp(self.dhcp_socket).send_slice(&reply, to);
        }
    }

    fn serve_dns(&mut self, now: Instant) {
        while let Ok((payload, from)) = self.stack.udp(self.dns_socket).recv() {
            let IpAddress::Ipv4(customer) = from.endpoint.addr;
            if !self.routes_back && !self.dhcp.network().contains(&customer) {
                continue;
            }
            let payload = payload.to_vec();
            if let Some((delay, answer)) = self.dns_mood.answer(&payload, &mut self.rng) {
                self.late.push((now + delay, answer, from));
            }
        }
        let socket = self.stack.udp(self.dns_socket);
        self.late.retain(|(due, answer, to)| {
            if *due <= now {
                // A full queue is a lost datagram.
                _ = socket.send_slice(answer, *to);
            }
            *due > now
        });
    }
}

impl Machine for Internet {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        if self.passes(&frame) {
            self.expect_connection(&frame);
            self.stack.handle_frame(frame);
        }
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        self.serve_dhcp();
        self.serve_dns(now);
        self.serve_connections();
        self.stack.poll(now);
        let mut sent = Vec::new();
        self.stack.drain(&mut |frame| sent.push(frame));
        sent.into_iter().filter(|frame| self.passes(frame)).for_each(transmit);
        let late = self.late.iter().map(|(due, ..)| *due);
        self.due = late.chain(self.stack.poll_timeout(now)).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

fn serve_page(socket: &mut tcp::Socket<'_>, wanted: &mut Option<u32>, sent: &mut u32) {
    if wanted.is_none() && socket.recv_queue() >= size_of::<u32>() {
        let mut request = [0; 4];
        *wanted = socket.recv_slice(&mut request).ok().map(|_| u32::from_be_bytes(request));
    }
    let Some(wanted) = *wanted else {
        // Nobody can ask any more.
        if socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        return;
    };
    while *sent < wanted && socket.can_send() {
        let write = |room: &mut [u8]| {
            let len = room.len().min((wanted - *sent) as usize);
            (*sent..).zip(&mut room[..len]).for_each(|(at, octet)| *octet = page_octet(at));
            (len, len)
        };
        let Ok(len) = socket.send(write) else { return };
        *sent += u32::try_from(len).expect("a page is that long");
    }
    if *sent == wanted {
        socket.close();
    }
}

fn serve_chat(socket: &mut tcp::Socket<'_>) {
    let mut line = [0; 64];
    while socket.can_recv() && socket.send_capacity() - socket.send_queue() >= line.len() {
        let Ok(len) = socket.recv_slice(&mut line) else { return };
        if socket.send_slice(&line[..len]) != Ok(len) {
            return;
        }
    }
    if socket.state() == tcp::State::CloseWait {
        socket.close();
    }
}
