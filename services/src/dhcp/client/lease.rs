//! The lease in a server's OFFER or ACK, validated: a peer wrote its bytes.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use super::remark::Reason;
use super::routes::{Route, Routes};
use super::taken::Taken;
use crate::addresses::overlap;
use crate::dhcp::message::{self, Message, OptionCode};

/// The most name servers that are used.
pub const DNS_SERVERS_MAX: usize = 4;

/// The duration of a lease whose server tells none, in seconds: that of busybox's client.
const LEASE_SECS_ASSUMED: u32 = 3600;
/// The prefix length that is assumed if a server tells a router and no mask. Everything is reached by the router then,
/// which is right in a network of any size.
const HOST_PREFIX_LEN: u8 = 32;

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
    /// The router of the default route: a neighbour, even if it is outside of the prefix.
    pub router: Option<Ipv4Addr>,
    /// Further routes; at most [`ROUTES_MAX`](super::ROUTES_MAX).
    pub routes: Vec<Route>,
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

/// The network of a lease, or its router, that overlaps one of `taken`, and that one. (RFC 4787, REQ-7)
fn overlapping(address: Ipv4Net, router: Option<Ipv4Addr>, taken: &[Ipv4Net]) -> Option<(Ipv4Net, Ipv4Net)> {
    let used = [Some(address), router.map(Ipv4Net::from)].into_iter().flatten();
    used.flat_map(|used| taken.iter().map(move |own| (used, *own))).find(|(used, own)| overlap(*used, *own))
}

impl Lease {
    /// Whether the lease overlaps one of `taken`, the networks of other interfaces.
    pub fn overlaps(&self, taken: &Taken) -> bool {
        overlapping(self.address, self.router, &taken.networks()).is_some()
    }

    /// Whether a client with the networks `taken` on other interfaces can use the lease as it is: it does not overlap
    /// them, and has no route into them.
    pub fn suits(&self, taken: &Taken) -> bool {
        let leads_there = |route: &Route| taken.networks().iter().any(|taken| taken.contains(&route.to));
        !self.overlaps(taken) && !self.routes.iter().any(leads_there)
    }

    /// Reads an OFFER or an ACK. `taken` are the networks of other interfaces, which the lease must not overlap. Some
    /// servers leave out the lease time or the mask: then values are assumed, which `remarks` tell with what else of
    /// the lease is not used. Other invalid fields are left out.
    ///
    /// # Errors
    ///
    /// Why the lease is refused: an address, a mask, a server or a lease time is invalid.
    pub(super) fn from_message(
        message: &Message,
        taken: &[Ipv4Net],
        remarks: &mut Vec<Reason>,
    ) -> Result<Self, Reason> {
        let server = message::address_option(message, OptionCode::ServerIdentifier);
        let server = server.filter(|server| is_unicast(*server)).ok_or(Reason::NoServer)?;
        let mask = message::address_option(message, OptionCode::SubnetMask);
        let address = match mask {
            Some(mask) => Ipv4Net::with_netmask(message.yiaddr(), mask)
                .ok()
                .filter(|address| address.prefix_len() > 0)
                .ok_or(Reason::BadMask(mask))?,
            None => Ipv4Net::new_assert(message.yiaddr(), HOST_PREFIX_LEN),
        };
        let mut routes = Routes::from_message(message, address, taken, remarks);
        let address = match mask {
            None if routes.router.is_none() => of_class(message.yiaddr()),
            _ => address,
        };
        if mask.is_none() {
            remarks.push(Reason::MaskAssumed(address));
        }
        if !is_host(&address) {
            return Err(Reason::NoHost(address));
        }
        let router = routes.router.take();
        if let Some((used, own)) = overlapping(address, router, taken) {
            return Err(Reason::Overlaps(used, own));
        }
        let lease_secs = message::secs_option(message, OptionCode::AddressLeaseTime);
        if lease_secs.is_none() {
            remarks.push(Reason::TimeAssumed(LEASE_SECS_ASSUMED));
        }
        let lease_secs = lease_secs.unwrap_or(LEASE_SECS_ASSUMED);
        if lease_secs == 0 {
            return Err(Reason::NoTime);
        }
        let dns_servers = message::addresses_option(message, OptionCode::DomainNameServer).iter().copied();
        Ok(Self {
            address,
            router,
            routes: routes.others,
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
        let (half, most) = (lease / 2, lease / 8 * 7);
        let told = (secs(OptionCode::Renewal).unwrap_or(half), secs(OptionCode::Rebinding).unwrap_or(most));
        let is_sane = !told.0.is_zero() && told.0 < told.1 && told.1 < lease;
        let (renew, rebind) = if is_sane { told } else { (half, most) };
        let renew = renew - renew.mul_f64(fuzz.clamp(0.0, 1.0) / 32.0);
        Self { renew: requested + renew, rebind: requested + rebind, expire: requested + lease }
    }
}

pub(super) fn is_unicast(address: Ipv4Addr) -> bool {
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

/// The address with the prefix of its class. (RFC 791, section 3.2)
fn of_class(address: Ipv4Addr) -> Ipv4Net {
    let [first, ..] = address.octets();
    let prefix_len = match first {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    };
    Ipv4Net::new_assert(address, prefix_len)
}

fn domain(text: &str) -> Option<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    Some(name).filter(|name| name.len() <= DOMAIN_OCTETS_MAX && name.split('.').all(is_label))
}
