//! How mail leaves, by configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::dns::special::is_private;
use crate::mail::address::Domain;

/// A server as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// A name, or an address.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
        }
    }
}

/// How mail leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Servers for domains, by their names in lower case.
    pub domains: BTreeMap<String, Server>,
    /// The server for all other domains, instead of a lookup.
    pub smarthost: Option<Server>,
    /// The names of this server, in lower case.
    pub own_names: Vec<String>,
    /// The addresses at which this server, or a port that is forwarded, can be reached.
    pub own_addresses: Vec<IpAddr>,
    /// The networks of the office.
    pub lan: Vec<IpNet>,
    /// Whether IPv6 addresses are reachable.
    pub has_ipv6: bool,
}

/// The next hop of a domain's mail. Messages with the same next hop can share a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// To a server of the configuration. `is_smarthost`: the one that may ask for a login.
    Server {
        /// The server.
        server: Server,
        /// Whether it is the smarthost.
        is_smarthost: bool,
    },
    /// To the servers of this domain.
    Domain(String),
    /// To this address.
    Literal(IpAddr),
}

impl Routes {
    /// The next hop for a domain.
    pub fn next_hop(&self, domain: &Domain) -> NextHop {
        let name = match domain {
            Domain::Literal(address) => return NextHop::Literal(*address),
            Domain::Name(name) => name,
        };
        if let Some(server) = self.domains.get(name) {
            return NextHop::Server { server: server.clone(), is_smarthost: false };
        }
        match &self.smarthost {
            Some(server) => NextHop::Server { server: server.clone(), is_smarthost: true },
            None => NextHop::Domain(name.clone()),
        }
    }

    /// Whether the address is one of this host.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        // Loopback is this host, whatever the domain.
        address.is_loopback() || address.is_unspecified() || self.own_addresses.contains(&address)
    }

    /// Whether the address is no public server's: a machine of the office has it, or no machine.
    pub(super) fn is_off_limits(&self, address: IpAddr) -> bool {
        let is_reserved = matches!(address, IpAddr::V4(v4) if v4.octets()[0] >= 240);
        is_private(address)
            || address.is_multicast()
            || is_reserved
            || self.lan.iter().any(|network| network.contains(&address))
    }
}
