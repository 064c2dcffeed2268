//! dig, kdig, delv and Unbound behind the gateway, with a DNS tree that is signed from its root on: they find what they
//! find at the gateway's upstream server, and Unbound what it finds at the servers of the tree.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::Ipv4Addr;

use crate::dns::Answer;
use crate::harness::programs::name_server;
use crate::harness::{DnsTree, ISP, LAN, Namespace, Office, SERVER};

/// The result of validation (RFC 4035, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Secure,
    Insecure,
    Bogus,
}

use Status::{Bogus, Insecure, Secure};

/// Questions about the tree, with the code and the status of a validator's answer.
const QUESTIONS: &[(&str, &str, Status)] = &[
    (". DNSKEY", "NOERROR", Secure),
    ("example SOA", "NOERROR", Secure),
    ("www.nsec.example A", "NOERROR", Secure),
    ("www.nsec3.example A", "NOERROR", Secure),
    // More than a datagram.
    ("texts.large.example TXT", "NOERROR", Secure),
    // A type that the name does not have, a name that has no records but a name below it, and one that does not exist.
    ("www.nsec.example MX", "NOERROR", Secure),
    ("www.nsec3.example MX", "NOERROR", Secure),
    ("deep.nsec.example A", "NOERROR", Secure),
    ("deep.nsec3.example A", "NOERROR", Secure),
    ("absent.nsec.example A", "NXDOMAIN", Secure),
    ("absent.nsec3.example A", "NXDOMAIN", Secure),
    // By a wildcard, and a type that the wildcard does not have.
    ("any.wild.nsec.example A", "NOERROR", Secure),
    ("any.wild.nsec3.example A", "NOERROR", Secure),
    ("any.wild.nsec.example AAAA", "NOERROR", Secure),
    ("any.wild.nsec3.example AAAA", "NOERROR", Secure),
    // By DNAME to another zone, to names that exist there and to one that does not.
    ("www.subtree.nsec.example A", "NOERROR", Secure),
    ("www.subtree.nsec3.example AAAA", "NOERROR", Secure),
    ("absent.subtree.nsec.example A", "NXDOMAIN", Secure),
    // By CNAME through three zones, to a name that does not exist, to an unsigned zone, and from there.
    ("alias.nsec.example A", "NOERROR", Secure),
    ("lost.nsec.example A", "NXDOMAIN", Secure),
    ("out.nsec.example A", "NOERROR", Insecure),
    ("alias.plain.example A", "NOERROR", Insecure),
    // Unsigned delegations: with NSEC and, left out of the chain, with NSEC3 and opt-out (RFC 5155, section 9.2).
    ("unsigned.nsec.example DS", "NOERROR", Secure),
    ("www.unsigned.nsec.example A", "NOERROR", Insecure),
    ("absent.unsigned.nsec.example A", "NXDOMAIN", Insecure),
    ("plain.example DS", "NOERROR", Insecure),
    ("www.plain.example A", "NOERROR", Insecure),
    ("absent.plain.example A", "NXDOMAIN", Insecure),
    ("absent.example A", "NXDOMAIN", Insecure),
    // A signature of other data, one that has expired, and a zone whose key is not the one of the parent's DS record.
    ("www.forged.example A", "SERVFAIL", Bogus),
    ("mail.forged.example A", "NOERROR", Secure),
    ("broken.nsec.example A", "SERVFAIL", Bogus),
    ("www.expired.example A", "SERVFAIL", Bogus),
    ("www.foreign.example A", "SERVFAIL", Bogus),
];

/// The programs and options of questions that are asked one after another.
const LOOKUPS: [(&str, &str); 5] =
    [("dig", ""), ("dig", "+dnssec"), ("dig", "+dnssec +cd"), ("kdig", ""), ("kdig", "+dnssec +tcp")];

/// An answer without its TTLs, and without NS records beside it, which the gateway does not pass on.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    code: String,
    flags: Vec<String>,
    answers: BTreeSet<String>,
    authority: BTreeSet<String>,
}

impl From<Answer> for Content {
    fn from(answer: Answer) -> Self {
        let mut authority = without_ttl(&answer.authority);
        authority.retain(|record| !record.contains(" IN NS ") && !record.contains(" IN RRSIG NS "));
        let answers = without_ttl(&answer.answers);
        Self { code: answer.status, flags: answer.flags, answers, authority }
    }
}

/// The records without their TTLs, in no order.
fn without_ttl(records: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
    let is_ttl = |field: &str| field.parse::<u32>().is_ok();
    let strip = |record: &str| {
        let fields: Vec<_> = record.split_whitespace().collect();
        let ttl = fields.iter().take_while(|field| **field != "IN").position(|field| is_ttl(field));
        let rest = fields.iter().enumerate().filter(|(place, _)| Some(*place) != ttl);
        rest.map(|(_, field)| *field).collect::<Vec<_>>().join(" ")
    };
    records.into_iter().map(|record| strip(record.as_ref())).collect()
}

/// Asks `server` all [`QUESTIONS`].
fn look_up(client: &Namespace, server: Ipv4Addr, (program, options): (&str, &str)) -> Vec<Content> {
    let questions: Vec<_> = QUESTIONS.iter().map(|(question, ..)| *question).collect();
    let text = client.sh(&format!("{program} @{server} {options} {}", questions.join(" ")));
    let answers = text.split("->>HEADER<<-").skip(1).map(|answer| Answer::read(answer).into());
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len(), QUESTIONS.len(), "{text}");
    answers
}

/// What the programs say of each question, in the order of [`QUESTIONS`].
#[derive(Debug)]
struct Findings {
    looked_up: Vec<Vec<Content>>,
    delv: Vec<BTreeSet<String>>,
}

impl Findings {
    fn of(tree: &DnsTree, client: &Namespace, server: Ipv4Addr) -> Self {
        let address = server.to_string();
        let delv = |(question, ..): &(&str, _, _)| {
            without_ttl(tree.delv(client, server, question).replace(&address, "the server").lines())
        };
        Self {
            looked_up: LOOKUPS.iter().map(|lookup| look_up(client, server, *lookup)).collect(),
            delv: QUESTIONS.iter().map(delv).collect(),
        }
    }

    /// Asserts that it is the same as by way of another server.
    #[track_caller]
    fn assert_same(&self, truth: &Self, when: &str) {
        for (lookup, (here, there)) in LOOKUPS.iter().zip(self.looked_up.iter().zip(&truth.looked_up)) {
            assert_each_same(here, there, &format!("{when}: {lookup:?}"));
        }
        assert_each_same(&self.delv, &truth.delv, &format!("{when}: delv"));
    }
}

/// Asserts that what was found `here` of each question was found `there`.
#[track_caller]
fn assert_each_same<T: Debug + PartialEq>(here: &[T], there: &[T], what: &str) {
    for (question, (here, there)) in QUESTIONS.iter().zip(here.iter().zip(there)) {
        assert_eq!(here, there, "{what}: {question:?}");
    }
}

/// Asserts that the validator at `server` comes to the expected results, and returns its answers.
#[track_caller]
fn validate(client: &Namespace, server: Ipv4Addr, when: &str) -> Vec<Content> {
    let answers = look_up(client, server, ("dig", "+dnssec"));
    for ((question, code, status), answer) in QUESTIONS.iter().zip(&answers) {
        let found = match answer.flags.iter().any(|flag| flag == "ad") {
            true => Secure,
            false if answer.code == "SERVFAIL" => Bogus,
            false => Insecure,
        };
        assert_eq!((answer.code.as_str(), found), (*code, *status), "{when}: {question} {answer:?}");
    }
    answers
}

/// Asserts that all agree on all questions, behind a gateway whose upstream server `validates` or not. The second time
/// that server refuses all questions, so that all answers but failures come from the gateway's cache.
fn all_agree(validates: bool) {
    let office = Office::new(2, &format!("dns.upstream = ['{ISP}']\ndns.trust_ad = {validates}"));
    let tree = DnsTree::start(&office.internet);
    let upstream = tree.resolver(&office.internet, ISP, validates);
    let truth = Findings::of(&tree, &office.internet, ISP);
    let _outside = tree.resolver(&office.internet, SERVER, true);
    let validated = validate(&office.internet, SERVER, "outside");
    let behind_the_gateway = |when: &str| {
        Findings::of(&tree, office.pc(1), LAN).assert_same(&truth, when);
        let _validator = tree.validator(office.pc(2), Ipv4Addr::LOCALHOST, LAN);
        let behind = validate(office.pc(2), Ipv4Addr::LOCALHOST, when);
        assert_each_same(&behind, &validated, &format!("{when}: Unbound"));
    };
    behind_the_gateway("cold");
    drop(upstream);
    let _refuses = name_server(&office.internet, "");
    behind_the_gateway("cached");
}

/// RFC 4035, section 3.2.1: Signatures and proofs pass from an upstream server to validators.
#[test]
fn validators_agree_with_a_server_that_does_not_validate() {
    all_agree(false);
}

/// RFC 4035, section 3.2.3: The AD bit of a trusted upstream server that validates is passed on.
#[test]
fn validators_agree_with_a_server_that_validates() {
    all_agree(true);
}
