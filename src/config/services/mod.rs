//! The gateway's own services in the file: the section of each, and checks across them.

mod admin;
mod aliases;
mod dhcp;
mod dns;
mod mail;
mod ntp;
mod polled;
mod ports;
mod rules;
mod smarthost;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use gatepost_ground::wire::Protocol;
use gatepost_services::admin as admin_service;
use gatepost_services::dhcp::office as dhcp_service;
use gatepost_services::dns::office as dns_service;
use gatepost_services::mail::delivery::KIND as DELIVERY;
use gatepost_services::mail::poll::KIND as POLLING;
use gatepost_services::ntp::office as ntp_service;
use gatepost_services::service::Kind;
use gatepost_services::users::User;
use ipnet::Ipv4Net;

use super::diagnostic::{Problem, Report, Span};
use super::section::Section;
use super::users::Polled;
use mail::{LMTP, MAIL_KINDS, POP3, POP3S, SMTP, SUBMISSION, SUBMISSIONS};

pub use admin::{Admin, FormerReach};
pub use dhcp::{Dhcp, Reservation, ReservedFor};
pub use dns::{Dns, Forward as DnsForward, Record, RecordValue};
pub use mail::{Aliases, Authenticity, Mail, MailDomain, MailPorts, Off};
pub use ntp::Ntp;

/// The kinds of services that listen on ports.
pub const KINDS: [&Kind; 9] = [
    &dhcp_service::KIND,
    &dns_service::KIND,
    &ntp_service::KIND,
    &SMTP,
    &SUBMISSION,
    &LMTP,
    &POP3,
    &POP3S,
    &admin_service::KIND,
];

/// The kinds of services that have no port and only connect to others.
pub const OUTWARD_KINDS: [&Kind; 2] = [&DELIVERY, &POLLING];

/// The configuration of each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// Addresses for the LAN.
    pub dhcp: Dhcp,
    /// Names for the LAN.
    pub dns: Dns,
    /// Time for the LAN.
    pub ntp: Ntp,
    /// Mail.
    pub mail: Mail,
    /// The administration's pages.
    pub admin: Admin,
}

impl Services {
    /// The upstream name servers that the file has.
    pub fn name_servers(&self) -> &[Ipv4Addr] {
        &self.dns.upstream
    }

    /// Whether the names of others are asked for at name servers.
    pub fn asks_name_servers(&self) -> bool {
        self.dns.enabled && self.dns.use_upstream
    }

    /// Whether the LAN is told the time.
    pub fn tells_time(&self) -> bool {
        self.ntp.enabled
    }
}

/// The other parts of the file that the checks of services need.
pub(super) struct Surroundings<'a, 'file> {
    /// The gateway's own host name.
    pub hostname: &'a str,
    /// The gateway's domain.
    pub domain: &'a str,
    /// The LAN, unless what was written is wrong.
    pub lan: Option<Ipv4Net>,
    /// The LAN's router, if that is not the gateway itself.
    pub router: Option<Ipv4Addr>,
    /// Where the file disables the detection of other DHCP servers on the LAN.
    pub snooping: Option<Span>,
    /// The people of the office.
    pub users: &'a [User],
    /// The mailboxes of theirs that are polled.
    pub polled: &'a [Polled<'file>],
    /// Relative paths start there.
    pub folder: &'a Path,
    /// The vacation replies, by the users' names.
    pub vacations: &'a BTreeMap<String, String>,
}

/// Reads the sections of all services.
pub(super) fn read<'a>(file: &mut Section<'a>, around: Surroundings<'_, 'a>, report: &'a Report) -> Services {
    let Surroundings { hostname, domain, lan, router, snooping, users, polled, vacations, folder } = around;
    let dhcp = dhcp::read(file.section("dhcp"), hostname, (lan, router), report);
    if let Some(span) = snooping.filter(|_| !dhcp.enabled) {
        let what = "dhcp_snooping leaves the gateway as the only DHCP server, and dhcp.enabled is false";
        report.warn(span, Problem::new(what, "write dhcp.enabled = true, or remove it"));
    }
    let dns = dns::read(file.section("dns"), domain, lan, report);
    let ntp = ntp::read(file.section("ntp"), lan.map(|lan| lan.addr()));
    let (admin, admin_port) = admin::read(file.section("admin"), folder);
    let names = mail::Names { hostname, domain };
    let people = mail::People { users, polled, vacations };
    let (mail, mail_ports) = mail::read(file.section("mail"), names, &people, folder, report);
    let moved = mail_ports.into_iter().chain([(admin_service::KIND.name, admin_port)]);
    ports::check_ports(&moved.collect::<Vec<_>>(), report);
    Services { dhcp, dns, ntp, mail, admin }
}

/// The setting that switches a service off.
pub(super) fn switched_off(kind: &Kind) -> String {
    if kind.name == SUBMISSION.name {
        return format!("mail.ports.{} = 0 and mail.ports.{SUBMISSIONS} = 0", kind.name);
    }
    if MAIL_KINDS.iter().any(|of_mail| of_mail.name == kind.name) {
        return format!("mail.ports.{} = 0", kind.name);
    }
    format!("{}.enabled = false", kind.name)
}

impl Services {
    /// Whether the service that is called `name` is switched on.
    pub fn is_enabled(&self, name: &str) -> bool {
        let states = [
            (&dhcp_service::KIND, self.dhcp.enabled),
            (&dns_service::KIND, self.dns.enabled),
            (&ntp_service::KIND, self.ntp.enabled),
            (&admin_service::KIND, self.admin.enabled),
        ];
        states.iter().any(|(kind, is_enabled)| kind.name == name && *is_enabled)
            || self.mail.enabled
                && (OUTWARD_KINDS.iter().any(|kind| kind.name == name)
                    || self.mail.port_of(name) != 0
                    || self.mail.tls_port_of(name) != 0)
    }

    /// The services that a section switches on or off: the section, the service's name for people, whether it is on.
    pub(super) fn switches(&self) -> [(&'static str, &'static str, bool); 3] {
        [
            ("dhcp", "DHCP", self.dhcp.enabled),
            ("dns", "DNS", self.dns.enabled),
            ("ntp", "NTP", self.ntp.enabled),
        ]
    }

    /// The reserved addresses, with the text of each reservation for people.
    pub(super) fn reservations(&self) -> impl Iterator<Item = (Ipv4Addr, String)> {
        let reservations = self.dhcp.reservations.iter();
        reservations.map(|reservation| (reservation.address, dhcp::reserved(reservation)))
    }

    /// Whether one of them speaks TLS.
    pub fn speak_tls(&self) -> bool {
        self.mail.enabled || self.admin.enabled
    }

    /// The ports that a service is served on.
    pub fn ports_of(&self, kind: &Kind) -> Vec<(Protocol, u16)> {
        if kind.name == admin_service::KIND.name {
            let ports = [self.admin.port].into_iter().chain(self.admin.former.port);
            return ports.map(|port| (Protocol::TCP, port)).collect();
        }
        if !MAIL_KINDS.iter().any(|of_mail| of_mail.name == kind.name) {
            return kind.ports.to_vec();
        }
        let ports = [self.mail.port_of(kind.name), self.mail.tls_port_of(kind.name)];
        ports.into_iter().filter(|port| *port != 0).map(|port| (Protocol::TCP, port)).collect()
    }

    /// The services, each with its settings for people, with the office's `domain`. `has_provider`: a provider adds
    /// settings to the file's.
    pub(super) fn summaries(
        &self,
        domain: &str,
        has_provider: bool,
    ) -> impl Iterator<Item = (&'static str, String)> {
        let dns = self.dns.summary(domain, has_provider);
        let admin = self.admin.summary(domain);
        [("DHCP", self.dhcp.summary()), ("DNS", dns), ("NTP", self.ntp.summary()), ("pages", admin)]
            .into_iter()
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

    /// Further settings of `config`'s services for people, each with its topic.
    pub(super) fn details(&self, users: &[User]) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let mail = self.mail.summary(users).into_iter().map(|line| ("mail", line));
        let reserved =
            self.dhcp.reservations.iter().map(|reservation| ("reservation", dhcp::reserved(reservation)));
        let matches = self.dhcp.matches.iter().map(|it| ("DHCP match", dhcp::matched(it)));
        mail.chain(reserved).chain(matches)
    }

    fn reserved(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        let reservations = self.dhcp.reservations.iter();
        reservations.filter_map(|reservation| Some((reservation.hostname.as_deref()?, reservation.address)))
    }
}
