use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::mail::auth::testing::{World, run};

/// A domain that SPF or DKIM says something of: `spf:far.example`; with `?` at its end it could not be known.
fn identifier(text: &str) -> Identifier {
    let (source, domain) = text.split_once(':').unwrap();
    let source = if source == "spf" { Source::Spf } else { Source::Dkim };
    let is_pass = !domain.ends_with('?');
    Identifier { domain: domain.trim_end_matches('?').to_owned(), source, is_pass }
}

fn check(from: &str, identifiers: &[&str]) -> Check {
    Check::new(
        author_domains([from.as_bytes()].into_iter()),
        identifiers.iter().map(|text| identifier(text)).collect(),
    )
}

fn outcome(world: World<'_>, from: &str, identifiers: &[&str]) -> Outcome {
    let (outcome, asked) = run(world, check(from, identifiers));
    assert!(asked.len() <= QUESTIONS_MAX);
    outcome
}

/// The result, and the policy that is asked for.
fn judged(world: World<'_>, from: &str, identifiers: &[&str]) -> (DmarcResult, Policy) {
    let Outcome { result, policy, .. } = outcome(world, from, identifiers);
    (result, policy)
}

const PASS: (DmarcResult, Policy) = (DmarcResult::Pass, Policy::None);
const NONE: (DmarcResult, Policy) = (DmarcResult::None, Policy::None);
const TEMPERROR: (DmarcResult, Policy) = (DmarcResult::TempError, Policy::None);
const REJECT: (DmarcResult, Policy) = (DmarcResult::Fail, Policy::Reject);
const QUARANTINE: (DmarcResult, Policy) = (DmarcResult::Fail, Policy::Quarantine);
const UNWANTED: (DmarcResult, Policy) = (DmarcResult::Fail, Policy::None);

const WORLD: World<'_> = &[
    ("_dmarc.far.example", "TXT", "v=DMARC1; p=reject; sp=quarantine; np=none"),
    ("far.example", "A", "192.0.2.1"),
    ("news.far.example", "MX", "mail.far.example"),
    ("_dmarc.strict.example", "TXT", "v=DMARC1; p=quarantine; adkim=s; aspf=s"),
];

/// RFC 9989, section 4.4: A domain in From is aligned with one of its organization that passed.
#[test]
fn rfc9989_4_4_alignment_is_relaxed_or_strict() {
    for (from, identifiers, expected) in [
        ("a@far.example", &["dkim:far.example"][..], PASS),
        ("a@far.example", &["spf:far.example"], PASS),
        ("a@Far.Example", &["dkim:other.example", "spf:bounce.far.example"], PASS),
        ("a@news.far.example", &["dkim:far.example"], PASS),
        ("a@news.far.example", &["dkim:x.y.far.example"], PASS),
        ("a@far.example", &[], REJECT),
        ("a@far.example", &["dkim:notfar.example", "spf:example"], REJECT),
        ("a@strict.example", &["dkim:strict.example"], PASS),
        ("a@strict.example", &["spf:strict.example"], PASS),
        ("a@strict.example", &["dkim:x.strict.example", "spf:x.strict.example"], QUARANTINE),
        ("a@nobody.example", &["dkim:nobody.example"], NONE),
        ("a@nobody.example", &[], NONE),
    ] {
        assert_eq!(judged(WORLD, from, identifiers), expected, "{from} {identifiers:?}");
    }
}

/// RFC 9989, section 4.7: Domains within another can have another policy, and those that are not there a third one.
#[test]
fn rfc9989_4_7_domains_within_and_domains_that_are_not() {
    for (from, expected) in
        [("a@far.example", REJECT), ("a@news.far.example", QUARANTINE), ("a@made-up.far.example", UNWANTED)]
    {
        assert_eq!(judged(WORLD, from, &[]), expected, "{from}");
    }
    let record = |record| [("_dmarc.far.example", "TXT", record), ("a.far.example", "AAAA", "2001:db8::1")];
    for (text, within, absent) in [
        ("v=DMARC1; p=reject", REJECT, REJECT),
        ("v=DMARC1; p=reject; sp=none", UNWANTED, UNWANTED),
        ("v=DMARC1; p=none; np=reject", UNWANTED, REJECT),
        // RFC 9989, section 4.7, t: a policy under test is one step milder.
        ("v=DMARC1; p=reject; np=quarantine; t=y", QUARANTINE, UNWANTED),
    ] {
        assert_eq!(judged(&record(text), "x@a.far.example", &[]), within, "{text}");
        assert_eq!(judged(&record(text), "x@b.far.example", &[]), absent, "{text}");
    }
}

/// RFC 9989, section 4.10: The way up goes from the domain itself, and from seven labels on.
#[test]
fn rfc9989_4_10_the_way_up() {
    let names = |from| {
        let (_, asked) = run(&[], check(from, &[]));
        let names = asked.into_iter().map(|question| match question {
            Question::Texts(name) => name.strip_prefix("_dmarc.").unwrap().to_owned(),
            other => panic!("{other:?}"),
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names("x@a.mail.far.example"),
        ["a.mail.far.example", "mail.far.example", "far.example", "example"]
    );
    assert_eq!(
        names("x@a.b.c.d.e.f.g.h.i.j.example"),
        [
            "a.b.c.d.e.f.g.h.i.j.example",
            "e.f.g.h.i.j.example",
            "f.g.h.i.j.example",
            "g.h.i.j.example",
            "h.i.j.example",
            "i.j.example",
            "j.example",
            "example"
        ]
    );
    let eight = names("x@a.b.c.d.e.f.g.example");
    assert_eq!((eight.len(), &eight[1][..]), (WALK_MAX, "b.c.d.e.f.g.example"));
}

/// RFC 9989, section 4.10: Several records are none, and what is no record is passed over.
#[test]
fn rfc9989_4_10_several_records_are_none() {
    let reject = "v=DMARC1; p=reject";
    let none = [("_dmarc.far.example", "TXT", reject), ("_dmarc.far.example", "TXT", "v=DMARC1; p=none")];
    assert_eq!(judged(&none, "a@far.example", &[]), NONE);
    let one = [("_dmarc.far.example", "TXT", reject), ("_dmarc.far.example", "TXT", "v=spf1 -all")];
    assert_eq!(judged(&one, "a@far.example", &[]), REJECT);
    let above = [&none[..], &[("_dmarc.example", "TXT", reject)]].concat();
    assert_eq!(judged(&above, "a@far.example", &[]), REJECT);
    // RFC 9989, section 4.7: without a policy that can be read there is none.
    assert_eq!(judged(&[("_dmarc.far.example", "TXT", "v=DMARC1; p=x")], "a@far.example", &[]), NONE);
}

/// RFC 9989, section 4.10.1: The policy is the domain's own, else its organization's, else the public suffix's.
#[test]
fn rfc9989_4_10_1_whose_policy_counts() {
    let world = [
        ("_dmarc.a.far.example", "TXT", "v=DMARC1; p=none"),
        ("_dmarc.b.far.example", "TXT", "v=DMARC1; p=none"),
        ("_dmarc.far.example", "TXT", "v=DMARC1; p=quarantine"),
        ("_dmarc.suffix.example", "TXT", "v=DMARC1; p=reject; np=none; psd=y"),
        ("here.suffix.example", "A", "192.0.2.1"),
    ];
    for (from, expected) in [
        ("x@a.far.example", UNWANTED),
        // Not the one between.
        ("x@a.b.far.example", QUARANTINE),
        ("x@far.example", QUARANTINE),
        ("x@here.suffix.example", REJECT),
        ("x@gone.suffix.example", UNWANTED),
        ("x@suffix.example", REJECT),
    ] {
        assert_eq!(judged(&world, from, &[]), expected, "{from}");
    }
}

/// RFC 9989, section 4.10.2: Public suffixes and organizations are where records say so, else where the uppermost record is.
#[test]
fn rfc9989_4_10_2_which_domains_are_of_one_organization() {
    let world = [
        ("_dmarc.example", "TXT", "v=DMARC1; p=reject; psd=y"),
        ("_dmarc.one.example", "TXT", "v=DMARC1; p=reject"),
        ("_dmarc.own.one.example", "TXT", "v=DMARC1; p=reject; psd=n"),
        ("_dmarc.test", "TXT", "v=DMARC1; p=reject"),
    ];
    for (from, passed, expected) in [
        ("x@one.example", "dkim:a.one.example", PASS),
        ("x@a.one.example", "dkim:b.one.example", PASS),
        // Of two organizations below a public suffix.
        ("x@one.example", "dkim:two.example", REJECT),
        ("x@one.example", "dkim:example", REJECT),
        ("x@two.example", "dkim:a.two.example", PASS),
        // psd=n makes an organization of its own.
        ("x@own.one.example", "dkim:a.own.one.example", PASS),
        ("x@own.one.example", "dkim:one.example", REJECT),
        ("x@one.example", "dkim:own.one.example", REJECT),
        // Without psd= the uppermost record is the organization's.
        ("x@a.test", "dkim:b.c.test", PASS),
    ] {
        assert_eq!(judged(&world, from, &[passed]), expected, "{from} {passed}");
    }
    assert_eq!(below("example", "a.b.example"), "b.example");
    assert_eq!(below("b.example", "a.b.example"), "a.b.example");
}

/// RFC 9989, section 5.3.1: Of several domains in From the worst counts; without one there is nothing to check.
#[test]
fn rfc9989_5_3_1_the_domains_in_from() {
    let authors = |values: &[&str]| author_domains(values.iter().map(|value| value.as_bytes()));
    let domains = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(authors(&[" \"no@x.example\"\r\n\t<a@Far.Example> (b@y.example)"]), domains(&["far.example"]));
    assert_eq!(authors(&["a@x.example, b@y.example, c@x.example"]), domains(&["x.example", "y.example"]));
    assert_eq!(
        authors(&["a@x.example", "b@x.example"]),
        None,
        "one field may be signed, and the other shown"
    );
    let many: Vec<_> = (0..=AUTHOR_DOMAINS_MAX).map(|number| format!("a@x{number}.example")).collect();
    assert_eq!(authors(&[&many.join(",")]), None);
    for none in
        [&[][..], &[""], &["Anna"], &["a@x.example", "Anna"], &["a@[192.0.2.1]"], &["a@b\u{fc}ro.example"]]
    {
        assert_eq!(authors(none), None, "{none:?}");
    }
    assert_eq!(judged(WORLD, "Anna", &["spf:far.example"]), (DmarcResult::PermError, Policy::None));
    let two = outcome(WORLD, "a@strict.example, b@far.example", &["dkim:strict.example"]);
    assert_eq!((two.result, two.policy, &two.domain[..]), (DmarcResult::Fail, Policy::Reject, "far.example"));
    assert_eq!(
        judged(WORLD, "a@strict.example, b@far.example", &["dkim:strict.example", "dkim:far.example"]),
        PASS
    );
    assert_eq!(judged(WORLD, "a@nobody.example, b@far.example", &["dkim:far.example"]), NONE);
}

/// RFC 9989, section 5.3: What cannot be known now is a passing error, and only for domains that would be aligned.
#[test]
fn rfc9989_5_3_what_cannot_be_known_now() {
    for silent in ["_dmarc.a.far.example", "_dmarc.far.example"] {
        assert_eq!(judged(&[(silent, "TXT", "?")], "x@a.far.example", &[]), TEMPERROR);
    }
    assert_eq!(judged(WORLD, "a@far.example", &["dkim:far.example?"]), TEMPERROR);
    assert_eq!(judged(WORLD, "a@far.example", &["dkim:far.example?", "spf:far.example"]), PASS);
    // Whoever forges a message cannot have it pass by a domain of its own that gives no answer.
    assert_eq!(judged(WORLD, "a@far.example", &["dkim:evil.example?"]), REJECT);
    let world = [&WORLD[..2], &[("made-up.far.example", "MX", "?")]].concat();
    assert_eq!(judged(&world, "a@made-up.far.example", &[]), TEMPERROR);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn every_check_ends_within_its_bound(
        from in prop::collection::vec("[ab]{1,2}(\\.[ab]){0,10}", 0..6),
        identifiers in prop::collection::vec(("(dkim|spf)", "[ab](\\.[ab]){0,9}\\??"), 0..12),
        records in prop::collection::vec(
            ("[ab](\\.[ab]){0,3}", "v=DMARC1; (p=reject; )?(np=none; )?(psd=[yn]; )?(adkim=s)?|\\?"), 0..8,
        ),
    ) {
        let from: Vec<_> = from.iter().map(|domain| format!("x@{domain}")).collect();
        let records: Vec<_> = records.iter().map(|(name, record)| (format!("_dmarc.{name}"), record)).collect();
        let world: Vec<_> = records.iter().map(|(name, record)| (&name[..], "TXT", &record[..])).collect();
        let identifiers: Vec<_> = identifiers.iter().map(|(source, domain)| format!("{source}:{domain}")).collect();
        let identifiers: Vec<_> = identifiers.iter().map(|text| &text[..]).collect();
        let outcome = outcome(&world, &from.join(","), &identifiers);
        prop_assert!(outcome.result == DmarcResult::Fail || outcome.policy == Policy::None);
    }
}
