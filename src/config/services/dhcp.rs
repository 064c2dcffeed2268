//! `[dhcp]`, its reservations and its matches.

mod code;
mod matches;
mod parameters;
mod reservations;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::address::{address, check_host_of, hosts};
use crate::config::diagnostic::{Problem, Report};
use crate::config::section::Section;
use crate::config::value::{boolean, integer, parsed, quoted};

use self::parameters::{For, ReadParameters};

pub(super) use self::matches::matched;
pub(super) use self::reservations::reserved;

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

/// `hostname` is the gateway's; `router` is the LAN's, if that is not the gateway.
pub(super) fn read(
    mut dhcp: Section<'_>,
    hostname: &str,
    (lan, router): (Option<Ipv4Net>, Option<Ipv4Addr>),
    report: &Report,
) -> Dhcp {
    let enabled = dhcp.setting("enabled", true, boolean);
    let pool = dhcp.setting("pool", lan.map(default_pool), parsed(|text| read_pool(text).map(Some)));
    let lease_secs = dhcp.setting("lease_secs", LEASE_SECS, integer(1..=LEASE_SECS_MAX));
    let authoritative = dhcp.setting("authoritative", true, boolean);
    let ignore_client_id = dhcp.setting("ignore_client_id", false, boolean);
    let general = parameters::read(&mut dhcp, For::All, report);
    let matches = matches::read(&mut dhcp, report);
    let reservations = reservations::read(&mut dhcp, lan, report);

    if let (Some((Some(pool), span)), Some(lan)) = (pool.written(), lan)
        && let Err(problem) = check_pool(lan, *pool)
    {
        dhcp.report(span, problem);
    }
    reservations::check_names(&reservations, hostname, report);
    reservations::check_router(&reservations, router, report);
    if let Some(true) = ignore_client_id.known() {
        reservations::check_identifiers_are_used(&reservations, report);
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
