//! IPv4 addresses, prefixes and port ranges as text, and the host addresses of a prefix.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;

use super::diagnostic::Problem;
use super::value::quoted;

/// An address that a host can have.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, Problem> {
    let remedy = "write an IPv4 address such as \"192.168.1.20\"";
    let address: Ipv4Addr = text.parse().map_err(|_| {
        let what = if text.parse::<Ipv6Addr>().is_ok() {
            format!("{} is an IPv6 address, which this version does not have", quoted(text))
        } else {
            format!("{} is no IPv4 address", quoted(text))
        };
        Problem::new(what, remedy)
    })?;
    if is_unicast(address) {
        Ok(address)
    } else {
        Err(Problem::new(format!("{} is no address of a host", quoted(text)), remedy))
    }
}

/// An address with the prefix of its segment, which is between `lengths`.
pub(super) fn interface_address(text: &str, lengths: RangeInclusive<u8>) -> Result<Ipv4Net, Problem> {
    if let Ok(bare) = text.parse::<Ipv4Addr>() {
        let what = format!("{} has no prefix length", quoted(text));
        return Err(Problem::new(what, format!("write {}", quoted(format_args!("{bare}/24")))));
    }
    let interface: Ipv4Net = text.parse().map_err(|_| {
        let what = format!("{} is no IPv4 address with a prefix length", quoted(text));
        Problem::new(what, "write one such as \"192.168.1.1/24\"")
    })?;
    if !lengths.contains(&interface.prefix_len()) {
        let what = format!("a prefix length of {} is out of range", interface.prefix_len());
        let remedy = format!("write one from {} to {}", lengths.start(), lengths.end());
        return Err(Problem::new(what, remedy));
    }
    if !is_unicast(interface.addr()) || !is_host_of(interface, interface.addr()) {
        let what = format!("{} is no address of a host", quoted(text));
        let first_host = ipv4(u32::from(interface.network()).saturating_add(1));
        let host = if is_unicast(first_host) { first_host } else { Ipv4Addr::new(192, 168, 1, 1) };
        let remedy = format!("write a host's, such as \"{host}/{}\"", interface.prefix_len());
        return Err(Problem::new(what, remedy));
    }
    Ok(interface)
}

/// A network: a prefix without host bits.
pub(super) fn network(text: &str) -> Result<Ipv4Net, Problem> {
    if let Ok(bare) = text.parse::<Ipv4Addr>() {
        let what = format!("{} has no prefix length", quoted(text));
        return Err(Problem::new(what, format!("write \"{bare}/32\" for this one address")));
    }
    let network: Ipv4Net = text.parse().map_err(|_| {
        let what = format!("{} is no IPv4 network", quoted(text));
        Problem::new(what, "write one such as \"203.0.113.0/24\", or \"0.0.0.0/0\" for all")
    })?;
    if network != network.trunc() {
        let what = format!("{} names a host in a network", quoted(text));
        return Err(Problem::new(what, format!("write \"{}\"", network.trunc())));
    }
    Ok(network)
}

/// A hardware address that a host can have.
pub(super) fn mac(text: &str) -> Result<MacAddr, Problem> {
    let remedy = match colons_for(text) {
        Some(meant) => format!("write {}", quoted(meant)),
        None => "write one such as \"02:00:00:00:00:20\"".to_owned(),
    };
    let is_octet = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mac = text.split(':').all(is_octet).then(|| text.parse::<MacAddr>().ok()).flatten();
    let Some(mac) = mac else {
        return Err(Problem::new(format!("{} is no hardware address", quoted(text)), remedy));
    };
    if mac.is_multicast() || mac == MacAddr::ZERO {
        let what = format!("{} is no hardware address of a host", quoted(text));
        return Err(Problem::new(what, "write one such as \"02:00:00:00:00:20\""));
    }
    Ok(mac)
}

/// The correct form of a hardware address that is written with other separators, or none.
fn colons_for(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | '.' | ':' | ' ')).collect();
    let is_meant = digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let pairs: Vec<_> = digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    is_meant.then(|| pairs.join(":").to_ascii_lowercase())
}

/// Whether `network` is in a private or shared address range. (RFC 1918; RFC 6598)
pub(super) fn is_private(network: Ipv4Net) -> bool {
    [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)]
        .into_iter()
        .any(|(address, len)| Ipv4Net::new_assert(address.into(), len).contains(&network))
}

/// A port other than 0.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Whether `address` is in `prefix` and neither its network nor its broadcast address.
/// A /31 has neither. (RFC 3021)
pub(super) fn is_host_of(prefix: Ipv4Net, address: Ipv4Addr) -> bool {
    let is_reserved = address == prefix.network() || address == prefix.broadcast();
    prefix.contains(&address) && (prefix.prefix_len() >= 31 || !is_reserved)
}

/// Checks that `address` is a host of the LAN other than the gateway itself, whose address is `lan`.
pub(super) fn check_lan_host(lan: Ipv4Net, address: Ipv4Addr) -> Result<(), Problem> {
    if address == lan.addr() {
        let what = format!("{address} is the gateway itself");
        return Err(Problem::new(what, format!("write another host of the LAN {}", lan.trunc())));
    }
    check_host_of("LAN", lan, address)
}

/// Checks that `address` is a host of `prefix`, which is called `name`.
pub(super) fn check_host_of(name: &str, prefix: Ipv4Net, address: Ipv4Addr) -> Result<(), Problem> {
    if is_host_of(prefix, address) {
        return Ok(());
    }
    let what = if prefix.contains(&address) {
        format!("{address} is no host of the {name} {}", prefix.trunc())
    } else {
        format!("{address} is not in the {name} {}", prefix.trunc())
    };
    let (first, last) = hosts(prefix);
    Err(Problem::new(what, format!("write an address from {first} to {last}")))
}

/// The first and the last host of `prefix`.
pub(super) fn hosts(prefix: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let (network, broadcast) = (prefix.network(), prefix.broadcast());
    if prefix.prefix_len() >= 31 {
        (network, broadcast)
    } else {
        (ipv4(u32::from(network) + 1), ipv4(u32::from(broadcast) - 1))
    }
}

/// Whether a host can have `address`: not "this network", loopback, multicast or reserved.
/// (RFC 1122, section 3.2.1.3)
fn is_unicast(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..=255)
}

fn ipv4(bits: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(bits)
}
