//! The search for the servers of one next hop.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::seq::SliceRandom;

use super::{HOST_ADDRESSES_MAX, HOSTS_MAX, Host, NextHop, Routes, SMTP_PORT, TARGETS_MAX};
use crate::dns::special::is_private;
use crate::mail::address::Literal;
use crate::mail::smtp::client::{Report, Scope, Status};

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
    /// The answer is not available now.
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
    /// Its name, for its certificate.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this, and hand the answer to [`Search::answer`].
    Ask(Question),
    /// Try these, in their order.
    Targets(Vec<Target>),
    /// There is no server: the outcome for the recipients.
    None(Report),
}

/// A search for the servers of one next hop.
#[derive(Debug)]
pub struct Search<'a> {
    routes: &'a Routes,
    port: u16,
    /// Whether addresses that are private are servers.
    may_be_private: bool,
    domain: String,
    /// Hosts that are to be resolved, in order.
    open: VecDeque<MxRecord>,
    /// Resolved hosts with their addresses.
    found: Vec<(MxRecord, Vec<IpAddr>)>,
    /// The lowest preference at which this server is a host of the domain.
    own_preference: Option<u16>,
    has_private: bool,
    /// Whether a host is surely this server: by its name, or by an address that no other machine has.
    is_loop: bool,
    /// Whether the name of a host has led to an address: then it may pass that no server is found.
    may_be_found: bool,
    is_unavailable: bool,
    is_asking_mx: bool,
}

impl<'a> Search<'a> {
    /// Starts a search.
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
            is_loop: false,
            may_be_found: false,
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
                search.domain = Literal(address).to_string();
                let host = MxRecord { preference: 0, host: address.to_string() };
                search.found(host, vec![address]);
                search.next(rng)
            }
        };
        (search, step)
    }

    /// Handles the answer to the question. Answers to other questions are ignored.
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
                    Ok(addresses) => {
                        self.may_be_found |= !addresses.is_empty();
                        self.found(host, addresses);
                    }
                    Err(NoAnswer::Unavailable) => self.is_unavailable = true,
                    Err(NoAnswer::NoName | NoAnswer::NoData) => {}
                }
            }
            Answer::Mx(_) | Answer::Addresses(_) => self.is_unavailable = true,
        }
        self.next(rng)
    }

    /// Handles the MX records: returns the outcome for the recipients, if they determine it.
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
        let has_records = !hosts.is_empty();
        hosts.retain(|exchange| !exchange.host.is_empty());
        if hosts.is_empty() && has_records {
            // RFC 7505, section 3: records without a name are not an empty list, for which the domain itself would be
            // used.
            let text = format!("{} takes no mail", self.domain);
            return Some(Report::failed(Status::new(5, 1, 10), text));
        }
        if hosts.is_empty() {
            // RFC 5321, section 5.1: the domain itself, with a preference of 0.
            hosts.push(MxRecord { preference: 0, host: self.domain.clone() });
        }
        // RFC 5321, section 5.1: those of a preference in any order, which is drawn.
        hosts.shuffle(rng);
        hosts.sort_by_key(|exchange| exchange.preference);
        // Before the list is cut: this server may come after many with equal preference.
        for exchange in &hosts {
            if self.routes.own_names.contains(&exchange.host) {
                self.is_loop = true;
                self.meet_own(exchange.preference);
            }
        }
        hosts.truncate(HOSTS_MAX);
        self.open = hosts.into();
        None
    }

    /// Handles this server's own MX record with `preference`.
    fn meet_own(&mut self, preference: u16) {
        self.own_preference = Some(self.own_preference.map_or(preference, |own| own.min(preference)));
    }

    fn found(&mut self, host: MxRecord, addresses: Vec<IpAddr>) {
        let mut usable = Vec::new();
        for address in addresses {
            // RFC 4291, section 2.5.5.2: an IPv4 address in IPv6's form.
            let address = address.to_canonical();
            if self.routes.is_own(address) {
                // Another network has the private addresses of this one.
                let is_elsewhere_too = is_private(address);
                self.is_loop |= !is_elsewhere_too;
                self.has_private |= is_elsewhere_too;
                self.meet_own(host.preference);
            } else if self.routes.is_off_limits(address) && !self.may_be_private {
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
            let what = if self.own_preference.is_some() { "is this server itself" } else { "has no address" };
            let text = format!("the server {domain}, to which the configuration leads, {what}");
            return Report::deferred(Status::new(4, 4, 4), text, Scope::Host);
        }
        if self.is_loop {
            let text = format!("the mail of {domain} would come back to this server");
            return Report::failed(Status::new(5, 4, 6), text);
        }
        let what = if self.has_private {
            "have addresses of no public server"
        } else {
            "have no address that can be reached"
        };
        let text = format!("the mail servers of {domain} {what}");
        if self.may_be_found {
            // A network can have addresses of its own for the names of others, and a name service can be wrong for a
            // while.
            Report::deferred(Status::new(4, 4, 4), text, Scope::Host)
        } else {
            Report::failed(Status::new(5, 4, 4), text)
        }
    }
}
