//! SPF: which hosts may send mail in the name of a domain. (RFC 7208)
//!
//! [`Check::new`] takes the SMTP client's identities. Each step asks a DNS question or returns the result.
//!
//! | result | when |
//! | --- | --- |
//! | none | the identity is no domain, the domain does not exist or has no record |
//! | neutral, pass, fail, softfail | the record's result for the client; neutral if no mechanism matches |
//! | temperror | the name service does not answer |
//! | permerror | the record is invalid, has more than 10 terms with lookups, or more than 2 void lookups |
//!
//! An internationalized domain is looked up by its A-labels (RFC 7208, section 4.3; RFC 8616, section 5).
//!
//! The explanation of a fail (`exp=`) is parsed and never fetched, as RFC 7208, section 6.2, permits: its text is the
//! sender's, and would appear in this server's replies.

mod macros;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::known::{self, Answer, Known, Open, Question, Step, normal};
use crate::dns::name::is_within;
use crate::dns::resolver::NoAnswer;
use crate::mail::address::{Domain, Mailbox, ReversePath};
use macros::{Letter, MacroString, dotted};
use record::{Mechanism, Qualifier, Record, is_record};

/// The most terms of all records of a check that ask the name service. (RFC 7208, section 4.6.4)
pub const LOOKUPS_MAX: usize = 10;
/// The most void lookups. (RFC 7208, section 4.6.4)
pub const VOID_LOOKUPS_MAX: usize = 2;
/// The most mail servers of one `mx`. (RFC 7208, section 4.6.4)
pub const MX_HOSTS_MAX: usize = 10;
/// The most names of a client that are compared with their addresses. (RFC 7208, section 4.6.4)
pub const CLIENT_NAMES_MAX: usize = 10;
/// The most questions of a check: the record, the client's names and their addresses, and of each term its own one and
/// those for its mail servers.
pub const QUESTIONS_MAX: usize = 1 + (1 + CLIENT_NAMES_MAX) + LOOKUPS_MAX * (1 + MX_HOSTS_MAX);

/// The result of SPF for a client. (RFC 7208, section 2.6)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// There is no record, or no domain.
    None,
    /// The record makes no assertion about the client.
    Neutral,
    /// The client may send.
    Pass,
    /// The client may not send.
    Fail,
    /// The client should not send.
    SoftFail,
    /// The result is not available now.
    TempError,
    /// The record is invalid.
    PermError,
}

impl fmt::Display for SpfResult {
    // RFC 8601, section 2.7.2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        })
    }
}

/// Which name of a client is checked. (RFC 7208, sections 2.3 and 2.4)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The client's HELO name.
    Helo,
    /// The return path; the client's own name if it is null.
    MailFrom,
}

/// A check of one identity of one client.
#[derive(Clone, Debug)]
pub struct Check {
    address: IpAddr,
    helo: String,
    local: String,
    domain: String,
    known: Known,
}

impl Check {
    /// A check of the client at `address`, which calls itself `helo` and sends from `sender`.
    pub fn new(identity: Identity, address: IpAddr, helo: &Domain, sender: &ReversePath) -> Self {
        let helo = helo.to_string();
        let (local, domain) = match (identity, sender) {
            (Identity::MailFrom, ReversePath::Mailbox(Mailbox { local, domain })) => {
                (local.as_str().to_owned(), domain.to_string())
            }
            // RFC 7208, sections 2.4 and 4.3
            (Identity::Helo, _) | (Identity::MailFrom, ReversePath::Null) => {
                ("postmaster".to_owned(), helo.clone())
            }
        };
        // RFC 7208, section 4.3: a sender without a local part
        let local = if local.is_empty() { "postmaster".to_owned() } else { local };
        // RFC 7208, section 5: an IPv4 address in IPv6's form is the IPv4 address.
        Self { address: address.to_canonical(), helo, local, domain, known: Known::default() }
    }

    /// The domain that is checked.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl known::Check for Check {
    type Outcome = SpfResult;

    fn step(&self) -> Step<SpfResult> {
        // RFC 7208, section 4.3: an address literal and a single label are not domains with a record.
        if !self.domain.contains('.') || normal(&self.domain).is_none() || self.domain.starts_with('[') {
            return Step::Done(SpfResult::None);
        }
        match Evaluation::new(self).check_host(&self.domain) {
            Ok(result) | Err(Stop::Error(result)) => Step::Done(result),
            Err(Stop::Open(Open(question))) => Step::Ask(question),
        }
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        self.known.insert(question, answer);
    }
}

/// Why an evaluation stops.
enum Stop {
    /// A question is open.
    Open(Open),
    /// [`SpfResult::TempError`] or [`SpfResult::PermError`], which end the check wherever they occur.
    Error(SpfResult),
}

impl From<Open> for Stop {
    fn from(open: Open) -> Self {
        Self::Open(open)
    }
}

const PERMERROR: Stop = Stop::Error(SpfResult::PermError);
const TEMPERROR: Stop = Stop::Error(SpfResult::TempError);

/// One evaluation, from the beginning to the first question that is open.
struct Evaluation<'a> {
    check: &'a Check,
    lookups: usize,
    void_lookups: usize,
}

impl<'a> Evaluation<'a> {
    fn new(check: &'a Check) -> Self {
        Self { check, lookups: 0, void_lookups: 0 }
    }

    /// `check_host()`: each record within another has used up one of [`LOOKUPS_MAX`], so that the depth is bounded.
    fn check_host(&mut self, domain: &str) -> Result<SpfResult, Stop> {
        let Some(record) = self.record(domain)? else { return Ok(SpfResult::None) };
        for (qualifier, mechanism) in &record.directives {
            if self.matches(mechanism, domain)? {
                return Ok(match qualifier {
                    Qualifier::Pass => SpfResult::Pass,
                    Qualifier::Fail => SpfResult::Fail,
                    Qualifier::SoftFail => SpfResult::SoftFail,
                    Qualifier::Neutral => SpfResult::Neutral,
                });
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(SpfResult::Neutral) };
        // RFC 7208, section 6.1
        self.count_lookup()?;
        let target = self.expand(redirect, domain)?;
        match self.check_host(&target)? {
            SpfResult::None => Err(PERMERROR),
            result => Ok(result),
        }
    }

    /// The record of `domain`, if it has one. (RFC 7208, sections 4.4 and 4.5)
    fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.check.known.texts(domain)? {
            Ok(texts) => texts,
            Err(NoAnswer::NoName | NoAnswer::NoData) => return Ok(None),
            Err(NoAnswer::Unavailable) => return Err(TEMPERROR),
        };
        let mut records = texts.iter().filter(|text| is_record(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(record), None) => Record::parse(record).map(Some).ok_or(PERMERROR),
            (Some(_), Some(_)) => Err(PERMERROR),
        }
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let client = self.check.address;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(network, length) => Ok(is_in(client, *network, *length)),
            Mechanism::Include(included) => {
                self.count_lookup()?;
                let target = self.expand(included, domain)?;
                // RFC 7208, section 5.2
                match self.check_host(&target)? {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::TempError => Err(TEMPERROR),
                    SpfResult::PermError | SpfResult::None => Err(PERMERROR),
                }
            }
            Mechanism::A(target, lengths) => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain)?;
                let length = if client.is_ipv4() { lengths.ipv4 } else { lengths.ipv6 };
                Ok(self.addresses(&target, client)?.iter().any(|address| is_in(client, *address, length)))
            }
            Mechanism::Mx(target, lengths) => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain)?;
                let length = if client.is_ipv4() { lengths.ipv4 } else { lengths.ipv6 };
                let exchanges = match self.check.known.mail_exchanges(&target)? {
                    Ok(exchanges) => exchanges,
                    Err(no_answer) => return self.nothing(&target, no_answer).map(|()| false),
                };
                if exchanges.len() > MX_HOSTS_MAX {
                    return Err(PERMERROR);
                }
                for exchange in exchanges {
                    let addresses = self.addresses(&exchange.host, client)?;
                    if addresses.iter().any(|address| is_in(client, *address, length)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(target) => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain)?;
                Ok(self.client_names()?.iter().any(|name| is_within(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count_lookup()?;
                let target = self.expand(target, domain)?;
                // RFC 7208, section 5.7: an IPv4 address, whatever the client's family.
                let ipv4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                Ok(!self.addresses(&target, ipv4)?.is_empty())
            }
        }
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MAX { Err(PERMERROR) } else { Ok(()) }
    }

    /// Counts a void lookup. Invalid names were not looked up. (RFC 7208, section 4.6.4)
    fn nothing(&mut self, name: &str, no_answer: NoAnswer) -> Result<(), Stop> {
        match no_answer {
            NoAnswer::Unavailable => Err(TEMPERROR),
            NoAnswer::NoName | NoAnswer::NoData => {
                self.void_lookups += usize::from(normal(name).is_some());
                if self.void_lookups > VOID_LOOKUPS_MAX { Err(PERMERROR) } else { Ok(()) }
            }
        }
    }

    fn addresses(&mut self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, Stop> {
        match self.check.known.addresses(name, like)? {
            Ok(addresses) => Ok(addresses),
            Err(no_answer) => self.nothing(name, no_answer).map(|()| Vec::new()),
        }
    }

    /// The client's validated names. Errors in them are the client's and not the domain's: they count as no match. (RFC
    /// 7208, section 5.5)
    fn client_names(&self) -> Result<Vec<&'a str>, Stop> {
        let check: &'a Check = self.check;
        let mut names = Vec::new();
        for name in check.known.names(check.address)?.unwrap_or_default().iter().take(CLIENT_NAMES_MAX) {
            let addresses = check.known.addresses(name, check.address)?.unwrap_or_default();
            if addresses.contains(&check.address) {
                names.push(name.as_str());
            }
        }
        Ok(names)
    }

    fn target(&self, target: Option<&MacroString>, domain: &str) -> Result<String, Stop> {
        target.map_or_else(|| Ok(domain.to_owned()), |target| self.expand(target, domain))
    }

    fn expand(&self, text: &MacroString, domain: &str) -> Result<String, Stop> {
        let client_name = if text.has_client_name() {
            let names = self.client_names()?;
            // RFC 7208, section 7.3: the domain itself, else one within it, else any.
            let same = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
            let within = || names.iter().find(|name| is_within(name, domain));
            same.or_else(within).or_else(|| names.first()).map_or("unknown", |name| *name)
        } else {
            ""
        };
        let check = self.check;
        Ok(text.expand(&|letter| match letter {
            Letter::Sender => format!("{}@{}", check.local, check.domain),
            Letter::LocalPart => check.local.clone(),
            Letter::SenderDomain => check.domain.clone(),
            Letter::Domain => domain.to_owned(),
            Letter::Address => dotted(check.address),
            Letter::ClientName => client_name.to_owned(),
            Letter::Family => if check.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            Letter::Helo => check.helo.clone(),
        }))
    }
}

/// Whether the first `length` bits of both addresses are the same.
fn is_in(client: IpAddr, network: IpAddr, length: u8) -> bool {
    let differs = match (client, network) {
        (IpAddr::V4(client), IpAddr::V4(network)) => u128::from(client.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(client), IpAddr::V6(network)) => client.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    differs.leading_zeros() >= u32::from(length)
}
