//! The former network, while a change of the LAN's address waits for confirmation.
//!
//! The change may be undone at any moment, by a power cut, too, and a client must not be left with an address that only
//! the other configuration has. So until the confirmation no lease is longer than [`UNCONFIRMED_SECS`], and a client
//! that renews keeps its address and all parameters of the former network:
//!
//! | a client | while the change waits | after it is undone | after it is confirmed |
//! | --- | --- | --- | --- |
//! | renews its lease of the former network | keeps it | keeps it | gets a NAK |
//! | renews an address that is the server's now | gets a NAK | gets it back | keeps its new address |
//! | is new, or discovers again | gets an address of the present network | gets a NAK | keeps it |
//!
//! The NAK comes at the client's next broadcast. It leads to a DISCOVER, which gives the client the address back that
//! it had in this network.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::answer::Terms;
use super::parameters::Layers;
use super::{Config, MessageType, Request, Server};

/// The longest lease that is granted or renewed while a change waits for confirmation. If the change is undone, no client
/// is left with an address or parameters of it for longer. If it is confirmed, a client with an older lease that has not
/// been renewed meanwhile keeps the former ones until it rebinds.
pub const UNCONFIRMED_SECS: u32 = 60;

/// The former network of the clients, which the server serves besides the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerNetwork {
    /// The server's address there.
    pub server_address: Ipv4Addr,
    /// The network.
    pub prefix: Ipv4Net,
    /// The parameters of its clients; `None` if they are unknown. Then their renewals get no answer, so that they keep
    /// their leases as they are.
    pub parameters: Option<FormerParameters>,
}

/// The parameters of the clients of a former network that differ from the present ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerParameters {
    /// The router.
    pub router: Option<Ipv4Addr>,
    /// The name servers, the preferred first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The time servers.
    pub ntp_servers: Vec<Ipv4Addr>,
}

impl Config {
    /// The configuration for the clients of the former network, if there is one with known parameters.
    pub(super) fn of_former(&self) -> Option<Self> {
        let FormerNetwork { server_address, prefix, parameters } = self.former.clone()?;
        let FormerParameters { router, dns_servers, ntp_servers } = parameters?;
        Some(Self { server_address, prefix, router, dns_servers, ntp_servers, ..self.clone() })
    }

    /// Whether `address` is this server's, in the present network or the former one.
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        address == self.server_address
            || self.former.as_ref().is_some_and(|former| former.server_address == address)
    }
}

impl Server {
    /// Whether the client extends a lease that it has of `address` in the former network: it renews it, or verifies it
    /// after a restart. An address that is the server's since the change is not extended: it would be in use twice.
    pub(super) fn extends_former(&self, request: &Request<'_>, address: Ipv4Addr) -> bool {
        let former = self.config.former.as_ref().filter(|former| former.prefix.contains(&address));
        let kind = request.message.opts().msg_type();
        former.is_some()
            && kind == Some(MessageType::Request)
            && request.server().is_none()
            && !self.config.is_own(address)
            && self.owns(request, address)
    }

    /// The parameters of the client, which has or gets `address`.
    pub(super) fn terms(&self, request: &Request<'_>, address: Ipv4Addr) -> Terms<'_> {
        let is_former = self.extends_former(request, address) || !self.config.prefix.contains(&address);
        let config = self.former_config.as_ref().filter(|_| is_former).unwrap_or(&self.config);
        let reservation = self.reservation_of(request).map(|reservation| &reservation.parameters);
        let Config { parameters, matches, .. } = config;
        Terms { config, layers: Layers::of(parameters, matches, request.message, reservation) }
    }
}
