//! `[firewall]` and its forwards.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use gatepost_dataplane::config::{self as dataplane, Mode};
use gatepost_ground::wire::Protocol;
use gatepost_services::addresses::overlap;
use gatepost_services::service::{Kind, OnWan};
use ipnet::Ipv4Net;

use super::address::{address, check_lan_host, network, port};
use super::diagnostic::{Problem, Report, Span};
use super::section::Section;
use super::services::{KINDS, Services};
use super::value::{Node, alternatives, boolean, choice, list, parsed, quoted, text, unless_empty};
use super::{Config, Decisive, Firewall, Forward, upcoming};

/// The most forwards: they are searched linearly for each new flow from the WAN.
const FORWARDS_MAX: usize = 256;
const SOURCES_MAX: usize = 64;
const SERVICES_MAX: usize = 16;

/// Reads `[firewall]`; `served` has the services with their ports.
pub(super) fn read(
    mut firewall: Section<'_>,
    mode: Mode,
    lan: Option<Ipv4Net>,
    served: &Services,
    report: &Report,
) -> Firewall {
    let stealth = firewall.setting("stealth", true, boolean);
    let services = firewall.setting("wan_services", None, |node, report| {
        list(SERVICES_MAX, parsed(service))(node, report).map(Some)
    });
    let dmz_host = firewall.setting("dmz_host", None, unless_empty(address));
    let forwards: Vec<_> = firewall
        .elements("forwards", FORWARDS_MAX)
        .iter()
        .filter_map(|node| read_forward(node, lan, report))
        .collect();

    if let (Some((Some(host), span)), Some(lan)) = (dmz_host.written(), lan)
        && let Err(problem) = check_lan_host(lan, *host)
    {
        firewall.report(span, problem);
    }
    let listed = services.value.clone().unwrap_or_default();
    check_claims(&forwards, &listed, served, report);
    if !mode.translates() {
        let ignored = |what: &str| format!("in mode {} {what}", quoted(mode.name()));
        let remedy = "remove it, or write mode = \"nat\" or \"nat-dmz\"";
        for ReadForward { forward, span, .. } in &forwards {
            let what = ignored(&format!("the forward {} does nothing", quoted(&forward.name)));
            report.warn(span.clone(), Problem::new(what, remedy));
        }
        if let Some((Some(_), span)) = dmz_host.written() {
            firewall.warn(span, Problem::new(ignored("there is no default host"), remedy));
        }
    }
    if let (Some((_, span)), Mode::LanOnly) = (services.written().filter(|_| !listed.is_empty()), mode) {
        let what = "in mode \"lan-only\" there is no WAN to serve";
        firewall.warn(span, Problem::new(what, "remove it, or write another mode"));
    }
    let places = [
        (Decisive::Stealth, stealth.written().map(|(_, span)| span)),
        (Decisive::WanServices, services.written().map(|(_, span)| span)),
        (Decisive::DmzHost, dmz_host.written().map(|(_, span)| span)),
    ];
    let written = places.into_iter().filter_map(|(setting, span)| Some((setting, span?)));
    let of_forwards =
        forwards.iter().enumerate().map(|(at, read)| (Decisive::Forward(at), read.span.clone()));
    written.chain(of_forwards).for_each(|(setting, span)| report.note_place(setting, span));
    firewall.finish();
    Firewall {
        stealth: stealth.value,
        wan_services: services.value.map(|kinds| kinds.iter().map(|kind| kind.name).collect()),
        dmz_host: dmz_host.value,
        forwards: forwards.into_iter().map(|read| read.forward).collect(),
    }
}

/// A service that can be opened to the WAN.
fn service(name: &str) -> Result<&'static Kind, Problem> {
    let offered = || KINDS.into_iter().filter(|kind| kind.on_wan != OnWan::Never);
    if let Some(kind) = offered().find(|kind| kind.name == name) {
        return Ok(kind);
    }
    let others = alternatives(&offered().map(|kind| kind.name).collect::<Vec<_>>());
    Err(match upcoming::SERVICES.iter().find(|(upcoming, _)| *upcoming == name) {
        Some((_, feature)) => upcoming::service_problem(name, feature, &others),
        None => Problem::new(
            format!("there is no service {} for the WAN", quoted(name)),
            format!("remove it, or write {others}"),
        ),
    })
}

/// A forward and the position of its `wan_port`.
struct ReadForward {
    forward: Forward,
    span: Span,
}

fn read_forward<'a>(node: &'a Node<'a>, lan: Option<Ipv4Net>, report: &'a Report) -> Option<ReadForward> {
    const TCP: &[Protocol] = &[Protocol::TCP];
    const UDP: &[Protocol] = &[Protocol::UDP];
    const BOTH: &[Protocol] = &[Protocol::TCP, Protocol::UDP];

    let mut forward = Section::element(node, "the forward", report)?;
    let name = forward.setting("name", None, |node, report| text(node, report).map(Some));
    let protocols =
        forward.setting("protocol", TCP, choice(&[("tcp", TCP), ("udp", UDP), ("tcp+udp", BOTH)]));
    let wan_ports = forward.required("wan_port", "\"8443\"", parsed(port_range));
    let to = forward.required("to", "\"192.168.1.20:443\"", parsed(endpoint));
    let everybody = vec![Ipv4Net::default()];
    let from = forward.setting("from", everybody, list(SOURCES_MAX, parsed(network)));

    if let Some(([], span)) = from.written().map(|(from, span)| (from.as_slice(), span)) {
        forward.report(span, Problem::new("nobody may use the forward", "write [\"0.0.0.0/0\"] for all"));
    }
    if let (Some(((host, _), span)), Some(lan)) = (&to, lan)
        && let Err(problem) = check_lan_host(lan, *host)
    {
        forward.report(span.clone(), problem);
    }
    forward.finish();

    let ((wan_ports, span), ((to, to_port), to_span)) = (wan_ports?, to?);
    let count = wan_ports.end() - wan_ports.start();
    if to_port.checked_add(count).is_none() {
        let what = format!("the last of {} ports from {to_port} on is above 65535", u32::from(count) + 1);
        report.add(to_span, Problem::new(what, format!("write a first port up to {}", u16::MAX - count)));
    }
    let rule = |protocol: &Protocol| dataplane::Forward {
        protocol: *protocol,
        wan_ports: wan_ports.clone(),
        to,
        to_port,
        from: from.value.clone(),
    };
    // A forward whose protocol or sources are wrong cannot be checked for conflicts.
    let is_known = protocols.known().is_some() && from.known().is_some();
    let rules = protocols.value.iter().filter(|_| is_known).map(rule).collect();
    let name = name.value.unwrap_or_else(|| match wan_ports.clone().into_inner() {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    Some(ReadForward { forward: Forward { name, rules }, span })
}

/// One port, or `first-last`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first.trim()), port(last.trim())) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(first), Some(last)) => {
            let what = format!("the range {} is empty", quoted(text));
            Err(Problem::new(what, format!("write \"{last}-{first}\"")))
        }
        _ => {
            let what = format!("{} is no port or range of ports", quoted(text));
            Err(Problem::new(
                what,
                "write one from 1 to 65535 such as \"8443\", or a range such as \"8000-8010\"",
            ))
        }
    }
}

/// `ADDRESS:PORT`.
fn endpoint(text: &str) -> Result<(Ipv4Addr, u16), Problem> {
    let example = "\"192.168.1.20:443\"";
    let Some((host, to_port)) = text.rsplit_once(':') else {
        let what = format!("{} has no port", quoted(text));
        return Err(Problem::new(what, format!("write an address and a port such as {example}")));
    };
    let Some(to_port) = port(to_port) else {
        let what = format!("{} is no port", quoted(to_port));
        return Err(Problem::new(what, format!("write one from 1 to 65535, such as {example}")));
    };
    Ok((address(host)?, to_port))
}

/// Checks that every port of the WAN address belongs to one forward or service at most.
fn check_claims(forwards: &[ReadForward], listed: &[&Kind], services: &Services, report: &Report) {
    for (index, claim) in forwards.iter().enumerate() {
        let taken =
            |rule: &dataplane::Forward| listed.iter().any(|kind| claims_port_of(rule, kind, services));
        if claim.forward.rules.iter().any(taken) {
            let what = "the forward takes the port of a service in firewall.wan_services";
            report.add(claim.span.clone(), Problem::new(what, "write another port, or remove the service"));
        }
        let rival = forwards[..index].iter().find(|earlier| conflict(&earlier.forward, &claim.forward));
        if let Some(rival) = rival {
            let what = format!("the forward takes ports that {} has already", quoted(&rival.forward.name));
            let problem = Problem::new(what, "write others, or another \"from\"");
            report.add_again(claim.span.clone(), Some(rival.span.clone()), problem);
        }
    }
}

/// Whether `rule` takes a port of the service `kind`.
fn claims_port_of(rule: &dataplane::Forward, kind: &Kind, services: &Services) -> bool {
    let ports = services.ports_of(kind);
    ports.iter().any(|(protocol, port)| rule.protocol == *protocol && rule.wan_ports.contains(port))
}

impl Config {
    /// The services that are open to the WAN, if they are enabled: the listed ones; without a list none in
    /// [`Mode::NatDmz`], and else all that are public by default and whose ports no forward takes.
    pub fn wan_services(&self) -> impl Iterator<Item = &'static Kind> {
        let is_forwarded = |kind: &Kind| {
            let mut rules = self.firewall.forwards.iter().flat_map(|forward| &forward.rules);
            self.mode.translates() && rules.any(|rule| claims_port_of(rule, kind, &self.services))
        };
        let is_open = move |kind: &&Kind| match (&self.firewall.wan_services, self.mode) {
            (_, Mode::LanOnly) | (None, Mode::NatDmz) => false,
            (Some(listed), _) => listed.contains(&kind.name),
            (None, Mode::Nat | Mode::Router) => kind.on_wan == OnWan::ByDefault && !is_forwarded(kind),
        };
        KINDS.into_iter().filter(is_open).filter(|kind| self.services.is_enabled(kind.name))
    }
}

/// Whether a packet can match both forwards.
fn conflict(a: &Forward, b: &Forward) -> bool {
    let share_sources = |a: &[Ipv4Net], b: &[Ipv4Net]| a.iter().any(|a| b.iter().any(|b| overlap(*a, *b)));
    a.rules.iter().any(|a| {
        b.rules.iter().any(|b| {
            a.protocol == b.protocol
                && a.wan_ports.start() <= b.wan_ports.end()
                && b.wan_ports.start() <= a.wan_ports.end()
                && share_sources(&a.from, &b.from)
        })
    })
}
