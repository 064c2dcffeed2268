//! DMARC: whether the domain in From stands behind a message, and what it asks for if not. (RFC 9989)
//!
//! A [`Check`] takes a domain in From, and those that SPF and DKIM say something of. The domain in From is aligned with
//! one that passed if both are the same, or, where the domain's record does not forbid it, if both are of the same
//! organization. Which domains are of one is found in the DNS, by records of the domains above (section 4.10): there is
//! no list of public suffixes here, which would be old where a gateway is.
//!
//! | result | when |
//! | --- | --- |
//! | pass | the domain is aligned with one that passed |
//! | none | it has no record |
//! | temperror | the name service does not answer, be it for a domain that is aligned |
//! | permerror | From does not clearly say who the author is |
//! | fail | it has a record and is not aligned |
//!
//! Of several domains in From each is checked, and the worst counts (section 11.5): so nobody adds one that passes, or
//! one that never answers. Which domains those are [`Authors`] finds.
//!
//! Reports are not sent, so what a record says of them is read for one thing only: a record without a policy that asks
//! for reports has the policy `none` (section 4.7).

mod authors;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use super::known::{self, Answer, Known, Open, Question, Step, normal};
use crate::dns::resolver::NoAnswer;
pub use authors::Authors;
pub use record::Policy;
use record::{Psd, Record};

/// The most domains in From of which each is checked.
pub const AUTHOR_DOMAINS_MAX: usize = 4;
/// The most records that are asked for on the way from one domain up. (RFC 9989, section 4.10)
pub const WALK_MAX: usize = 8;
/// The most domains that can be aligned: SPF's and those of the signatures that are verified.
const IDENTIFIERS_MAX: usize = 1 + super::dkim::SIGNATURES_MAX;
/// The most questions of a check: for the domain in From the way up, and whether there is such a domain at all; for
/// each domain that passed the way up.
pub const QUESTIONS_MAX: usize = (WALK_MAX + 3) + IDENTIFIERS_MAX * WALK_MAX;

/// What became of a message. The later ones count more. (RFC 9989, section 5.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DmarcResult {
    /// The domain stands behind it.
    Pass,
    /// The domain has no record.
    None,
    /// It cannot be known now.
    TempError,
    /// From does not clearly say who the author is.
    PermError,
    /// The domain does not stand behind it.
    Fail,
}

impl fmt::Display for DmarcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::None => "none",
            Self::PermError => "permerror",
            Self::TempError => "temperror",
            Self::Fail => "fail",
        })
    }
}

/// What came of a check. Those that are worse are greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// The result.
    pub result: DmarcResult,
    /// What the domain asks for, of a message that it does not stand behind: if the result is [`DmarcResult::Fail`],
    /// and as far as it is known if that is [`DmarcResult::TempError`].
    pub policy: Policy,
    /// The domain in From; empty if there is none.
    pub domain: String,
}

/// A domain that SPF or DKIM says something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The domain.
    pub domain: String,
    /// Who says it.
    pub source: Source,
    /// Whether the domain passed; else it could not be known.
    pub is_pass: bool,
}

/// Who says something of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// SPF, of the return path.
    Spf,
    /// DKIM, of a signature.
    Dkim,
}

/// A check of one domain in From.
#[derive(Clone, Debug)]
pub struct Check {
    author: String,
    identifiers: Vec<Identifier>,
    known: Known,
}

impl Check {
    /// Of a message of this `author`, one of the domains of [`Authors`].
    pub fn new(author: &str, mut identifiers: Vec<Identifier>) -> Self {
        identifiers.truncate(IDENTIFIERS_MAX);
        for Identifier { domain, .. } in &mut identifiers {
            // A signature, or a return path with SMTPUTF8, can have the letters themselves. // RFC 8616, section 4
            *domain = normal(domain).unwrap_or_default();
        }
        Self { author: author.to_owned(), identifiers, known: Known::default() }
    }
}

impl known::Check for Check {
    type Outcome = Outcome;

    fn step(&self) -> Step<Outcome> {
        let (result, policy) = match self.judge(&self.author) {
            Ok(judged) => judged,
            Err(Stop::Open(Open(question))) => return Step::Ask(question),
            Err(Stop::Unavailable) => (DmarcResult::TempError, Policy::None),
        };
        Step::Done(Outcome { result, policy, domain: self.author.clone() })
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        self.known.insert(question, answer);
    }
}

/// Why a check goes no further.
enum Stop {
    Open(Open),
    Unavailable,
}

impl From<Open> for Stop {
    fn from(open: Open) -> Self {
        Self::Open(open)
    }
}

/// The records on the way from a domain up, with their domains. The domain that is higher up stands behind.
type Walk<'a> = Vec<(&'a str, Record)>;

impl Check {
    /// What is to be said of one domain in From.
    fn judge(&self, author: &str) -> Result<(DmarcResult, Policy), Stop> {
        let own = self.record(author)?;
        // The way up is not needed if the domain itself has passed.
        if own.as_ref().is_some_and(Record::is_usable) && self.passed().any(|domain| domain == author) {
            return Ok((DmarcResult::Pass, Policy::None));
        }
        let walk = self.walk(author)?;
        let organization = organization(author, &walk);
        let Some((at, record)) = policy_record(author, organization, &walk) else {
            return Ok((DmarcResult::None, Policy::None));
        };
        // RFC 9989, section 4.7: without a policy that can be read there is no record.
        if !record.is_usable() {
            return Ok((DmarcResult::None, Policy::None));
        }
        let mut is_certain = true;
        for identifier in &self.identifiers {
            match self.is_aligned(author, organization, identifier, record) {
                Ok(true) if identifier.is_pass => return Ok((DmarcResult::Pass, Policy::None)),
                Ok(false) => {}
                Ok(true) | Err(Stop::Unavailable) => is_certain = false,
                Err(open) => return Err(open),
            }
        }
        let within = record.subdomains.unwrap_or(record.policy);
        let policy = match (*at == author, record.nonexistent) {
            (true, _) => record.policy,
            (false, None) => within,
            // RFC 9989, section 4.7, np
            (false, Some(absent)) => match self.exists(author) {
                Ok(true) => within,
                Ok(false) => absent,
                Err(Stop::Unavailable) => {
                    is_certain = false;
                    within.max(absent)
                }
                Err(open) => return Err(open),
            },
        };
        let result = if is_certain { DmarcResult::Fail } else { DmarcResult::TempError };
        Ok((result, if record.is_test { policy.milder() } else { policy }))
    }

    fn passed(&self) -> impl Iterator<Item = &str> {
        self.identifiers.iter().filter(|identifier| identifier.is_pass).map(|passed| &passed.domain[..])
    }

    /// RFC 9989, sections 4.4 and 4.10.2
    fn is_aligned(
        &self,
        author: &str,
        organization: &str,
        identifier: &Identifier,
        record: &Record,
    ) -> Result<bool, Stop> {
        let domain = &identifier.domain[..];
        let is_strict = match identifier.source {
            Source::Spf => record.is_spf_strict,
            Source::Dkim => record.is_dkim_strict,
        };
        if domain == author || is_strict || !is_within(domain, organization) {
            return Ok(domain == author);
        }
        Ok(self::organization(domain, &self.walk(domain)?) == organization)
    }

    /// The record of a domain itself. (RFC 9989, sections 4.5 and 4.10)
    fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.known.texts(&format!("_dmarc.{domain}"))? {
            Ok(texts) => texts,
            Err(NoAnswer::NoName | NoAnswer::NoData) => return Ok(None),
            Err(NoAnswer::Unavailable) => return Err(Stop::Unavailable),
        };
        let mut records = texts.iter().filter_map(|text| Record::parse(text));
        // Several are none.
        Ok(records.next().filter(|_| records.next().is_none()))
    }

    /// RFC 9989, section 4.10
    fn walk<'a>(&self, domain: &'a str) -> Result<Walk<'a>, Stop> {
        let mut walk = Walk::new();
        let mut target = Some(domain);
        while let Some(at) = target {
            let record = self.record(at)?;
            let is_end = record.as_ref().is_some_and(|record| record.psd != Psd::Unknown);
            walk.extend(record.map(|record| (at, record)));
            if is_end {
                break;
            }
            target = above(at);
        }
        Ok(walk)
    }

    /// Whether there is a domain of this name. (RFC 9989, section 3.2.10)
    fn exists(&self, domain: &str) -> Result<bool, Stop> {
        let ipv4 = std::net::Ipv4Addr::UNSPECIFIED.into();
        let ipv6 = std::net::Ipv6Addr::UNSPECIFIED.into();
        let answers = [
            self.known.addresses(domain, ipv4)?.map(|_| ()),
            self.known.addresses(domain, ipv6)?.map(|_| ()),
            self.known.mail_exchanges(domain)?.map(|_| ()),
        ];
        if answers.contains(&Ok(())) {
            return Ok(true);
        }
        if answers.contains(&Err(NoAnswer::Unavailable)) { Err(Stop::Unavailable) } else { Ok(false) }
    }
}

/// The next domain on the way up: with a label less, and with seven at most. (RFC 9989, section 4.10)
fn above(domain: &str) -> Option<&str> {
    let (_, mut above) = domain.split_once('.')?;
    while above.matches('.').count() >= WALK_MAX - 1 {
        (_, above) = above.split_once('.')?;
    }
    Some(above)
}

/// The domain of the organization that a domain is of. (RFC 9989, section 4.10.2)
fn organization<'a>(domain: &'a str, walk: &Walk<'a>) -> &'a str {
    for (at, record) in walk {
        match record.psd {
            Psd::No => return at,
            Psd::Yes if *at != domain => return below(at, domain),
            Psd::Yes | Psd::Unknown => {}
        }
    }
    walk.last().map_or(domain, |(at, _)| at)
}

/// The domain one label below `suffix` on the way to `domain`.
fn below<'a>(suffix: &str, domain: &'a str) -> &'a str {
    let labels = suffix.matches('.').count() + 2;
    let start = domain.rmatch_indices('.').nth(labels - 1).map_or(0, |(dot, _)| dot + 1);
    &domain[start..]
}

/// The record whose policy is that of `author`: its own, else that of its organization, else that of the public suffix.
// RFC 9989, section 4.10.1
fn policy_record<'a, 'b>(
    author: &str,
    organization: &str,
    walk: &'b Walk<'a>,
) -> Option<&'b (&'a str, Record)> {
    let of = |domain: &str| walk.iter().find(|(at, _)| *at == domain);
    let suffix = || walk.iter().find(|(_, record)| record.psd == Psd::Yes);
    of(author).or_else(|| of(organization)).or_else(suffix)
}

/// Whether `name` is `domain` or within it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
