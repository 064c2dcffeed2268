//! The provider's DHCP server, by dhcproto. (RFC 2131)

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use super::addresses::{RESOLVER_ADDRESSES, router_of};
use super::server::{Server, Wire};
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, dhcp_message, dhcp_server_identifier};

/// The host number of the first address given out; below it are the provider's own.
const FIRST_HOST: u32 = 100;

/// How far from a client's first address its other one is.
const OTHER_HOST_OFFSET: u32 = 50;

/// How the provider's DHCP server treats its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhcpMood {
    /// It gives each client one address, and prolongs the lease whenever it is asked.
    #[default]
    Willing,
    /// It does not answer.
    Silent,
    /// It refuses to prolong any lease. A client that asks anew gets its address again.
    Refusing,
    /// It gives each client another address, and refuses to prolong the lease of the first.
    MovingClients,
}

/// The form in which the provider's DHCP server sends network, router and lease time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseForm {
    /// The mask of the network, with the router in it.
    #[default]
    Network,
    /// The mask of a single address. The router is outside of that network.
    SingleAddress,
    /// The same without the router option: the default route is a classless one. (RFC 3442)
    RoutesOnly,
    /// No lease time, but T1 and T2 if the server sends them otherwise.
    WithoutTime,
}

/// The parameters that the provider's DHCP server sends besides the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpTerms {
    /// How long a lease lasts, in seconds.
    pub lease_secs: u32,
    /// T1 and T2, in seconds; `None`: the clients take half and seven eighths of the lease.
    pub times_secs: Option<(u32, u32)>,
    /// The form of its leases.
    pub form: LeaseForm,
    /// The name servers.
    pub name_servers: Vec<Ipv4Addr>,
}

impl DhcpTerms {
    /// Leases of so many seconds in the usual form, no T1 and T2, and both resolvers.
    pub fn new(lease_secs: u32) -> Self {
        Self {
            lease_secs,
            times_secs: None,
            form: LeaseForm::Network,
            name_servers: RESOLVER_ADDRESSES.to_vec(),
        }
    }
}

/// The server. It gives each client one address for good, from `.100` on.
pub struct DhcpServer {
    /// How it treats its clients.
    pub mood: DhcpMood,
    /// Its parameters.
    pub terms: DhcpTerms,
    network: Ipv4Net,
    given: BTreeMap<Vec<u8>, Ipv4Addr>,
    last_given: Option<Ipv4Addr>,
}

impl Server for DhcpServer {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        while let Some(request) = wire.receive() {
            let Some(reply) = self.answer(&request.payload) else { continue };
            if let Some(customer) = self.last_given {
                wire.give(customer);
            }
            // Always by broadcast: a client without an address receives it, too.
            let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, DHCP_CLIENT_PORT);
            wire.send(SocketAddrV4::new(self.router(), DHCP_SERVER_PORT), everybody, &reply);
        }
    }

    /// It forgets its leases.
    fn on_renumber(&mut self, network: Ipv4Net) {
        *self = Self { mood: self.mood, ..Self::new(network, self.terms.clone()) };
    }

    fn calm(&mut self) {
        self.mood = DhcpMood::Willing;
        self.terms.name_servers = DhcpTerms::new(self.terms.lease_secs).name_servers;
    }
}

impl DhcpServer {
    /// A server for `network`.
    pub fn new(network: Ipv4Net, terms: DhcpTerms) -> Self {
        Self {
            mood: DhcpMood::Willing,
            terms,
            network: network.trunc(),
            given: BTreeMap::new(),
            last_given: None,
        }
    }

    /// The network's router, and the server itself.
    fn router(&self) -> Ipv4Addr {
        router_of(self.network)
    }

    /// The answer to a datagram, if there is one.
    fn answer(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let request = dhcp_message(datagram)?;
        if self.mood == DhcpMood::Silent || request.opcode() != Opcode::BootRequest {
            return None;
        }
        let address = self.address_for(request.chaddr());
        match request.opts().msg_type()? {
            MessageType::Discover => Some(self.reply(&request, MessageType::Offer, address)),
            MessageType::Request => {
                if dhcp_server_identifier(&request).is_some_and(|server| server != self.router()) {
                    return None;
                }
                let wanted = match request.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(wanted)) => *wanted,
                    _ => request.ciaddr(),
                };
                let is_renewal = !request.ciaddr().is_unspecified();
                if wanted != address || (is_renewal && self.mood == DhcpMood::Refusing) {
                    return Some(self.reply(&request, MessageType::Nak, Ipv4Addr::UNSPECIFIED));
                }
                self.last_given = Some(address);
                Some(self.reply(&request, MessageType::Ack, address))
            }
            _ => None,
        }
    }

    fn address_for(&mut self, client: &[u8]) -> Ipv4Addr {
        let number = u32::try_from(self.given.len()).expect("few clients");
        let next = self.host(FIRST_HOST + number);
        let first = *self.given.entry(client.to_vec()).or_insert(next);
        let offset = if self.mood == DhcpMood::MovingClients { OTHER_HOST_OFFSET } else { 0 };
        Ipv4Addr::from_bits(first.to_bits() + offset)
    }

    fn host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.network().to_bits() + number)
    }

    fn reply(&self, request: &Message, kind: MessageType, address: Ipv4Addr) -> Vec<u8> {
        let mut reply = Message::default();
        reply
            .set_opcode(Opcode::BootReply)
            .set_xid(request.xid())
            .set_flags(request.flags())
            .set_yiaddr(address)
            .set_giaddr(request.giaddr())
            .set_chaddr(request.chaddr());
        let options = reply.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(self.router()));
        if kind != MessageType::Nak {
            if self.terms.form != LeaseForm::WithoutTime {
                options.insert(DhcpOption::AddressLeaseTime(self.terms.lease_secs));
            }
            if let Some((renew_secs, rebind_secs)) = self.terms.times_secs {
                options.insert(DhcpOption::Renewal(renew_secs));
                options.insert(DhcpOption::Rebinding(rebind_secs));
            }
            options.insert(DhcpOption::SubnetMask(match self.terms.form {
                LeaseForm::Network | LeaseForm::WithoutTime => self.network.netmask(),
                LeaseForm::SingleAddress | LeaseForm::RoutesOnly => Ipv4Addr::BROADCAST,
            }));
            options.insert(if self.terms.form == LeaseForm::RoutesOnly {
                DhcpOption::ClasslessStaticRoute(vec![(Ipv4Net::default(), self.router())])
            } else {
                DhcpOption::Router(vec![self.router()])
            });
            options.insert(DhcpOption::DomainNameServer(self.terms.name_servers.clone()));
        }
        reply.to_vec().expect("a reply can be encoded")
    }
}
