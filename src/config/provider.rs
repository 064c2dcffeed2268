//! What `[wan]` has for providers that expect a certain customer: hardware address, client identifier and more.

use gatepost_ground::MacAddr;

use super::WanDhcp;
use super::address::mac;
use super::diagnostic::{Problem, Report, Span};
use super::hex;
use super::section::Section;
use super::value::{Node, integer, list, quoted, unless_empty};

/// What fits one option. (RFC 2132, section 2)
const OCTETS_MAX: usize = 255;
/// The shortest client identifier. (RFC 2132, section 9.14)
const CLIENT_ID_OCTETS_MIN: usize = 2;
/// The most options that are requested beside the usual ones.
const REQUEST_OPTIONS_MAX: usize = 64;

/// The settings, and the place of the first that is for DHCP.
pub(super) struct ReadProvider {
    pub mac: Option<MacAddr>,
    pub dhcp_client: WanDhcp,
    pub dhcp_only: Option<(&'static str, Span)>,
}

pub(super) fn read(wan: &mut Section<'_>) -> ReadProvider {
    let mac = wan.setting("mac", None, unless_empty(mac));
    let client_id = wan.setting("client_id", None, unless_empty(client_id));
    let vendor_class = wan.setting("vendor_class", None, unless_empty(vendor_class));
    let request_options = wan.setting("request_options", Vec::new(), codes);
    let written = [
        ("client_id", client_id.written().and_then(|(id, span)| id.is_some().then_some(span))),
        ("vendor_class", vendor_class.written().and_then(|(class, span)| class.is_some().then_some(span))),
        (
            "request_options",
            request_options.written().and_then(|(codes, span)| (!codes.is_empty()).then_some(span)),
        ),
    ];
    ReadProvider {
        mac: mac.value,
        dhcp_only: written.into_iter().find_map(|(key, span)| Some((key, span?))),
        dhcp_client: WanDhcp {
            client_id: client_id.value,
            vendor_class: vendor_class.value,
            request_options: request_options.value,
        },
    }
}

/// Octets in hexadecimal, joined by colons; or a text, whose octets are the identifier.
fn client_id(text: &str) -> Result<Vec<u8>, Problem> {
    let octets = match hex::octets(text) {
        Some(octets) => octets,
        None => printable(text, "client identifier")?,
    };
    if (CLIENT_ID_OCTETS_MIN..=OCTETS_MAX).contains(&octets.len()) {
        return Ok(octets);
    }
    let what = format!("{} has {} octets", quoted(text), octets.len());
    let remedy = format!("write {CLIENT_ID_OCTETS_MIN} to {OCTETS_MAX}, such as \"01:02:00:00:00:00:20\"");
    Err(Problem::new(what, remedy))
}

fn vendor_class(text: &str) -> Result<String, Problem> {
    let octets = printable(text, "vendor class")?;
    if octets.len() <= OCTETS_MAX {
        return Ok(text.to_owned());
    }
    let what = format!("the vendor class has {} octets", octets.len());
    Err(Problem::new(what, format!("write at most {OCTETS_MAX}")))
}

fn printable(text: &str, what: &str) -> Result<Vec<u8>, Problem> {
    if text.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic()) {
        return Ok(text.as_bytes().to_vec());
    }
    let what = format!("{} is no {what}: it has characters other than printable ASCII", quoted(text));
    Err(Problem::new(what, "write it as the provider names it"))
}

/// Codes of options, each once.
fn codes<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<Vec<u8>> {
    let read = |node: &'a Node<'a>, report: &'a Report| {
        let code = u8::try_from(integer(1..=254)(node, report)?).ok()?;
        Some((code, node.span()))
    };
    let codes = list(REQUEST_OPTIONS_MAX, read)(node, report)?;
    let mut known = Vec::new();
    for (code, span) in codes {
        if known.contains(&code) {
            let what = format!("option {code} is requested twice");
            report.add(span, Problem::new(what, "remove one of them"));
            return None;
        }
        known.push(code);
    }
    Some(known)
}
