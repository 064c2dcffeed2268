use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::mail::auth::dkim::{HEADER_OCTETS_MAX, HeaderReader};
use crate::mail::auth::testing::{World, run};

/// A domain that SPF or DKIM says something of: `spf:far.example`; with `?` at its end it could not be known.
fn identifier(text: &str) -> Identifier {
    let (source, domain) = text.split_once(':').unwrap();
    let source = if source == "spf" { Source::Spf } else { Source::Dkim };
    let is_pass = !domain.ends_with('?');
    Identifier { domain: domain.trim_end_matches('?').to_owned(), source, is_pass }
}

fn authors(fields: &[&str]) -> Authors {
    Authors::of_fields(fields.iter().map(|value| value.as_bytes()))
}

/// What the fields From come to.
fn outcome_of(world: World<'_>, fields: &[&str], identifiers: &[&str]) -> Outcome {
    let authors = authors(fields);
    let identifiers: Vec<_> = identifiers.iter().map(|text| identifier(text)).collect();
    let outcomes = authors.domains().iter().map(|author| {
        let (outcome, asked) = run(world, Check::new(author, identifiers.clone()));
        assert!(asked.len() <= QUESTIONS_MAX);
        outcome
    });
    authors.outcome(outcomes)
}

fn outcome(world: World<'_>, from: &str, identifiers: &[&str]) -> Outcome {
    outcome_of(world, &[from], identifiers)
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
        let (_, asked) = run(&[], Check::new(from, Vec::new()));
        let names = asked.into_iter().map(|question| match question {
            Question::Texts(name) => name.strip_prefix("_dmarc.").unwrap().to_owned(),
            other => panic!("{other:?}"),
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names("a.mail.far.example"),
        ["a.mail.far.example", "mail.far.example", "far.example", "example"]
    );
    assert_eq!(
        names("a.b.c.d.e.f.g.h.i.j.example"),
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
    let eight = names("a.b.c.d.e.f.g.example");
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
    // RFC 9989, section 4.7: an unreadable policy counts as none.
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
        // Not the domain between.
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
        // Two organizations below a public suffix.
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

/// RFC 9989, section 5.3.1: Each domain that a program can show as the author's is checked.
#[test]
fn rfc9989_5_3_1_the_domains_in_from() {
    for (value, expected) in [
        ("a@Far.Example", &["far.example"][..]),
        (" \"no@x.example\"\r\n\t<a@far.example> (b@y.example)", &["far.example"]),
        ("a@x.example, b@y.example, c@x.example", &["x.example", "y.example"]),
        ("a@x.example,\r\n b@y.example", &["x.example", "y.example"]),
        // A group. // RFC 6854
        ("The team: a@x.example, B <b@y.example>;", &["x.example", "y.example"]),
        ("Doe, John <a@x.example>", &["x.example"]),
        ("[List] a.b c <a@x.example>", &["x.example"]),
        ("a@x.example <a@x.example>", &["x.example"]),
        ("a@x.example <b@y.example>", &["x.example", "y.example"]),
        // Texts that a program takes for the address if it does not parse quotes, comments or encoded words.
        ("\"A <a@x.example>\" <b@y.example>", &["x.example", "y.example"]),
        ("b@y.example (\\(A <a@x.example> (x))", &["x.example", "y.example"]),
        ("=?utf-8?q?=3Ca=40x.example=3E?= <b@y.example>", &["y.example", "x.example"]),
        ("\"a@x.example via List\" <b@y.example>", &["y.example"]),
        ("\"(\" <a@x.example>, \")\" <b@y.example>", &["x.example", "y.example"]),
        // RFC 5891, section 5: by the A-labels.
        ("a@M\u{fc}nchen.example", &["xn--mnchen-3ya.example"]),
        ("J\u{fc}rgen <a@x.example>", &["x.example"]),
    ] {
        let authors = authors(&[value]);
        let mut domains = authors.domains().to_vec();
        let mut expected = expected.to_vec();
        domains.sort();
        expected.sort();
        assert_eq!(
            (domains, authors.is_clear()),
            (expected.iter().map(ToString::to_string).collect(), true),
            "{value}"
        );
    }
}

/// RFC 9989, section 4.4: A From without exactly one clear author fails.
#[test]
fn rfc9989_4_4_a_from_that_is_not_clear_does_not_pass() {
    let many: Vec<_> = (0..=AUTHOR_DOMAINS_MAX).map(|number| format!("a@x{number}.example")).collect();
    for (fields, domains) in [
        (&[][..], &[][..]),
        (&[""], &[]),
        (&["Anna"], &[]),
        // RFC 5322, section 3.6: one may be signed, and the other shown.
        (&["a@x.example", "b@y.example"], &["x.example", "y.example"]),
        (&["a@x.example", "a@x.example"], &["x.example"]),
        (&["a@x.example", "Anna"], &["x.example"]),
        (&["a@[192.0.2.1]"], &[]),
        (&["a@[IPv6:2001:db8::1]"], &[]),
        (&["a@"], &[]),
        (&["@x.example"], &["x.example"]),
        (&["a@x..example"], &[]),
        (&["a@x.example."], &["x.example"]),
        (&["Anna <a@x.example"], &["x.example"]),
        (&["a@x.example>"], &["x.example"]),
        (&["<<a@x.example>>"], &["x.example"]),
        (&["<a@x.example> <b@y.example>"], &["x.example", "y.example"]),
        (&["<a@x.example> Anna"], &["x.example"]),
        (&["<a@x.example(>b@y.example)>"], &["x.example"]),
        (&["<a@x.example, b@y.example>"], &["x.example", "y.example"]),
        (&["a@x.example <>"], &["x.example"]),
        (&["\"A <a@x.example>"], &["x.example"]),
        (&["A (b <a@x.example>"], &["x.example"]),
        (&["a@x.example)"], &["x.example"]),
        (&["a@x.example\\"], &["x.example"]),
        // RFC 5322, section 4.4: a route, and white space in an address.
        (&["<@x.example:a@y.example>"], &["x.example", "y.example"]),
        (&["a@x.example .y.example"], &["x.example"]),
        (&["a@x. y.example"], &["x"]),
        (&["a @x.example"], &["x.example"]),
        (&["a@ (x) x.example"], &["x.example"]),
        (&["a@x.example@y.example"], &["x.example", "y.example"]),
        (&["\"a@x.example\"@y.example"], &["y.example"]),
        (&["=?utf-8?q?a=40x.example=3E?=@y.example"], &["y.example"]),
        // Fields that are not text.
        (&["a@x.example\0.y.example"], &["x.example"]),
        (&["a@x.example\r.y.example"], &["x.example"]),
        (&["a@x.example\n.y.example"], &["x.example"]),
        (&["a@x\u{3002}example"], &[]),
        (&[&many.join(",")], &["x0.example", "x1.example", "x2.example", "x3.example"]),
    ] {
        let authors = authors(fields);
        assert_eq!(
            (authors.domains(), authors.is_clear()),
            (&domains.iter().map(ToString::to_string).collect::<Vec<_>>()[..], false),
            "{fields:?}"
        );
        let passed: Vec<_> = domains.iter().map(|domain| format!("dkim:{domain}")).collect();
        let passed: Vec<_> = passed.iter().map(String::as_str).collect();
        assert_eq!(outcome_of(&[], fields, &passed).result, DmarcResult::PermError, "{fields:?}");
    }
    let mut reader = HeaderReader::new();
    reader.push(b"From: a@x.example\r\n");
    reader.push(&b"A: b\r\n".repeat(HEADER_OCTETS_MAX / 6));
    reader.push(b"From: b@y.example\r\n\r\n");
    let authors = Authors::of(&reader.finish());
    assert_eq!((authors.domains(), authors.is_clear()), (&["x.example".to_owned()][..], false));
    // An endless group is read once.
    for endless in ["(", "\"", "<", "@", "=?", "(\"", "a@ "] {
        assert!(!Authors::of_fields([endless.repeat(60_000).as_bytes()].into_iter()).is_clear(), "{endless}");
    }
}

/// RFC 9989, section 5.3.1: Of several domains in From the worst counts.
#[test]
fn rfc9989_5_3_1_the_worst_of_several_domains_counts() {
    let two = outcome(WORLD, "a@strict.example, b@far.example", &["dkim:strict.example"]);
    assert_eq!((two.result, two.policy, &two.domain[..]), (DmarcResult::Fail, Policy::Reject, "far.example"));
    assert_eq!(
        judged(WORLD, "a@strict.example, b@far.example", &["dkim:strict.example", "dkim:far.example"]),
        PASS
    );
    assert_eq!(judged(WORLD, "a@nobody.example, b@far.example", &["dkim:far.example"]), NONE);
    // An ambiguous From does not help a forger.
    let fields = ["a@strict.example", "b@far.example"];
    let unclear = outcome_of(WORLD, &fields, &["dkim:strict.example"]);
    assert_eq!((unclear.result, unclear.policy), REJECT);
    // Nor does a domain that never answers.
    let world = [WORLD, &[("_dmarc.evil.example", "TXT", "?")]].concat();
    assert_eq!(judged(&world, "a@evil.example, b@far.example", &[]), REJECT);
    let late = outcome_of(&world, &["a@evil.example", "Anna"], &[]);
    assert_eq!(late.result, DmarcResult::PermError);
}

/// RFC 8616, section 4: Domains are compared by their A-labels.
#[test]
fn rfc8616_4_domains_are_compared_by_their_a_labels() {
    let world = [("_dmarc.xn--mnchen-3ya.example", "TXT", "v=DMARC1; p=reject")];
    assert_eq!(judged(&world, "a@m\u{fc}nchen.example", &[]), REJECT);
    for passed in ["dkim:m\u{fc}nchen.example", "spf:xn--mnchen-3ya.example", "dkim:x.M\u{fc}nchen.example"] {
        assert_eq!(judged(&world, "a@m\u{fc}nchen.example", &[passed]), PASS, "{passed}");
    }
}

/// RFC 9989, section 5.3: What cannot be known now is a passing error, and only for domains that would be aligned.
#[test]
fn rfc9989_5_3_what_cannot_be_known_now() {
    for silent in ["_dmarc.a.far.example", "_dmarc.far.example"] {
        assert_eq!(judged(&[(silent, "TXT", "?")], "x@a.far.example", &[]), TEMPERROR);
    }
    // The domain's policy is known then.
    assert_eq!(
        judged(WORLD, "a@far.example", &["dkim:far.example?"]),
        (DmarcResult::TempError, Policy::Reject)
    );
    assert_eq!(judged(WORLD, "a@far.example", &["dkim:far.example?", "spf:far.example"]), PASS);
    // A forger's own domain that does not answer does not make a message pass.
    assert_eq!(judged(WORLD, "a@far.example", &["dkim:evil.example?"]), REJECT);
    let world = [&WORLD[..2], &[("made-up.far.example", "MX", "?")]].concat();
    // The stricter of the two known policies.
    assert_eq!(judged(&world, "a@made-up.far.example", &[]), (DmarcResult::TempError, Policy::Quarantine));
    // An unknown organization does not affect the others.
    let world = [WORLD, &[("_dmarc.x.far.example", "TXT", "?")]].concat();
    assert_eq!(judged(&world, "a@far.example", &["dkim:x.far.example", "spf:far.example"]), PASS);
    assert_eq!(
        judged(&world, "a@far.example", &["dkim:x.far.example"]),
        (DmarcResult::TempError, Policy::Reject)
    );
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
        let has_policy = matches!(outcome.result, DmarcResult::Fail | DmarcResult::TempError);
        prop_assert!(has_policy || outcome.policy == Policy::None);
    }
}
