//! `[dhcp]`, its reservations and its matches.

mod code;
mod hex;
mod matches;
mod parameters;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::address::{address, check_host_of, check_lan_host, hosts, mac};
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::name::host_name;
use crate::config::section::Section;
use crate::config::value::{Node, boolean, integer, parsed, quoted};

use self::parameters::{For, ReadParameters};

pub(super) use self::matches::matched;

pub use gatepost_services::dhcp::server::{Match, Parameters, Reservation, ReservedFor};

/// `[dhcp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    /// Whether the LAN is served.
    pub enabled: bool,
    /// The first and the last address given out; the gateway's own is skipped.
    pub pool: (Ipv4Addr, Ipv4Addr),
    /// How long a lease lasts.
    pub lease_secs: u32,
    /// Whether this is the LAN's only server, which sends NAKs to unknown clients.
    pub authoritative: bool,
    /// Whether hosts are identified by their hardware addresses alone, not by their client identifiers.
    pub ignore_client_id: bool,
    /// Parameters for all clients, which take precedence over those that follow from mode and settings.
    pub parameters: Parameters,
    /// Parameters for the clients that meet criteria. If several name a parameter, the first is used.
    pub matches: Vec<Match>,
    /// Addresses kept for certain hosts.
    pub reservations: Vec<Reservation>,
}

impl Dhcp {
    /// The settings in a line for people.
    pub(super) fn summary(&self) -> String {
        let (first, last) = self.pool;
        if self.enabled { format!("{first} to {last}, for {} s", self.lease_secs) } else { "off".to_owned() }
    }
}

/// The number of the LAN's hosts in the pool unless the file defines it.
const POOL_HOSTS: u32 = 100;
const LEASE_SECS: u32 = 86_400;
/// A year. A lease of 2^32 - 1 would never end (RFC 2131, section 3.3), and its address never recirculate.
const LEASE_SECS_MAX: u32 = 31_536_000;
const RESERVATIONS_MAX: usize = 4096;
/// RFC 2132, section 9.14: a type and at least one octet; one length octet.
const CLIENT_ID_LENS: std::ops::RangeInclusive<usize> = 2..=255;

/// `hostname` is the gateway's.
pub(super) fn read(mut dhcp: Section<'_>, hostname: &str, lan: Option<Ipv4Net>, report: &Report) -> Dhcp {
    let enabled = dhcp.setting("enabled", true, boolean);
    let pool = dhcp.setting("pool", lan.map(default_pool), parsed(|text| read_pool(text).map(Some)));
    let lease_secs = dhcp.setting("lease_secs", LEASE_SECS, integer(1..=LEASE_SECS_MAX));
    let authoritative = dhcp.setting("authoritative", true, boolean);
    let ignore_client_id = dhcp.setting("ignore_client_id", false, boolean);
    let general = parameters::read(&mut dhcp, For::All, report);
    let matches = matches::read(&mut dhcp, report);
    let reservations: Vec<_> = dhcp
        .elements("reservations", RESERVATIONS_MAX)
        .iter()
        .filter_map(|node| read_reservation(node, lan, report))
        .collect();

    if let (Some((Some(pool), span)), Some(lan)) = (pool.written(), lan)
        && let Err(problem) = check_pool(lan, *pool)
    {
        dhcp.report(span, problem);
    }
    check_duplicates(&reservations, report);
    for read in &reservations {
        let Some((name, span)) = &read.name else { continue };
        if name.eq_ignore_ascii_case(hostname) {
            let what = format!("{name} is the gateway's own name");
            report.add(span.clone(), Problem::new(what, "write another hostname"));
        }
    }
    if let Some(true) = ignore_client_id.known() {
        let by_id =
            reservations.iter().filter(|read| matches!(read.reservation.client, ReservedFor::ClientId(_)));
        for read in by_id {
            let what = "nobody is known by this: dhcp.ignore_client_id is true";
            report.add(
                read.client_span.clone(),
                Problem::new(what, "write mac = \"02:00:00:00:00:20\" instead"),
            );
        }
    }
    if let (Some(first), Some(false)) = (reservations.first(), enabled.known()) {
        let what = "nobody hands out what is reserved: dhcp.enabled is false";
        report.warn(first.address_span.clone(), Problem::new(what, "write enabled = true, or remove it"));
    }
    let particular = matches.iter().map(|it| &it.read).chain(reservations.iter().map(|it| &it.read));
    check_boot_servers(&general, particular, report);
    dhcp.finish();
    Dhcp {
        enabled: enabled.value,
        pool: pool.value.unwrap_or((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)),
        lease_secs: lease_secs.value,
        authoritative: authoritative.value,
        ignore_client_id: ignore_client_id.value,
        parameters: general.parameters,
        matches: matches.into_iter().map(matches::ReadMatch::into_match).collect(),
        reservations: reservations.into_iter().map(|read| read.reservation).collect(),
    }
}

/// Warns of boot files without a server: the gateway has no TFTP server.
fn check_boot_servers<'a>(
    general: &'a ReadParameters,
    particular: impl Iterator<Item = &'a ReadParameters>,
    report: &Report,
) {
    for read in particular.chain([general]).filter(|it| !it.has_boot_server() && !general.has_boot_server()) {
        if let Some(span) = read.boot_file_of_a_server() {
            let what = "clients ask the gateway for this file, which has no TFTP server";
            report.warn(span, Problem::new(what, "write next_server, or a URL"));
        }
    }
}

/// The LAN's first hosts.
fn default_pool(lan: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let (first, last) = hosts(lan);
    (first, last.min(Ipv4Addr::from_bits(u32::from(first) + POOL_HOSTS - 1)))
}

/// `FIRST-LAST`.
fn read_pool(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), Problem> {
    let Some((first, last)) = text.split_once('-') else {
        let what = format!("{} is no range of addresses", quoted(text));
        return Err(Problem::new(
            what,
            "write the first and the last, such as \"192.168.1.1-192.168.1.100\"",
        ));
    };
    let (first, last) = (address(first.trim())?, address(last.trim())?);
    if last < first {
        let what = format!("the pool {} is empty", quoted(text));
        return Err(Problem::new(what, format!("write \"{last}-{first}\"")));
    }
    Ok((first, last))
}

fn check_pool(lan: Ipv4Net, (first, last): (Ipv4Addr, Ipv4Addr)) -> Result<(), Problem> {
    check_host_of("LAN", lan, first)?;
    check_host_of("LAN", lan, last)?;
    if (first, last) == (lan.addr(), lan.addr()) {
        let (first, last) = default_pool(lan);
        let what = "the pool is empty: its only address is the gateway's own";
        return Err(Problem::new(what, format!("write \"{first}-{last}\"")));
    }
    Ok(())
}

/// A reservation and the places of its parameters, its name, its address and its client.
struct ReadReservation {
    reservation: Reservation,
    read: ReadParameters,
    name: Option<(String, Span)>,
    address_span: Span,
    client_span: Span,
}

fn read_reservation<'a>(
    node: &'a Node<'a>,
    lan: Option<Ipv4Net>,
    report: &'a Report,
) -> Option<ReadReservation> {
    let mut reservation = Section::element(node, "the reservation", report)?;
    let hostname = reservation.setting("hostname", None, parsed(|text| host_name(text).map(Some)));
    let mac =
        reservation.setting("mac", None, parsed(|text| mac(text).map(|mac| Some(ReservedFor::Mac(mac)))));
    let client_id = reservation.setting("client_id", None, parsed(|text| client_id(text).map(Some)));
    let address = reservation.required("address", "\"192.168.1.20\"", parsed(address));

    if let (Some((address, span)), Some(lan)) = (&address, lan)
        && let Err(problem) = check_lan_host(lan, *address)
    {
        reservation.report(span.clone(), problem);
    }
    let client = match (mac.written(), client_id.written()) {
        (Some(_), Some((_, span))) => {
            let what = "the reservation has both a mac and a client_id";
            reservation.report(span, Problem::new(what, "remove one of them"));
            None
        }
        (None, None) if mac.known().is_some() && client_id.known().is_some() => {
            let what = "the reservation is for nobody";
            let remedy = "write mac = \"02:00:00:00:00:20\", or client_id";
            reservation.report(reservation.span(), Problem::new(what, remedy));
            None
        }
        (written_mac, written_id) => written_mac.or(written_id),
    };
    let client = client.and_then(|(client, span)| Some((client.clone()?, span)));
    let read = parameters::read(&mut reservation, For::Some, report);
    reservation.finish();

    let ((address, address_span), (client, client_span)) = (address?, client?);
    let name = hostname.written().and_then(|(name, span)| Some((name.clone()?, span)));
    let parameters = read.parameters.clone();
    let reservation = Reservation { hostname: hostname.value, client, address, parameters };
    Some(ReadReservation { reservation, read, name, address_span, client_span })
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

/// Checks that every client, every address and every name is reserved once.
fn check_duplicates(reservations: &[ReadReservation], report: &Report) {
    for (index, later) in reservations.iter().enumerate() {
        let earlier = || reservations[..index].iter();
        let Reservation { address, client, .. } = &later.reservation;
        if let Some(first) = earlier().find(|earlier| earlier.reservation.address == *address) {
            let problem = Problem::new(format!("{address} is reserved twice"), "write another address");
            report.add_again(later.address_span.clone(), Some(first.address_span.clone()), problem);
        }
        if let Some(first) = earlier().find(|earlier| earlier.reservation.client == *client) {
            let what = format!("this host has {} reserved already", first.reservation.address);
            let problem = Problem::new(what, "write another mac or client_id");
            report.add_again(later.client_span.clone(), Some(first.client_span.clone()), problem);
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

/// A reservation for people.
pub(super) fn reserved(Reservation { hostname, client, address, .. }: &Reservation) -> String {
    let client = match client {
        ReservedFor::Mac(mac) => mac.to_string(),
        ReservedFor::ClientId(id) => format!("client {}", hex::joined(id)),
    };
    let name = hostname.iter().map(|name| format!(" {name}")).collect::<String>();
    format!("{address}{name} ({client})")
}
