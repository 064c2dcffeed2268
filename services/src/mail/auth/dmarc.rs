//! DMARC: whether the domain in From authenticates the message, and its policy if not. (RFC 9989)
//!
//! A [`Check`] takes a domain in From, and the domains with results of SPF and DKIM. The domain in From is aligned with
//! a passing one if both are the same or, unless the domain's record forbids it, if both belong to the same
//! organization. A DNS tree walk finds the organization (section 4.10); there is no public suffix list here, which
//! would be outdated on many gateways.
//!
//! | result | when |
//! | --- | --- |
//! | pass | the domain is aligned with one that passed |
//! | none | it has no record |
//! | temperror | the name service does not answer, be it for a domain that is aligned |
//! | permerror | From does not clearly name the author |
//! | fail | it has a record and is not aligned |
//!
//! If From has several domains, each is checked, and the worst result counts (section 11.5): so an attacker gains
//! nothing by adding one that passes, or one that never answers. [`Authors`] extracts the domains.
//!
//! Reports are not sent, so their tags matter for one rule only: a record without a policy that requests reports has
//! the policy `none` (section 4.7).

mod authors;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use super::known::{self, Answer, Known, Open, Question, Step, normal};
use crate::dns::name::is_within;
use crate::dns::resolver::NoAnswer;
pub use authors::Authors;
pub use record::Policy;
use record::{Psd, Record};

/// The most domains in From of which each is checked.
pub const AUTHOR_DOMAINS_MAX: usize = 4;
/// The most records of a tree walk. (RFC 9989, section 4.10)
pub const WALK_MAX: usize = 8;
/// The most domains that can be aligned: SPF's and those of the signatures that are verified.
const IDENTIFIERS_MAX: usize = 1 + super::dkim::SIGNATURES_MAX;
/// The most questions of a check: for the domain in From a tree walk, and its existence; for each passing domain a tree
/// walk.
pub const QUESTIONS_MAX: usize = (WALK_MAX + 3) + IDENTIFIERS_MAX * WALK_MAX;

/// The result for a message. Later ones take precedence. (RFC 9989, section 5.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DmarcResult {
    /// A domain with a pass is aligned.
    Pass,
    /// The domain has no record.
    None,
    /// The result is not available now.
    TempError,
    /// From does not clearly name the author.
    PermError,
    /// No domain with a pass is aligned.
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

/// The outcome of a check. Worse ones are greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// The result.
    pub result: DmarcResult,
    /// The policy of the domain for a message that fails: valid for [`DmarcResult::Fail`], and as far as it is known
    /// for [`DmarcResult::TempError`].
    pub policy: Policy,
    /// The domain in From; empty if there is none.
    pub domain: String,
}

/// A domain with a result of SPF or DKIM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The domain.
    pub domain: String,
    /// The method of the result.
    pub source: Source,
    /// Whether it passed; otherwise the result was a temporary error.
    pub is_pass: bool,
}

/// The method by which a domain was authenticated.
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

/// Why a check stops.
enum Stop {
    Open(Open),
    Unavailable,
}

impl From<Open> for Stop {
    fn from(open: Open) -> Self {
        Self::Open(open)
    }
}

/// The records of a tree walk with their domains, from the domain upwards.
type Walk<'a> = Vec<(&'a str, Record)>;

impl Check {
    /// The outcome for one domain in From.
    fn judge(&self, author: &str) -> Result<(DmarcResult, Policy), Stop> {
        let own = self.record(author)?;
        // The tree walk is not needed if the domain itself has passed.
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
        // Several records count as none.
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

/// The next domain of a tree walk: with one label less, and at most seven. (RFC 9989, section 4.10)
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

/// The domain one label below `suffix` towards `domain`.
fn below<'a>(suffix: &str, domain: &'a str) -> &'a str {
    let labels = suffix.matches('.').count() + 2;
    let start = domain.rmatch_indices('.').nth(labels - 1).map_or(0, |(dot, _)| dot + 1);
    &domain[start..]
}

/// The record whose policy applies to `author`: its own, else that of its organization, else that of the public suffix.
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
