//! A message from outside and the records that its checks ask for: they never panic, ask no more than they may, come to
//! the same however the message is cut, and what is written of them is one field.
//!
//! The input is how the message is cut, how many records there are, the records, and the message. Each question is answered
//! by the next record.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use gatepost_fuzz::Input;
use gatepost_services::clock::UnixTime;
use gatepost_services::dns::resolver::{MailExchange, NoAnswer};
use gatepost_services::mail::address::{Domain, ReversePath};
use gatepost_services::mail::auth::dkim::{DkimResult, Verified, Verifier};
use gatepost_services::mail::auth::dmarc::{self, Authors, DmarcResult, Identifier, Source};
use gatepost_services::mail::auth::known::{Answer, Check, Question, Records, Step};
use gatepost_services::mail::auth::results::{RESULTS_OCTETS_MAX, Results, Strip};
use gatepost_services::mail::auth::spf::{self, Identity, SpfResult};
use libfuzzer_sys::fuzz_target;

const HOSTNAME: &str = "smtp.office.example";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOW: UnixTime = UnixTime(1_700_000_000);
/// More records than any check asks for.
const RECORDS_MAX: u8 = 32;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let cuts = input.chunk();
    let records: Vec<_> = (0..input.u8() % RECORDS_MAX).map(|_| input.chunk()).collect();
    let message = input.rest();
    let whole = check(message, &[], &records);
    let cut = check(message, cuts, &records);
    assert!(cut == whole, "cut at {cuts:?} it comes to {cut:?} and not to {whole:?}");
    let (results, stripped) = whole;
    assert!(stripped.len() <= message.len());
    for octets_max in [0, 200, RESULTS_OCTETS_MAX] {
        let field = results.to_field(HOSTNAME, octets_max);
        assert!(field.len() <= octets_max && field.bytes().all(|octet| octet.is_ascii()));
        let unfolded = field.replace("\r\n\t", " ");
        assert!(field.is_empty() || unfolded.find('\n') == Some(unfolded.len() - 1), "{field:?}");
    }
});

/// What comes of the message, and what is kept of it.
fn check(message: &[u8], cuts: &[u8], records: &[&[u8]]) -> (Results, Vec<u8>) {
    let (mut verifier, mut strip, mut kept) = (Verifier::new(NOW), Strip::new(HOSTNAME), Vec::new());
    let (mut rest, mut cuts) = (message, cuts.iter());
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).clamp(1, rest.len()));
        let (portion, after) = rest.split_at(len);
        verifier.push(portion);
        strip.push(portion, &mut kept);
        rest = after;
    }
    strip.finish(&mut kept);
    let Verified { header, signatures } = verifier.finish();
    let mut world = World { records, asked: 0 };
    let signed: Vec<_> = signatures.into_iter().map(|check| world.run(check, 1)).collect();
    let helo = Domain::parse("mail.far.example").expect("a domain");
    let check = spf::Check::new(Identity::MailFrom, CLIENT, &helo, &ReversePath::Null);
    let spf = world.run(check, spf::QUESTIONS_MAX);
    let of = |domain: &str, source| Identifier { domain: domain.to_owned(), source, is_pass: true };
    let passed = signed.iter().filter(|signed| signed.result == DkimResult::Pass);
    let mut identifiers: Vec<_> = passed.map(|signed| of(&signed.domain, Source::Dkim)).collect();
    if spf == SpfResult::Pass {
        identifiers.push(of("far.example", Source::Spf));
    }
    let authors = Authors::of(&header);
    let checks = authors.domains().iter().map(|author| dmarc::Check::new(author, identifiers.clone()));
    let dmarc = authors.outcome(checks.map(|check| world.run(check, dmarc::QUESTIONS_MAX)));
    assert!(authors.is_clear() || dmarc.result >= DmarcResult::PermError);
    let spf_domain = "mail.far.example".to_owned();
    (Results { spf, spf_domain, is_of_helo: true, signed, dmarc }, kept)
}

/// Who answers.
struct World<'a> {
    records: &'a [&'a [u8]],
    asked: usize,
}

impl World<'_> {
    /// Answers a check until it has its outcome.
    fn run<C: Check>(&mut self, mut check: C, questions_max: usize) -> C::Outcome {
        for _ in 0..=questions_max {
            match check.step() {
                Step::Done(outcome) => return outcome,
                Step::Ask(question) => {
                    let answer = self.answer(&question);
                    check.answer(question, answer);
                }
            }
        }
        panic!("a check asks more than {questions_max} questions");
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let record = self.records.get(self.asked).copied();
        self.asked += 1;
        let record = record.ok_or(NoAnswer::NoName)?;
        let text = || String::from_utf8_lossy(record).into_owned();
        Ok(match question {
            _ if record.is_empty() => return Err(NoAnswer::Unavailable),
            Question::Texts(_) => {
                Records::Texts(record.split(|octet| *octet == 0).map(<[u8]>::to_vec).collect())
            }
            Question::Ipv4(_) => Records::Ipv4(vec![Ipv4Addr::new(192, 0, 2, record[0])]),
            Question::Ipv6(_) => return Err(NoAnswer::NoData),
            Question::MailExchanges(_) => {
                Records::MailExchanges(vec![MailExchange { preference: 10, host: text() }])
            }
            Question::Names(_) => Records::Names(vec![text()]),
        })
    }
}
