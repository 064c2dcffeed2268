use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::mail::address::Domain;

const OTHERWISE: &str = "boss";

/// What `mailbox` is to a directory of these users at these domains.
fn find_among(users: &[&str], domains: &[&str], mailbox: &Mailbox) -> Found {
    let Domain::Name(domain) = &mailbox.domain else { return Found::Elsewhere };
    match (domains.contains(&domain.as_str()), users.contains(&mailbox.local.as_str())) {
        (false, _) => Found::Elsewhere,
        (true, true) => Found::Users(vec![mailbox.local.as_str().to_owned()]),
        (true, false) => Found::Nobody,
    }
}

fn run_for(header: &str, envelope_field: Option<&str>, account: &str) -> Distributed {
    let otherwise_to = [OTHERWISE.to_owned()];
    let how = Distribution { envelope_field, account, otherwise_to: &otherwise_to };
    let header = header.replace('|', "\r\n") + "\r\n\r\nTo: carl@office.example\r\n";
    let find = |mailbox: &Mailbox| {
        find_among(&["anna", "bob", "carl", "boss"], &["office.example", "shop.example"], mailbox)
    };
    distribute(header.as_bytes(), &how, find)
}

fn run(header: &str) -> Distributed {
    run_for(header, None, "office77")
}

/// The rule, and the users.
fn outcome(distributed: &Distributed) -> String {
    let users: Vec<_> = distributed.receivers.iter().map(|receiver| receiver.user.as_str()).collect();
    format!("{} {}", distributed.rule.name(), users.join(" "))
}

#[test]
fn the_first_rule_that_has_something_to_say_decides() {
    for (header, expected) in [
        // A valid envelope field overrides all others.
        (
            "X-Envelope-To: anna@office.example|To: bob@office.example|Cc: carl@office.example",
            "envelope anna",
        ),
        ("Envelope-To: anna@shop.example|Received: by x for <bob@office.example>; Mon", "envelope anna"),
        ("Envelope-To: anna@office.example, bob@office.example", "envelope anna bob"),
        ("X-Envelope-To: anna@office.example|X-Envelope-To: bob@office.example", "envelope anna bob"),
        // The field of an earlier server.
        (
            "Delivered-To: anna@office.example|Received: by x|Delivered-To: bob@office.example",
            "envelope anna",
        ),
        ("Delivered-To: office77@isp.example|X-Original-To: anna@office.example", "envelope anna"),
        // The most reliable kind, at any position.
        ("Delivered-To: bob@office.example|X-Envelope-To: anna@office.example", "envelope anna"),
        // A field without an address at our domains, or an empty one.
        ("Delivered-To: office77@isp.example|To: anna@office.example", "addressees anna"),
        ("X-Envelope-To: |Delivered-To: anna@office.example", "envelope anna"),
        ("X-Envelope-To: anna|To: bob@office.example", "addressees bob"),
        // A copy for an unknown address is not for the other addresses in To.
        ("Envelope-To: typo@office.example|To: anna@office.example", "otherwise boss"),
        ("Envelope-To: typo@office.example, anna@office.example", "envelope anna"),
        // The account's own name identifies no user.
        ("Delivered-To: office77@office.example|To: anna@office.example", "addressees anna"),
        // `for` of the provider.
        ("Received: by isp for <anna@office.example>; Mon|To: bob@office.example", "received anna"),
        (
            "Received: by store.isp|Received: by mx.isp for anna@office.example; Mon|Received: by x for <bob@office.example>; Mon",
            "received anna",
        ),
        (
            "Received: by store.isp for <office77@isp.example>; Mon|Received: by mx.isp for <anna@office.example>; Mon",
            "received anna",
        ),
        ("Received: by isp for <typo@office.example>; Mon|To: anna@office.example", "otherwise boss"),
        (
            "Received: by isp for <multiple recipients>; Mon|Received: by x for <carl@office.example>|To: anna@office.example, bob@office.example",
            "addressees anna bob",
        ),
        (
            "Received: a|Received: b|Received: c|Received: d|Received: by x for <bob@office.example>; Mon|To: anna@office.example",
            "addressees anna",
        ),
        // To, Cc and Bcc.
        (
            "To: anna@office.example|Cc: Bob <bob@shop.example>|Bcc: carl@office.example",
            "addressees anna bob carl",
        ),
        ("To: anna@office.example, ANNA@Office.Example, anna@shop.example", "addressees anna"),
        ("To: far@elsewhere.example, anna@office.example, typo@office.example", "addressees anna"),
        ("To: \"Anna <anna@office.example>", "addressees anna"),
        ("Resent-To: anna@office.example|To: bob@office.example", "addressees anna"),
        ("Resent-To: far@elsewhere.example|To: bob@office.example", "addressees bob"),
        // No recipient is named: a blind copy, a list, a broken or missing field.
        ("To: far@elsewhere.example", "otherwise boss"),
        ("To: list@lists.example|List-Id: <x>", "otherwise boss"),
        ("To: undisclosed-recipients:;", "otherwise boss"),
        ("To: @@,<<>>", "otherwise boss"),
        ("Subject: x", "otherwise boss"),
        ("", "otherwise boss"),
    ] {
        assert_eq!(outcome(&run(header)), expected, "{header}");
    }
}

#[test]
fn two_copies_by_envelope_give_each_user_one() {
    let header = |user: &str| {
        format!(
            "Envelope-To: {user}@office.example|To: anna@office.example, bob@office.example|Message-ID: <1@x>"
        )
    };
    assert_eq!(outcome(&run(&header("anna"))), "envelope anna");
    assert_eq!(outcome(&run(&header("bob"))), "envelope bob");
}

#[test]
fn a_field_of_the_configuration_is_the_only_one_of_the_envelope() {
    let header = "X-Envelope-To: bob@office.example|X-Isp-Rcpt: anna@office.example|To: carl@office.example";
    assert_eq!(outcome(&run_for(header, Some("x-isp-rcpt"), "office77")), "envelope anna");
    assert_eq!(outcome(&run_for(header, Some("X-None"), "office77")), "addressees carl");
}

#[test]
fn an_account_that_is_called_as_a_user_says_nothing_against_the_user() {
    let header = "Delivered-To: anna@office.example|To: bob@office.example";
    assert_eq!(outcome(&run_for(header, None, "anna@office.example")), "envelope anna");
    let header = "Delivered-To: all@office.example|To: bob@office.example";
    assert_eq!(outcome(&run_for(header, None, "all@office.example")), "addressees bob");
    assert_eq!(outcome(&run_for(header, None, "all@isp.example")), "otherwise boss");
}

#[test]
fn what_was_looked_at_is_told_in_a_header() {
    let header = "Delivered-To: office77@isp.example|Received: by x for <multiple recipients>; Mon|To: Jos\u{e9} <far@elsewhere.example>";
    let distributed = run(header);
    let expected = "X-Distributed-By: otherwise; nobody here is named in\r\n\tDelivered-To: office77@isp.example,\
        \r\n\tReceived for: multiple recipients,\r\n\tResent-To: nothing,\r\n\tResent-Cc: nothing,\
        \r\n\tResent-Bcc: nothing,\r\n\tTo: far@elsewhere.example,\r\n\tCc: nothing,\r\n\tBcc: nothing\r\n";
    assert_eq!(distributed.to_header(), expected);
    let receivers = run("Envelope-To: anna@office.example");
    assert_eq!(receivers.to_header(), "X-Distributed-By: envelope (Envelope-To)\r\n");
    assert_eq!(receivers.receivers[0].address.as_ref().unwrap().to_string(), "anna@office.example");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Whatever a header holds, at least one user gets the message, none twice, and the added header is valid.
    #[test]
    fn whatever_a_header_holds_somebody_gets_the_message(
        parts in prop::collection::vec(prop::sample::select(vec![
            "To", "Cc", "Received", "Delivered-To", "X-Envelope-To", ": ", "anna@office.example", "typo@office.example",
            "far@elsewhere.example", " for ", "<", ">", ",", "\"", "(", ")", "\r\n", "\r", "\0", "\u{e9}", "\\", ";",
        ]), 0..40),
    ) {
        let distributed = run(&parts.concat());
        prop_assert!(!distributed.receivers.is_empty());
        let users: BTreeSet<_> = distributed.receivers.iter().map(|receiver| &receiver.user).collect();
        prop_assert_eq!(users.len(), distributed.receivers.len());
        let header = distributed.to_header();
        let lines: Vec<_> = header.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        for (at, line) in lines.iter().enumerate() {
            prop_assert!(at == 0 || line.starts_with('\t'), "{header:?}");
            prop_assert!(line.len() < 998 && line.bytes().all(|octet| octet == b'\t' || (32..127).contains(&octet)));
        }
    }
}

#[test]
fn no_more_users_than_are_bounded_get_one_message_and_what_is_told_of_it_is_no_comment() {
    let find =
        |_: &Mailbox| Found::Users((0..=RECEIVERS_MAX).map(|number| format!("user{number}")).collect());
    let how = Distribution { envelope_field: None, account: "office77", otherwise_to: &[] };
    let distributed = distribute(b"Envelope-To: all@office.example\r\n\r\n", &how, find);
    assert_eq!(distributed.receivers.len(), RECEIVERS_MAX);
    let header = run("To: \"a(b\\\\c\"@elsewhere.example").to_header();
    assert!(header.contains("To: \"a?b") && !header.contains(['(', '\\']), "{header}");
}
