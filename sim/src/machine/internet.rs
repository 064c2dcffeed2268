//! The provider and the internet behind it, as one machine: the WAN's router with its DHCP server, and
//! beyond it name servers, web sites, a chat server and one that answers late.
//!
//! It has all their addresses, so that a packet to any of them goes through the router as far as
//! the gateway can tell. Its faults are the name servers' [`DnsMood`]s, a DHCP server that falls silent,
//! renumbering, and [`ProviderMood`]s of the machine as a whole.

mod connections;
mod dhcp;
mod dns;
mod echo;
pub mod late;

use std::mem;
use std::net::Ipv4Addr;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Cidr};

use self::connections::{Asked, Connections};
pub use self::connections::{CONNECTIONS_MAX, ConnectionId, is_page, serve_page};
use self::dhcp::DhcpServer;
pub use self::dns::{DnsMood, SILENT_ZONE, SharedTree, Tree, authorities, reverse, servers_called};
use self::dns::{NameServers, Transport};
use self::late::LateServer;
use super::Machine;
use super::stack::Stack;
use crate::packet::{Content, Packet, Transport as Carried};

/// Everything behind the provider's router. No documentation network, as nobody asks a name server for
/// the names of those (RFC 6303 section 4).
pub const INTERNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 16);
/// The provider's recursive resolvers.
pub const RESOLVER_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 53, 1), Ipv4Addr::new(198, 18, 53, 2)];
/// The web servers.
pub const WEB_ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 18, 80, 1),
    Ipv4Addr::new(198, 18, 80, 2),
    Ipv4Addr::new(198, 18, 80, 3),
    Ipv4Addr::new(198, 18, 81, 1),
];
/// The chat server.
pub const CHAT_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 7);
/// Web sites: `site-0.example` and so on, on the web servers in turn.
pub const SITES: usize = 20;
/// Names are asked for here.
pub const DNS_PORT: u16 = 53;
/// Pages are fetched here.
pub const WEB_PORT: u16 = 80;
/// Chats are held here.
pub const CHAT_PORT: u16 = 7;

const DHCP_SERVER_PORT: u16 = 67;
const DHCP_CLIENT_PORT: u16 = 68;
const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x20, 0x00, 0x01]);

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
    dhcp: DhcpServer,
    dhcp_socket: SocketHandle,
    dns_socket: SocketHandle,
    names: NameServers,
    /// Whether packets to networks unknown go to the customer: where it does not translate.
    routes_back: bool,
    late_server: LateServer,
    late_socket: SocketHandle,
    connections: Connections,
    /// Answers to pings.
    echoes: Vec<Vec<u8>>,
    due: Option<Instant>,
}

/// Where the answer to a customer's question goes.
#[derive(Clone, Copy)]
pub enum Caller {
    /// Back over UDP.
    Datagram(udp::UdpMetadata),
    /// Over the connection that it came over.
    Connection(ConnectionId),
}

impl Internet {
    /// An internet with the names of `tree`, whose provider gives out addresses of `network` for
    /// `lease_secs`.
    pub fn new(network: Ipv4Net, lease_secs: u32, tree: SharedTree, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stack = Stack::new(MAC, rng.random());
        // All addresses are its own; which of them are, `is_for_us` says.
        stack.iface.set_any_ip(true);
        let dhcp_socket = stack.bind_udp(DHCP_SERVER_PORT);
        let dns_socket = stack.bind_udp(DNS_PORT);
        let late_socket = stack.bind_udp(late::LATE_PORT);
        let mut this = Self {
            stack,
            mood: ProviderMood::Up,
            dhcp: DhcpServer::new(network, lease_secs),
            dhcp_socket,
            dns_socket,
            names: NameServers::new(tree, &mut rng),
            routes_back: false,
            late_server: LateServer::default(),
            late_socket,
            connections: Connections::default(),
            echoes: Vec::new(),
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
        self.stack.sockets.remove(self.late_socket);
        self.late_socket = self.stack.bind_udp(late::LATE_PORT);
        self.late_server = LateServer::default();
    }

    /// Makes the DHCP server fall silent, or answer again.
    pub fn set_dhcp_silent(&mut self, is_silent: bool) {
        self.dhcp.is_silent = is_silent;
    }

    /// What the machine is like from now on; it wants to be polled then.
    pub fn set_mood(&mut self, mood: ProviderMood) {
        self.mood = mood;
        if mood == ProviderMood::Gone {
            self.connections.forget(&mut self.stack);
            self.names.lose_letters();
            self.late_server = LateServer::default();
        }
        self.due = Some(Instant::ZERO);
    }

    /// Whether a frame to or from here passes the router.
    fn passes(&self, packet: &Packet) -> bool {
        match self.mood {
            ProviderMood::Up => true,
            ProviderMood::Gone => false,
            ProviderMood::NotForwarding => {
                let Some(ip) = packet.ipv4() else { return true };
                let router = self.dhcp.router();
                ip.source == router || ip.destination == router || ip.destination.is_broadcast()
            }
        }
    }

    /// How the name servers called `servers` answer from now on.
    pub fn set_dns_mood(&mut self, servers: &str, mood: DnsMood) {
        self.names.set_mood(servers, mood);
    }

    /// Makes every name server truthful.
    pub fn calm_dns(&mut self) {
        self.names.calm();
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
        let router = self.dhcp.router();
        let own = IpCidr::Ipv4(Ipv4Cidr::new(router, self.dhcp.network().prefix_len()));
        self.stack.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.push(own).expect("there is room for one address");
        });
    }

    /// Whether a frame is for the router or what is behind it.
    fn is_for_us(&self, packet: &Packet) -> bool {
        let router = self.dhcp.router();
        match &packet.content {
            Content::Arp { target, .. } => *target == router,
            Content::Ipv4(ip) => {
                let to = ip.destination;
                to == router || to.is_broadcast() || INTERNET.contains(&to)
            }
            Content::Other => false,
        }
    }

    fn is_customer(&self, address: Ipv4Addr) -> bool {
        self.routes_back || self.dhcp.network().contains(&address)
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

    fn serve_names(&mut self, now: Instant) {
        while let Ok((payload, from)) = self.stack.udp(self.dns_socket).recv() {
            let Some(IpAddress::Ipv4(server)) = from.local_address else { continue };
            let (caller, message) = (Caller::Datagram(from), payload.to_vec());
            self.names.ask(now, caller, server, Transport::Udp, message);
        }
        for Asked { connection, server, message } in self.connections.serve(&mut self.stack) {
            self.names.ask(now, Caller::Connection(connection), server, Transport::Tcp, message);
        }
        let mut answers = Vec::new();
        self.names.poll(now, |caller, answer| answers.push((caller, answer)));
        for (caller, answer) in answers {
            match caller {
                Caller::Datagram(to) => {
                    let IpAddress::Ipv4(customer) = to.endpoint.addr;
                    if self.is_customer(customer) {
                        // A full queue is a lost datagram.
                        _ = self.stack.udp(self.dns_socket).send_slice(&answer, to);
                    }
                }
                Caller::Connection(id) => self.connections.answer(&mut self.stack, id, &answer),
            }
        }
    }

    fn serve_late(&mut self, now: Instant) {
        let (routes_back, network) = (self.routes_back, self.dhcp.network());
        let is_customer = |address: Ipv4Addr| routes_back || network.contains(&address);
        self.late_server.serve(self.stack.udp(self.late_socket), is_customer, now);
    }
}

impl Machine for Internet {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let is_taken = |packet: &Packet| self.is_for_us(packet) && self.passes(packet);
        let Some(packet) = Packet::parse(&frame).filter(is_taken) else { return };
        if let Some(ip) = packet.ipv4()
            && let Carried::Tcp { source_port, destination_port, is_opening: true, .. } = ip.transport
        {
            let client = (ip.source, source_port);
            self.connections.expect(&mut self.stack, client, ip.destination, destination_port);
        }
        self.echoes.extend(echo::answer(&frame));
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        self.serve_dhcp();
        self.serve_names(now);
        self.serve_late(now);
        self.stack.poll(now);
        let mut sent = mem::take(&mut self.echoes);
        self.stack.drain(&mut |frame| sent.push(frame));
        sent.retain(|frame| Packet::parse(frame).is_none_or(|packet| self.passes(&packet)));
        sent.into_iter().for_each(transmit);
        let answers = self.names.poll_timeout().into_iter().chain(self.late_server.poll_timeout());
        self.due = answers.chain(self.stack.poll_timeout(now)).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}
