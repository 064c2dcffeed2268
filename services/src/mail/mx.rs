//! Which servers take the mail of a domain. (RFC 5321, section 5; RFC 7505)
//!
//! A [`Search`] asks for names, is answered, and ends with servers in the order in which they are to be tried, or with why
//! there are none. It knows no resolver.
//!
//! | the domain has | then |
//! | --- | --- |
//! | a route of the configuration | that server, wherever it is |
//! | nothing, and there is a smarthost | the smarthost |
//! | an address instead of a name | that address |
//! | MX records | their hosts by preference; equal ones in an order that is drawn |
//! | one MX with no name (null MX) | failed: it takes no mail |
//! | no MX record, but addresses | those addresses |
//! | no such name | failed |
//!
//! This server never sends to itself: of MX records those that are not preferred to its own are passed over (RFC 5321,
//! section 5.1), and none of its addresses is a server. Addresses that no public server can have (private ones, of the link,
//! of the host itself) are servers by a route or as the smarthost only, so that nobody outside can point its mail at
//! machines of the office.
//!
//! Names that are aliases (CNAME) are followed by whoever resolves.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::seq::SliceRandom;

use super::address::Domain;
use super::smtp::client::{Report, Scope, Status};
use crate::dns::special::is_private;

/// The port of mail servers.
pub const SMTP_PORT: u16 = 25;
/// The most hosts of a domain that are looked up.
pub const HOSTS_MAX: usize = 10;
/// The most addresses that are tried.
pub const TARGETS_MAX: usize = 8;
/// The most addresses of one host that are tried.
pub const HOST_ADDRESSES_MAX: usize = 4;

/// A server as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// A name, or an address.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// How mail leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Servers for domains, by their names in lower case.
    pub domains: BTreeMap<String, Server>,
    /// The server for all other domains, if they are not looked up.
    pub smarthost: Option<Server>,
    /// The names of this server, in lower case.
    pub own_names: Vec<String>,
    /// The addresses at which this server, or a port that is forwarded, can be reached.
    pub own_addresses: Vec<IpAddr>,
    /// Whether there is a way to IPv6 addresses.
    pub has_ipv6: bool,
}

/// The way by which a domain's mail leaves. Messages of the same way can share a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// To a server of the configuration. `is_smarthost`: the one that may ask for a login.
    Server {
        /// The server.
        server: Server,
        /// Whether it is the smarthost.
        is_smarthost: bool,
    },
    /// To the servers of this domain.
    Domain(String),
    /// To this address.
    Literal(IpAddr),
}

impl Routes {
    /// The way of a domain.
    pub fn next_hop(&self, domain: &Domain) -> NextHop {
        let name = match domain {
            Domain::Literal(address) => return NextHop::Literal(*address),
            Domain::Name(name) => name,
        };
        if let Some(server) = self.domains.get(name) {
            return NextHop::Server { server: server.clone(), is_smarthost: false };
        }
        match &self.smarthost {
            Some(server) => NextHop::Server { server: server.clone(), is_smarthost: true },
            None => NextHop::Domain(name.clone()),
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        // Whatever this host is called: nothing of it is another server.
        let is_host = address.is_loopback() || address.is_unspecified() || address.is_multicast();
        is_host || self.own_addresses.contains(&address) || is_broadcast(address)
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] >= 240)
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The MX records of a name.
    Mx(String),
    /// The addresses of a name, of both families.
    Addresses(String),
}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MxRecord {
    /// Lower is preferred.
    pub preference: u16,
    /// The host's name in lower case without a dot at its end; empty for the root.
    pub host: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no such name.
    NoName,
    /// The name has no such records.
    NoData,
    /// It cannot be known now.
    Unavailable,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Mx`].
    Mx(Result<Vec<MxRecord>, NoAnswer>),
    /// To [`Question::Addresses`].
    Addresses(Result<Vec<IpAddr>, NoAnswer>),
}

/// A server that is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is called, as a certificate may have it.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this, and hand the answer to [`Search::answer`].
    Ask(Question),
    /// Try these, in their order.
    Targets(Vec<Target>),
    /// There is none: what becomes of the recipients.
    None(Report),
}

/// A search for the servers of one way.
#[derive(Debug)]
pub struct Search<'a> {
    routes: &'a Routes,
    port: u16,
    /// Whether addresses that are private are servers.
    may_be_private: bool,
    domain: String,
    /// Hosts that are to be looked up, in their order.
    open: VecDeque<MxRecord>,
    /// The hosts that were looked up, with their addresses.
    found: Vec<(MxRecord, Vec<IpAddr>)>,
    /// The lowest preference at which this server is a host of the domain.
    own_preference: Option<u16>,
    has_private: bool,
    has_own: bool,
    is_unavailable: bool,
    is_asking_mx: bool,
}

impl<'a> Search<'a> {
    /// Begins to search.
    pub fn start(routes: &'a Routes, way: &NextHop, rng: &mut impl Rng) -> (Self, Step) {
        let mut search = Self {
            routes,
            port: SMTP_PORT,
            may_be_private: false,
            domain: String::new(),
            open: VecDeque::new(),
            found: Vec::new(),
            own_preference: None,
            has_private: false,
            has_own: false,
            is_unavailable: false,
            is_asking_mx: false,
        };
        let host = match way {
            NextHop::Server { server, .. } => {
                (search.port, search.may_be_private) = (server.port, true);
                server.host.clone()
            }
            NextHop::Literal(address) => Host::Address(*address),
            NextHop::Domain(name) => {
                (search.domain, search.is_asking_mx) = (name.clone(), true);
                let question = Question::Mx(name.clone());
                return (search, Step::Ask(question));
            }
        };
        let step = match host {
            Host::Name(name) => {
                search.domain = name.clone();
                search.open.push_back(MxRecord { preference: 0, host: name });
                search.next(rng)
            }
            Host::Address(address) => {
                search.domain = super::address::Literal(address).to_string();
                let host = MxRecord { preference: 0, host: search.domain.clone() };
                search.found(host, vec![address]);
                search.next(rng)
            }
        };
        (search, step)
    }

    /// Takes in the answer to the question. An answer to another one is none.
    pub fn answer(&mut self, answer: Answer, rng: &mut impl Rng) -> Step {
        match answer {
            Answer::Mx(answer) if self.is_asking_mx => {
                self.is_asking_mx = false;
                if let Some(report) = self.mx(answer, rng) {
                    return Step::None(report);
                }
            }
            Answer::Addresses(answer) if !self.is_asking_mx => {
                let Some(host) = self.open.pop_front() else { return self.next(rng) };
                match answer {
                    Ok(addresses) => self.found(host, addresses),
                    Err(NoAnswer::Unavailable) => self.is_unavailable = true,
                    Err(NoAnswer::NoName | NoAnswer::NoData) => {}
                }
            }
            Answer::Mx(_) | Answer::Addresses(_) => self.is_unavailable = true,
        }
        self.next(rng)
    }

    /// Takes in the MX records: what becomes of the recipients, if that is known by them.
    fn mx(&mut self, answer: Result<Vec<MxRecord>, NoAnswer>, rng: &mut impl Rng) -> Option<Report> {
        let mut hosts = match answer {
            Ok(hosts) => hosts,
            Err(NoAnswer::NoData) => Vec::new(),
            Err(NoAnswer::NoName) => {
                let text = format!("there is no domain {}", self.domain);
                return Some(Report::failed(Status::new(5, 1, 2), text));
            }
            Err(NoAnswer::Unavailable) => {
                self.is_unavailable = true;
                return Some(self.none());
            }
        };
        // RFC 7505, section 3: the only one has no name.
        if let [MxRecord { host, .. }] = &hosts[..]
            && host.is_empty()
        {
            let text = format!("{} takes no mail", self.domain);
            return Some(Report::failed(Status::new(5, 1, 10), text));
        }
        hosts.retain(|exchange| !exchange.host.is_empty());
        if hosts.is_empty() {
            // RFC 5321, section 5.1: the domain itself, with a preference of 0.
            hosts.push(MxRecord { preference: 0, host: self.domain.clone() });
        }
        // RFC 5321, section 5.1: those of a preference in any order, which is drawn.
        hosts.shuffle(rng);
        hosts.sort_by_key(|exchange| exchange.preference);
        hosts.truncate(HOSTS_MAX);
        for exchange in &hosts {
            if self.routes.own_names.contains(&exchange.host) {
                self.meet_own(exchange.preference);
            }
        }
        self.open = hosts.into();
        None
    }

    /// This server stands among the hosts, at this place.
    fn meet_own(&mut self, preference: u16) {
        self.has_own = true;
        self.own_preference = Some(self.own_preference.map_or(preference, |own| own.min(preference)));
    }

    fn found(&mut self, host: MxRecord, addresses: Vec<IpAddr>) {
        let mut usable = Vec::new();
        for address in addresses {
            if self.routes.is_own(address) {
                self.meet_own(host.preference);
            } else if is_private(address) && !self.may_be_private {
                self.has_private = true;
            } else if address.is_ipv4() || self.routes.has_ipv6 {
                usable.push(address);
            }
        }
        self.found.push((host, usable));
    }

    fn next(&mut self, rng: &mut impl Rng) -> Step {
        let is_preferred =
            |exchange: &MxRecord, own: Option<u16>| own.is_none_or(|own| exchange.preference < own);
        let own = self.own_preference;
        self.open.retain(|exchange| is_preferred(exchange, own));
        if let Some(exchange) = self.open.front() {
            return Step::Ask(Question::Addresses(exchange.host.clone()));
        }
        let mut targets = Vec::new();
        for (exchange, addresses) in &mut self.found {
            if is_preferred(exchange, own) {
                addresses.shuffle(rng);
                addresses.truncate(HOST_ADDRESSES_MAX);
                targets.extend(addresses.iter().map(|address| Target {
                    name: exchange.host.clone(),
                    address: SocketAddr::new(*address, self.port),
                }));
            }
        }
        targets.truncate(TARGETS_MAX);
        if targets.is_empty() { Step::None(self.none()) } else { Step::Targets(targets) }
    }

    /// Why there is no server.
    fn none(&self) -> Report {
        let domain = &self.domain;
        if self.is_unavailable {
            let text = format!("the mail servers of {domain} cannot be looked up now");
            return Report::deferred(Status::new(4, 4, 3), text, Scope::Host);
        }
        if self.may_be_private {
            // The administrator has named it, and can mend it.
            let what = if self.has_own { "is this server itself" } else { "has no address" };
            let text = format!("the server {domain}, to which the configuration leads, {what}");
            return Report::deferred(Status::new(4, 4, 4), text, Scope::Host);
        }
        let (status, text) = if self.has_own {
            (Status::new(5, 4, 6), format!("the mail of {domain} would come back to this server"))
        } else if self.has_private {
            (Status::new(5, 4, 4), format!("the mail servers of {domain} have addresses of no public server"))
        } else {
            (
                Status::new(5, 4, 4),
                format!("the mail servers of {domain} have no address that can be reached"),
            )
        };
        Report::failed(status, text)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::mail::smtp::client::Outcome;

    const OWN: &str = "203.0.113.10";

    fn routes() -> Routes {
        Routes {
            own_names: vec!["smtp.office.example".into(), "office.example".into()],
            own_addresses: vec![OWN.parse().unwrap(), "192.168.1.1".parse().unwrap()],
            ..Routes::default()
        }
    }

    fn server(host: &str, port: u16) -> Server {
        let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address);
        Server { host, port }
    }

    /// A world of names: `mx NAME = 10 HOST, ...` and `NAME = ADDRESS, ...`; what is not there does not exist.
    struct World(&'static [(&'static str, &'static str)]);

    impl World {
        fn answer(&self, question: &Question) -> Answer {
            let find = |name: &str| self.0.iter().find(|(of, _)| *of == name).map(|(_, data)| *data);
            match question {
                Question::Mx(name) => Answer::Mx(match find(&format!("mx {name}")) {
                    Some("?") => Err(NoAnswer::Unavailable),
                    Some(data) => Ok(data.split(", ").map(exchange).collect()),
                    None if find(name).is_some() => Err(NoAnswer::NoData),
                    None => Err(NoAnswer::NoName),
                }),
                Question::Addresses(name) => Answer::Addresses(match find(name) {
                    Some("?") => Err(NoAnswer::Unavailable),
                    Some(data) => Ok(data.split(", ").map(|address| address.parse().unwrap()).collect()),
                    None => Err(NoAnswer::NoName),
                }),
            }
        }

        /// The addresses that are tried for a domain, or why there are none.
        fn search(&self, routes: &Routes, domain: &str, seed: u64) -> Result<Vec<String>, Report> {
            let mut rng = StdRng::seed_from_u64(seed);
            let way = routes.next_hop(&Domain::parse(domain).unwrap());
            let (mut search, mut step) = Search::start(routes, &way, &mut rng);
            for _ in 0..=HOSTS_MAX + 1 {
                match step {
                    Step::Ask(question) => step = search.answer(self.answer(&question), &mut rng),
                    Step::Targets(targets) => {
                        return Ok(targets.iter().map(|target| target.address.to_string()).collect());
                    }
                    Step::None(report) => return Err(report),
                }
            }
            panic!("it asks on and on");
        }

        fn fails(&self, routes: &Routes, domain: &str) -> String {
            let report = self.search(routes, domain, 1).unwrap_err();
            let outcome = if report.outcome == Outcome::Failed { "failed" } else { "deferred" };
            format!("{outcome} {}", report.status)
        }
    }

    fn exchange(text: &str) -> MxRecord {
        let (preference, host) = text.split_once(' ').unwrap();
        MxRecord { preference: preference.parse().unwrap(), host: host.trim_end_matches('.').to_owned() }
    }

    /// RFC 5321, section 5.1: Hosts are tried by preference, and equal ones in an order that is drawn.
    #[test]
    fn rfc5321_5_1_hosts_are_tried_by_preference() {
        let world = World(&[
            ("mx far.example", "20 c.far.example, 10 a.far.example, 10 b.far.example"),
            ("a.far.example", "198.51.100.1"),
            ("b.far.example", "198.51.100.2"),
            ("c.far.example", "198.51.100.3"),
        ]);
        let mut first = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let found = world.search(&routes(), "far.example", seed).unwrap();
            assert_eq!((found.len(), found[2].as_str()), (3, "198.51.100.3:25"));
            assert_eq!(found, world.search(&routes(), "far.example", seed).unwrap(), "the seed draws it");
            first.insert(found[0].clone());
        }
        assert_eq!(first.len(), 2, "both come first now and then");
    }

    /// RFC 5321, section 5.1: Without MX records the domain's own addresses are its server.
    #[test]
    fn rfc5321_5_1_without_mx_records_the_domain_is_the_server() {
        let world = World(&[("far.example", "198.51.100.1"), ("mx gone.example", "10 no.gone.example")]);
        assert_eq!(world.search(&routes(), "far.example", 1).unwrap(), ["198.51.100.1:25"]);
        assert_eq!(world.fails(&routes(), "nowhere.example"), "failed 5.1.2");
        assert_eq!(world.fails(&routes(), "gone.example"), "failed 5.4.4");
        assert_eq!(world.search(&routes(), "[198.51.100.9]", 1).unwrap(), ["198.51.100.9:25"]);
    }

    /// RFC 7505, section 3: A domain with a null MX takes no mail.
    #[test]
    fn rfc7505_3_a_domain_with_a_null_mx_takes_no_mail() {
        let world = World(&[
            ("mx none.example", "0 ."),
            ("none.example", "198.51.100.1"),
            ("mx both.example", "0 ., 10 a.both.example"),
            ("a.both.example", "198.51.100.2"),
        ]);
        assert_eq!(world.fails(&routes(), "none.example"), "failed 5.1.10");
        assert_eq!(world.search(&routes(), "both.example", 1).unwrap(), ["198.51.100.2:25"]);
    }

    /// RFC 5321, section 5.1: What is not preferred to this server is passed over, so that no mail goes in circles.
    #[test]
    fn rfc5321_5_1_what_is_not_preferred_to_this_server_is_passed_over() {
        let world = World(&[
            (
                "mx backup.example",
                "10 a.backup.example, 20 smtp.office.example, 20 b.backup.example, 30 c.backup.example",
            ),
            ("mx alias.example", "10 a.backup.example, 20 ours.alias.example, 20 b.backup.example"),
            ("mx us.example", "10 smtp.office.example"),
            ("mx us2.example", "10 ours.alias.example, 10 b.backup.example"),
            ("a.backup.example", "198.51.100.1"),
            ("b.backup.example", "198.51.100.2"),
            ("c.backup.example", "198.51.100.3"),
            ("ours.alias.example", OWN),
        ]);
        for seed in 0..10 {
            for domain in ["backup.example", "alias.example"] {
                assert_eq!(world.search(&routes(), domain, seed).unwrap(), ["198.51.100.1:25"], "{domain}");
            }
            assert!(world.search(&routes(), "us2.example", seed).is_err());
        }
        assert_eq!(world.fails(&routes(), "us.example"), "failed 5.4.6");
        assert_eq!(world.fails(&routes(), "us2.example"), "failed 5.4.6");
    }

    #[test]
    fn nobody_outside_points_mail_at_machines_of_the_office() {
        let world = World(&[
            ("mx local.example", "10 localhost.local.example"),
            ("localhost.local.example", "127.0.0.1, ::1"),
            ("mx zero.example", "10 zero.zero.example"),
            ("zero.zero.example", "0.0.0.0"),
            ("mx printer.example", "10 printer.printer.example"),
            ("printer.printer.example", "192.168.1.20, 169.254.1.1, fd00::1"),
            ("mx all.example", "10 all.all.example"),
            ("all.all.example", "255.255.255.255, 224.0.0.1"),
            ("mx mixed.example", "10 printer.printer.example, 20 good.mixed.example"),
            ("good.mixed.example", "10.0.0.1, 198.51.100.4"),
        ]);
        assert_eq!(world.fails(&routes(), "local.example"), "failed 5.4.6");
        assert_eq!(world.fails(&routes(), "zero.example"), "failed 5.4.6");
        assert_eq!(world.fails(&routes(), "all.example"), "failed 5.4.6");
        assert_eq!(world.fails(&routes(), "printer.example"), "failed 5.4.4");
        assert_eq!(world.fails(&routes(), "[192.168.1.20]"), "failed 5.4.4");
        assert_eq!(world.fails(&routes(), "[203.0.113.10]"), "failed 5.4.6");
        assert_eq!(world.search(&routes(), "mixed.example", 1).unwrap(), ["198.51.100.4:25"]);
    }

    #[test]
    fn routes_and_the_smarthost_lead_anywhere_but_here() {
        let world =
            World(&[("mail.lan", "192.168.1.41, 192.168.1.1"), ("smtp.isp.example", "198.51.100.25")]);
        let mut routes = routes();
        for (domain, to, port) in [
            ("old.example", "192.168.1.40", 2525),
            ("named.example", "mail.lan", 25),
            ("own.example", OWN, 25),
            ("lost.example", "lost.lan", 25),
            ("loop.example", "127.0.0.1", 25),
        ] {
            routes.domains.insert(domain.to_owned(), server(to, port));
        }
        assert_eq!(world.search(&routes, "old.example", 1).unwrap(), ["192.168.1.40:2525"]);
        // An address of this server among others is one of a preference that is its own.
        assert_eq!(world.fails(&routes, "named.example"), "deferred 4.4.4");
        assert_eq!(world.fails(&routes, "own.example"), "deferred 4.4.4");
        assert_eq!(world.fails(&routes, "loop.example"), "deferred 4.4.4");
        assert_eq!(world.fails(&routes, "lost.example"), "deferred 4.4.4");
        routes.smarthost = Some(server("smtp.isp.example", 587));
        assert_eq!(world.search(&routes, "any.example", 1).unwrap(), ["198.51.100.25:587"]);
        assert_eq!(world.search(&routes, "old.example", 1).unwrap(), ["192.168.1.40:2525"]);
        let way = routes.next_hop(&Domain::parse("any.example").unwrap());
        assert!(matches!(way, NextHop::Server { is_smarthost: true, .. }));
    }

    #[test]
    fn what_cannot_be_looked_up_is_tried_another_time() {
        let world = World(&[
            ("mx down.example", "?"),
            ("mx half.example", "10 a.half.example, 20 b.half.example"),
            ("a.half.example", "?"),
            ("b.half.example", "198.51.100.2"),
            ("mx hidden.example", "10 a.half.example"),
        ]);
        assert_eq!(world.fails(&routes(), "down.example"), "deferred 4.4.3");
        assert_eq!(world.fails(&routes(), "hidden.example"), "deferred 4.4.3");
        assert_eq!(world.search(&routes(), "half.example", 1).unwrap(), ["198.51.100.2:25"]);
    }

    #[test]
    fn ipv6_is_tried_where_there_is_a_way() {
        let world = World(&[("six.example", "2001:db8::1"), ("two.example", "198.51.100.1, 2001:db8::1")]);
        let with = Routes { has_ipv6: true, ..routes() };
        assert_eq!(world.fails(&routes(), "six.example"), "failed 5.4.4");
        assert_eq!(world.search(&routes(), "two.example", 1).unwrap(), ["198.51.100.1:25"]);
        assert_eq!(world.search(&with, "six.example", 1).unwrap(), ["[2001:db8::1]:25"]);
        assert_eq!(world.search(&with, "two.example", 1).unwrap().len(), 2);
    }

    #[test]
    fn hosts_and_addresses_are_bounded() {
        let mut hosts: Vec<_> =
            (0..100).map(|at| MxRecord { preference: at, host: format!("h{at}.far.example") }).collect();
        hosts.reverse();
        let (routes, mut rng) = (routes(), StdRng::seed_from_u64(1));
        let (mut search, mut step) =
            Search::start(&routes, &NextHop::Domain("far.example".to_owned()), &mut rng);
        let mut asked = 0;
        let targets = loop {
            let answer = match step {
                Step::Ask(Question::Mx(_)) => Answer::Mx(Ok(hosts.clone())),
                Step::Ask(Question::Addresses(_)) => {
                    asked += 1;
                    Answer::Addresses(Ok((1..=200).map(|at| IpAddr::from([198, 51, 100, at])).collect()))
                }
                Step::Targets(targets) => break targets,
                Step::None(report) => panic!("{report:?}"),
            };
            step = search.answer(answer, &mut rng);
        };
        assert_eq!((asked, targets.len()), (HOSTS_MAX, TARGETS_MAX));
        let of_first = targets.iter().filter(|target| target.name == "h0.far.example").count();
        assert_eq!(of_first, HOST_ADDRESSES_MAX);
    }
}
