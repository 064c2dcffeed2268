//! The verification of one signature, which looks up its key. (RFC 6376, section 6.1)

use std::fmt;
use std::rc::Rc;

use super::header::{Header, signed_octets};
use super::key::{Key, Unusable};
use super::signature::{Algorithm, Claim, Fault, Signature, without_value};
use crate::crypto::{are_equal, sha256};
use crate::dns::resolver::NoAnswer;
use crate::mail::auth::known::{self, Answer, Known, Question, Step};

/// The result of a signature. (RFC 8601, section 2.7.1)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DkimResult {
    /// The domain has signed this message.
    Pass,
    /// It has not.
    Fail,
    /// The signature is valid but not accepted by local policy.
    Policy,
    /// The signature cannot be read.
    Neutral,
    /// The result is not available now.
    TempError,
    /// There is no key for it.
    PermError,
}

impl fmt::Display for DkimResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        })
    }
}

/// A signature's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The result.
    pub result: DkimResult,
    /// Why it is no pass.
    pub why: Option<&'static str>,
    /// The domain that the signature names, in lower case.
    pub domain: String,
    /// The selector of its key.
    pub selector: String,
    /// The beginning of the signature, which identifies it in a message.
    pub start: String,
}

/// A signature of a message that has come whole.
#[derive(Clone, Debug)]
pub struct Check {
    claim: Claim,
    /// Or the reason to ignore it, regardless of the key.
    signature: Result<Signature, (DkimResult, &'static str)>,
    header: Rc<Header>,
    /// The index of its field.
    at: usize,
    known: Known,
}

impl Check {
    /// The signature in the field `at` of `header`.
    pub(super) fn new(
        claim: Claim,
        signature: Result<Signature, Fault>,
        header: Rc<Header>,
        at: usize,
    ) -> Self {
        let signature = signature.map_err(|fault| match fault {
            Fault::Unreadable(why) => (DkimResult::Neutral, why),
            Fault::NotTaken(why) => (DkimResult::Policy, why),
        });
        Self { claim, signature, header, at, known: Known::default() }
    }

    /// Sets the body's digest and length.
    pub(super) fn set_body(&mut self, digest: &[u8], octets: u64) {
        let Ok(signature) = &self.signature else { return };
        // RFC 6376, section 3.5, l=: no more than there are.
        let is_short = signature.body_octets.is_some_and(|limit| limit > octets);
        if is_short || !are_equal(&signature.body_digest, digest) {
            self.signature = Err((DkimResult::Fail, "the body is another"));
        } else if signature.body_octets.is_some_and(|limit| limit < octets) {
            // RFC 6376, section 8.2
            self.signature = Err((DkimResult::Policy, "it signs the beginning of the body only"));
        }
    }

    fn signed(&self, result: DkimResult, why: Option<&'static str>) -> Signed {
        let Claim { domain, selector, start } = self.claim.clone();
        Signed { result, why, domain, selector, start }
    }

    fn run(&self) -> Step<(DkimResult, Option<&'static str>)> {
        let signature = match &self.signature {
            Ok(signature) => signature,
            Err((result, why)) => return Step::Done((*result, Some(why))),
        };
        let name = format!("{}._domainkey.{}", self.claim.selector, self.claim.domain);
        let records = match self.known.texts(&name) {
            Err(open) => return Step::Ask(open.0),
            Ok(records) => records,
        };
        let key = match records {
            Ok(records) => Key::find(records, signature.algorithm),
            Err(NoAnswer::NoName | NoAnswer::NoData) => Err(Unusable::No("there is no key")),
            Err(NoAnswer::Unavailable) => {
                return Step::Done((DkimResult::TempError, Some("the key cannot be had now")));
            }
        };
        Step::Done(match key {
            Err(Unusable::No(why)) => (DkimResult::PermError, Some(why)),
            Err(Unusable::Weak(why)) => (DkimResult::Policy, Some(why)),
            // RFC 6376, section 3.6.1, t=s
            Ok(key) if key.is_strict && signature.identity_domain.is_some() => {
                (DkimResult::PermError, Some("the key is not for domains within its own"))
            }
            Ok(key) => match self.is_signed(signature, &key) {
                true => (DkimResult::Pass, None),
                false => (DkimResult::Fail, Some("the header is another")),
            },
        })
    }

    fn is_signed(&self, signature: &Signature, key: &Key) -> bool {
        let own = self.header.fields().nth(self.at).map_or(&b""[..], |field| field.whole);
        let form = signature.header_form;
        let octets = signed_octets(&self.header, &signature.names, form, &without_value(own), Some(self.at));
        match signature.algorithm {
            Algorithm::RsaSha256 => key.public.verifies(&octets, &signature.octets),
            // RFC 8463, section 3: the signature covers the digest.
            Algorithm::Ed25519Sha256 => key.public.verifies(&sha256(&octets), &signature.octets),
        }
    }
}

impl known::Check for Check {
    type Outcome = Signed;

    fn step(&self) -> Step<Signed> {
        match self.run() {
            Step::Ask(question) => Step::Ask(question),
            Step::Done((result, why)) => Step::Done(self.signed(result, why)),
        }
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        self.known.insert(question, answer);
    }
}
