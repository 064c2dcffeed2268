//! The server's answers: their content and destination. (RFC 2131, section 4.3 and table 3)

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost_ground::MacAddr;

use super::Request;
use super::config::Config;
use super::parameters::Layers;
use crate::dhcp::frame::{CLIENT_PORT, Datagram, SERVER_PORT};
use crate::dhcp::layout::Layout;
use crate::dhcp::message::{self, DhcpOption, FILE, Message, MessageType, Opcode, OptionCode, SNAME};
use crate::dhcp::{hostname, options};

/// The longest message that every client accepts, as an IP packet. (RFC 2131, section 2)
const MESSAGE_OCTETS_MIN: u16 = 576;
/// The capacity of one Ethernet frame.
const MESSAGE_OCTETS_MAX: u16 = 1500;
/// The length of a BOOTP message, as a UDP payload. (RFC 951, section 3)
const BOOTP_OCTETS: usize = 300;
/// Octets of the IP and UDP headers.
const IP_UDP_LEN: u16 = 28;

/// The options for a client without a parameter request list, besides the configured ones.
const PARAMETERS_UNASKED: [OptionCode; 5] = [
    OptionCode::SubnetMask,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
];

/// The first options of an answer.
const FIRST: [OptionCode; 6] = [
    OptionCode::MessageType,
    OptionCode::ServerIdentifier,
    OptionCode::AddressLeaseTime,
    OptionCode::Renewal,
    OptionCode::Rebinding,
    OptionCode::ClientIdentifier,
];

/// The options that, besides those of [`FIRST`], are not left out of a message that is too long for its client.
const KEPT: [OptionCode; 4] = [
    OptionCode::SubnetMask,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::ClasslessStaticRoute,
];

/// The prefixes of the vendor classes of network boot. (RFC 4578, section 3; UEFI 2.10, section 24.7.3.1)
const PXE_CLIENT: &[u8] = b"PXEClient";
const HTTP_CLIENT: &[u8] = b"HTTPClient";

/// An answer with its layout and destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// The order of its options, and its maximum size.
    pub layout: Layout,
    /// The server's address, from which it is sent.
    pub source: Ipv4Addr,
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
    /// The answer as a frame from the hardware address `mac`.
    pub fn to_frame(&self, mac: MacAddr) -> Option<Vec<u8>> {
        let datagram = Datagram {
            source_mac: mac,
            destination_mac: self.destination.mac,
            source: SocketAddrV4::new(self.source, SERVER_PORT),
            destination: self.destination.address,
            payload: &self.layout.encode(&self.message),
        };
        datagram.to_frame()
    }
}

/// The parameters of one client.
pub(super) struct Terms<'a> {
    /// Parameters that follow from the network.
    pub config: &'a Config,
    /// Parameters that the administrator has set, which take precedence.
    pub layers: Layers<'a>,
}

/// An OFFER or an ACK of an address for `lease_secs` seconds, with the client's host name `name`.
pub(super) fn lease(
    terms: &Terms<'_>,
    request: &Request<'_>,
    kind: MessageType,
    (address, lease_secs): (Ipv4Addr, u32),
    name: Option<&str>,
) -> Reply {
    let mut message = answer(terms.config, request, kind);
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
    let order = terms.tell(request, name, &mut message);
    if let Some(fqdn) = message::raw_option(request.message, OptionCode::ClientFQDN) {
        let answer = hostname::fqdn_answer(fqdn, name, &terms.config.domain);
        message.opts_mut().insert(message::raw(OptionCode::ClientFQDN, answer));
    }
    laid_out(terms.config, request, message, order, destination(request, address))
}

/// A reply to a BOOTP client, with `address` and the client's host name `name`. It has no options of DHCP's own, and is
/// no longer than every client accepts. (RFC 951, section 3; RFC 1542, section 2.1)
pub(super) fn bootp(
    terms: &Terms<'_>,
    request: &Request<'_>,
    address: Ipv4Addr,
    name: Option<&str>,
) -> Reply {
    let mut message = answer(terms.config, request, MessageType::Ack);
    for code in [OptionCode::MessageType, OptionCode::ServerIdentifier] {
        message.opts_mut().remove(code);
    }
    message.clear_sname();
    message.set_yiaddr(address);
    terms.tell(request, name, &mut message);
    if let Some(name) = terms.parameter(name, OptionCode::Hostname) {
        message.opts_mut().insert(name);
    }
    let kept = [&KEPT[..], &[OptionCode::Hostname, OptionCode::RelayAgentInformation]].concat();
    let told: Vec<_> = message.opts().iter().map(|(code, _)| *code).collect();
    let mut dispensable: Vec<_> = told.into_iter().filter(|code| !kept.contains(code)).collect();
    while Layout::BY_CODE.encode(&message).len() > BOOTP_OCTETS {
        let Some(code) = dispensable.pop() else { break };
        message.opts_mut().remove(code);
    }
    let source = terms.config.server_address;
    Reply { message, layout: Layout::BY_CODE, source, destination: destination(request, address) }
}

/// An ACK without a lease, for a client that sent an INFORM.
// RFC 2131, section 4.3.5: unicast to the client, neither yiaddr nor lease times.
pub(super) fn parameters(terms: &Terms<'_>, request: &Request<'_>) -> Reply {
    let mut message = answer(terms.config, request, MessageType::Ack);
    message.set_ciaddr(request.message.ciaddr());
    let order = terms.tell(request, None, &mut message);
    let is_relayed = !request.message.giaddr().is_unspecified();
    let mac = if is_relayed { request.origin.mac } else { request.client.mac };
    let address = SocketAddrV4::new(request.message.ciaddr(), CLIENT_PORT);
    laid_out(terms.config, request, message, order, Destination { mac, address })
}

/// A NAK with the reason `why`.
pub(super) fn nak(config: &Config, request: &Request<'_>, why: &str) -> Reply {
    tracing::debug!(client = %request.client.key, why, "refused");
    let mut message = answer(config, request, MessageType::Nak);
    message.opts_mut().insert(DhcpOption::Message(why.to_owned()));
    if request.message.giaddr().is_unspecified() {
        return laid_out(config, request, message, Vec::new(), BROADCAST);
    }
    // RFC 2131, section 4.3.2: the relay agent broadcasts it, for the client's address is wrong.
    message.set_flags(request.message.flags().set_broadcast());
    laid_out(config, request, message, Vec::new(), destination(request, Ipv4Addr::UNSPECIFIED))
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

impl Terms<'_> {
    /// Adds the requested options and those of the client's reservation and matches; returns their order. A client
    /// without a parameter request list gets all options that are set.
    fn tell(&self, request: &Request<'_>, name: Option<&str>, message: &mut Message) -> Vec<OptionCode> {
        let mut order: Vec<OptionCode> = match request.message.opts().get(OptionCode::ParameterRequestList) {
            Some(DhcpOption::ParameterRequestList(codes)) => codes.clone(),
            _ => {
                let set = self.layers.general_codes().map(OptionCode::from);
                PARAMETERS_UNASKED.into_iter().chain(set).collect()
            }
        };
        // Without the mask a client cannot use the rest.
        order.push(OptionCode::SubnetMask);
        order.extend(self.layers.particular_codes().map(OptionCode::from));
        for code in &order {
            if let Some(option) = self.parameter(name, *code) {
                message.opts_mut().insert(option);
            }
        }
        order.extend(self.boot(request, message));
        order
    }

    /// Fills the fields `siaddr`, `sname` and `file`, which boot loaders read, and adds the options of network boot.
    /// Returns the option that the client wants besides.
    fn boot(&self, request: &Request<'_>, message: &mut Message) -> Option<OptionCode> {
        message.set_siaddr(self.layers.next_server().unwrap_or(Ipv4Addr::UNSPECIFIED));
        let server_name = self.layers.option(options::TFTP_SERVER_NAME).filter(|name| !name.is_empty());
        if let Some(name) = server_name.filter(|name| name.len() < SNAME.len()) {
            message.set_sname(name);
        }
        let file = self.layers.boot_file()?;
        if file.len() < FILE.len() {
            message.set_fname(file);
        } else {
            message.opts_mut().insert(message::raw(OptionCode::BootfileName, file.to_vec()));
        }
        let class = message::raw_option(request.message, OptionCode::ClassIdentifier).unwrap_or_default();
        let is_http = class.starts_with(HTTP_CLIENT);
        let uuid = request.message.opts().get(OptionCode::ClientMachineIdentifier);
        if let Some(uuid) = uuid.filter(|_| is_http || class.starts_with(PXE_CLIENT)) {
            // RFC 4578, section 2.3: all packets of both sides have the identifier.
            message.opts_mut().insert(uuid.clone());
        }
        // UEFI 2.10, section 24.7.3.1: HTTP boot uses only offers of this class.
        if is_http && is_url(file) && self.layers.option(options::VENDOR_CLASS).is_none() {
            let class = message::raw(OptionCode::ClassIdentifier, HTTP_CLIENT.to_vec());
            message.opts_mut().insert(class);
        }
        Some(OptionCode::ClassIdentifier)
    }

    fn parameter(&self, name: Option<&str>, code: OptionCode) -> Option<DhcpOption> {
        if let Some(content) = self.layers.option(code.into()) {
            return (!content.is_empty()).then(|| message::raw(code, content.to_vec()));
        }
        let config = self.config;
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
            OptionCode::TFTPServerName => {
                let server = self.layers.next_server()?;
                Some(message::raw(code, server.to_string().into_bytes()))
            }
            _ => None,
        }
    }
}

/// Whether a boot file is a URL of HTTP or HTTPS.
fn is_url(file: &[u8]) -> bool {
    let begins = |scheme: &[u8]| file.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    begins(b"http://") || begins(b"https://")
}

/// The answer with its options in the order of the client's request, within the client's maximum size. Options that do
/// not fit are left out, the last first.
// RFC 2132, sections 9.8 and 9.10.
fn laid_out(
    config: &Config,
    request: &Request<'_>,
    mut message: Message,
    wanted: Vec<OptionCode>,
    destination: Destination,
) -> Reply {
    let asked =
        message::u16_option(request.message, OptionCode::MaxMessageSize).unwrap_or(MESSAGE_OCTETS_MIN);
    let octets_max = usize::from(asked.clamp(MESSAGE_OCTETS_MIN, MESSAGE_OCTETS_MAX) - IP_UDP_LEN);
    let mut order = FIRST.map(u8::from).to_vec();
    let told = message.opts().iter().map(|(code, _)| *code);
    // RFC 2132, section 3.3: the mask comes before the router, in whatever order they are requested.
    let mask_before = |code| (code == OptionCode::Router).then_some(OptionCode::SubnetMask);
    let told = wanted.into_iter().chain(told).flat_map(|code| mask_before(code).into_iter().chain([code]));
    for code in told {
        if !order.contains(&code.into()) && message.opts().contains(code) {
            order.push(code.into());
        }
    }
    let kept = FIRST.into_iter().chain(KEPT).chain([OptionCode::RelayAgentInformation]);
    let kept: Vec<u8> = kept.map(u8::from).collect();
    let mut layout = Layout { order, octets_max };
    while layout.encode(&message).len() > octets_max {
        let Some(least) = layout.order.iter().rposition(|code| !kept.contains(code)) else { break };
        message.opts_mut().remove(layout.order.remove(least).into());
    }
    Reply { message, layout, source: config.server_address, destination }
}
