//! The list of the internet's servers, with the sockets that they share.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;
use smoltcp::iface::SocketHandle;
use smoltcp::wire::IpAddress;

use super::connections::{Connections, Syn};
use super::server::{Datagram, Server, Uplink, Wire};
use crate::machine::Record;
use crate::machine::stack::Stack;

/// Where a server is, and which ports are its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Its addresses, with the names that captures call them by. Without any, it is at the provider's router, and
    /// receives broadcasts.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Where it takes datagrams.
    pub udp: Vec<u16>,
    /// Where it takes connections.
    pub tcp: Vec<u16>,
}

impl Site {
    /// A server at one address of [`INTERNET`](super::INTERNET), which captures call by the server's name.
    pub fn at(address: impl Into<Ipv4Addr>) -> Self {
        Self::called("", address.into())
    }

    /// A server at one address, which captures call `name`.
    pub(super) fn called(name: &str, address: Ipv4Addr) -> Self {
        Self { hosts: vec![(name.to_owned(), address)], ..Self::default() }
    }

    /// A server at several addresses, called `name-0` and on.
    pub(super) fn numbered(name: &str, addresses: &[Ipv4Addr]) -> Self {
        let named = |(number, address): (usize, &Ipv4Addr)| (format!("{name}-{number}"), *address);
        Self { hosts: addresses.iter().enumerate().map(named).collect(), ..Self::default() }
    }

    /// It takes datagrams at `port`.
    pub fn udp(mut self, port: u16) -> Self {
        self.udp.push(port);
        self
    }

    /// It takes connections at `port`.
    pub fn tcp(mut self, port: u16) -> Self {
        self.tcp.push(port);
        self
    }

    /// Whether `address` is the server's.
    fn has(&self, address: Ipv4Addr, router: Ipv4Addr) -> bool {
        if self.hosts.is_empty() {
            address == router || address.is_broadcast()
        } else {
            self.hosts.iter().any(|(_, own)| *own == address)
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.hosts.iter().map(|(_, address)| address.to_string()).collect();
        write!(f, "at {}", addresses.join(", "))?;
        for (protocol, ports) in [("UDP", &self.udp), ("TCP", &self.tcp)] {
            ports.iter().try_for_each(|port| write!(f, ", {protocol} {port}"))?;
        }
        Ok(())
    }
}

/// A server of the list.
struct Entry {
    name: String,
    site: Site,
    server: Box<dyn Server>,
    inbox: VecDeque<Datagram>,
}

/// All servers.
#[derive(Default)]
pub(super) struct Servers {
    entries: Vec<Entry>,
    /// A socket for each UDP port of any.
    sockets: Vec<(u16, SocketHandle)>,
    connections: Connections,
}

impl Servers {
    /// Adds one.
    pub fn add(&mut self, stack: &mut Stack, name: &str, mut site: Site, server: Box<dyn Server>) {
        for (host, _) in site.hosts.iter_mut().filter(|(host, _)| host.is_empty()) {
            name.clone_into(host);
        }
        for port in &site.udp {
            if self.sockets.iter().all(|(known, _)| known != port) {
                self.sockets.push((*port, stack.bind_udp(*port)));
            }
        }
        self.entries.push(Entry { name: name.to_owned(), site, server, inbox: VecDeque::new() });
    }

    /// The problem of a further server with this name at `site`.
    ///
    /// # Errors
    ///
    /// That.
    pub fn refuse(&self, name: &str, site: &Site) -> Result<(), String> {
        for entry in &self.entries {
            if entry.name == name {
                return Err(format!("there is a server {name:?} already; write another name"));
            }
            let both = |own: &[u16], other: &[u16]| own.iter().copied().find(|port| other.contains(port));
            let port = both(&site.udp, &entry.site.udp).or(both(&site.tcp, &entry.site.tcp));
            let mut addresses = site.hosts.iter().map(|(_, address)| *address);
            let address =
                addresses.find(|address| entry.site.hosts.iter().any(|(_, other)| other == address));
            if let (Some(port), Some(address)) = (port, address) {
                let other = &entry.name;
                return Err(format!(
                    "{address}:{port} is the server {other}'s; write another address or port"
                ));
            }
        }
        Ok(())
    }

    /// The server called `name`, if it is a `T`.
    pub fn get_mut<T: Server>(&mut self, name: &str) -> Option<&mut T> {
        (self.any_mut(name)?).downcast_mut()
    }

    /// The server called `name`.
    pub fn any_mut(&mut self, name: &str) -> Option<&mut dyn Any> {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name)?;
        Some(entry.server.as_mut() as &mut dyn Any)
    }

    /// The addresses of all, with their names in captures.
    pub fn hosts(&self) -> Vec<(Ipv4Addr, String)> {
        let hosts = self.entries.iter().flat_map(|entry| &entry.site.hosts);
        hosts.map(|(name, address)| (*address, name.clone())).collect()
    }

    /// The record of each, with its name.
    pub fn records(&self) -> impl Iterator<Item = (String, Arc<dyn Record>)> {
        self.entries.iter().map(|entry| (entry.name.clone(), entry.server.record()))
    }

    /// Makes every server a sound one.
    pub fn calm(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.server.calm());
    }

    /// Everything is switched off.
    pub fn switch_off(&mut self, stack: &mut Stack) {
        self.connections.forget(stack);
        self.entries.iter_mut().for_each(|entry| entry.server.on_switched_off());
    }

    /// The provider has gone over to `network`.
    pub fn renumber(&mut self, stack: &mut Stack, network: Ipv4Net) {
        // smoltcp holds on to packets that it cannot route any more, and everything behind them.
        for (port, handle) in &mut self.sockets {
            stack.sockets.remove(*handle);
            *handle = stack.bind_udp(*port);
        }
        self.entries.iter_mut().for_each(|entry| entry.server.on_renumber(network));
    }

    /// Listens for the connection that `syn` is about to open, if there is a server for it.
    pub fn expect(&mut self, stack: &mut Stack, router: Ipv4Addr, syn: Syn) {
        let Syn { local, .. } = syn;
        let is_there =
            |entry: &Entry| entry.site.tcp.contains(&local.port()) && entry.site.has(*local.ip(), router);
        if let Some(server) = self.entries.iter().position(is_there) {
            if let Some(ended) = self.connections.replace(stack, syn) {
                self.entries[ended.server].server.on_closed(ended.id);
            }
            self.connections.expect(stack, syn, server);
        }
    }

    /// Lets every server handle its input, and answer.
    pub fn poll(&mut self, now: Instant, stack: &mut Stack, uplink: &mut Uplink, router: Ipv4Addr) {
        self.hand_out(stack, router);
        let Self { entries, sockets, connections } = self;
        for (server, Entry { server: logic, inbox, .. }) in entries.iter_mut().enumerate() {
            logic.poll(now, &mut Wire { stack, sockets, connections, server, inbox, uplink });
            inbox.clear();
        }
        connections.remove_ended(stack, |ended| entries[ended.server].server.on_closed(ended.id));
    }

    /// When to poll even if nothing comes in.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.server.poll_timeout()).min()
    }

    /// Moves input from the sockets to the inboxes of its servers.
    fn hand_out(&mut self, stack: &mut Stack, router: Ipv4Addr) {
        for (port, handle) in &self.sockets {
            while let Ok((payload, from)) = stack.udp(*handle).recv() {
                let (IpAddress::Ipv4(customer), Some(IpAddress::Ipv4(address))) =
                    (from.endpoint.addr, from.local_address)
                else {
                    continue;
                };
                let is_for =
                    |entry: &&mut Entry| entry.site.udp.contains(port) && entry.site.has(address, router);
                if let Some(entry) = self.entries.iter_mut().find(is_for) {
                    let from = SocketAddrV4::new(customer, from.endpoint.port);
                    let to = SocketAddrV4::new(address, *port);
                    entry.inbox.push_back(Datagram { from, to, payload: payload.to_vec() });
                }
            }
        }
    }
}
