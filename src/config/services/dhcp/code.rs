//! The contents of DHCP options by the types of their codes.

use std::net::Ipv4Addr;

use gatepost_services::dhcp::options::{Kind, Registered, Value, registered};
use ipnet::Ipv4Net;
use toml::de::DeValue;

use crate::config::address::{address, network};
use crate::config::diagnostic::{Problem, Report};
use crate::config::hex;
use crate::config::name::domain;
use crate::config::section::Section;
use crate::config::value::{Node, boolean, elements, integer, list, parsed, quoted};

/// The maximum number of elements of a list.
const LIST_MAX: usize = 64;
/// The maximum length of a content, in octets.
const OCTETS_MAX: usize = 1024;

/// The problem of setting the option `code`, if its content is not the administrator's to set.
pub(super) fn code_problem(code: u8) -> Option<Problem> {
    let Registered { name, kind } = registered(code);
    match kind {
        Kind::SetBy(key) => {
            let what = format!("option {code} ({name}) follows from another setting");
            Some(Problem::new(what, format!("write {key}")))
        }
        Kind::Decided => {
            let what = format!("option {code} ({name}) is for the server or its client to say");
            Some(Problem::new(what, "remove it"))
        }
        _ => None,
    }
}

/// Reads the content of `option` from its key `value`, which `read` understands, or from its key `hex`.
pub(super) fn value_or_hex<'a>(
    option: &mut Section<'a>,
    report: &'a Report,
    read: impl FnOnce(&'a Node<'a>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let value = option.setting("value", None, |node, _| read(node).map(Some));
    let octets = option.setting("hex", None, parsed(|text| hex(text).map(Some)));
    match (value.written(), octets.written()) {
        (Some((content, _)), None) | (None, Some((content, _))) => content.clone(),
        (Some(_), Some((_, span))) => {
            report.add(span, Problem::new("the option has both a value and hex", "remove one of them"));
            None
        }
        (None, None) => {
            if value.known().is_some() && octets.known().is_some() {
                let problem = Problem::new("the option has no value", "write value = ... or hex = \"...\"");
                report.add(option.span(), problem);
            }
            None
        }
    }
}

/// Reads the content of the option `code`; an empty list or text is empty.
pub(super) fn read_content<'a>(code: u8, node: &'a Node<'a>, report: &'a Report) -> Option<Vec<u8>> {
    let value = match registered(code).kind {
        Kind::Address => Value::Addresses(vec![parsed(any_address)(node, report)?]),
        Kind::Addresses => Value::Addresses(list(LIST_MAX, parsed(address))(node, report)?),
        Kind::AddressPairs => {
            let addresses = list(LIST_MAX, parsed(any_address))(node, report)?;
            if !addresses.len().is_multiple_of(2) {
                let what = format!("option {code} has addresses in pairs, and one is alone");
                report.add(node.span(), Problem::new(what, "write an even number of addresses"));
                return None;
            }
            Value::Addresses(addresses)
        }
        Kind::Text => Value::Text(parsed(text)(node, report)?),
        Kind::U8 => Value::U8(u8::try_from(integer(0..=u8::MAX.into())(node, report)?).ok()?),
        Kind::U16 => Value::U16(u16::try_from(integer(0..=u16::MAX.into())(node, report)?).ok()?),
        Kind::U32 => Value::U32(integer(0..=u32::MAX)(node, report)?),
        Kind::Flag => Value::U8(boolean(node, report)?.into()),
        Kind::Domains => Value::Domains(list(LIST_MAX, parsed(domain))(node, report)?),
        Kind::SipServers if begins_with_an_address(node) => {
            Value::SipAddresses(list(LIST_MAX, parsed(address))(node, report)?)
        }
        Kind::SipServers => Value::SipNames(list(LIST_MAX, parsed(domain))(node, report)?),
        Kind::Routes => Value::Routes(list(LIST_MAX, route)(node, report)?),
        Kind::VendorSpecific => Value::Encapsulated(list(LIST_MAX, vendor_option)(node, report)?),
        Kind::Unregistered => unregistered(node, report)?,
        Kind::Octets | Kind::SetBy(_) | Kind::Decided => {
            let what = format!("option {code} ({}) has no type that can be written", registered(code).name);
            report.add(node.span(), Problem::new(what, "write hex = \"...\" instead of value"));
            return None;
        }
    };
    Some(value.encode())
}

/// Octets in hexadecimal, with or without colons between them.
fn hex(text: &str) -> Result<Vec<u8>, Problem> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let pairs = digits.as_bytes().chunks(2);
    let octets = pairs.map(|pair| hex::octet(std::str::from_utf8(pair).ok()?));
    octets.collect::<Option<Vec<_>>>().filter(|octets| octets.len() <= OCTETS_MAX).ok_or_else(|| {
        let remedy =
            format!("write pairs of hexadecimal digits, {OCTETS_MAX} at most, such as \"0104c0a80109\"");
        Problem::new(format!("{} is no hexadecimal number of octets", quoted(text)), remedy)
    })
}

/// Whether one of the encoded `routes` is the default route.
pub(super) fn has_default_route(mut routes: &[u8]) -> bool {
    while let Some((prefix_len, rest)) = routes.split_first() {
        if *prefix_len == 0 {
            return true;
        }
        routes = rest.get(usize::from(prefix_len.div_ceil(8)) + 4..).unwrap_or_default();
    }
    false
}

fn text(text: &str) -> Result<String, Problem> {
    if text.contains('\0') || text.len() > OCTETS_MAX {
        let remedy = format!("write at most {OCTETS_MAX} octets without NUL");
        return Err(Problem::new(format!("{} is no text for an option", quoted(text)), remedy));
    }
    Ok(text.to_owned())
}

/// An address, a mask or a broadcast address.
fn any_address(text: &str) -> Result<Ipv4Addr, Problem> {
    text.parse().map_err(|_| {
        Problem::new(format!("{} is no IPv4 address", quoted(text)), "write one such as \"192.168.1.20\"")
    })
}

fn begins_with_an_address(node: &Node<'_>) -> bool {
    let DeValue::Array(them) = node.get_ref() else { return false };
    let first = them.first().and_then(|first| first.get_ref().as_str());
    first.is_some_and(|first| first.parse::<Ipv4Addr>().is_ok())
}

fn route<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<(Ipv4Net, Ipv4Addr)> {
    let mut route = Section::element(node, "the route", report)?;
    let to = route.required("to", "\"10.0.0.0/8\"", parsed(network));
    let via = route.required("via", "\"192.168.1.254\"", parsed(any_address));
    route.finish();
    Some((to?.0, via?.0))
}

/// A vendor-specific option within option 43. (RFC 2132, section 8.4)
fn vendor_option<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<(u8, Vec<u8>)> {
    let mut option = Section::element(node, "the vendor's option", report)?;
    // RFC 2132, section 8.4: 0 and 255 are pad and end, as outside of option 43.
    let code = option.required("code", "1", integer(1..=254));
    let read = |node| unregistered(node, report).map(|value| value.encode());
    let content = value_or_hex(&mut option, report, read);
    option.finish();
    Some((u8::try_from(code?.0).ok()?, content?))
}

/// A content without a registered type: text or addresses.
fn unregistered<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<Value> {
    match node.get_ref() {
        DeValue::String(_) => parsed(text)(node, report).map(Value::Text),
        DeValue::Array(_) if elements(node, LIST_MAX, report)?.iter().all(|it| it.get_ref().is_str()) => {
            list(LIST_MAX, parsed(any_address))(node, report).map(Value::Addresses)
        }
        _ => {
            let what = "nothing is known of this option's type";
            report.add(
                node.span(),
                Problem::new(what, "write a text, a list of addresses, or hex instead of value"),
            );
            None
        }
    }
}
