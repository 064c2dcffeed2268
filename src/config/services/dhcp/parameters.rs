//! The keys for parameters of DHCP clients, in `[dhcp]`, in a reservation and in a match.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use gatepost_services::dhcp::options::{
    self, BOOT_FILE, DNS_SERVERS, DOMAIN_SEARCH, Kind, NTP_SERVERS, ROUTES, TFTP_SERVER_NAME, TFTP_SERVERS,
    Value, registered,
};
use gatepost_services::dhcp::server::Parameters;
use toml::de::DeValue;

use super::code::{code_problem, has_default_route, read_content, value_or_hex};
use crate::config::address::address;
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::name::domain;
use crate::config::section::{Section, Setting};
use crate::config::value::{Node, integer, list, parsed, quoted, unless_empty};

/// The maximum number of servers of a kind, and of search domains.
const LIST_MAX: usize = 32;
/// The maximum number of elements of `options`.
const OPTIONS_MAX: usize = 64;
/// The maximum length of the options of one table: an Ethernet frame has room for them and for what every client gets.
const OCTETS_MAX: usize = 1024;
/// The maximum length of a boot file's name or URL: the content of one option.
const BOOT_FILE_OCTETS_MAX: usize = 255;

/// The clients that a table is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// All clients: an empty list or text means the same as an absent key.
    All,
    /// Some clients: an empty list or text means that the option is not sent.
    Some,
}

/// Parameters, and their places in the file.
#[derive(Default)]
pub(super) struct ReadParameters {
    pub parameters: Parameters,
    /// The places of the options.
    pub spans: BTreeMap<u8, Span>,
    /// The place of `next_server`.
    pub next_server: Option<Span>,
}

impl ReadParameters {
    fn set(&mut self, code: u8, content: Vec<u8>, span: Span) {
        self.parameters.options.insert(code, content);
        self.spans.insert(code, span);
    }

    /// Whether boot loaders get a server.
    pub fn has_boot_server(&self) -> bool {
        let told = |code| self.parameters.options.get(&code).is_some_and(|content| !content.is_empty());
        self.parameters.next_server.is_some() || told(TFTP_SERVER_NAME) || told(TFTP_SERVERS)
    }

    /// The place of the boot file, unless it is a URL.
    pub fn boot_file_of_a_server(&self) -> Option<Span> {
        let file = self.parameters.options.get(&BOOT_FILE).filter(|file| !file.is_empty())?;
        let is_url = file.windows(3).any(|octets| octets == b"://");
        self.spans.get(&BOOT_FILE).filter(|_| !is_url).cloned()
    }
}

/// Reads the keys from `section`.
pub(super) fn read(section: &mut Section<'_>, whom: For, report: &Report) -> ReadParameters {
    let mut read = ReadParameters::default();
    let addresses = |servers: &Vec<Ipv4Addr>| Value::Addresses(servers.clone());
    let dns_servers = section.setting("dns_servers", Vec::new(), list(LIST_MAX, parsed(address)));
    note(&mut read, whom, DNS_SERVERS, &dns_servers, Vec::is_empty, addresses);
    // The absence of this key means the gateway, so an empty list means no server in `[dhcp]`, too.
    let ntp_servers = section.setting("ntp_servers", Vec::new(), list(LIST_MAX, parsed(address)));
    note(&mut read, For::Some, NTP_SERVERS, &ntp_servers, Vec::is_empty, addresses);
    let search = section.setting("search", Vec::new(), list(LIST_MAX, parsed(domain)));
    note(&mut read, whom, DOMAIN_SEARCH, &search, Vec::is_empty, |names| Value::Domains(names.clone()));
    let next_server = section.setting("next_server", None, unless_empty(address));
    if let Some((server, span)) =
        next_server.written().filter(|(server, _)| whom == For::Some || server.is_some())
    {
        read.parameters.next_server = Some(server.unwrap_or(Ipv4Addr::UNSPECIFIED));
        read.next_server = Some(span);
    }
    let boot_file = section.setting("boot_file", String::new(), parsed(boot_file));
    note(&mut read, whom, BOOT_FILE, &boot_file, String::is_empty, |file| Value::Text(file.clone()));

    for node in section.elements("options", OPTIONS_MAX) {
        let Some((code, content, span)) = read_option(node, report) else { continue };
        match read.spans.get(&code) {
            Some(first) => {
                let problem = Problem::new(format!("option {code} is written twice"), "remove one of them");
                report.add_again(span, Some(first.clone()), problem);
            }
            None => read.set(code, content, span),
        }
    }
    check_octets(&read, report);
    check_default_route(&read, report);
    read
}

fn note<T>(
    read: &mut ReadParameters,
    whom: For,
    code: u8,
    setting: &Setting<T>,
    is_empty: impl Fn(&T) -> bool,
    value: impl Fn(&T) -> Value,
) {
    let Some((written, span)) = setting.written() else { return };
    if whom == For::Some || !is_empty(written) {
        read.set(code, value(written).encode(), span);
    }
}

fn boot_file(text: &str) -> Result<String, Problem> {
    let is_legal = text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
    if is_legal && text.len() <= BOOT_FILE_OCTETS_MAX {
        return Ok(text.to_owned());
    }
    let what = format!("{} is no boot file", quoted(text));
    let remedy = format!("write a file name or a URL of at most {BOOT_FILE_OCTETS_MAX} ASCII characters");
    Err(Problem::new(what, remedy))
}

/// An element of `options`: its code, its content and its place.
fn read_option<'a>(node: &'a Node<'a>, report: &'a Report) -> Option<(u8, Vec<u8>, Span)> {
    let mut option = Section::element(node, "the option", report)?;
    let code = option.required("code", "150", integer(0..=255));
    let code = code.and_then(|(code, span)| Some((u8::try_from(code).ok()?, span)));
    let kind = code.as_ref().map(|(code, _)| registered(*code).kind);
    let is_set_elsewhere = matches!(kind, Some(Kind::SetBy(_)));
    let problem = code.clone().and_then(|(code, span)| Some((code_problem(code)?, span)));
    let content = value_or_hex(&mut option, report, |node| match &code {
        Some((code, _)) if problem.is_none() => read_content(*code, node, report),
        // A key of its own cannot say that the option is not sent to any client.
        _ if is_set_elsewhere && is_empty_list(node) => Some(Vec::new()),
        _ => None,
    });
    let span = option.span();
    option.finish();
    let is_none = is_set_elsewhere && content.as_ref().is_some_and(Vec::is_empty);
    if let Some((problem, span)) = problem.filter(|_| !is_none) {
        report.add(span, problem);
        return None;
    }
    Some((code?.0, content?, span))
}

fn is_empty_list(node: &Node<'_>) -> bool {
    matches!(node.get_ref(), DeValue::Array(them) if them.is_empty())
}

fn check_octets(read: &ReadParameters, report: &Report) {
    let octets: usize =
        read.parameters.options.values().map(|content| options::encoded_len(content.len())).sum();
    let largest = read.parameters.options.iter().max_by_key(|(_, content)| content.len());
    let Some(span) = largest.and_then(|(code, _)| read.spans.get(code)).filter(|_| octets > OCTETS_MAX)
    else {
        return;
    };
    let what = format!("the options take {octets} octets in all, which no message has room for");
    report.add(span.clone(), Problem::new(what, format!("write options of at most {OCTETS_MAX} octets")));
}

/// Warns of routes without a default route: a client ignores the router (option 3) in an answer with option 121. (RFC
/// 3442, section "DHCP Client Behavior")
fn check_default_route(read: &ReadParameters, report: &Report) {
    let routes = read.parameters.options.get(&ROUTES).filter(|routes| !routes.is_empty());
    let Some((routes, span)) = routes.zip(read.spans.get(&ROUTES)) else { return };
    if !has_default_route(routes) {
        let what = "clients that are told routes ignore their router, and these have no default route";
        let remedy = "add { to = \"0.0.0.0/0\", via = \"192.168.1.1\" }, with the router's address";
        report.warn(span.clone(), Problem::new(what, remedy));
    }
}
