//! The one list of the gateway's services, by which the gateway starts them, reports on them, opens ports to the WAN
//! and stops them.
//!
//! The order matters: services later in the list use what earlier ones publish, such as the LAN's hosts. Services are
//! stopped in the opposite order.

use std::net::IpAddr;
use std::rc::Rc;

use gatepost_dataplane::LocalClass;
use gatepost_dataplane::config::Mode;
use gatepost_ground::PortId;
use gatepost_services::addresses::Addresses;
use gatepost_services::admin::{self, Codes, OfficeAdmin};
use gatepost_services::dhcp::inbox;
use gatepost_services::dhcp::intake::Intake;
use gatepost_services::dhcp::office::{self as dhcp, Advertised, OfficeDhcp};
use gatepost_services::dhcp::server::DhcpEvent;
pub use gatepost_services::dhcp::server::leases::RESERVE_FILE as ROOM_FILE;
use gatepost_services::dhcp::server::leases::{JOURNAL_FILE, Leases};
use gatepost_services::dns::inspection::Inspection;
use gatepost_services::dns::office::{self as dns, OfficeDns, Upstreams};
use gatepost_services::dns::{DnsEvent, RecordValue, StaticRecord};
use gatepost_services::events::Events;
use gatepost_services::mail::delivery::{self, DeliveryDriver, OfficeDelivery};
use gatepost_services::mail::poll::{self, OfficePolling, Polls, Receives};
use gatepost_services::mail::service as mail;
use gatepost_services::mail::service::office::{LMTP, OfficeMail, SMTP, SUBMISSION};
use gatepost_services::mail::service::pop3::{OfficePop3, Opening, POP3, POP3S};
use gatepost_services::mail::service::state::MailState;
use gatepost_services::mail::smtp::Role;
use gatepost_services::mail::store;
use gatepost_services::net::stack::Stack;
use gatepost_services::ntp::office::{self as ntp, OfficeNtp};
use gatepost_services::own_time::OwnTime;
use gatepost_services::service::{Host, Instance, Kind, LocalFuture, Service, Unprepared};
use gatepost_services::users::office::OfficeLogins;
use gatepost_services::users::verifier::Cost;

use crate::config::{Config, DnsForward};
use crate::gateway::identity::Identity;
use crate::gateway::link::HostLink;

/// The services, in the order in which they are prepared.
pub struct List {
    entries: Vec<Box<dyn Entry>>,
    intake: Rc<Intake>,
    driver: Rc<DeliveryDriver<Stack>>,
    state: Rc<MailState>,
    polls: Rc<Polls<Stack>>,
    names: Inspection,
    codes: Codes,
    dhcp_events: Events<DhcpEvent>,
    dns_events: Events<DnsEvent>,
}

/// A service and the part of the configuration that it uses.
pub trait Entry {
    /// The service's kind.
    fn kind(&self) -> &'static Kind;

    /// Prepares the service for `config`; see [`Service::prepare`].
    fn prepare<'a>(
        &'a self,
        config: &Config,
        host: &'a Host<Stack>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>>;

    /// The service's counters.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

struct Listed<S: Service<Stack>> {
    service: S,
    settings: fn(&Config) -> S::Settings,
}

impl<S: Service<Stack>> Entry for Listed<S> {
    fn kind(&self) -> &'static Kind {
        self.service.kind()
    }

    fn prepare<'a>(
        &'a self,
        config: &Config,
        host: &'a Host<Stack>,
    ) -> LocalFuture<'a, Result<Rc<dyn Instance>, Unprepared>> {
        self.service.prepare((self.settings)(config), host)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.service.counters()
    }
}

/// Lists the damage in a file with this content.
type Damages = fn(&[u8]) -> Vec<String>;

/// The files that services store.
pub const STORED: [(&str, Damages); 1] =
    [(JOURNAL_FILE, |content| Leases::damages(content).iter().map(ToString::to_string).collect())];

impl List {
    /// All services, which send whole frames by `link`. Their clock is `own_time`; `pages` are those of the
    /// administration.
    pub fn new(
        identity: Identity,
        link: &Rc<HostLink>,
        own_time: Rc<OwnTime>,
        pages: Rc<dyn admin::Pages>,
    ) -> Self {
        let intake = Rc::new(Intake::default());
        let link = Rc::clone(link);
        let transmit = Rc::new(move |frame: &[u8]| link.emit_frame(Config::LAN, frame));
        let dhcp = OfficeDhcp::new(Rc::clone(&intake), identity.lan, transmit);
        let logins = Rc::new(OfficeLogins::new(Cost::FULL));
        let state = Rc::new(MailState::new(store::Settings::default(), Rc::clone(&logins)));
        let driver = Rc::new(DeliveryDriver::<Stack>::new());
        let mail = |role| OfficeMail::new(role, Rc::clone(&state), Rc::clone(&driver) as _);
        let delivery = OfficeDelivery::new(Rc::clone(&state), Rc::clone(&driver));
        let pop3 = |opening| OfficePop3::new(opening, Rc::clone(&state));
        let polls = Rc::new(Polls::<Stack>::new());
        let polling = OfficePolling::new(Rc::clone(&state), Rc::clone(&polls), Rc::clone(&driver) as _);
        let office_dns = OfficeDns::default();
        let names = office_dns.inspection();
        let office_admin = OfficeAdmin::new(pages, logins);
        let codes = office_admin.codes();
        let (dhcp_events, dns_events) = (dhcp.events(), office_dns.events());
        let entries: Vec<Box<dyn Entry>> = vec![
            Box::new(Listed { service: dhcp, settings: dhcp_settings }),
            Box::new(Listed { service: office_dns, settings: dns_settings }),
            Box::new(Listed { service: OfficeNtp::new(own_time), settings: ntp_settings }),
            Box::new(Listed { service: mail(Role::Mx), settings: |c| mail_settings(c, &SMTP) }),
            Box::new(Listed { service: mail(Role::Submission), settings: |c| mail_settings(c, &SUBMISSION) }),
            Box::new(Listed { service: mail(Role::Lmtp), settings: |c| mail_settings(c, &LMTP) }),
            Box::new(Listed { service: delivery, settings: delivery_settings }),
            Box::new(Listed { service: polling, settings: polling_settings }),
            Box::new(Listed { service: pop3(Opening::Clear), settings: |c| mail_settings(c, &POP3) }),
            Box::new(Listed { service: pop3(Opening::Tls), settings: |c| mail_settings(c, &POP3S) }),
            Box::new(Listed { service: office_admin, settings: admin_settings }),
        ];
        Self { entries, intake, driver, state, polls, names, codes, dhcp_events, dns_events }
    }

    /// The services.
    pub fn entries(&self) -> impl Iterator<Item = &dyn Entry> {
        self.entries.iter().map(AsRef::as_ref)
    }

    /// The DHCP server's events.
    pub fn dhcp_events(&self) -> &Events<DhcpEvent> {
        &self.dhcp_events
    }

    /// Clients' DNS queries.
    pub fn dns_events(&self) -> &Events<DnsEvent> {
        &self.dns_events
    }

    /// The outbound delivery of mail.
    pub fn driver(&self) -> &DeliveryDriver<Stack> {
        &self.driver
    }

    /// The state that the mail services share.
    pub fn mail_state(&self) -> &MailState {
        &self.state
    }

    /// Access to the DNS service.
    pub fn names(&self) -> &Inspection {
        &self.names
    }

    /// The codes for the administration.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The polled accounts.
    pub fn polls(&self) -> &Polls<Stack> {
        &self.polls
    }

    /// Appends a service.
    #[cfg(test)]
    pub fn push(&mut self, entry: Box<dyn Entry>) {
        self.entries.push(entry);
    }

    /// Passes a whole frame received by `port` to the service, or the provider's client, that handles frames of
    /// `class`. `false` if it is the host stack's.
    pub fn take_frame(&self, class: LocalClass, port: Option<PortId>, frame: &[u8]) -> bool {
        match class {
            LocalClass::DhcpServer => self.intake.for_server(port, frame),
            LocalClass::DhcpClient | LocalClass::DhcpClientProbe => self.intake.for_client(port, frame),
            LocalClass::Stack => return false,
        }
        true
    }

    /// Sets the receiver of frames for the provider's client.
    pub fn set_wan_client(&self, client: Option<inbox::Sender>) {
        self.intake.set_client(client);
    }
}

/// The upstream DNS servers while the gateway has `addresses`.
pub fn name_servers(config: &Config, addresses: &Addresses) -> Vec<IpAddr> {
    if config.services.dns.enabled { upstreams(config).at(addresses) } else { Vec::new() }
}

/// The gateway advertises itself as router and name server, except in [`Mode::LanOnly`], where it is a host like
/// others: then the configured ones.
fn dhcp_settings(config: &Config) -> dhcp::Settings {
    let is_lan_only = config.mode == Mode::LanOnly;
    let name_servers = match &config.services.dns.upstream {
        upstream if !upstream.is_empty() && (is_lan_only || !config.services.dns.enabled) => {
            Advertised::Other(upstream.clone())
        }
        _ if config.services.dns.enabled => Advertised::Own,
        _ => Advertised::Other(Vec::new()),
    };
    dhcp::Settings {
        enabled: config.services.dhcp.enabled,
        pool: config.services.dhcp.pool.0..=config.services.dhcp.pool.1,
        lease_secs: config.services.dhcp.lease_secs,
        is_unconfirmed: config.is_unconfirmed,
        authoritative: config.services.dhcp.authoritative,
        ignore_client_id: config.services.dhcp.ignore_client_id,
        router: if is_lan_only { Advertised::Other(config.lan.gateway) } else { Advertised::Own },
        name_servers,
        time_servers: if tells_time(config) { Advertised::Own } else { Advertised::Other(Vec::new()) },
        domain: config.system.domain.clone(),
        parameters: config.services.dhcp.parameters.clone(),
        matches: config.services.dhcp.matches.clone(),
        ports: config.ports().filter(|(interface, _)| *interface == Config::LAN).count(),
        reservations: config.services.dhcp.reservations.clone(),
    }
}

fn dns_settings(config: &Config) -> dns::Settings {
    dns::Settings {
        enabled: config.services.dns.enabled,
        domain: config.system.domain.clone(),
        hostname: config.system.hostname.clone(),
        services: mail_servers(config),
        records: config.services.dns.records.clone(),
        upstreams: upstreams(config),
        trust_ad: config.services.dns.trust_ad,
        mixed_case: config.services.dns.mixed_case,
        // A host on another administrator's LAN uses that LAN's name server, which has private names.
        rebinding_filter: config.mode != Mode::LanOnly,
        private_answers_from: config.services.dns.private_answers_from.clone(),
        forwards: config.services.dns.forwards.iter().map(forward).collect(),
        on_outside: config.wan_services().any(|kind| kind.name == dns::KIND.name),
    }
}

/// The records by which mail programs find the servers of the office. (RFC 6186, section 3; RFC 8314, section 5.1)
fn mail_servers(config: &Config) -> Vec<StaticRecord> {
    let mail = &config.services.mail;
    let servers = [
        ("_submissions._tcp", "smtp", mail.tls_port_of(SUBMISSION.name)),
        ("_submission._tcp", "smtp", mail.port_of(SUBMISSION.name)),
        ("_pop3s._tcp", "pop", mail.port_of(POP3S.name)),
        ("_pop3._tcp", "pop", mail.port_of(POP3.name)),
    ];
    let record = |(name, target, port): (&str, &str, u16)| StaticRecord {
        name: name.to_owned(),
        value: RecordValue::Service { priority: 0, weight: 1, port, target: target.to_owned() },
    };
    let is_served = |(_, _, port): &(&str, &str, u16)| mail.enabled && *port != 0;
    servers.into_iter().filter(is_served).map(record).collect()
}

fn forward(forward: &DnsForward) -> (String, Vec<IpAddr>) {
    (forward.zone.clone(), forward.servers.iter().copied().map(IpAddr::V4).collect())
}

/// Whether the whole LAN is served by the time server.
fn tells_time(config: &Config) -> bool {
    let lan = config.lan.address.trunc();
    let admitted = config.access.to(ntp::KIND.name);
    config.services.ntp.enabled && admitted.is_none_or(|from| from.iter().any(|net| net.contains(&lan)))
}

fn ntp_settings(config: &Config) -> ntp::Settings {
    ntp::Settings {
        enabled: config.services.ntp.enabled,
        local_stratum: config.services.ntp.local_stratum,
        on_outside: config.wan_services().any(|kind| kind.name == ntp::KIND.name),
        sources: config.services.ntp.servers.clone(),
    }
}

fn admin_settings(config: &Config) -> admin::Settings {
    let of_all = config.services.mail.domains.iter().filter(|domain| domain.users.is_none());
    let admin = &config.services.admin;
    admin::Settings {
        enabled: admin.enabled,
        ports: [admin.port].into_iter().chain(admin.former.port).collect(),
        moves_to: config.admin_moves_to(),
        names: config.admin_names().into_iter().chain(admin.former.names.clone()).collect(),
        users: config.users.clone(),
        domains: of_all.map(|domain| domain.name.clone()).collect(),
    }
}

/// The settings of the mail service `kind`.
fn mail_settings(config: &Config, kind: &Kind) -> mail::Settings {
    let mail = config.services.mail.clone();
    mail::Settings {
        // The service of port 25 serves programs of this machine, wherever it listens.
        enabled: if kind.name == SMTP.name { mail.enabled } else { config.services.is_enabled(kind.name) },
        port: mail.port_of(kind.name),
        tls_port: mail.tls_port_of(kind.name),
        on_outside: config.wan_services().any(|open| open.name == kind.name),
        hostname: mail.hostname,
        domain: config.system.domain.to_lowercase(),
        domains: mail.domains,
        users: config.users.clone(),
        aliases: mail.aliases,
        message_octets_max: mail.message_octets_max,
        judges: mail.judges,
        relay_from: mail.relay_from,
        plaintext_login: mail.plaintext_login,
        disk_reserve: mail.disk_reserve,
        authenticity: mail.authenticity,
        shares: mail.shares,
        rules: mail.rules,
        keep_days: mail.keep_days,
    }
}

/// The settings of delivery.
fn delivery_settings(config: &Config) -> delivery::Settings {
    let mail = config.services.mail.clone();
    let has_common_mailbox =
        mail.polled.iter().any(|account| matches!(account.receives, Receives::Everybody { .. }));
    delivery::Settings {
        has_common_mailbox,
        mail: mail_settings(config, &delivery::KIND),
        smarthost: mail.smarthost,
        login: mail.smarthost_login,
        routes: mail.routes,
        may_leave: config.mode != Mode::LanOnly || config.lan.gateway.is_some(),
    }
}

/// The settings of polling.
fn polling_settings(config: &Config) -> poll::Settings {
    let accounts = config.services.mail.polled.clone();
    poll::Settings { mail: mail_settings(config, &poll::KIND), accounts }
}

/// The upstream DNS servers: the administrator's, or else the provider's.
fn upstreams(config: &Config) -> Upstreams {
    match &config.services.dns.upstream[..] {
        _ if !config.services.dns.use_upstream => Upstreams::Nobody,
        [] => Upstreams::Offered,
        set => Upstreams::Set(set.iter().copied().map(IpAddr::V4).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("test", text).expect("a valid configuration")
    }

    #[test]
    fn the_gateway_hands_out_itself() {
        let settings = dhcp_settings(&config(""));
        assert_eq!((settings.router, settings.name_servers), (Advertised::Own, Advertised::Own));
    }

    #[test]
    fn mail_programs_find_the_servers_that_run() {
        let found = |text: &str| -> Vec<_> {
            let servers = mail_servers(&config(text)).into_iter();
            servers.map(|server| (server.name, server.value)).collect()
        };
        let server = |name: &str, port, target: &str| {
            let value = RecordValue::Service { priority: 0, weight: 1, port, target: target.to_owned() };
            (name.to_owned(), value)
        };
        let user = "users = [{ name = 'anna' }]";
        let all = [
            server("_submissions._tcp", 465, "smtp"),
            server("_submission._tcp", 587, "smtp"),
            server("_pop3s._tcp", 995, "pop"),
            server("_pop3._tcp", 110, "pop"),
        ];
        assert_eq!(found(user), all);
        let fewer = format!("{user}\nmail.ports = {{ submissions = 0, submission = 0, pop3 = 0 }}");
        assert_eq!(found(&fewer), all[2..3]);
        assert_eq!((found(""), found(&format!("{user}\nmail.enabled = false"))), (Vec::new(), Vec::new()));
    }

    #[test]
    fn clients_are_told_of_the_gateways_time_where_all_of_the_lan_is_served() {
        let told = |text: &str| dhcp_settings(&config(text)).time_servers == Advertised::Own;
        for text in
            ["", "network.mode = 'lan-only'", "access.ntp.from = ['lan']", "access.ntp.from = ['any']"]
        {
            assert!(told(text), "{text}");
        }
        for text in ["ntp.enabled = false", "access.ntp.from = ['192.168.1.128/25', '198.51.100.0/24']"] {
            assert!(!told(text), "{text}");
        }
    }

    #[test]
    fn time_is_served_outside_if_it_is_listed_alone() {
        let outside = |text: &str| ntp_settings(&config(text)).on_outside;
        assert!(outside("firewall.wan_services = ['ntp']"));
        for mode in ["nat", "nat-dmz", "router"] {
            assert!(!outside(&format!("network.mode = '{mode}'")), "{mode}");
        }
    }

    #[test]
    fn programs_of_this_machine_are_served_without_port_25_and_not_without_mail() {
        let settings = |text: &str| {
            let settings = mail_settings(&config(&format!("users = [{{ name = 'anna' }}]\n{text}")), &SMTP);
            (settings.enabled, settings.port)
        };
        assert_eq!(settings("mail.ports.smtp = 0"), (true, 0));
        assert_eq!(settings("mail.enabled = false"), (false, 25));
    }

    #[test]
    fn lan_only_hands_out_what_was_set() {
        let text =
            "network.mode = 'lan-only'\nlan.gateway = '192.168.1.254'\ndns.upstream = ['192.168.1.253']";
        let settings = dhcp_settings(&config(text));
        assert_eq!(settings.router, Advertised::Other(Some(Ipv4Addr::new(192, 168, 1, 254))));
        assert_eq!(settings.name_servers, Advertised::Other(vec![Ipv4Addr::new(192, 168, 1, 253)]));
        assert!(!dns_settings(&config(text)).rebinding_filter);
    }

    #[test]
    fn without_name_service_clients_are_told_of_the_upstream_servers() {
        let settings = dhcp_settings(&config("dns.enabled = false\ndns.upstream = ['203.0.113.53']"));
        assert_eq!(settings.name_servers, Advertised::Other(vec![Ipv4Addr::new(203, 0, 113, 53)]));
    }

    #[test]
    fn the_administrators_name_servers_stay() {
        let set = config("dns.upstream = ['203.0.113.53']");
        assert_eq!(upstreams(&set), Upstreams::Set(vec![Ipv4Addr::new(203, 0, 113, 53).into()]));
        assert_eq!(upstreams(&config("")), Upstreams::Offered);
        assert_eq!(upstreams(&config("dns.use_upstream = false")), Upstreams::Nobody);
    }
}
