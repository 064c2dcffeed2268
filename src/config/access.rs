//! `[access]`: which networks may use which of the gateway's own services.

use std::collections::BTreeMap;

use gatepost_dataplane::config::Mode;
use gatepost_services::admin;
use gatepost_services::service::Kind;
use ipnet::Ipv4Net;

use super::address::network;
use super::diagnostic::{Problem, Report};
use super::section::Section;
use super::services::{KINDS, switched_off};
use super::value::{Node, alternatives, boolean, list, parsed, quoted};
use super::{Config, Decisive, upcoming};

/// The most networks: they are searched linearly for each packet.
const SOURCES_MAX: usize = 64;

/// The networks that may use each service. A service without an entry admits all. The pages of the
/// administration have one although none is written: in mode `router` the WAN reaches the gateway's address on the LAN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    sources: BTreeMap<&'static str, Sources>,
}

/// The networks that may use one service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sources {
    networks: Vec<Ipv4Net>,
    /// Whether they are written with "lan", whose network is among them.
    has_lan: bool,
}

impl Access {
    /// The networks that may use the service named `name`; `None` if all may.
    pub fn to(&self, name: &str) -> Option<&[Ipv4Net]> {
        self.sources.get(name).map(|sources| sources.networks.as_slice())
    }

    /// Admits `network` wherever "lan" is written.
    pub(super) fn admit_as_lan(&mut self, network: Ipv4Net) {
        let of_lan = self.sources.values_mut().filter(|sources| sources.has_lan);
        of_lan.for_each(|sources| sources.networks.push(network));
    }
}

impl Config {
    /// The services that are switched on and not for all, with the networks that they admit.
    pub fn limited_services(&self) -> impl Iterator<Item = (&'static Kind, &[Ipv4Net])> {
        let enabled = KINDS.into_iter().filter(|kind| self.services.is_enabled(kind.name));
        enabled.filter_map(|kind| Some((kind, self.access.to(kind.name)?)))
    }
}

pub(super) fn read(mut access: Section<'_>, mode: Mode, lan: Option<Ipv4Net>, report: &Report) -> Access {
    let of_lan = Sources { networks: vec![known_or_all(lan)], has_lan: true };
    let mut sources = BTreeMap::from([(admin::KIND.name, of_lan)]);
    for kind in KINDS.into_iter().filter(|kind| kind.is_limited_by_network) {
        let read = access
            .setting(kind.name, None, |node, report| read_service(kind, node, mode, lan, report).map(Some));
        read.written().into_iter().for_each(|(_, span)| report.note_place(Decisive::Access(kind.name), span));
        if let Some(of_kind) = read.value {
            sources.insert(kind.name, of_kind);
        }
    }
    for kind in KINDS.into_iter().filter(|kind| !kind.is_limited_by_network) {
        if let Some(node) = access.unoffered(kind.name) {
            let what = format!("{} cannot be limited: its clients have no address yet", quoted(kind.name));
            report.add(node.span(), Problem::new(what, "remove it"));
        }
    }
    for (name, feature) in upcoming::SERVICES {
        if let Some(node) = access.unoffered(name) {
            report.add(node.span(), upcoming::service_problem(name, feature, &names()));
        }
    }
    access.finish();
    Access { sources }
}

/// The services that can be limited, as they are written.
fn names() -> String {
    let names: Vec<_> =
        KINDS.iter().filter(|kind| kind.is_limited_by_network).map(|kind| kind.name).collect();
    alternatives(&names)
}

fn read_service<'a>(
    kind: &Kind,
    node: &'a Node<'a>,
    mode: Mode,
    lan: Option<Ipv4Net>,
    report: &'a Report,
) -> Option<Sources> {
    let mut service = Section::element(node, &format!("the access to {}", quoted(kind.name)), report)?;
    let source = |text: &str| {
        let network = match text {
            "lan" => return Ok(None),
            "any" => Ipv4Net::default(),
            text => network(text).map_err(|_| {
                let what = format!("{} is no network", quoted(text));
                Problem::new(what, "write \"lan\", \"any\", or a network such as \"198.51.100.0/24\"")
            })?,
        };
        if kind.name == admin::KIND.name
            && mode == Mode::Router
            && lan.is_some_and(|lan| !lan.contains(&network))
        {
            let what = format!("in mode \"router\" the WAN would reach the administration from {network}");
            return Err(Problem::new(what, "write \"lan\", or networks of the LAN's alone"));
        }
        Ok(Some(network))
    };
    let from = service.required("from", "[\"lan\", \"198.51.100.0/24\"]", list(SOURCES_MAX, parsed(source)));
    let password = service.setting("password", kind.has_logins, boolean);
    if let Some((asks, span)) = password.written().filter(|(asks, _)| **asks != kind.has_logins) {
        let what = if *asks { "takes clients without a password" } else { "asks everybody for a password" };
        service.report(span, Problem::new(format!("{} {what}", quoted(kind.name)), "remove it"));
    }
    if let Some(([], span)) = from.as_ref().map(|(from, span)| (from.as_slice(), span)) {
        let what = format!("nobody may use {}", quoted(kind.name));
        let remedy = format!("write [\"any\"] for all, or {}", switched_off(kind));
        service.report(span.clone(), Problem::new(what, remedy));
    }
    service.finish();
    let (from, _) = from?;
    let lan = known_or_all(lan);
    let has_lan = from.contains(&None);
    Some(Sources { networks: from.into_iter().map(|network| network.unwrap_or(lan)).collect(), has_lan })
}

/// The LAN's network; all if the LAN is a mistake, which is reported already.
fn known_or_all(lan: Option<Ipv4Net>) -> Ipv4Net {
    lan.map_or_else(Ipv4Net::default, |lan| lan.trunc())
}
