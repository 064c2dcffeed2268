//! Whether a message from outside is from whom it says it is from, found out while it comes in.
//!
//! SPF is asked for beside the message. The message streams through DKIM's verifier, and what strangers say in this
//! server's name is taken out of its header. At the end signatures are checked, and the domain in From by DMARC, whose
//! result decides. What is not known in [`AUTHENTICATION_TIMEOUT`] is a passing error, and the message is taken.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::settings::Authenticity;
use super::stats::Stats;
use super::verdict::{Action, Verdict};
use crate::clock::UnixTime;
use crate::dns::resolver::Resolver;
use crate::mail::address::{Domain, ReversePath};
use crate::mail::auth::dkim::{self, DkimResult, Verified, Verifier};
use crate::mail::auth::dmarc::{self, DmarcResult, Identifier, Outcome, Policy, Source, author_domains};
use crate::mail::auth::known::{Answer, Check, Question, Records, Step};
use crate::mail::auth::results::{Results, Strip};
use crate::mail::auth::spf::{self, Identity, SpfResult};
use crate::mail::smtp::Refusal;
use crate::task::Task;

/// How long a message that has come whole waits for what the name service says.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The check of one message.
pub(super) struct Authentication {
    resolver: Resolver,
    verifier: Verifier,
    strip: Strip,
    spf: oneshot::Receiver<SpfResult>,
    spf_domain: String,
    is_of_helo: bool,
    /// Asks for what SPF needs.
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
        let asked = resolver.clone();
        let asking = async move {
            let result = timeout(AUTHENTICATION_TIMEOUT, run(check, &asked)).await;
            // Nobody listens if the message has gone.
            _ = tell.send(result.unwrap_or(SpfResult::TempError));
        };
        Self {
            resolver: resolver.clone(),
            verifier: Verifier::new(now),
            strip: Strip::new(hostname),
            spf,
            spf_domain,
            is_of_helo: *sender == ReversePath::Null,
            _asking: Task::spawn(asking),
        }
    }

    /// Takes the next octets of the message, and adds what is to be kept of them to `into`.
    pub fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        self.verifier.push(octets);
        self.strip.push(octets, into);
    }

    /// Adds what is left at the end of the message to `into`.
    pub fn end(&mut self, into: &mut Vec<u8>) {
        self.strip.finish(into);
    }

    /// What came of all checks.
    pub async fn finish(self) -> Results {
        let Self { resolver, verifier, spf, spf_domain, is_of_helo, _asking, .. } = self;
        let Verified { header, signatures } = verifier.finish();
        let from = header.fields().filter(|field| field.is("From")).map(|field| field.value);
        let authors = author_domains(from);
        let first = authors.iter().flatten().next().cloned().unwrap_or_default();
        let mut results = Results {
            spf: SpfResult::TempError,
            spf_domain,
            is_of_helo,
            signed: signatures.iter().map(dkim::Check::unknown).collect(),
            dmarc: Outcome { result: DmarcResult::TempError, policy: Policy::None, domain: first },
        };
        let checks = async {
            let mut checks = JoinSet::new();
            for (at, check) in signatures.into_iter().enumerate() {
                let resolver = resolver.clone();
                checks.spawn_local(async move { (at, run(check, &resolver).await) });
            }
            results.spf = spf.await.unwrap_or(SpfResult::TempError);
            while let Some(Ok((at, signed))) = checks.join_next().await {
                results.signed[at] = signed;
            }
            let check = dmarc::Check::new(authors, identifiers(&results));
            results.dmarc = run(check, &resolver).await;
        };
        // What has no result by then has that of a passing error.
        _ = timeout(AUTHENTICATION_TIMEOUT, checks).await;
        results
    }
}

/// The domains that SPF or DKIM say something of.
fn identifiers(results: &Results) -> Vec<Identifier> {
    let of = |domain: &str, source, is_pass| Identifier { domain: domain.to_owned(), source, is_pass };
    let spf = match results.spf {
        SpfResult::Pass => Some(true),
        SpfResult::TempError => Some(false),
        _ => None,
    };
    let signed = results.signed.iter().filter_map(|signed| match signed.result {
        DkimResult::Pass => Some(of(&signed.domain, Source::Dkim, true)),
        DkimResult::TempError => Some(of(&signed.domain, Source::Dkim, false)),
        _ => None,
    });
    spf.map(|is_pass| of(&results.spf_domain, Source::Spf, is_pass)).into_iter().chain(signed).collect()
}

/// Has a check ask `resolver` until it has its outcome.
async fn run<C: Check>(mut check: C, resolver: &Resolver) -> C::Outcome {
    loop {
        match check.step() {
            Step::Done(outcome) => return outcome,
            Step::Ask(question) => {
                let answer = ask(resolver, &question).await;
                check.answer(question, answer);
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

/// What is to become of a message of which `results` are known. `fields` tells them.
pub(super) fn verdict(authenticity: Authenticity, results: &Results, fields: String) -> Verdict {
    let Outcome { result, policy, domain } = &results.dmarc;
    let action = match (authenticity, result, policy) {
        (Authenticity::Report, ..) => Action::Accept,
        (Authenticity::Reject, DmarcResult::Fail, Policy::Reject) => Action::Refuse(Refusal::Policy {
            is_temporary: false,
            text: format!("{domain} asks to refuse what it did not send (DMARC)"),
        }),
        // Or whoever says to have written it cannot be checked.
        (_, DmarcResult::Fail, Policy::Quarantine | Policy::Reject) | (_, DmarcResult::PermError, _) => {
            Action::Junk
        }
        _ => Action::Accept,
    };
    Verdict { fields, action }
}

/// Counts what came of a message.
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
