//! The lease in a server's OFFER or ACK, validated: a peer wrote its bytes.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use crate::dhcp::message::{self, Message, OptionCode};

/// The most name servers that are used.
pub const DNS_SERVERS_MAX: usize = 4;

/// An infinite lease. (RFC 2131, section 3.3)
const INFINITE: u32 = u32::MAX;
/// The smallest useful MTU of IPv4. (RFC 791)
const MTU_MIN: u16 = 576;
/// The longest domain name in text, in octets. (RFC 1035, section 2.3.4)
const DOMAIN_OCTETS_MAX: usize = 253;

/// A lease that a server has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address with the prefix of its network.
    pub address: Ipv4Net,
    /// The router, inside of the prefix.
    pub router: Option<Ipv4Addr>,
    /// The name servers, the preferred first; at most [`DNS_SERVERS_MAX`].
    pub dns_servers: Vec<Ipv4Addr>,
    /// The domain, in lower case and without a trailing dot.
    pub domain: Option<String>,
    /// The largest IP packet in octets, at least 576.
    pub mtu: Option<u16>,
    /// The server.
    pub server: Ipv4Addr,
    /// The duration of the lease from its request on, at least 1; `u32::MAX` means infinite.
    pub lease_secs: u32,
}

impl Lease {
    /// Reads an OFFER or an ACK; `None` if an address, a mask, a server or a lease time is missing or invalid. Other
    /// invalid fields are left out.
    pub(super) fn from_message(message: &Message) -> Option<Self> {
        let mask = message::address_option(message, OptionCode::SubnetMask)?;
        let address = Ipv4Net::with_netmask(message.yiaddr(), mask).ok().filter(is_host)?;
        let lease_secs = message::secs_option(message, OptionCode::AddressLeaseTime)?;
        let server = message::address_option(message, OptionCode::ServerIdentifier)?;
        if lease_secs == 0 || !is_unicast(server) {
            return None;
        }
        let routers = message::addresses_option(message, OptionCode::Router).iter().copied();
        let dns_servers = message::addresses_option(message, OptionCode::DomainNameServer).iter().copied();
        let mut on_link = routers.filter(|router| is_router(&address, *router));
        Some(Self {
            address,
            router: on_link.next(),
            dns_servers: dns_servers.filter(|server| is_unicast(*server)).take(DNS_SERVERS_MAX).collect(),
            domain: message::text_option(message, OptionCode::DomainName).and_then(domain),
            mtu: message::u16_option(message, OptionCode::InterfaceMtu).filter(|mtu| *mtu >= MTU_MIN),
            server,
            lease_secs,
        })
    }
}

/// When a lease is to be renewed and rebound, and when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timers {
    /// T1
    pub renew: Instant,
    /// T2
    pub rebind: Instant,
    /// The expiry.
    pub expire: Instant,
}

impl Timers {
    /// The timers of a lease requested at `requested`. `fuzz`, from 0 to 1, moves T1 forward a little, so that clients
    /// that were started together do not stay synchronised. (RFC 2131, section 4.4.5)
    pub fn new(requested: Instant, message: &Message, lease_secs: u32, fuzz: f64) -> Self {
        if lease_secs == INFINITE {
            let never = Instant::FAR_FUTURE;
            return Self { renew: never, rebind: never, expire: never };
        }
        let lease = Duration::from_secs(lease_secs.into());
        let secs = |code| message::secs_option(message, code).map(|secs| Duration::from_secs(secs.into()));
        let told = secs(OptionCode::Renewal).zip(secs(OptionCode::Rebinding));
        let is_sane =
            |(renew, rebind): &(Duration, Duration)| !renew.is_zero() && renew < rebind && *rebind < lease;
        let (renew, rebind) = told.filter(is_sane).unwrap_or((lease / 2, lease / 8 * 7));
        let renew = renew - renew.mul_f64(fuzz.clamp(0.0, 1.0) / 32.0);
        Self { renew: requested + renew, rebind: requested + rebind, expire: requested + lease }
    }
}

fn is_unicast(address: Ipv4Addr) -> bool {
    // 0/8 and 127/8 are no hosts of a network, 224/4 is multicast, 240/4 is reserved (RFC 6890).
    let [first, ..] = address.octets();
    (1..224).contains(&first) && first != 127
}

fn is_host(address: &Ipv4Net) -> bool {
    // RFC 3021: two addresses have no room for a network and a broadcast address.
    let has_ends = address.prefix_len() <= 30;
    let is_end = address.addr() == address.network() || address.addr() == address.broadcast();
    address.prefix_len() > 0 && is_unicast(address.addr()) && !(has_ends && is_end)
}

fn is_router(own: &Ipv4Net, router: Ipv4Addr) -> bool {
    own.contains(&router) && router != own.addr() && is_unicast(router)
}

fn domain(text: &str) -> Option<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    Some(name).filter(|name| name.len() <= DOMAIN_OCTETS_MAX && name.split('.').all(is_label))
}
