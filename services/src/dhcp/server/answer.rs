//! The server's answers: their content and destination. (RFC 2131, section 4.3 and table 3)

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::MacAddr;

use super::Request;
use super::config::Config;
use crate::dhcp::frame::{CLIENT_PORT, Datagram, SERVER_PORT};
use crate::dhcp::hostname;
use crate::dhcp::message::{self, DhcpOption, Message, MessageType, Opcode, OptionCode};

/// The longest message that every client accepts, as an IP packet. (RFC 2131, section 2)
const MESSAGE_OCTETS_MIN: u16 = 576;
/// The capacity of one Ethernet frame.
const MESSAGE_OCTETS_MAX: u16 = 1500;
/// Octets of the IP and UDP headers.
const IP_UDP_LEN: u16 = 28;

/// The options for a client without a parameter request list.
const PARAMETERS_UNASKED: [OptionCode; 5] = [
    OptionCode::SubnetMask,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
];

/// The options that are left out, in this order, of a message that is too long for its client.
const EXPENDABLE: [OptionCode; 6] = [
    OptionCode::ClientFQDN,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::NtpServers,
    OptionCode::BroadcastAddr,
    OptionCode::InterfaceMtu,
];

/// An answer with its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// Its destination.
    pub destination: Destination,
}

/// The destination of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The frame's destination.
    pub mac: MacAddr,
    /// The datagram's destination.
    pub address: SocketAddrV4,
}

impl Reply {
    /// The answer as a frame from the hardware address `mac` and the address `server`.
    pub fn to_frame(&self, mac: MacAddr, server: Ipv4Addr) -> Option<Vec<u8>> {
        let datagram = Datagram {
            source_mac: mac,
            destination_mac: self.destination.mac,
            source: SocketAddrV4::new(server, SERVER_PORT),
            destination: self.destination.address,
            payload: &message::encode(&self.message),
        };
        datagram.to_frame()
    }
}

/// An OFFER or an ACK of an address for `lease_secs` seconds, with the client's host name `name`.
pub(super) fn lease(
    config: &Config,
    request: &Request<'_>,
    kind: MessageType,
    (address, lease_secs): (Ipv4Addr, u32),
    name: Option<&str>,
) -> Reply {
    let mut message = answer(config, request, kind);
    message.set_yiaddr(address);
    if kind == MessageType::Ack {
        message.set_ciaddr(request.message.ciaddr());
    }
    message.opts_mut().insert(DhcpOption::AddressLeaseTime(lease_secs));
    // RFC 2131, section 4.4.5: T1 is half of the lease, T2 seven eighths, and T1 < T2 < the lease. The remaining time
    // of a lease can be too short for that.
    let (renew, rebind) = (lease_secs / 2, lease_secs - (lease_secs / 8).max(1));
    if 0 < renew && renew < rebind {
        message.opts_mut().insert(DhcpOption::Renewal(renew));
        message.opts_mut().insert(DhcpOption::Rebinding(rebind));
    }
    add_parameters(config, request, name, &mut message);
    if let Some(fqdn) = message::raw_option(request.message, OptionCode::ClientFQDN) {
        let answer = hostname::fqdn_answer(fqdn, name, &config.domain);
        message.opts_mut().insert(message::raw(OptionCode::ClientFQDN, answer));
    }
    cut_to_size(request, &mut message);
    let destination = destination(request, address);
    Reply { message, destination }
}

/// An ACK without a lease, for a client that sent an INFORM.
// RFC 2131, section 4.3.5: unicast to the client, neither yiaddr nor lease times.
pub(super) fn parameters(config: &Config, request: &Request<'_>) -> Reply {
    let mut message = answer(config, request, MessageType::Ack);
    message.set_ciaddr(request.message.ciaddr());
    add_parameters(config, request, None, &mut message);
    cut_to_size(request, &mut message);
    let is_relayed = !request.message.giaddr().is_unspecified();
    let mac = if is_relayed { request.origin.mac } else { request.client.mac };
    let address = SocketAddrV4::new(request.message.ciaddr(), CLIENT_PORT);
    Reply { message, destination: Destination { mac, address } }
}

/// A NAK with the reason `why`.
pub(super) fn nak(config: &Config, request: &Request<'_>, why: &str) -> Reply {
    tracing::debug!(client = %request.client.key, why, "refused");
    let mut message = answer(config, request, MessageType::Nak);
    message.opts_mut().insert(DhcpOption::Message(why.to_owned()));
    if request.message.giaddr().is_unspecified() {
        return Reply { message, destination: BROADCAST };
    }
    // RFC 2131, section 4.3.2: the relay agent broadcasts it, for the client's address is wrong.
    message.set_flags(request.message.flags().set_broadcast());
    Reply { message, destination: destination(request, Ipv4Addr::UNSPECIFIED) }
}

const BROADCAST: Destination =
    Destination { mac: MacAddr::BROADCAST, address: SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT) };

// RFC 2131, section 4.1.
fn destination(request: &Request<'_>, yiaddr: Ipv4Addr) -> Destination {
    let message = request.message;
    if !message.giaddr().is_unspecified() {
        let address = SocketAddrV4::new(message.giaddr(), SERVER_PORT);
        return Destination { mac: request.origin.mac, address };
    }
    let unicast =
        |address| Destination { mac: request.client.mac, address: SocketAddrV4::new(address, CLIENT_PORT) };
    if !message.ciaddr().is_unspecified() {
        unicast(message.ciaddr())
    } else if message.flags().broadcast() {
        BROADCAST
    } else {
        unicast(yiaddr)
    }
}

/// The fields common to all answers: xid, flags, giaddr and chaddr are the request's.
fn answer(config: &Config, request: &Request<'_>, kind: MessageType) -> Message {
    let mut message = request.message.clone();
    message.set_opcode(Opcode::BootReply).set_hops(0).set_secs(0);
    message.set_ciaddr(Ipv4Addr::UNSPECIFIED).set_yiaddr(Ipv4Addr::UNSPECIFIED);
    message.set_siaddr(Ipv4Addr::UNSPECIFIED);
    // RFC 6842, section 3, and RFC 3046, section 2.2: these two are returned unchanged.
    let returned = [OptionCode::ClientIdentifier, OptionCode::RelayAgentInformation];
    let returned = returned.map(|code| message.opts_mut().remove(code));
    message.set_opts(returned.into_iter().flatten().collect());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message.opts_mut().insert(DhcpOption::ServerIdentifier(config.server_address));
    message
}

fn add_parameters(config: &Config, request: &Request<'_>, name: Option<&str>, message: &mut Message) {
    let asked = match request.message.opts().get(OptionCode::ParameterRequestList) {
        Some(DhcpOption::ParameterRequestList(codes)) => codes.as_slice(),
        _ => &PARAMETERS_UNASKED,
    };
    // Without the mask a client cannot use the rest.
    for code in asked.iter().chain(&[OptionCode::SubnetMask]) {
        if let Some(option) = parameter(config, name, *code) {
            message.opts_mut().insert(option);
        }
    }
}

fn parameter(config: &Config, name: Option<&str>, code: OptionCode) -> Option<DhcpOption> {
    let some = |addresses: &[Ipv4Addr]| (!addresses.is_empty()).then(|| addresses.to_vec());
    match code {
        OptionCode::SubnetMask => Some(DhcpOption::SubnetMask(config.prefix.netmask())),
        OptionCode::Router => config.router.map(|router| DhcpOption::Router(vec![router])),
        OptionCode::DomainNameServer => some(&config.dns_servers).map(DhcpOption::DomainNameServer),
        OptionCode::Hostname => name.map(|name| DhcpOption::Hostname(name.to_owned())),
        OptionCode::DomainName if config.domain.is_empty() => None,
        OptionCode::DomainName => Some(DhcpOption::DomainName(config.domain.clone())),
        OptionCode::InterfaceMtu => config.mtu.map(DhcpOption::InterfaceMtu),
        OptionCode::BroadcastAddr => Some(DhcpOption::BroadcastAddr(config.prefix.broadcast())),
        OptionCode::NtpServers => some(&config.ntp_servers).map(DhcpOption::NtpServers),
        _ => None,
    }
}

// RFC 2132, section 9.10.
fn cut_to_size(request: &Request<'_>, message: &mut Message) {
    let asked =
        message::u16_option(request.message, OptionCode::MaxMessageSize).unwrap_or(MESSAGE_OCTETS_MIN);
    let octets_max = asked.clamp(MESSAGE_OCTETS_MIN, MESSAGE_OCTETS_MAX) - IP_UDP_LEN;
    for code in EXPENDABLE {
        if message::encode(message).len() <= octets_max.into() {
            return;
        }
        message.opts_mut().remove(code);
    }
}
