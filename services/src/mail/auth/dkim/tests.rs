use proptest::prelude::*;

use super::check::{DkimResult, Signed};
use super::testing::{record, sign};
use super::verifier::{SIGNATURES_MAX, Verifier};
use crate::cases;
use crate::clock::UnixTime;
use crate::mail::auth::testing::run;

/// After the examples of RFC 8463 and RFC 6376.
const NOW: UnixTime = UnixTime(1_700_000_000);

/// The keys that there are, by name.
type Keys<'a> = &'a [(&'a str, &'a str)];

/// What came of each signature of a message that came in `portions`.
fn verify_in(keys: Keys<'_>, message: &[u8], portions: &[usize]) -> Vec<Signed> {
    let mut verifier = Verifier::new(NOW);
    let (mut rest, mut at) = (message, 0);
    while !rest.is_empty() {
        let (portion, after) = rest.split_at(portions[at % portions.len()].min(rest.len()));
        verifier.push(portion);
        (rest, at) = (after, at + 1);
    }
    let verified = verifier.finish();
    assert!(verified.signatures.len() <= SIGNATURES_MAX);
    let world: Vec<_> = keys.iter().map(|(name, record)| (*name, "TXT", *record)).collect();
    let signed = verified.signatures.into_iter().map(|check| run(&world, check));
    signed
        .map(|(signed, asked)| {
            assert!(asked.len() <= 1);
            signed
        })
        .collect()
}

fn verify(keys: Keys<'_>, message: &str) -> Vec<(DkimResult, Option<&'static str>)> {
    let results = verify_in(keys, message.as_bytes(), &[1000]);
    results.into_iter().map(|signed| (signed.result, signed.why)).collect()
}

const PASS: (DkimResult, Option<&str>) = (DkimResult::Pass, None);
const OTHER_BODY: (DkimResult, Option<&str>) = (DkimResult::Fail, Some("the body is another"));
const OTHER_HEADER: (DkimResult, Option<&str>) = (DkimResult::Fail, Some("the header is another"));

const RFC8463_KEYS: Keys<'_> = &[
    (
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    ),
    (
        "test._domainkey.football.example.com",
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\
         Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2\
         kryOTIKT+l/K4w3QIDAQAB",
    ),
];

const RFC8463_MESSAGE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\
 \x20d=football.example.com; i=@football.example.com;\r\n\
 \x20q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n\
 \x20subject : date : message-id : from : subject : date;\r\n\
 \x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
 \x20b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n\
 \x20Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
 DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n\
 \x20d=football.example.com; i=@football.example.com;\r\n\
 \x20q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n\
 \x20date : message-id : from : subject : date;\r\n\
 \x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
 \x20b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n\
 \x20DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n\
 \x20dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
 From: Joe SixPack <joe@football.example.com>\r\n\
 To: Suzie Q <suzie@shopping.example.net>\r\n\
 Subject: Is dinner ready?\r\n\
 Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
 Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
 \r\n\
 Hi.\r\n\
 \r\n\
 We lost the game.  Are you hungry yet?\r\n\
 \r\n\
 Joe.\r\n";

/// RFC 8463, section A.3: Both signatures of the example are right.
#[test]
fn rfc8463_a_3_both_signatures_of_the_example_are_right() {
    for portions in [&[1][..], &[7, 100], &[10_000]] {
        let signed = verify_in(RFC8463_KEYS, RFC8463_MESSAGE.as_bytes(), portions);
        let of_each = |result, selector: &str, start: &str| Signed {
            result,
            why: None,
            domain: "football.example.com".to_owned(),
            selector: selector.to_owned(),
            start: start.to_owned(),
        };
        let pass = DkimResult::Pass;
        assert_eq!(signed, [of_each(pass, "brisbane", "/gCrinpc"), of_each(pass, "test", "F45dVWDf")]);
    }
}

/// RFC 6376, section A.2: The signature of the example is right.
#[test]
fn rfc6376_a_2_the_signature_of_the_example_is_right() {
    let key = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFC\
               jxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToI\
               MmPSPDdQPNUYckcQ2QIDAQAB";
    let message = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n\
                   \x20     c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n\
                   \x20     h=Received : From : To : Subject : Date : Message-ID;\r\n\
                   \x20     bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
                   \x20     b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n\
                   \x20     4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n\
                   \x20     KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n\
                   \x20     4bmp/YzhwvcubU4=;\r\n\
                   Received: from client1.football.example.com  [192.0.2.1]\r\n\
                   \x20     by submitserver.example.com with SUBMISSION;\r\n\
                   \x20     Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n\
                   From: Joe SixPack <joe@football.example.com>\r\n\
                   To: Suzie Q <suzie@shopping.example.net>\r\n\
                   Subject: Is dinner ready?\r\n\
                   Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
                   Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
                   \r\n\
                   Hi.\r\n\
                   \r\n\
                   We lost the game. Are you hungry yet?\r\n\
                   \r\n\
                   Joe.\r\n";
    let keys = [("brisbane._domainkey.example.com", key)];
    assert_eq!(verify(&keys, message), [PASS]);
    // RFC 6376, section 3.4.1: nothing may change.
    assert_eq!(verify(&keys, &message.replace("To: Suzie", "To:  Suzie")), [OTHER_HEADER]);
    assert_eq!(verify(&keys, &message.replace("game. Are", "game.  Are")), [OTHER_BODY]);
    assert_eq!(verify(&keys, &format!("{message}\r\n\r\n")), [PASS]);
}

/// RFC 6376, section 6.1.3: What was signed may not change but for what the forms pass over.
#[test]
fn rfc6376_6_1_3_what_was_signed_may_not_change() {
    let changed = |from: &str, to: &str| {
        assert!(RFC8463_MESSAGE.contains(from), "{from}");
        verify(RFC8463_KEYS, &RFC8463_MESSAGE.replacen(from, to, 1))
    };
    for (from, to) in
        [("To: Suzie", "TO :\r\n\tSuzie"), ("game.  Are", "game. \t Are "), ("Joe.\r\n", "Joe.")]
    {
        assert_eq!(changed(from, to), [PASS; 2], "{to}");
    }
    assert_eq!(changed("lost the game", "won the game"), [OTHER_BODY; 2]);
    assert_eq!(changed("dinner", "lunch"), [OTHER_HEADER; 2]);
    // A tag of the signature itself.
    assert_eq!(changed("t=1528637909", "t=1528637908"), [OTHER_HEADER, PASS]);
    // RFC 6376, section 5.4: From, Subject and Date are signed once more than they are there, so that none can be
    // added.
    assert_eq!(changed("To: Suzie", "From: a@evil.example\r\nTo: Suzie"), [OTHER_HEADER; 2]);
    assert_eq!(changed("To: Suzie", "X-Added: x\r\nTo: Suzie"), [PASS; 2]);
}

const MESSAGE: &str = "From: anna@far.example\r\nSubject: one\r\n\r\nHello  there\r\n\r\n";

fn result_of(tags: &str, record: &str) -> (DkimResult, Option<&'static str>) {
    verify(&[("one._domainkey.far.example", record)], &sign(MESSAGE, tags))[0]
}

/// RFC 6376, section 3.6.1: A domain says what its keys are for.
#[test]
fn rfc6376_3_6_1_a_domain_says_what_its_keys_are_for() {
    let plain = "d=far.example; s=one; h=from";
    let within = "d=far.example; s=one; h=from; i=anna@sub.far.example";
    let permerror = |why| (DkimResult::PermError, Some(why));
    assert_eq!(result_of(plain, &record("")), PASS);
    assert_eq!(result_of(within, &record("t=y; ")), PASS);
    assert_eq!(result_of(plain, &record("t=s; ")), PASS);
    assert_eq!(result_of(within, &record("t=y:s; ")), permerror("the key is not for domains within its own"));
    assert_eq!(result_of(plain, "k=ed25519; p="), permerror("the key is revoked"));
    assert_eq!(
        result_of(plain, &record("").replace("ed25519", "rsa")),
        permerror("the key is for another algorithm")
    );
    assert_eq!(result_of(plain, "?"), (DkimResult::TempError, Some("the key cannot be had now")));
    assert_eq!(verify(&[], &sign(MESSAGE, plain)), [permerror("there is no key")]);
}

/// RFC 6376, section 8.2: A signature of the beginning of the body is not taken if anything is behind that.
#[test]
fn rfc6376_8_2_a_signature_of_the_beginning_of_the_body_is_not_taken() {
    let with_limit = |octets: u64| {
        result_of(&format!("d=far.example; s=one; h=from; c=relaxed/relaxed; l={octets}"), &record(""))
    };
    assert_eq!(with_limit(13), PASS);
    assert_eq!(with_limit(12), (DkimResult::Policy, Some("it signs the beginning of the body only")));
    // RFC 6376, section 3.5, l=: no more octets than the body has.
    assert_eq!(with_limit(14), OTHER_BODY);
}

/// RFC 6376, section 6.1: Each signature is looked at by itself, and only so many are.
#[test]
fn rfc6376_6_1_each_signature_is_looked_at_by_itself() {
    let tags = "d=far.example; s=one; h=from:subject; c=relaxed";
    let keys = [("one._domainkey.far.example", &record("")[..])];
    let broken = "DKIM-Signature: v=1; nothing\r\n";
    let message = format!("{broken}{}", sign(&format!("{broken}{MESSAGE}"), tags));
    let neutral = (DkimResult::Neutral, Some("it is no list of tags"));
    assert_eq!(verify(&keys, &message), [neutral, PASS, neutral]);
    let many = broken.repeat(SIGNATURES_MAX) + &sign(MESSAGE, tags);
    assert_eq!(verify(&keys, &many), [neutral; SIGNATURES_MAX]);
    let long = format!("DKIM-Signature: v=1; z={}\r\n{MESSAGE}", "x".repeat(super::SIGNATURE_OCTETS_MAX));
    assert_eq!(verify(&[], &long), [(DkimResult::Neutral, Some("it is no text, or too long"))]);
    let filler = "X: y\r\n".repeat(super::HEADER_OCTETS_MAX / 6 + 1);
    let cut = (DkimResult::Neutral, Some("the header is too long"));
    assert_eq!(verify(&keys, &sign(&(filler + MESSAGE), tags)), [cut]);
    // The second signature was made when the first was there.
    let twice = sign(&sign(MESSAGE, tags), "d=far.example; s=one; h=from:dkim-signature");
    assert_eq!(verify(&keys, &twice), [PASS, PASS]);
    assert_eq!(verify(&keys, MESSAGE), []);
}

#[test]
fn a_message_without_a_body_can_be_signed() {
    let keys = [("one._domainkey.far.example", &record("")[..])];
    for form in ["simple", "relaxed/relaxed"] {
        let tags = format!("d=far.example; s=one; h=from; c={form}");
        assert_eq!(verify(&keys, &sign("From: a@far.example\r\n", &tags)), [PASS]);
        assert_eq!(verify(&keys, &sign("From: a@far.example\r\n\r\n", &tags)), [PASS]);
    }
}

/// RFC 6376, section 8.15: A signature is not taken if a field that is shown was added over those that it is of.
#[test]
fn rfc6376_8_15_a_field_that_is_added_over_signed_ones_spoils_the_signature() {
    let record = record("");
    let keys = [("one._domainkey.far.example", &record[..])];
    let verify = |message: &str| verify(&keys, message);
    let message = "From: a@far.example\r\nTo: b@x.example\r\nSubject: s\r\nReceived: x\r\n\r\nbody\r\n";
    let policy = (DkimResult::Policy, Some("it leaves a field unsigned that occurs several times"));
    let signed = sign(message, "d=far.example; s=one; h=from:to:subject");
    assert_eq!(verify(&signed), [PASS]);
    for (added, expected) in [
        ("Subject: other", policy),
        ("subject :", policy),
        ("From: b@y.example", policy),
        ("TO: b@y.example", policy),
        ("Content-Type: text/html\r\nContent-Type: text/plain", policy),
        // The parts that the signer has left to others.
        ("Reply-To: b@y.example", PASS),
        ("Content-Type: text/html", PASS),
        ("Received: y", PASS),
        ("X-Subject: y", PASS),
    ] {
        assert_eq!(verify(&format!("{added}\r\n{signed}")), [expected], "{added}");
    }
    let two = message.replace("Subject: s", "Subject: s\r\nSubject: t");
    assert_eq!(verify(&sign(&two, "d=far.example; s=one; h=from:subject:Subject")), [PASS]);
    assert_eq!(verify(&sign(&two, "d=far.example; s=one; h=from:subject")), [policy]);
    // RFC 6376, section 5.4.2: a signature of one more than there are.
    let sealed = sign(message, "d=far.example; s=one; h=from:subject:subject");
    assert_eq!(verify(&format!("Subject: other\r\n{sealed}")), [OTHER_HEADER]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn a_signed_message_is_verified_in_whatever_portions_it_comes(
        body in prop::collection::vec(prop::sample::select(vec!["\r\n", " ", "\t", "a", "=", "\u{fc}"]), 0..30),
        header in prop::sample::select(vec!["simple", "relaxed"]),
        form in prop::sample::select(vec!["simple", "relaxed"]),
        portions in prop::collection::vec(1_usize..40, 1..9),
    ) {
        let message = format!("Subject: \t x\r\n y\r\nFrom : a@far.example\r\n\r\n{}", body.concat());
        let signed = sign(&message, &format!("d=far.example; s=one; h=from:subject:subject; c={header}/{form}"));
        let results = verify_in(&[("one._domainkey.far.example", &record(""))], signed.as_bytes(), &portions);
        prop_assert_eq!(results[0].result, DkimResult::Pass);
    }

    #[test]
    fn any_octets_are_a_message(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "DKIM-Signature:", "v=1;", "a=rsa-sha256;", "d=x.y;", "s=z;", "h=from;", "bh=;", "b=YQ==;", "b=", ";", "\r\n",
                "\r\n\r\n", "From: a@b", " ", "l=1;", "c=relaxed/relaxed;", "\r", "\n",
            ]),
            0..40,
        ),
        portion in 1_usize..9,
    ) {
        let keys = [("z._domainkey.x.y", "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDV2K8LWGv7GK4An8balb6+19FC7PXXU2meVMERLZRb5PMwa5Z00HttgHuLM0cVShhZJOc4w0bPAqQyEdMoApCJDuTzD3DVpI5zxw+gu5zzn7nC6AwN8SqInu4q3QWseqlj710JG82DSbXW+R0kmO3Pb0qst2zL5ccI3iyU9pPnYwIDAQAB")];
        for signed in verify_in(&keys, parts.concat().as_bytes(), &[portion]) {
            prop_assert!(signed.result != DkimResult::Pass && signed.why.is_some());
        }
    }
}
