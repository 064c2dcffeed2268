//! The gateway's own services in the file: the section of each, and what is said of all of them.

mod aliases;
mod dhcp;
mod dns;
mod mail;
mod polled;
mod rules;
mod smarthost;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use gatepost_ground::wire::Protocol;
use gatepost_services::dhcp::office as dhcp_service;
use gatepost_services::dns::office as dns_service;
use gatepost_services::service::Kind;
use gatepost_services::users::User;
use ipnet::Ipv4Net;

use gatepost_services::mail::delivery::KIND as DELIVERY;
use gatepost_services::mail::poll::KIND as POLLING;

use super::diagnostic::{Problem, Report, Span};
use super::section::Section;
use super::upcoming::Unfinished;
use super::users::Polled;

pub use dhcp::{Dhcp, Reservation, ReservedFor};
pub use dns::{Dns, Record, RecordValue};
pub use mail::{Aliases, Authenticity, MAIL_KINDS, Mail, MailDomain, MailPorts};

/// What is known of each service that this version has.
pub const KINDS: [&Kind; 2] = [&dhcp_service::KIND, &dns_service::KIND];

/// The services that can be named in a file that tries out `unfinished`.
pub(super) fn kinds(unfinished: Unfinished) -> Vec<&'static Kind> {
    let of_mail = MAIL_KINDS.into_iter().filter(|_| unfinished.mail);
    KINDS.into_iter().chain(of_mail).collect()
}

/// Whether the service that is called `name` is one of mail's.
pub fn is_of_mail(name: &str) -> bool {
    MAIL_KINDS.into_iter().chain([&DELIVERY, &POLLING]).any(|kind| kind.name == name)
}

/// What a configuration says of each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// Addresses for the LAN.
    pub dhcp: Dhcp,
    /// Names for the LAN.
    pub dns: Dns,
    /// Mail; `None` unless it is tried out.
    pub mail: Option<Mail>,
}

/// What the sections of services are judged by.
pub(super) struct Surroundings<'a, 'file> {
    /// The gateway's own host name.
    pub hostname: &'a str,
    /// The gateway's domain.
    pub domain: &'a str,
    /// The LAN, unless what was written is wrong.
    pub lan: Option<Ipv4Net>,
    /// Where it was written that other servers on the LAN are not heard.
    pub snooping: Option<Span>,
    /// The people of the office.
    pub users: &'a [User],
    /// The mailboxes of theirs that are polled.
    pub polled: &'a [Polled<'file>],
    /// Relative paths start there.
    pub folder: &'a Path,
    /// What those of them who are away answer.
    pub vacations: &'a BTreeMap<String, String>,
    /// What is tried out.
    pub unfinished: Unfinished,
}

/// Reads the sections of all services.
pub(super) fn read<'a>(file: &mut Section<'a>, around: Surroundings<'_, 'a>, report: &'a Report) -> Services {
    let Surroundings { hostname, domain, lan, snooping, users, polled, vacations, folder, unfinished } =
        around;
    let dhcp = dhcp::read(file.section("dhcp"), hostname, lan, report);
    if let Some(span) = snooping.filter(|_| !dhcp.enabled) {
        let what = "dhcp_snooping leaves the gateway as the only DHCP server, and dhcp.enabled is false";
        report.warn(span, Problem::new(what, "write dhcp.enabled = true, or remove it"));
    }
    let dns = dns::read(file.section("dns"), domain, lan, report);
    let names = mail::Names { hostname, domain };
    let people = mail::People { users, polled, vacations };
    let mail = unfinished.mail.then(|| mail::read(file.section("mail"), names, &people, folder, report));
    Services { dhcp, dns, mail }
}

impl Services {
    /// Whether the service that is called `name` is switched on.
    pub fn is_enabled(&self, name: &str) -> bool {
        let states = [(&dhcp_service::KIND, self.dhcp.enabled), (&dns_service::KIND, self.dns.enabled)];
        let mail = self.mail.as_ref().filter(|mail| mail.enabled);
        states.iter().any(|(kind, is_enabled)| kind.name == name && *is_enabled)
            || mail
                .is_some_and(|mail| name == DELIVERY.name || name == POLLING.name || mail.port_of(name) != 0)
    }

    /// Whether one of them speaks TLS.
    pub fn speak_tls(&self) -> bool {
        self.mail.as_ref().is_some_and(|mail| mail.enabled)
    }

    /// The services that there are.
    pub fn kinds(&self) -> Vec<&'static Kind> {
        kinds(Unfinished { mail: self.mail.is_some() })
    }

    /// The ports that a service is served on.
    pub fn ports_of(&self, kind: &Kind) -> Vec<(Protocol, u16)> {
        match &self.mail {
            Some(mail) if MAIL_KINDS.iter().any(|of_mail| of_mail.name == kind.name) => {
                let port = mail.port_of(kind.name);
                // Those behind the first are fixed: the one that begins with TLS.
                let others = kind.ports.iter().skip(1).copied();
                let all = [(Protocol::TCP, port)].into_iter().chain(others);
                all.filter(|_| port != 0).collect()
            }
            _ => kind.ports.to_vec(),
        }
    }

    /// The services, each with what it goes by in the office's `domain`. `has_provider`: there is a provider that tells
    /// more than the file.
    pub(super) fn summaries(&self, domain: &str, has_provider: bool) -> [(&'static str, String); 2] {
        [("DHCP", self.dhcp.summary()), ("DNS", self.dns.summary(domain, has_provider))]
    }

    /// The names that are certain before any host has come; none without a name service.
    pub(super) fn names<'a>(
        &'a self,
        hostname: &str,
        domain: &'a str,
        own: Ipv4Addr,
    ) -> impl Iterator<Item = String> + 'a {
        let own = [format!("{hostname}.{domain} {own}")];
        let reserved = self.reserved().map(move |(name, address)| format!("{name}.{domain} {address}"));
        let names = own.into_iter().chain(reserved).chain(self.dns.names(domain));
        names.filter(|_| self.dns.enabled)
    }

    /// What else people want to know of `config`'s services, each with its topic.
    pub(super) fn details(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.dhcp.reservations.iter().map(|reservation| ("reservation", dhcp::reserved(reservation)))
    }

    fn reserved(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        let reservations = self.dhcp.reservations.iter();
        reservations.filter_map(|reservation| Some((reservation.hostname.as_deref()?, reservation.address)))
    }
}
