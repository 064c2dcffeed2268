//! `[[dhcp.match]]`: parameters for the clients that meet criteria.

use gatepost_services::dhcp::server::{Criteria, Match, Pattern};

use super::parameters::{self, For, ReadParameters};
use crate::config::diagnostic::{Problem, Report};
use crate::config::hex;
use crate::config::section::Section;
use crate::config::value::{Node, integer, parsed, quoted};

/// The maximum number of matches: each message is compared with all of them.
const MATCHES_MAX: usize = 64;
/// The maximum length of a class: the content of one option.
const CLASS_OCTETS_MAX: usize = 255;
/// The octets of a hardware address.
const MAC_OCTETS: usize = 6;

/// A match, and the places of its parameters.
pub(super) struct ReadMatch {
    criteria: Criteria,
    pub read: ReadParameters,
}

impl ReadMatch {
    pub fn into_match(self) -> Match {
        Match { criteria: self.criteria, parameters: self.read.parameters }
    }
}

/// Reads the matches of `[dhcp]`, in their order.
pub(super) fn read(dhcp: &mut Section<'_>, report: &Report) -> Vec<ReadMatch> {
    let nodes = dhcp.elements("match", MATCHES_MAX);
    let matches: Vec<_> = nodes.iter().filter_map(|node| read_match(node, report)).collect();
    check_order(&matches, report);
    matches
}

fn read_match<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<ReadMatch> {
    let mut section = Section::element(node, "the match", report)?;
    let vendor_class = section.setting("vendor_class", None, parsed(|text| pattern(text).map(Some)));
    let user_class = section.setting("user_class", None, parsed(|text| pattern(text).map(Some)));
    let architecture = section
        .setting("architecture", None, |node, report| integer(0..=u16::MAX.into())(node, report).map(Some));
    let prefix = section.setting("mac_prefix", None, parsed(|text| mac_prefix(text).map(Some)));
    let read = parameters::read(&mut section, For::Some, report);
    let are_known = vendor_class.known().is_some()
        && user_class.known().is_some()
        && architecture.known().is_some()
        && prefix.known().is_some();
    let criteria = Criteria {
        vendor_class: vendor_class.value,
        user_class: user_class.value,
        architecture: architecture.value.and_then(|number| u16::try_from(number).ok()),
        mac_prefix: prefix.value,
    };
    if are_known && criteria == Criteria::default() {
        let what = "the match is for nobody";
        let remedy = "write vendor_class, user_class, architecture or mac_prefix";
        section.report(section.span(), Problem::new(what, remedy));
    }
    section.finish();
    are_known.then_some(ReadMatch { criteria, read })
}

/// A text, or a prefix and `*`.
fn pattern(text: &str) -> Result<Pattern, Problem> {
    let prefix = text.strip_suffix('*');
    let fixed = prefix.unwrap_or(text);
    if text.is_empty() || fixed.len() > CLASS_OCTETS_MAX || fixed.contains(['*', '\0']) {
        let what = format!("{} is no class of clients", quoted(text));
        return Err(Problem::new(
            what,
            "write the whole of it, or its beginning and \"*\", such as \"PXEClient*\"",
        ));
    }
    Ok(Pattern { text: fixed.to_owned(), is_prefix: prefix.is_some() })
}

/// The first octets of hardware addresses, in hexadecimal and joined by colons.
fn mac_prefix(text: &str) -> Result<Vec<u8>, Problem> {
    hex::octets(text).filter(|octets| octets.len() <= MAC_OCTETS).ok_or_else(|| {
        let what = format!("{} is no beginning of a hardware address", quoted(text));
        Problem::new(what, format!("write 1 to {MAC_OCTETS} octets such as \"00:04:13\""))
    })
}

/// A match for people: `vendor class PXEClient*: next server 192.168.1.9, options 66, 67`.
pub(in crate::config::services) fn matched(Match { criteria, parameters }: &Match) -> String {
    let Criteria { vendor_class, user_class, architecture, mac_prefix } = criteria;
    let class = |pattern: &Pattern| format!("{}{}", pattern.text, if pattern.is_prefix { "*" } else { "" });
    let criteria = [
        vendor_class.as_ref().map(|pattern| format!("vendor class {}", class(pattern))),
        user_class.as_ref().map(|pattern| format!("user class {}", class(pattern))),
        architecture.map(|number| format!("architecture {number}")),
        mac_prefix.as_ref().map(|octets| format!("MAC {}*", hex::joined(octets))),
    ];
    let next_server = parameters.next_server.map(|server| match server.is_unspecified() {
        true => "no next server".to_owned(),
        false => format!("next server {server}"),
    });
    let codes: Vec<_> = parameters.options.keys().map(ToString::to_string).collect();
    let options = (!codes.is_empty()).then(|| format!("options {}", codes.join(", ")));
    let parameters: Vec<_> = next_server.into_iter().chain(options).collect();
    let criteria: Vec<_> = criteria.into_iter().flatten().collect();
    format!("{}: {}", criteria.join(", "), parameters.join(", "))
}

/// Checks that no parameter of a match is hidden from all of its clients by an earlier match.
fn check_order(matches: &[ReadMatch], report: &Report) {
    for (index, later) in matches.iter().enumerate() {
        for earlier in matches.iter().take(index).filter(|earlier| earlier.criteria.cover(&later.criteria)) {
            let is_same = later.criteria.cover(&earlier.criteria);
            let options = later.read.spans.iter().map(|(code, span)| (span, earlier.read.spans.get(code)));
            let server = later.read.next_server.iter().map(|span| (span, earlier.read.next_server.as_ref()));
            for (span, first) in options.chain(server).filter_map(|(span, first)| Some((span, first?))) {
                let problem = match is_same {
                    true => Problem::new(
                        "two matches tell the same clients different things",
                        "remove one of them",
                    ),
                    false => Problem::new(
                        "no client is told this: a match before this one has all of these clients told otherwise",
                        "write this match before that one",
                    ),
                };
                report.add_again(span.clone(), Some(first.clone()), problem);
            }
        }
    }
}
