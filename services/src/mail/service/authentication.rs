//! The authentication of a message from outside, while it is received.
//!
//! The SPF lookups run in parallel. The message passes through DKIM's verifier, and forged results are removed from its
//! header. At the end the signatures are checked, and the domains in From by DMARC, whose result decides.
//!
//! Each check has [`AUTHENTICATION_TIMEOUT`] for itself: SPF, each signature, and DMARC for each domain in From. A
//! sender's slow name servers delay only the checks that query them. A check that times out ends with the answers so
//! far: mostly with a temporary error. A message without a DMARC result is accepted, except one whose domain is known
//! to request `reject`, if the office follows such requests: it is rejected temporarily (RFC 9989, sections 4.10.1 and
//! 5.3.6).
//!
//! The public DNS is queried, bypassing the local zone.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::settings::Authenticity;
use super::stats::Stats;
use super::verdict::{Action, Verdict};
use crate::clock::UnixTime;
use crate::dns::resolver::{NoAnswer, Resolver};
use crate::mail::address::{Domain, ReversePath};
use crate::mail::auth::dkim::{DkimResult, Signed, Verified, Verifier};
use crate::mail::auth::dmarc::{self, Authors, DmarcResult, Identifier, Outcome, Policy, Source};
use crate::mail::auth::known::{Answer, Check, Question, Records, Step};
use crate::mail::auth::results::{Results, Strip};
use crate::mail::auth::spf::{self, Identity, SpfResult};
use crate::mail::smtp::Rejection;
use crate::task::{LocalFuture, Task};
use crate::wait::all_of;

/// The timeout of one check. A complete message waits at most twice as long: for SPF and its signatures, which are
/// checked in parallel, and then for DMARC.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The check of one message.
pub(super) struct Authentication {
    resolver: Resolver,
    verifier: Verifier,
    strip: Strip,
    spf: oneshot::Receiver<SpfResult>,
    spf_domain: String,
    is_of_helo: bool,
    /// Runs the lookups for SPF.
    _asking: Task,
}

impl Authentication {
    /// Of a message that the client at `peer`, which calls itself `name`, sends from `sender` to the server `hostname`.
    pub fn begin(
        resolver: &Resolver,
        hostname: &str,
        now: UnixTime,
        (peer, name): (IpAddr, &str),
        sender: &ReversePath,
    ) -> Self {
        let helo = Domain::parse(name).unwrap_or(Domain::Literal(peer));
        let check = spf::Check::new(Identity::MailFrom, peer, &helo, sender);
        let spf_domain = check.domain().to_owned();
        let (tell, spf) = oneshot::channel();
        let resolver = resolver.of_world();
        let asked = resolver.clone();
        let asking = async move {
            // The receiver is gone if the message was aborted.
            _ = tell.send(run(check, &asked).await);
        };
        Self {
            resolver,
            verifier: Verifier::new(now),
            strip: Strip::new(hostname),
            spf,
            spf_domain,
            is_of_helo: *sender == ReversePath::Null,
            _asking: Task::spawn(asking),
        }
    }

    /// Reads the next octets of the message, and appends those to store to `into`.
    pub fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        self.verifier.push(octets);
        self.strip.push(octets, into);
    }

    /// Appends the rest at the end of the message to `into`.
    pub fn end(&mut self, into: &mut Vec<u8>) {
        self.strip.finish(into);
    }

    /// The results of all checks.
    pub async fn finish(self) -> Results {
        let Self { resolver, verifier, spf, spf_domain, is_of_helo, _asking, .. } = self;
        let Verified { header, signatures } = verifier.finish();
        let signed: Vec<LocalFuture<'_, Signed>> =
            signatures.into_iter().map(|check| Box::pin(run(check, &resolver)) as _).collect();
        let signed = all_of(signed).await;
        // It has begun earlier than the others.
        let spf = spf.await.unwrap_or(SpfResult::TempError);
        let (authors, identifiers) = (Authors::of(&header), identifiers((spf, &spf_domain), &signed));
        let checks = authors.domains().iter().map(|author| dmarc::Check::new(author, identifiers.clone()));
        let outcomes: Vec<LocalFuture<'_, Outcome>> =
            checks.map(|check| Box::pin(run(check, &resolver)) as _).collect();
        let dmarc = authors.outcome(all_of(outcomes).await);
        Results { spf, spf_domain, is_of_helo, signed, dmarc }
    }
}

/// The domains with results of SPF or DKIM.
fn identifiers((spf, spf_domain): (SpfResult, &str), signed: &[Signed]) -> Vec<Identifier> {
    let of = |domain: &str, source, is_pass| Identifier { domain: domain.to_owned(), source, is_pass };
    let spf = match spf {
        SpfResult::Pass => Some(true),
        SpfResult::TempError => Some(false),
        _ => None,
    };
    let signed = signed.iter().filter_map(|signed| match signed.result {
        DkimResult::Pass => Some(of(&signed.domain, Source::Dkim, true)),
        DkimResult::TempError => Some(of(&signed.domain, Source::Dkim, false)),
        _ => None,
    });
    spf.map(|is_pass| of(spf_domain, Source::Spf, is_pass)).into_iter().chain(signed).collect()
}

/// Runs a check with `resolver`. After [`AUTHENTICATION_TIMEOUT`] all open questions count as unanswered.
async fn run<C: Check>(mut check: C, resolver: &Resolver) -> C::Outcome {
    let deadline = Instant::now() + AUTHENTICATION_TIMEOUT;
    loop {
        match check.step() {
            Step::Done(outcome) => return outcome,
            Step::Ask(question) => {
                let answer = match Instant::now() < deadline {
                    true => timeout_at(deadline, ask(resolver, &question)).await.ok(),
                    false => None,
                };
                check.answer(question, answer.unwrap_or(Err(NoAnswer::Unavailable)));
            }
        }
    }
}

async fn ask(resolver: &Resolver, question: &Question) -> Answer {
    match question {
        Question::Texts(name) => resolver.texts(name).await.map(Records::Texts),
        Question::Ipv4(name) => resolver.ipv4(name).await.map(Records::Ipv4),
        Question::Ipv6(name) => resolver.ipv6(name).await.map(Records::Ipv6),
        Question::MailExchanges(name) => resolver.mail_exchanges(name).await.map(Records::MailExchanges),
        Question::Names(address) => resolver.names(*address).await.map(Records::Names),
    }
}

/// The disposition of a message with `results`. `fields` formats them.
pub(super) fn verdict(authenticity: Authenticity, results: &Results, fields: String) -> Verdict {
    let Outcome { result, policy, domain } = &results.dmarc;
    let action = match (authenticity, result, policy) {
        (Authenticity::Report, ..) => Action::Accept,
        (Authenticity::Reject, DmarcResult::Fail, Policy::Reject) => Action::Refuse(Rejection::Policy {
            is_temporary: false,
            text: format!("{domain} asks to refuse what it did not send (DMARC)"),
        }),
        (Authenticity::Reject, DmarcResult::TempError, Policy::Reject) => Action::Refuse(Rejection::Policy {
            is_temporary: true,
            text: format!("whether {domain} has sent this cannot be known now (DMARC)"),
        }),
        // Or its claimed author cannot be checked.
        (_, DmarcResult::Fail, Policy::Quarantine | Policy::Reject) | (_, DmarcResult::PermError, _) => {
            Action::Junk
        }
        _ => Action::Accept,
    };
    Verdict { fields, action }
}

/// Counts the results of a message.
pub(super) fn count(stats: &mut Stats, results: &Results) {
    *match results.spf {
        SpfResult::Pass => &mut stats.spf_pass,
        SpfResult::Fail | SpfResult::SoftFail => &mut stats.spf_fail,
        SpfResult::None | SpfResult::Neutral => &mut stats.spf_none,
        SpfResult::TempError | SpfResult::PermError => &mut stats.spf_errors,
    } += 1;
    for signed in &results.signed {
        *match signed.result {
            DkimResult::Pass => &mut stats.dkim_pass,
            DkimResult::Fail => &mut stats.dkim_fail,
            DkimResult::Policy | DkimResult::Neutral => &mut stats.dkim_not_taken,
            DkimResult::TempError | DkimResult::PermError => &mut stats.dkim_errors,
        } += 1;
    }
    *match results.dmarc.result {
        DmarcResult::Pass => &mut stats.dmarc_pass,
        DmarcResult::Fail => &mut stats.dmarc_fail,
        DmarcResult::None => &mut stats.dmarc_none,
        DmarcResult::TempError | DmarcResult::PermError => &mut stats.dmarc_errors,
    } += 1;
}
