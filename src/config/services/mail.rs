//! `[mail]`: the mail services, their domains and where mail leaves.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;

use gatepost_services::mail::delivery::Login;
use gatepost_services::mail::judge::{Address as Judge, JUDGES_MAX, Protocol as JudgeProtocol};
use gatepost_services::mail::mx::{Host as MailHost, SMTP_PORT, Server as MailServer};
use gatepost_services::mail::poll::Account;
use gatepost_services::mail::service::has_strangers;
use gatepost_services::service::Kind;
use gatepost_services::users::User;
use gatepost_services::words::counted;
use toml::de::DeValue;

use crate::config::address::network;
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::name::domain as domain_name;
use crate::config::section::{Section, Setting};
use crate::config::users::Polled;
use crate::config::value::{Node, boolean, choice, integer, list, parsed, quoted, size, unless_empty};

pub use gatepost_services::mail::rules::Rules;
pub use gatepost_services::mail::service::aliases::Aliases;
pub use gatepost_services::mail::service::directory::MailDomain;
pub use gatepost_services::mail::service::office::{LMTP, SMTP, SUBMISSION};
pub use gatepost_services::mail::service::pop3::{POP3, POP3S};
pub use gatepost_services::mail::service::{Authenticity, KeepDays, RelayFrom, Shares};

use super::{aliases, polled, rules, smarthost};

/// The static descriptions of the mail services.
pub(super) const MAIL_KINDS: [&Kind; 5] = [&SMTP, &SUBMISSION, &LMTP, &POP3, &POP3S];

/// `[mail]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Whether mail is served.
    pub enabled: bool,
    /// The server's name.
    pub hostname: String,
    /// The longest accepted message, in octets.
    pub message_octets_max: u64,
    /// The external programs that judge each message before it is accepted.
    pub judges: Vec<Judge>,
    /// The networks that may send to other domains without a login.
    pub relay_from: RelayFrom,
    /// Whether clients of the LAN may log in without TLS.
    pub plaintext_login: bool,
    /// The treatment of mail from outside that fails authentication.
    pub authenticity: Authenticity,
    /// If the disk's free space is less, in octets, no message is accepted.
    pub disk_reserve: u64,
    /// Where it is served; 0: nowhere.
    pub ports: MailPorts,
    /// The limits of one source.
    pub shares: Shares,
    /// All domains of the office's, with other names of theirs.
    pub domains: Vec<MailDomain>,
    /// Addresses that lead to others.
    pub aliases: Aliases,
    /// The server for all other domains; without one each domain's own are searched.
    pub smarthost: Option<MailServer>,
    /// The login at the smarthost.
    pub smarthost_login: Option<Login>,
    /// The servers of other domains, by the domains' names in lower case.
    pub routes: BTreeMap<String, MailServer>,
    /// Polled remote mailboxes.
    pub polled: Vec<Account>,
    /// The users' rules.
    pub rules: Rules,
    /// The retention of mail in days.
    pub keep_days: KeepDays,
}

/// Why there is no mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off {
    /// The reason.
    pub why: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// `[mail.ports]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailPorts {
    /// Mail from other servers, and from programs on the LAN.
    pub smtp: u16,
    /// Mail that users send.
    pub submission: u16,
    /// The same, under TLS from the start.
    pub submissions: u16,
    /// Mail from other servers, by LMTP.
    pub lmtp: u16,
    /// Users fetch their mail.
    pub pop3: u16,
    /// The same, under TLS from the start.
    pub pop3s: u16,
}

impl MailPorts {
    /// Each port, by its key in `[mail.ports]`.
    fn by_key(&self) -> [(&'static str, u16); 6] {
        [
            (SMTP.name, self.smtp),
            (SUBMISSION.name, self.submission),
            (SUBMISSIONS, self.submissions),
            (LMTP.name, self.lmtp),
            (POP3.name, self.pop3),
            (POP3S.name, self.pop3s),
        ]
    }
}

impl Mail {
    /// Why mail is disabled with these users; `None` if it is enabled.
    pub(in crate::config) fn off(&self, users: &[User]) -> Option<Off> {
        let off = match users {
            [] => Off {
                why: "there is nobody to have any",
                remedy: "write a user, such as [[users]] with name = \"alice\", and leave mail.enabled out",
            },
            _ => Off { why: "mail.enabled is false", remedy: "write mail.enabled = true" },
        };
        (!self.enabled).then_some(off)
    }

    /// The settings in lines for people: the local domains and users, the route of other mail, and the ports.
    pub(super) fn summary(&self, users: &[User]) -> Vec<String> {
        if let Some(Off { why, .. }) = self.off(users) {
            return vec![format!("off, as {why}")];
        }
        let names = self.domains.iter().filter(|domain| domain.same_as.is_none());
        let names: Vec<_> = names.map(|domain| domain.name.as_str()).collect();
        let others = self.smarthost.as_ref();
        let others = others.map_or_else(|| "their own servers".to_owned(), ToString::to_string);
        let ports = self.ports.by_key().into_iter().filter(|(_, port)| *port != 0);
        let ports: Vec<_> = ports.map(|(key, port)| format!("{key} {port}")).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        let counts = [
            counted(names.len(), "domain", "domains"),
            counted(users.len(), "user", "users"),
            counted(self.aliases.all.len(), "alias", "aliases"),
            counted(self.rules.all.len(), "rule", "rules"),
            counted(self.polled.len(), "polled mailbox", "polled mailboxes"),
        ];
        vec![
            format!("{}; mail for others to {others}", names.join(", ")),
            format!("{}; ports: {ports}", counts.join(", ")),
        ]
    }

    /// The port of the service `name` with implicit TLS, besides its [port](Self::port_of); 0: none.
    pub fn tls_port_of(&self, name: &str) -> u16 {
        if name == SUBMISSION.name { self.ports.submissions } else { 0 }
    }

    /// Where the service that is called `name` is served; 0: nowhere.
    pub fn port_of(&self, name: &str) -> u16 {
        self.ports.by_key().into_iter().find(|(of, _)| *of == name).map_or(0, |(_, port)| port)
    }
}

const MESSAGE_OCTETS: u64 = 25 << 20;
const DISK_RESERVE: u64 = 128 << 20;
const NETWORKS_MAX: usize = 64;
const DOMAINS_MAX: usize = 256;
const ROUTES_MAX: usize = 256;
/// The port for message submission. (RFC 6409)
const SMARTHOST_PORT: u16 = 587;
const EXAMPLE: &str = "write a server such as \"smtp.isp.example:587\" or \"192.168.1.40:25\"";
/// The values of `authentication`.
const AUTHENTICATION: [(&str, Authenticity); 3] = [
    ("report", Authenticity::Report),
    ("quarantine", Authenticity::Quarantine),
    ("reject", Authenticity::Reject),
];
/// The key of the port at which users hand mail in under TLS from the start. It belongs to [`SUBMISSION`].
pub(super) const SUBMISSIONS: &str = "submissions";
const PORTS: RangeInclusive<u32> = 0..=65_535;

/// The ports in the file with the names of their services; 0: nowhere.
pub(super) type WrittenPorts = [(&'static str, Setting<u32>); 6];

/// The gateway's own names, by which its mailboxes can be called, too.
pub(super) struct Names<'a> {
    /// Its host name.
    pub hostname: &'a str,
    /// Its domain.
    pub domain: &'a str,
}

/// The people of the office.
pub(super) struct People<'a, 'file> {
    /// All of them.
    pub users: &'a [User],
    /// The mailboxes of theirs that are polled.
    pub polled: &'a [Polled<'file>],
    /// The vacation replies, by the users' names.
    pub vacations: &'a BTreeMap<String, String>,
}

/// The section, and its ports for the check across all services. Relative paths start at `folder`.
pub(super) fn read<'a>(
    mut mail: Section<'a>,
    own: Names<'_>,
    people: &People<'_, 'a>,
    folder: &Path,
    report: &'a Report,
) -> (Mail, WrittenPorts) {
    let users = people.users;
    let enabled = mail.setting("enabled", !users.is_empty(), boolean);
    let hostname = mail.setting("hostname", None, unless_empty(domain_name));
    let hostname = hostname.value.unwrap_or_else(|| format!("smtp.{}", own.domain));
    let message_octets_max = mail.setting("max_message", MESSAGE_OCTETS, size(1 << 20));
    let judges = mail.setting("judge", Vec::new(), judges);
    let relay_from = mail.setting("relay_from", vec![None], list(NETWORKS_MAX, parsed(relay)));
    let plaintext_login = mail.setting("plaintext_login", false, choice(&[("never", false), ("lan", true)]));
    let authenticity = mail.setting("authentication", Authenticity::Report, choice(&AUTHENTICATION));
    let disk_reserve = mail.setting("disk_reserve", DISK_RESERVE, size(1 << 20));
    let (ports, written_ports) = read_ports(mail.section("ports"));
    let shares = read_shares(mail.section("limits"));
    let domains = read_domains(&mut mail, &own, users, report);
    let aliases = aliases::read(&mut mail, own.domain, report);
    let own_names = own_names(&own, &hostname, &domains);
    let smarthost = mail.setting(
        "smarthost",
        None,
        parsed(|text| match text {
            "" => Ok(None),
            _ => mail_server(text, SMARTHOST_PORT, &own_names, EXAMPLE).map(Some),
        }),
    );
    let smarthost_login = smarthost::read_login(&mut mail, &smarthost, folder);
    let routes = read_routes(&mut mail, &own_names, report);
    let around = polled::Around { own_names: &own_names, domain: own.domain, folder };
    let polled = polled::read(&mut mail, people.polled, &around, report);
    let rules = rules::read(&mut mail, own.domain, users, report);
    let keep_days = mail.setting("keep_days", rules::keep_days_by_default(), rules::keep_days);
    if let (Some((true, span)), []) = (enabled.written(), users) {
        mail.report(span, Problem::new("there is nobody to have mail", "write a user, or enabled = false"));
    }
    mail.finish();

    let relay_from = RelayFrom {
        lan: relay_from.value.contains(&None),
        networks: relay_from.value.iter().flatten().copied().map(Into::into).collect(),
    };
    let office = own.domain.to_lowercase();
    let mut all = vec![MailDomain { name: office.clone(), ..MailDomain::default() }];
    for other in [&format!("{}.{}", own.hostname, own.domain), &hostname] {
        let same_as = Some(office.clone());
        all.push(MailDomain { name: other.to_lowercase(), users: None, same_as });
    }
    all.extend(domains);
    let aliases = aliases.check(users, &all, report);
    let polled = polled.check(users, &all, &aliases, report);
    let rules = Rules { vacations: people.vacations.clone(), ..rules.check(users, &all, &aliases, report) };
    let mail = Mail {
        enabled: enabled.value,
        hostname,
        message_octets_max: message_octets_max.value,
        judges: judges.value,
        relay_from,
        plaintext_login: plaintext_login.value,
        authenticity: authenticity.value,
        disk_reserve: disk_reserve.value,
        ports,
        shares,
        domains: all,
        aliases,
        smarthost: smarthost.value,
        smarthost_login,
        routes,
        polled,
        rules,
        keep_days: keep_days.value,
    };
    (mail, written_ports)
}

/// The names by which this server is called, in lower case.
fn own_names(own: &Names<'_>, hostname: &str, domains: &[MailDomain]) -> Vec<String> {
    let gateway = format!("{}.{}", own.hostname, own.domain);
    let names = [own.domain, gateway.as_str(), hostname].map(str::to_lowercase);
    names.into_iter().chain(domains.iter().map(|domain| domain.name.clone())).collect()
}

/// A server's name or address with its port, which is `port` unless it is written. `own` are the names of this one;
/// `example` is the remedy.
pub(super) fn mail_server(
    text: &str,
    port: u16,
    own: &[String],
    example: &str,
) -> Result<MailServer, Problem> {
    let wrong = |what: &str| Problem::new(format!("{} {what}", quoted(text)), example);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)),
        None => (text, Some(port)),
    };
    let port = port.ok_or_else(|| wrong("has a port that there is not"))?;
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        if is_of_no_server(address) {
            return Err(wrong("is the address of no other server"));
        }
        return Ok(MailServer { host: MailHost::Address(address.into()), port });
    }
    let name = domain_name(host).map_err(|_| wrong("is no name or IPv4 address of a server"))?.to_lowercase();
    if own.contains(&name) || name == "localhost" {
        return Err(wrong("is this server itself, and mail would come back to it"));
    }
    Ok(MailServer { host: MailHost::Name(name), port })
}

/// Whether the address cannot be a server's.
fn is_of_no_server(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback()
}

fn read_routes<'a>(
    mail: &mut Section<'a>,
    own: &[String],
    report: &'a Report,
) -> BTreeMap<String, MailServer> {
    let mut routes = BTreeMap::new();
    for node in mail.elements("routes", ROUTES_MAX) {
        let Some(mut route) = Section::element(node, "the route", report) else { continue };
        let domain = route.required("domain", "\"old.example\"", parsed(domain_name));
        let server = |text: &str| mail_server(text, SMTP_PORT, own, EXAMPLE);
        let to = route.required("to", "\"192.168.1.40:25\"", parsed(server));
        route.finish();
        let Some(((domain, span), (to, _))) = domain.zip(to) else { continue };
        let domain = domain.to_lowercase();
        if own.contains(&domain) {
            let what = format!("{domain} is a domain of this server, whose mail is delivered here");
            report.add(span, Problem::new(what, "remove the route, or the domain"));
        } else if routes.insert(domain.clone(), to).is_some() {
            report.add(span, Problem::new(format!("{domain} has two routes"), "remove one"));
        }
    }
    routes
}

/// One judge, or a list of them; none for an empty text.
fn judges(node: &Node<'_>, report: &Report) -> Option<Vec<Judge>> {
    match node.get_ref() {
        DeValue::Array(_) => list(JUDGES_MAX, parsed(judge))(node, report),
        DeValue::String(text) if text.is_empty() => Some(Vec::new()),
        _ => parsed(judge)(node, report).map(|judge| vec![judge]),
    }
}

fn judge(text: &str) -> Result<Judge, Problem> {
    let example =
        "write a judge such as \"http://192.168.1.40:11333\" (rspamd) or \"clamd://192.168.1.40:3310\"";
    let wrong = |what: &str| Problem::new(format!("{} {what}", quoted(text)), example);
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("does not say what the judge speaks"))?;
    let (protocol, port) = match scheme {
        "http" => (JudgeProtocol::Rspamd, 11_333),
        "clamd" => (JudgeProtocol::Clamd, 3310),
        _ => return Err(wrong("names what no judge speaks")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)),
        None => (rest, Some(port)),
    };
    let port = port.ok_or_else(|| wrong("has a port that there is not"))?;
    match host.parse::<Ipv4Addr>() {
        Ok(address) if is_of_no_server(address) => Err(wrong("has the address of no other server")),
        Ok(_) => Ok(Judge { protocol, host: host.to_owned(), port }),
        Err(_) => {
            let name = domain_name(host).map_err(|_| wrong("has no name or IPv4 address of a server"))?;
            Ok(Judge { protocol, host: name.to_lowercase(), port })
        }
    }
}

/// A network; `None` is the LAN.
fn relay(text: &str) -> Result<Option<ipnet::Ipv4Net>, Problem> {
    if text == "lan" {
        return Ok(None);
    }
    let network = network(text)?;
    if has_strangers(&network.into()) {
        let what = format!("anybody in {network} could send to other domains");
        return Err(Problem::new(what, "write smaller networks, which are the office's own"));
    }
    Ok(Some(network))
}

fn read_ports(mut ports: Section<'_>) -> (MailPorts, WrittenPorts) {
    let mut port = |name, default: u32| (name, ports.setting(name, default, integer(PORTS)));
    let written = [
        port(SMTP.name, 25),
        port(SUBMISSION.name, 587),
        port(SUBMISSIONS, 465),
        port(LMTP.name, 0),
        port(POP3.name, 110),
        port(POP3S.name, 995),
    ];
    ports.finish();
    let [smtp, submission, submissions, lmtp, pop3, pop3s] =
        written.each_ref().map(|(_, port)| u16::try_from(port.value).unwrap_or_default());
    (MailPorts { smtp, submission, submissions, lmtp, pop3, pop3s }, written)
}

fn read_shares(mut limits: Section<'_>) -> Shares {
    let default = Shares::default();
    let mut limit = |key, default: u32| limits.setting(key, default, integer(1..=100_000)).value;
    let mut connections = |key, default: usize| {
        let read = limit(key, u32::try_from(default).unwrap_or(u32::MAX));
        usize::try_from(read).unwrap_or(default)
    };
    let shares = Shares {
        lan_connections: connections("lan_connections", default.lan_connections),
        wan_connections: connections("wan_connections", default.wan_connections),
        wan_messages_a_minute: limit("wan_messages_per_minute", default.wan_messages_a_minute),
    };
    limits.finish();
    shares
}

fn read_domains<'a>(
    mail: &mut Section<'a>,
    own: &Names<'_>,
    users: &[User],
    report: &'a Report,
) -> Vec<MailDomain> {
    let mut domains: Vec<(MailDomain, Span)> = Vec::new();
    for node in mail.elements("domains", DOMAINS_MAX) {
        let Some((domain, span)) = read_domain(node, own, users, &domains, report) else { continue };
        let earlier = domains.iter().find(|(earlier, _)| earlier.name == domain.name);
        if domain.name.eq_ignore_ascii_case(own.domain) {
            report.add(span, Problem::new(format!("{} is system.domain", domain.name), "remove it"));
        } else if let Some((_, first)) = earlier {
            let problem = Problem::new(format!("the domain {} is there twice", domain.name), "remove one");
            report.add_again(span, Some(first.clone()), problem);
        } else {
            domains.push((domain, span));
        }
    }
    domains.into_iter().map(|(domain, _)| domain).collect()
}

fn read_domain<'a>(
    node: &'a Node<'a>,
    own: &Names<'_>,
    all: &[User],
    earlier: &[(MailDomain, Span)],
    report: &'a Report,
) -> Option<(MailDomain, Span)> {
    let mut domain = Section::element(node, "the domain", report)?;
    let name = domain.required("name", "\"shop.example\"", parsed(domain_name));
    let known = |text: &str| {
        let is_known = all.iter().any(|user| user.name == text);
        let unknown =
            || Problem::new(format!("there is no user {}", quoted(text)), "write the name of a user");
        is_known.then(|| text.to_owned()).ok_or_else(unknown)
    };
    let users = domain.setting("users", None, |node, report| {
        list(gatepost_services::users::USERS_MAX, parsed(known))(node, report).map(Some)
    });
    let alias = domain.setting("alias_of", None, parsed(|text| domain_name(text).map(Some)));
    let (members, same_as) = match (&users.value, alias.written()) {
        (Some(_), Some((_, span))) => {
            let what = "the domain has users of its own and is another's alias";
            domain.report(span, Problem::new(what, "remove one of them"));
            (None, None)
        }
        (None, Some((Some(other), span))) => {
            let found = earlier.iter().find(|(earlier, _)| earlier.name.eq_ignore_ascii_case(other));
            if found.is_none() && !other.eq_ignore_ascii_case(own.domain) {
                let what = format!("there is no domain {} before this one", quoted(other));
                domain.report(span, Problem::new(what, format!("write {}", quoted(own.domain))));
            }
            (found.and_then(|(earlier, _)| earlier.users.clone()), Some(other.to_lowercase()))
        }
        _ => (users.value.clone(), None),
    };
    domain.finish();
    let (name, span) = name?;
    Some((MailDomain { name: name.to_lowercase(), users: members, same_as }, span))
}
