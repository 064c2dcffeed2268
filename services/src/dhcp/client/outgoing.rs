//! The client's messages and the frames that carry them. (RFC 2131, section 4.4 and table 5)

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::MacAddr;

use super::routes::CLASSLESS_ROUTES_PRIVATE;
use super::{Bound, Config, Lease};
use crate::dhcp::frame::{CLIENT_PORT, Datagram, SERVER_PORT};
use crate::dhcp::message::{self, DhcpOption, Flags, Message, MessageType, OptionCode};

/// The largest message that the client accepts, as an IP packet.
const MESSAGE_OCTETS_MAX: u16 = 1500;

/// RFC 3442: the classless routes come before the router.
const PARAMETERS: [OptionCode; 6] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
];

/// A transaction's identifier, and the time at which the client began to search for an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub xid: u32,
    pub secs: u16,
}

/// A DISCOVER, with `remembered` as the requested address.
pub(super) fn discover(config: &Config, transaction: Transaction, remembered: Option<Ipv4Addr>) -> Vec<u8> {
    let mut message = question(config, transaction, MessageType::Discover);
    if let Some(address) = remembered {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    }
    broadcast(config, &message)
}

/// A REQUEST that accepts `offer`.
pub(super) fn select(config: &Config, transaction: Transaction, offer: &Lease) -> Vec<u8> {
    let mut message = question(config, transaction, MessageType::Request);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.address.addr()));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(offer.server));
    broadcast(config, &message)
}

/// A REQUEST in INIT-REBOOT, which verifies the former `address`.
pub(super) fn verify(config: &Config, transaction: Transaction, address: Ipv4Addr) -> Vec<u8> {
    let mut message = question(config, transaction, MessageType::Request);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    broadcast(config, &message)
}

/// A unicast REQUEST for renewal.
pub(super) fn renew(config: &Config, transaction: Transaction, bound: &Bound) -> Vec<u8> {
    let mut message = question(config, transaction, MessageType::Request);
    message.set_ciaddr(bound.lease.address.addr());
    unicast(config, &message, bound)
}

/// A broadcast REQUEST for rebinding.
pub(super) fn rebind(config: &Config, transaction: Transaction, bound: &Bound) -> Vec<u8> {
    let mut message = question(config, transaction, MessageType::Request);
    message.set_ciaddr(bound.lease.address.addr());
    broadcast(config, &message)
}

/// A DECLINE: another host uses the address.
pub(super) fn decline(config: &Config, transaction: Transaction, lease: &Lease) -> Vec<u8> {
    let mut message = statement(config, transaction, MessageType::Decline);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(lease.address.addr()));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(lease.server));
    broadcast(config, &message)
}

/// A RELEASE.
pub(super) fn release(config: &Config, transaction: Transaction, bound: &Bound) -> Vec<u8> {
    let mut message = statement(config, transaction, MessageType::Release);
    message.set_ciaddr(bound.lease.address.addr());
    message.opts_mut().insert(DhcpOption::ServerIdentifier(bound.lease.server));
    unicast(config, &message, bound)
}

/// A message that requires an answer.
fn question(config: &Config, transaction: Transaction, kind: MessageType) -> Message {
    let mut message = statement(config, transaction, kind);
    if config.broadcast {
        message.set_flags(Flags::default().set_broadcast());
    }
    let mut parameters = PARAMETERS.to_vec();
    // Some servers send classless routes by this code alone, and only on request.
    for code in [CLASSLESS_ROUTES_PRIVATE].iter().chain(&config.request_options) {
        let code = OptionCode::from(*code);
        if !parameters.contains(&code) {
            parameters.push(code);
        }
    }
    message.opts_mut().insert(DhcpOption::ParameterRequestList(parameters));
    message.opts_mut().insert(DhcpOption::MaxMessageSize(MESSAGE_OCTETS_MAX));
    if let Some(class) = &config.vendor_class {
        message.opts_mut().insert(DhcpOption::ClassIdentifier(class.clone().into_bytes()));
    }
    if let Some(hostname) = &config.hostname {
        message.opts_mut().insert(DhcpOption::Hostname(hostname.clone()));
    }
    message
}

fn statement(config: &Config, transaction: Transaction, kind: MessageType) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(transaction.xid, none, none, none, none, &config.mac.0);
    message.set_secs(transaction.secs);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    if let Some(id) = &config.client_id {
        message.opts_mut().insert(DhcpOption::ClientIdentifier(id.clone()));
    }
    message
}

fn broadcast(config: &Config, message: &Message) -> Vec<u8> {
    frame(config, message, MacAddr::BROADCAST, Ipv4Addr::BROADCAST)
}

fn unicast(config: &Config, message: &Message, bound: &Bound) -> Vec<u8> {
    frame(config, message, bound.server_mac, bound.lease.server)
}

fn frame(config: &Config, message: &Message, mac: MacAddr, server: Ipv4Addr) -> Vec<u8> {
    let datagram = Datagram {
        source_mac: config.mac,
        destination_mac: mac,
        source: SocketAddrV4::new(message.ciaddr(), CLIENT_PORT),
        destination: SocketAddrV4::new(server, SERVER_PORT),
        payload: &message::encode(message),
    };
    datagram.to_frame().expect("shorter than a frame may be")
}
