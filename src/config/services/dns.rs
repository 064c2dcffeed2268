//! `[dns]` and its records.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatepost_services::dns::forwarder::UPSTREAMS_MAX;
use gatepost_services::dns::name::is_within;
use ipnet::Ipv4Net;

use crate::config::address::address;
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::name::{DOMAIN_OCTETS_MAX, zone_name};
use crate::config::section::Section;
use crate::config::value::{Node, boolean, choice, list, parsed, quoted, text};

pub use gatepost_services::dns::{RecordValue, StaticRecord as Record};

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whether the LAN is served.
    pub enabled: bool,
    /// The name servers to ask, in this order; if empty, those of the WAN's DHCP lease.
    pub upstream: Vec<Ipv4Addr>,
    /// Whether upstream servers are queried at all.
    pub use_upstream: bool,
    /// Whether the AD bit of upstream servers is passed on.
    pub trust_ad: bool,
    /// Whether questions to upstream servers have letters in random case.
    pub mixed_case: bool,
    /// The names whose private addresses are meant, with all below them.
    pub private_answers_from: Vec<String>,
    /// The zones with servers of their own: `[[dns.forward]]`.
    pub forwards: Vec<Forward>,
    /// Static names: `[[dns.records]]`.
    pub records: Vec<Record>,
}

/// A zone that is forwarded to servers of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The zone, in lower case without a trailing dot.
    pub zone: String,
    /// Its servers, at least one, in this order.
    pub servers: Vec<Ipv4Addr>,
}

impl Dns {
    /// The settings in a line for people, with the office's `domain`. `has_provider`: the provider can name upstream
    /// servers.
    pub(super) fn summary(&self, domain: &str, has_provider: bool) -> String {
        let upstream: Vec<_> = self.upstream.iter().map(ToString::to_string).collect();
        let asks = match self.use_upstream {
            false => "nobody".to_owned(),
            true if !upstream.is_empty() => upstream.join(", "),
            true if has_provider => "the provider's servers".to_owned(),
            true => "nobody, as dns.upstream is empty".to_owned(),
        };
        let forwards: String = self.forwards.iter().map(Forward::summary).collect();
        if self.enabled { format!("{domain}; asks {asks}{forwards}") } else { "off".to_owned() }
    }

    /// The static names, for people.
    pub(super) fn names<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = String> + 'a {
        self.records.iter().map(move |record| {
            let name = record
                .name
                .strip_suffix('.')
                .map_or_else(|| format!("{}.{domain}", record.name), str::to_owned);
            match &record.value {
                RecordValue::Address(address) => format!("{name} {address}"),
                RecordValue::Alias(target) => format!("{name} CNAME {target}"),
                RecordValue::MailExchange { preference, exchange } => {
                    format!("{name} MX {preference} {exchange}")
                }
                RecordValue::Service { priority, weight, port, target } => {
                    format!("{name} SRV {priority} {weight} {port} {target}")
                }
                RecordValue::NameServer(server) => format!("{name} NS {server}"),
                RecordValue::Pointer(target) => format!("{name} PTR {target}"),
                RecordValue::CertificationAuthority { is_critical, tag, value } => {
                    format!("{name} CAA {} {tag} {value:?}", u8::from(*is_critical) << 7)
                }
                RecordValue::Text(text) => format!("{name} TXT {text:?}"),
            }
        })
    }
}

impl Forward {
    fn summary(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        format!(", about {} {}", self.zone, servers.join(", "))
    }
}

const RECORDS_MAX: usize = 4096;
const FORWARDS_MAX: usize = 64;
const DELEGATIONS_MAX: usize = 64;
const PRIVATE_ANSWERS_FROM_MAX: usize = 256;
/// With one text of this length an answer still goes over UDP, unless the name is very long.
const TEXT_OCTETS_MAX: usize = 1024;
/// RFC 8659, section 4.1.
const CAA_TAG_OCTETS_MAX: usize = 15;

/// `domain` is the gateway's.
pub(super) fn read(mut dns: Section<'_>, domain: &str, lan: Option<Ipv4Net>, report: &Report) -> Dns {
    let enabled = dns.setting("enabled", true, boolean);
    let own = lan.map(|lan| lan.addr());
    let upstream =
        dns.setting("upstream", Vec::new(), list(UPSTREAMS_MAX, parsed(|text| upstream(text, own))));
    let use_upstream = dns.setting("use_upstream", true, boolean);
    let trust_ad = dns.setting("trust_ad", false, boolean);
    let mixed_case = dns.setting("mixed_case", false, boolean);
    let private_answers_from =
        dns.setting("private_answers_from", Vec::new(), list(PRIVATE_ANSWERS_FROM_MAX, parsed(domain_name)));
    let forwards = read_forwards(&mut dns, domain, own, report);
    let records: Vec<_> = dns
        .elements("records", RECORDS_MAX)
        .iter()
        .filter_map(|node| read_record(node, domain, report))
        .collect();

    check_aliases(&records, domain, report);
    check_delegations(&records, &forwards, domain, report);
    if let (Some((upstream, span)), Some(false)) = (upstream.written(), use_upstream.known())
        && !upstream.is_empty()
    {
        let what = "nobody asks these servers: dns.use_upstream is false";
        dns.warn(span, Problem::new(what, "write use_upstream = true, or remove them"));
    }
    dns.finish();
    Dns {
        enabled: enabled.value,
        upstream: upstream.value,
        use_upstream: use_upstream.value,
        trust_ad: trust_ad.value,
        mixed_case: mixed_case.value,
        private_answers_from: private_answers_from.value,
        forwards,
        records: records.into_iter().map(|read| read.record).collect(),
    }
}

/// `domain` is the office's, `own` the gateway's address.
fn read_forwards(
    dns: &mut Section<'_>,
    domain: &str,
    own: Option<Ipv4Addr>,
    report: &Report,
) -> Vec<Forward> {
    let mut forwards: Vec<(Forward, Span)> = Vec::new();
    for node in dns.elements("forward", FORWARDS_MAX) {
        let Some(mut forward) = Section::element(node, "the forwarded zone", report) else { continue };
        let zone = forward.required("zone", "\"corp.local\"", parsed(|text| forwarded_zone(text, domain)));
        let example = "[\"192.168.1.51\"]";
        let servers =
            forward.required("servers", example, list(UPSTREAMS_MAX, parsed(|text| upstream(text, own))));
        forward.finish();
        let (Some((zone, span)), Some((servers, servers_span))) = (zone, servers) else { continue };
        if servers.is_empty() {
            let what = format!("nobody answers for {zone}");
            report.add(servers_span, Problem::new(what, format!("write servers = {example}, or remove it")));
        } else if let Some((_, first)) = forwards.iter().find(|(other, _)| other.zone == zone) {
            let problem = Problem::new(format!("{zone} is forwarded twice"), "write all its servers in one");
            report.add_again(span, Some(first.clone()), problem);
        } else {
            forwards.push((Forward { zone, servers }, span));
        }
    }
    forwards.into_iter().map(|(forward, _)| forward).collect()
}

fn forwarded_zone(text: &str, domain: &str) -> Result<String, Problem> {
    let zone = domain_name(text)?;
    if zone == domain.to_ascii_lowercase() {
        let what = format!("{zone} is the office's own domain, which the gateway answers itself");
        return Err(Problem::new(what, "write another zone, such as one below it, or another system.domain"));
    }
    Ok(zone)
}

/// A domain, in lower case; its labels may have underscores.
fn domain_name(text: &str) -> Result<String, Problem> {
    Ok(zone_name(text)?.trim_end_matches('.').to_ascii_lowercase())
}

fn upstream(text: &str, own: Option<Ipv4Addr>) -> Result<Ipv4Addr, Problem> {
    if text.starts_with("tls://") {
        let what = format!("{} comes with DNS over TLS, which this version does not have yet", quoted(text));
        return Err(Problem::new(what, "write an IPv4 address such as \"203.0.113.53\""));
    }
    let server = address(text)?;
    if Some(server) == own {
        let what = format!("{server} is the gateway itself, which would ask itself");
        return Err(Problem::new(what, "write the address of another name server"));
    }
    Ok(server)
}

/// A record, and the place of its name.
struct ReadRecord {
    record: Record,
    /// In lower case, without a trailing dot.
    full_name: String,
    span: Span,
}

#[derive(Clone, Copy)]
enum RecordType {
    A,
    Aaaa,
    Caa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Srv,
    Txt,
}

fn read_record<'a>(node: &'a Node<'a>, domain: &str, report: &'a Report) -> Option<ReadRecord> {
    let types = [
        ("A", RecordType::A),
        ("AAAA", RecordType::Aaaa),
        ("CAA", RecordType::Caa),
        ("CNAME", RecordType::Cname),
        ("MX", RecordType::Mx),
        ("NS", RecordType::Ns),
        ("PTR", RecordType::Ptr),
        ("SRV", RecordType::Srv),
        ("TXT", RecordType::Txt),
    ];
    let mut record = Section::element(node, "the record", report)?;
    let name = record.required("name", "\"nas\"", parsed(|text| owner_name(text, domain)));
    let record_type = record.required("type", "\"A\"", choice(&types));
    let value = record.required("value", "\"192.168.1.40\"", text);
    record.finish();

    let ((name, span), (record_type, _), (value, value_span)) = (name?, record_type?, value?);
    match read_value(record_type, &value, domain) {
        Ok(value) => {
            let full_name = full_name(&name, domain);
            Some(ReadRecord { record: Record { name, value }, full_name, span })
        }
        Err(problem) => {
            report.add(value_span, problem);
            None
        }
    }
}

fn read_value(record_type: RecordType, text: &str, domain: &str) -> Result<RecordValue, Problem> {
    match record_type {
        RecordType::A => address(text).map(|address| RecordValue::Address(address.into())),
        RecordType::Aaaa => {
            text.parse::<Ipv6Addr>().map(|address| RecordValue::Address(address.into())).map_err(|_| {
                let what = format!("{} is no IPv6 address", quoted(text));
                Problem::new(what, "write one such as \"2001:db8::40\"")
            })
        }
        RecordType::Caa => read_authority(text),
        RecordType::Ns => record_name(text, domain).map(RecordValue::NameServer),
        RecordType::Ptr => record_name(text, domain).map(RecordValue::Pointer),
        RecordType::Cname => record_name(text, domain).map(RecordValue::Alias),
        RecordType::Mx => {
            let exchange = text
                .split_once(' ')
                .and_then(|(preference, exchange)| Some((preference.parse().ok()?, exchange.trim())));
            let Some((preference, exchange)) = exchange else {
                let what = format!("{} is no preference and host", quoted(text));
                return Err(Problem::new(what, "write both, such as \"10 smtp\""));
            };
            Ok(RecordValue::MailExchange { preference, exchange: record_name(exchange, domain)? })
        }
        RecordType::Srv => read_service(text, domain),
        RecordType::Txt if text.len() > TEXT_OCTETS_MAX => {
            let what = format!("the text has {} octets", text.len());
            Err(Problem::new(what, format!("write at most {TEXT_OCTETS_MAX}")))
        }
        RecordType::Txt => Ok(RecordValue::Text(text.to_owned())),
    }
}

/// Flags, tag and value. (RFC 8659, section 4.1.1)
fn read_authority(text: &str) -> Result<RecordValue, Problem> {
    let mut fields = text.trim().splitn(3, ' ').map(str::trim);
    let (flags, tag, value) = (fields.next(), fields.next(), fields.next());
    let is_tag = |tag: &&str| {
        (1..=CAA_TAG_OCTETS_MAX).contains(&tag.len()) && tag.bytes().all(|c| c.is_ascii_alphanumeric())
    };
    let is_critical = match flags {
        Some("0") => Some(false),
        Some("128") => Some(true),
        _ => None,
    };
    match (is_critical, tag.filter(is_tag), value) {
        (Some(is_critical), Some(tag), Some(value)) if value.len() <= TEXT_OCTETS_MAX => {
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let (tag, value) = (tag.to_owned(), value.to_owned());
            Ok(RecordValue::CertificationAuthority { is_critical, tag, value })
        }
        _ => {
            let what = format!("{} is no flags, tag and value", quoted(text));
            Err(Problem::new(what, "write all three, such as '0 issue \"letsencrypt.org\"'"))
        }
    }
}

/// Priority, weight, port and target. (RFC 2782)
fn read_service(text: &str, domain: &str) -> Result<RecordValue, Problem> {
    let fields: Vec<_> = text.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
    match (number(0), number(1), number(2), &fields[..]) {
        (Some(priority), Some(weight), Some(port), [_, _, _, target]) => {
            Ok(RecordValue::Service { priority, weight, port, target: record_name(target, domain)? })
        }
        _ => {
            let what = format!("{} is no priority, weight, port and host", quoted(text));
            Err(Problem::new(what, "write all four, such as \"0 5 5060 pbx\""))
        }
    }
}

/// The name of a record, which may be a wildcard: `*` as its first label. (RFC 4592, section 2.1.1)
fn owner_name(text: &str, domain: &str) -> Result<String, Problem> {
    match text.strip_prefix("*.") {
        Some(below) => {
            record_name(below, domain)?;
            checked_len(text, domain)
        }
        None => record_name(text, domain),
    }
}

/// A name of the zone that is not too long with the domain behind it.
fn record_name(text: &str, domain: &str) -> Result<String, Problem> {
    checked_len(&zone_name(text)?, domain)
}

fn checked_len(name: &str, domain: &str) -> Result<String, Problem> {
    let octets = full_name(name, domain).len();
    if octets > DOMAIN_OCTETS_MAX {
        let what = format!("{} has {octets} octets together with the domain", quoted(name));
        return Err(Problem::new(what, format!("write a name of at most {DOMAIN_OCTETS_MAX} in all")));
    }
    Ok(name.to_owned())
}

fn full_name(name: &str, domain: &str) -> String {
    let full = name.strip_suffix('.').map_or_else(|| format!("{name}.{domain}"), str::to_owned);
    full.to_ascii_lowercase()
}

/// Checks that no record is duplicated, and that an alias is alone at its name. (RFC 1034, section 3.6.2)
fn check_aliases(records: &[ReadRecord], domain: &str, report: &Report) {
    let is_alias = |read: &ReadRecord| matches!(read.record.value, RecordValue::Alias(_));
    let mut by_name: Vec<_> = records.iter().collect();
    by_name.sort_by(|a, b| a.full_name.cmp(&b.full_name));
    for same_name in by_name.chunk_by(|a, b| a.full_name == b.full_name) {
        for (index, later) in same_name.iter().enumerate() {
            let earlier = &same_name[..index];
            let mut first = earlier.first().map(|first| first.span.clone());
            let same = earlier.iter().find(|earlier| earlier.record.value == later.record.value);
            let problem = if let Some(same) = same {
                first = Some(same.span.clone());
                Problem::new(format!("{} has this record twice", later.full_name), "remove one")
            } else if index > 0 && (is_alias(later) || earlier.iter().any(|earlier| is_alias(earlier))) {
                let what = format!("{} has a CNAME and another record", later.full_name);
                Problem::new(what, "remove one of them")
            } else if is_alias(later) && later.full_name == domain.to_ascii_lowercase() {
                Problem::new("the domain itself cannot be a CNAME", "write an A record, or another name")
            } else {
                continue;
            };
            report.add_again(later.span.clone(), first, problem);
        }
    }
}

/// Checks that each delegated zone is below the domain, that one of its servers has an IPv4 address, and that the
/// gateway has no other name in it.
fn check_delegations(records: &[ReadRecord], forwards: &[Forward], domain: &str, report: &Report) {
    let domain = domain.to_ascii_lowercase();
    let has_address = |server: &String| {
        let is_address =
            |read: &&ReadRecord| matches!(read.record.value, RecordValue::Address(IpAddr::V4(_)));
        records.iter().filter(is_address).any(|read| read.full_name == *server)
    };
    let delegations = delegations(records, &domain);
    let firsts = delegations.values().filter_map(|delegation| delegation.spans.first());
    let last = firsts.max_by_key(|span| span.start).filter(|_| delegations.len() > DELEGATIONS_MAX);
    if let Some(span) = last {
        let what = format!("{} zones are delegated", delegations.len());
        report.add((*span).clone(), Problem::new(what, format!("write at most {DELEGATIONS_MAX}")));
    }
    for (zone, Delegation { servers, spans }) in delegations {
        let is_forwarded = forwards.iter().any(|forward| is_within(&forward.zone, zone));
        if !is_within(zone, &domain) || *zone == domain || zone.starts_with("*.") || is_forwarded {
            let what = format!("{zone} cannot be delegated");
            let remedy = format!("write NS for a name below {domain} without a zone in dns.forward");
            for span in spans {
                report.add(span.clone(), Problem::new(what.clone(), remedy.clone()));
            }
            continue;
        }
        let Some(first) = spans.first() else { continue };
        if !servers.iter().any(has_address) {
            let what = format!("no name server of {zone} has an address");
            report.add((*first).clone(), Problem::new(what, "write an A record for one of them"));
        }
        let is_of_zone = |read: &&ReadRecord| match read.record.value {
            RecordValue::NameServer(_) => read.full_name == zone,
            RecordValue::Address(_) => servers.contains(&read.full_name),
            _ => false,
        };
        let within = records.iter().filter(|read| is_within(&read.full_name, zone));
        for stranger in within.filter(|read| !is_of_zone(read)) {
            let what = format!("{} is in the delegated zone {zone}", stranger.full_name);
            let problem = Problem::new(what, "remove it: the zone's own servers answer for it");
            report.add_again(stranger.span.clone(), Some((*first).clone()), problem);
        }
    }
}

/// The NS records of a zone.
#[derive(Default)]
struct Delegation<'a> {
    /// The full names of its servers.
    servers: Vec<String>,
    /// Where they are written, the first one first.
    spans: Vec<&'a Span>,
}

/// The delegated zones by their full names.
fn delegations<'a>(records: &'a [ReadRecord], domain: &str) -> BTreeMap<&'a str, Delegation<'a>> {
    let mut delegations: BTreeMap<_, Delegation<'_>> = BTreeMap::new();
    for read in records {
        if let RecordValue::NameServer(server) = &read.record.value {
            let delegation = delegations.entry(read.full_name.as_str()).or_default();
            delegation.servers.push(full_name(server, domain));
            delegation.spans.push(&read.span);
        }
    }
    delegations
}
