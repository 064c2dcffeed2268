//! `[[dhcp.reservations]]`

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use toml::de::DeValue;

use super::parameters::{self, For, ReadParameters};
use super::{Reservation, ReservedFor};
use crate::config::address::{address, check_lan_host, mac};
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::hex;
use crate::config::name::host_name;
use crate::config::section::{Origin, Section};
use crate::config::value::{Node, elements, parsed, quoted};

const RESERVATIONS_MAX: usize = 4096;
/// The most hardware addresses of one machine, and the most client identifiers.
const IDENTIFIERS_MAX: usize = 16;
/// RFC 2132, section 9.14: a type and at least one octet; one length octet.
const CLIENT_ID_LENS: std::ops::RangeInclusive<usize> = 2..=255;

/// A reservation and the places of its parameters, its name, its address and its clients.
pub(super) struct ReadReservation {
    pub reservation: Reservation,
    pub read: ReadParameters,
    pub address_span: Span,
    name: Option<(String, Span)>,
    /// The places of `reservation.clients`.
    client_spans: Vec<Span>,
}

impl ReadReservation {
    fn clients(&self) -> impl Iterator<Item = (&ReservedFor, &Span)> {
        self.reservation.clients.iter().zip(&self.client_spans)
    }
}

/// Reads the reservations, and checks that every client, every address and every name is reserved once.
pub(super) fn read(dhcp: &mut Section<'_>, lan: Option<Ipv4Net>, report: &Report) -> Vec<ReadReservation> {
    let nodes = dhcp.elements("reservations", RESERVATIONS_MAX);
    let reservations: Vec<_> = nodes.iter().filter_map(|node| read_reservation(node, lan, report)).collect();
    check_duplicates(&reservations, report);
    reservations
}

fn read_reservation<'a>(
    node: &'a Node<'a>,
    lan: Option<Ipv4Net>,
    report: &'a Report,
) -> Option<ReadReservation> {
    let mut reservation = Section::element(node, "the reservation", report)?;
    let hostname = reservation.setting("hostname", None, parsed(|text| host_name(text).map(Some)));
    let macs = reservation.setting("mac", Vec::new(), identifiers(|text| mac(text).map(ReservedFor::Mac)));
    let ids = reservation.setting("client_id", Vec::new(), identifiers(client_id));
    let address = reservation.required("address", "\"192.168.1.20\"", parsed(address));

    if let (Some((address, span)), Some(lan)) = (&address, lan)
        && let Err(problem) = check_lan_host(lan, *address)
    {
        reservation.report(span.clone(), problem);
    }
    let is_valid = [&macs, &ids].iter().all(|setting| setting.origin != Origin::Invalid);
    let (clients, client_spans): (Vec<_>, Vec<_>) = macs.value.into_iter().chain(ids.value).unzip();
    if clients.is_empty() && is_valid {
        let what = "the reservation is for nobody";
        let remedy = "write mac = \"02:00:00:00:00:20\", or client_id";
        reservation.report(reservation.span(), Problem::new(what, remedy));
    }
    let read = parameters::read(&mut reservation, For::Some, report);
    reservation.finish();

    let (address, address_span) = address.filter(|_| !clients.is_empty())?;
    let name = hostname.written().and_then(|(name, span)| Some((name.clone()?, span)));
    let parameters = read.parameters.clone();
    let reservation = Reservation { hostname: hostname.value, clients, address, parameters };
    Some(ReadReservation { reservation, read, address_span, name, client_spans })
}

/// Reads one identifier, or a list of those of one machine.
fn identifiers(
    meaning: impl Fn(&str) -> Result<ReservedFor, Problem>,
) -> impl Fn(&Node<'_>, &Report) -> Option<Vec<(ReservedFor, Span)>> {
    move |node, report| {
        let read = |node: &Node<'_>| Some((parsed(&meaning)(node, report)?, node.span()));
        match node.get_ref() {
            DeValue::Array(_) => elements(node, IDENTIFIERS_MAX, report)?.iter().map(read).collect(),
            _ => Some(vec![read(node)?]),
        }
    }
}

/// Octets in hexadecimal, joined by colons.
fn client_id(text: &str) -> Result<ReservedFor, Problem> {
    hex::octets(text)
        .filter(|octets| CLIENT_ID_LENS.contains(&octets.len()))
        .map(ReservedFor::ClientId)
        .ok_or_else(|| {
            let what = format!("{} is no client identifier", quoted(text));
            let remedy = format!(
                "write {} to {} octets such as \"01:02:00:00:00:00:20\"",
                CLIENT_ID_LENS.start(),
                CLIENT_ID_LENS.end()
            );
            Problem::new(what, remedy)
        })
}

fn check_duplicates(reservations: &[ReadReservation], report: &Report) {
    for (index, later) in reservations.iter().enumerate() {
        let earlier = || reservations[..index].iter();
        let address = later.reservation.address;
        if let Some(first) = earlier().find(|earlier| earlier.reservation.address == address) {
            let what = format!("{address} is reserved twice");
            let problem =
                Problem::new(what, "write another address, or all of one machine's identifiers in one list");
            report.add_again(later.address_span.clone(), Some(first.address_span.clone()), problem);
        }
        for (number, (client, span)) in later.clients().enumerate() {
            let same = |read: &'_ ReadReservation| {
                read.clients().find(|(other, _)| *other == client).map(|(_, span)| span.clone())
            };
            let known = earlier().find_map(|earlier| Some((same(earlier)?, earlier.reservation.address)));
            if let Some((first, address)) = known {
                let what = format!("this host has {address} reserved already");
                let problem = Problem::new(what, "write another mac or client_id");
                report.add_again(span.clone(), Some(first), problem);
            } else if let Some((_, first)) = later.clients().take(number).find(|(other, _)| *other == client)
            {
                report.add_again(
                    span.clone(),
                    Some(first.clone()),
                    Problem::new("this is written twice", "remove it"),
                );
            }
        }
        let Some((name, span)) = &later.name else { continue };
        let namesake = |earlier: &ReadReservation| {
            earlier.name.clone().filter(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if let Some((_, first)) = earlier().find_map(namesake) {
            let problem = Problem::new(format!("two hosts are called {name}"), "write another hostname");
            report.add_again(span.clone(), Some(first), problem);
        }
    }
}

/// Checks that no host has the gateway's name, which is `hostname`.
pub(super) fn check_names(reservations: &[ReadReservation], hostname: &str, report: &Report) {
    for (name, span) in reservations.iter().filter_map(|read| read.name.as_ref()) {
        if name.eq_ignore_ascii_case(hostname) {
            let what = format!("{name} is the gateway's own name");
            report.add(span.clone(), Problem::new(what, "write another hostname"));
        }
    }
}

/// Reports the client identifiers of a file that has them ignored.
pub(super) fn check_identifiers_are_used(reservations: &[ReadReservation], report: &Report) {
    let clients = reservations.iter().flat_map(ReadReservation::clients);
    for (_, span) in clients.filter(|(client, _)| matches!(client, ReservedFor::ClientId(_))) {
        let what = "nobody is known by this: dhcp.ignore_client_id is true";
        report.add(span.clone(), Problem::new(what, "write mac = \"02:00:00:00:00:20\" instead"));
    }
}

/// Checks that no host has the address of the LAN's router, for which the file has `router`.
pub(super) fn check_router(reservations: &[ReadReservation], router: Option<Ipv4Addr>, report: &Report) {
    for read in reservations.iter().filter(|read| Some(read.reservation.address) == router) {
        let what = format!("{} is the router's, lan.gateway", read.reservation.address);
        report.add(read.address_span.clone(), Problem::new(what, "write another address"));
    }
}

/// A reservation for people.
pub(in crate::config::services) fn reserved(reservation: &Reservation) -> String {
    let Reservation { hostname, clients, address, .. } = reservation;
    let client = |client: &ReservedFor| match client {
        ReservedFor::Mac(mac) => mac.to_string(),
        ReservedFor::ClientId(id) => format!("client {}", hex::joined(id)),
    };
    let clients: Vec<_> = clients.iter().map(client).collect();
    let name = hostname.iter().map(|name| format!(" {name}")).collect::<String>();
    format!("{address}{name} ({})", clients.join(", "))
}
