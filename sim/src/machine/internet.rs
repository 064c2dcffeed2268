//! The provider and the internet behind it, as one machine: the WAN's router, and behind it a list of servers.
//!
//! It has all their addresses, so that for the gateway a packet to any of them goes through the router, which forwards
//! packets between customers, too (`internet/customers.rs`). [`server`]
//! describes the interface of a server. Those that always exist:
//!
//! | name | address | purpose |
//! | --- | --- | --- |
//! | `dhcp` | the router, UDP 67 | assigns the customer its address |
//! | `names` | the resolvers and authorities, UDP and TCP 53 | names; its faults are [`DnsMood`]s |
//! | `web` | [`WEB_ADDRESSES`], TCP 80 | pages |
//! | `chat` | [`CHAT_ADDRESS`], TCP 7 | echoes every octet |
//! | `late` | [`CHAT_ADDRESS`], UDP 9000 | answers at the requested time |
//!
//! Between the provider's router and the servers there are others (`internet/routers.rs`), the last of which has a link
//! with a small MTU. Behind that one, [`REFLECTOR_ADDRESS`] echoes every datagram and ping, in fragments too.
//!
//! To add one, write a file with a [`Server`] and a line in [`Internet::new`]; a scenario adds its own with
//! [`Office::server`](crate::scenario::Office::server). The faults of the machine as a whole are renumbering and
//! [`ProviderMood`]s.

mod addresses;
mod chat;
mod connections;
mod customers;
mod dhcp;
mod dns;
mod echo;
pub mod late;
mod pages;
mod reflector;
mod routers;
pub mod server;
mod servers;
pub mod time;

use std::any::Any;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::addresses::router_of;
pub use self::addresses::{
    CHAT_ADDRESS, CHAT_PORT, DNS_PORT, INTERNET, MAIL_ADDRESSES, POP_ADDRESS, RESOLVER_ADDRESSES, SITES,
    TIME_ADDRESSES, WEB_ADDRESSES, WEB_PORT,
};
use self::chat::ChatServer;
use self::connections::Syn;
pub use self::connections::{CONNECTIONS_MAX, ConnectionId};
use self::customers::Customers;
use self::dhcp::DhcpServer;
pub use self::dhcp::{DhcpMood, DhcpTerms, LeaseForm};
pub use self::dns::{
    DnsMood, EdnsRejection, LONG_TEXTS, OfficeZone, SILENT_ZONE, SharedTree, TcpManner, Tree, ZoneManner,
    ZoneServer, ZoneService, authorities, long_text, reverse, servers_called, take_message,
};
use self::dns::{NameServers, NameService};
use self::late::{LATE_PORT, LateServer};
use self::pages::WebServer;
pub use self::pages::{Page, is_page};
use self::reflector::Reflector;
pub use self::reflector::{REFLECTOR_ADDRESS, REFLECTOR_PORT};
use self::routers::Passed;
pub use self::routers::{HOPS, SHORT_LINK_MTU};
use self::server::{Server, Uplink};
use self::servers::Servers;
pub use self::servers::Site;
pub use self::time::{TIME_PORT, TimeMood, TimeServer};
use super::stack::Stack;
use super::{Machine, Record};
use crate::packet::{Content, DHCP_SERVER_PORT, Packet, Transport};

const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x20, 0x00, 0x01]);
const DHCP: &str = "dhcp";
const NAMES: &str = "names";

/// The behaviour of the provider's machine.
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
    uplink: Uplink,
    customers: Customers,
    servers: Servers,
    /// Echoes packets, in fragments too.
    reflector: Reflector,
    /// Answers that are made without the stack.
    answers: Vec<Vec<u8>>,
    due: Option<Instant>,
}

/// The provider's record.
#[derive(Clone, Debug)]
pub struct InternetRecord {
    /// The address that a customer was given last.
    pub customer: Option<Ipv4Addr>,
    /// Each server's record, with its name.
    pub servers: Vec<(String, Arc<dyn Record>)>,
}

impl Internet {
    /// An internet with the names of `tree`, whose provider assigns addresses of `network` on these `terms`.
    pub fn new(network: Ipv4Net, terms: DhcpTerms, tree: SharedTree, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stack = Stack::new(MAC, rng.random());
        // All addresses are its own; which of them are, `is_for_us` says.
        stack.iface.set_any_ip(true);
        let network = network.trunc();
        let uplink = Uplink { network, routes_back: false, customer: None };
        let mut this = Self {
            stack,
            mood: ProviderMood::Up,
            uplink,
            customers: Customers::default(),
            servers: Servers::default(),
            reflector: Reflector::default(),
            answers: Vec::new(),
            due: None,
        };
        this.take_addresses();
        let names = NameService::new(NameServers::new(tree, &mut rng));
        let name_servers = Site { hosts: dns::hosts().collect(), ..Site::default() };
        let chat = || Site::called("chat", CHAT_ADDRESS);
        this.add(DHCP, Site::default().udp(DHCP_SERVER_PORT), DhcpServer::new(network, terms));
        this.add(NAMES, name_servers.udp(DNS_PORT).tcp(DNS_PORT), names);
        this.add("web", Site::numbered("web", &WEB_ADDRESSES).tcp(WEB_PORT), WebServer::default());
        this.add("chat", chat().tcp(CHAT_PORT), ChatServer);
        this.add("late", chat().udp(LATE_PORT), LateServer::default());
        this
    }

    /// Adds one of the servers that are always there.
    fn add(&mut self, name: &str, site: Site, server: impl Server) {
        self.servers.add(&mut self.stack, name, site, Box::new(server));
    }

    /// Adds a server called `name`.
    ///
    /// # Errors
    ///
    /// Another has its name, or one of its ports at one of its addresses.
    pub fn add_server(&mut self, name: &str, site: Site, server: Box<dyn Server>) -> Result<(), String> {
        self.servers.refuse(name, &site)?;
        self.servers.add(&mut self.stack, name, site, server);
        Ok(())
    }

    /// The server called `name`, to be changed; the caller has to poll it afterwards.
    pub fn server_mut(&mut self, name: &str) -> Option<&mut dyn Any> {
        self.due = Some(Instant::ZERO);
        self.servers.any_mut(name)
    }

    /// How the DHCP server treats its clients from now on.
    pub fn set_dhcp_mood(&mut self, mood: DhcpMood) {
        if let Some(server) = self.servers.get_mut::<DhcpServer>(DHCP) {
            server.mood = mood;
        }
    }

    /// Sets the form of the DHCP server's leases.
    pub fn set_lease_form(&mut self, form: LeaseForm) {
        if let Some(server) = self.servers.get_mut::<DhcpServer>(DHCP) {
            server.terms.form = form;
        }
    }

    /// Sets the name servers that the DHCP server advertises.
    pub fn set_name_servers_told(&mut self, name_servers: &[Ipv4Addr]) {
        if let Some(server) = self.servers.get_mut::<DhcpServer>(DHCP) {
            server.terms.name_servers = name_servers.to_vec();
        }
    }

    /// Sets the behaviour of the machine; it wants to be polled then.
    pub fn set_mood(&mut self, mood: ProviderMood) {
        self.mood = mood;
        if mood == ProviderMood::Gone {
            self.servers.switch_off(&mut self.stack);
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
                let router = self.router();
                ip.source == router || ip.destination == router || ip.destination.is_broadcast()
            }
        }
    }

    /// How the name servers called `servers` answer from now on.
    pub fn set_dns_mood(&mut self, servers: &str, mood: DnsMood) {
        if let Some(service) = self.servers.get_mut::<NameService>(NAMES) {
            service.names.set_mood(servers, mood);
        }
    }

    /// Sends packets for unknown networks to the customer, whose address is
    /// `customer` or what it will be given.
    pub fn route_back_to_customer(&mut self, customer: Option<Ipv4Addr>) {
        self.uplink.routes_back = true;
        if customer.is_some() {
            self.stack.set_router(customer);
        }
    }

    /// The addresses of the servers, with their names in captures.
    pub fn hosts(&self) -> Vec<(Ipv4Addr, String)> {
        self.servers.hosts()
    }

    /// The address that a client was given last.
    pub fn customer(&self) -> Option<Ipv4Addr> {
        self.uplink.customer
    }

    fn router(&self) -> Ipv4Addr {
        router_of(self.uplink.network)
    }

    fn take_addresses(&mut self) {
        let prefix_len = self.uplink.network.prefix_len();
        self.stack.set_address(Some((self.router(), prefix_len)));
    }

    /// Whether `address` is that of a customer's host on the segment.
    fn is_neighbor(&self, address: Ipv4Addr) -> bool {
        let network = self.uplink.network;
        network.contains(&address) && ![self.router(), network.broadcast()].contains(&address)
    }

    /// Whether a frame is for the router, a server behind it, or the router to forward it to another customer.
    fn is_for_us(&self, packet: &Packet) -> bool {
        let router = self.router();
        match &packet.content {
            Content::Arp { target, .. } => *target == router,
            Content::Ipv4(ip) => {
                let to = ip.destination;
                let is_to_forward = packet.destination_mac == MAC && self.is_neighbor(to);
                to == router || to.is_broadcast() || INTERNET.contains(&to) || is_to_forward
            }
            Content::Other => false,
        }
    }
}

impl Machine for Internet {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let is_taken = |packet: &Packet| self.is_for_us(packet) && self.passes(packet);
        let Some(packet) = Packet::parse(&frame).filter(is_taken) else { return };
        if let Content::Arp { sender, .. } = packet.content
            && self.is_neighbor(sender)
        {
            self.answers.extend(self.customers.note(sender, packet.source_mac));
        }
        if let Some(ip) = packet.ipv4()
            && self.is_neighbor(ip.destination)
        {
            self.answers.extend(self.customers.forward((self.router(), MAC), &frame, ip.destination));
            return;
        }
        if packet.ipv4().is_some_and(|ip| INTERNET.contains(&ip.destination)) {
            if let Passed::Ends(told) = routers::pass(&frame, self.router()) {
                self.answers.extend(told);
                return;
            }
            if let Some(answers) = self.reflector.answer(&frame) {
                self.answers.extend(answers);
                return;
            }
        }
        if let Some(ip) = packet.ipv4()
            && let Transport::Tcp { source_port, destination_port, sequence, is_opening: true, .. } =
                ip.transport
        {
            let client = SocketAddrV4::new(ip.source, source_port);
            let local = SocketAddrV4::new(ip.destination, destination_port);
            let router = self.router();
            self.servers.expect(&mut self.stack, router, Syn { client, local, sequence });
        }
        self.answers.extend(echo::answer(&frame));
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        let router = self.router();
        self.servers.poll(now, &mut self.stack, &mut self.uplink, router);
        self.stack.poll(now);
        let mut sent = mem::take(&mut self.answers);
        self.stack.drain(&mut |frame| sent.push(frame));
        sent.retain(|frame| Packet::parse(frame).is_none_or(|packet| self.passes(&packet)));
        sent.into_iter().for_each(transmit);
        self.due = self.servers.poll_timeout().into_iter().chain(self.stack.poll_timeout(now)).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn calm(&mut self) {
        self.set_mood(ProviderMood::Up);
        self.servers.calm();
    }

    /// Gives out addresses of another network from now on, and knows nothing of the old one.
    fn on_renumber(&mut self, network: Ipv4Net, _office: Ipv4Addr) {
        self.uplink.network = network.trunc();
        self.uplink.customer = None;
        self.customers = Customers::default();
        self.take_addresses();
        self.servers.renumber(&mut self.stack, network);
    }

    fn record(&self) -> Arc<dyn Record> {
        Arc::new(InternetRecord { customer: self.customer(), servers: self.servers.records().collect() })
    }
}

#[cfg(test)]
mod tests;
