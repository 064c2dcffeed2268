//! MAIL and RCPT.

use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::smtp::client::testing::{Connection, envelope, settings};
use crate::mail::smtp::client::{Envelope, PIPELINED_MAX};

const BOTH: &[&str] = &["bob@far.example", "carl@far.example"];
const MAIL: &str = "MAIL FROM:<anna@office.example>";
const GROUP: &str =
    "MAIL FROM:<anna@office.example>|RCPT TO:<bob@far.example>|RCPT TO:<carl@far.example>|DATA";
const SENT: &str = "Subject: x||..dot|.";

fn both(extensions: &str) -> (Connection, String) {
    Connection::greeted(settings(), envelope(BOTH), extensions)
}

/// RFC 5321, section 3.3: One command after the other, and each recipient has its own outcome.
#[test]
fn rfc5321_3_3_each_recipient_has_its_own_outcome() {
    let (mut connection, sent) = both("");
    assert_eq!(sent, MAIL);
    assert_eq!(connection.hears("250 OK"), "RCPT TO:<bob@far.example>");
    assert_eq!(connection.hears("550 5.1.1 no such user"), "RCPT TO:<carl@far.example>");
    assert_eq!(connection.hears("251 will forward"), "DATA");
    assert_eq!(connection.hears("354 go"), SENT);
    assert_eq!(connection.hears("250 2.0.0 queued as 1"), "");
    let reports = connection.reports.clone().unwrap();
    assert_eq!(reports[0].text, "550 5.1.1 no such user");
    assert_eq!(reports[1].text, "250 2.0.0 queued as 1");
    assert!(reports.iter().all(|report| report.is_reply && !report.may_be_delivered));
    assert_eq!(connection.outcomes(), ["failed 5.1.1", "delivered 2.0.0"]);
    connection.delivery.quit();
    assert_eq!(connection.drain(), "QUIT");
    assert_eq!(connection.hears("221 bye"), "(close)");
}

/// RFC 5321, section 3.3: Without an accepted recipient, there is no DATA.
#[test]
fn rfc5321_3_3_if_nobody_is_taken_there_is_no_data() {
    let (mut connection, _) = both("");
    connection.hears("250 OK");
    connection.hears("450 4.7.1 greylisted");
    assert_eq!(connection.hears("550 no such user"), "");
    assert_eq!(connection.outcomes(), ["deferred 4.7.1", "failed 5.2.0"]);
    let (mut connection, _) = both("");
    assert_eq!(connection.hears("553 5.7.1 not from you"), "");
    assert_eq!(connection.outcomes(), ["failed 5.7.1", "failed 5.7.1"]);
}

/// RFC 2920, section 3.1: All statuses of a group are checked.
#[test]
fn rfc2920_3_1_all_statuses_of_a_group_are_checked() {
    let (mut connection, sent) = both("PIPELINING");
    assert_eq!(sent, GROUP);
    assert_eq!(connection.hears("250 OK|450 4.2.1 not now|250 OK|354 go"), SENT);
    assert_eq!(connection.hears("250 queued"), "");
    assert_eq!(connection.outcomes(), ["deferred 4.2.1", "delivered 2.0.0"]);
    // The server rejects MAIL: the replies behind have no meaning.
    let (mut connection, _) = both("PIPELINING");
    assert_eq!(connection.hears("451 4.3.0 later|503 MAIL first|550 5.1.1 no|503 RCPT first"), "");
    assert_eq!(connection.outcomes(), ["deferred 4.3.0", "deferred 4.3.0"]);
    // The server rejects DATA.
    let (mut connection, _) = both("PIPELINING");
    assert_eq!(connection.hears("250 OK|250 OK|550 no|452 4.3.1 no room"), "");
    assert_eq!(connection.outcomes(), ["deferred 4.3.1", "failed 5.2.0"]);
}

/// RFC 2920, section 3.1: A server that replies 354 without an accepted recipient gets an empty message, and its reply delivers nothing.
#[test]
fn rfc2920_3_1_a_server_that_wants_data_for_nobody_gets_none() {
    for replies in ["250 OK|550 no|550 no|354 go", "550 no|250 OK|250 OK|354 go"] {
        let (mut connection, _) = both("PIPELINING");
        assert_eq!(connection.hears(replies), ".");
        assert_eq!(connection.hears("250 queued as 1"), "");
        assert_eq!(connection.outcomes(), ["failed 5.2.0", "failed 5.2.0"], "{replies}");
        assert!(connection.delivery.is_ready());
    }
}

/// RFC 2920, section 3.1: No more commands than a server may be thought to hold are sent without their replies.
#[test]
fn rfc2920_3_1_a_group_is_bounded() {
    let recipients: Vec<_> = (0..250).map(|number| format!("r{number}@far.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let (mut connection, sent) = Connection::greeted(settings(), envelope(&recipients), "PIPELINING");
    let mut in_flight = sent.split('|').count();
    assert_eq!(in_flight, PIPELINED_MAX);
    let mut sent_data = false;
    for _ in 0..251 {
        let said = connection.hears("250 OK");
        in_flight = in_flight - 1 + said.split('|').filter(|line| !line.is_empty()).count();
        assert!(in_flight <= PIPELINED_MAX);
        sent_data |= said == "DATA";
    }
    assert!(sent_data && in_flight == 1);
    connection.hears("354 go");
    connection.hears("250 queued");
    assert_eq!(connection.outcomes(), vec!["delivered 2.0.0"; 250]);
}

/// RFC 5321, section 4.5.3.1.10: A recipient too many goes into a further message.
#[test]
fn rfc5321_4_5_3_1_10_a_recipient_too_many_goes_into_a_further_message() {
    for reply in ["452 4.5.3 too many", "552 5.5.3 too many"] {
        let (mut connection, _) = both("");
        connection.hears("250 OK");
        connection.hears("250 OK");
        assert_eq!(connection.hears(reply), "DATA");
        connection.hears("354 go");
        connection.hears("250 queued");
        let reports = connection.reports.as_ref().unwrap();
        assert!(reports[1].is_one_too_many, "{reply}");
        assert!(reports[1].is_of_recipient && !reports[0].is_of_recipient, "{reply}");
        assert_eq!(connection.outcomes(), ["delivered 2.0.0", "deferred 4.5.3"], "{reply}");
        connection.delivery.deliver(connection.now, envelope(&BOTH[1..]));
        assert_eq!(connection.drain(), MAIL);
        assert_eq!(connection.hears("250 OK"), "RCPT TO:<carl@far.example>");
        // The reason was not the number of recipients.
        assert_eq!(connection.hears(reply), "");
        assert!(!connection.reports.as_ref().unwrap()[0].is_one_too_many);
    }
    // Without an enhanced code it means a full mailbox, unless many recipients were accepted before.
    let many: Vec<_> = (0..11).map(|number| format!("r{number}@far.example")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for reply in ["452 too many", "552 too many"] {
        let (mut connection, _) = Connection::greeted(settings(), envelope(&many), "PIPELINING");
        connection.hears(&format!("250 OK|{}{reply}|354 go", "250 OK|".repeat(10)));
        connection.hears("250 queued");
        assert!(connection.reports.as_ref().unwrap()[10].is_one_too_many, "{reply}");
        assert_eq!(connection.outcomes()[10], "deferred 4.5.3");
    }
    for (reply, outcome) in [
        ("452 4.2.2 full", "deferred 4.2.2"),
        ("552 5.2.2 full", "failed 5.2.2"),
        ("452 no storage", "deferred 4.3.1"),
        ("552 mailbox full", "failed 5.2.2"),
    ] {
        let (mut connection, _) = both("PIPELINING");
        connection.hears(&format!("250 OK|250 OK|{reply}|354 go"));
        connection.hears("250 queued");
        assert!(!connection.reports.as_ref().unwrap()[1].is_one_too_many, "{reply}");
        assert_eq!(connection.outcomes(), ["delivered 2.0.0", outcome]);
    }
}

/// RFC 3207, section 4: A server that wants TLS or a login refuses no message for good.
#[test]
fn rfc3207_4_a_server_that_wants_tls_or_a_login_refuses_no_message() {
    for reply in ["530 5.7.0 Must issue a STARTTLS command first", "534 5.7.9 too weak", "538 5.7.11 encrypt"]
    {
        let (mut connection, _) = both("");
        connection.hears(reply);
        let outcomes = connection.outcomes();
        assert!(outcomes[0].starts_with("deferred 4.7.") && outcomes[0].ends_with(" (host)"), "{outcomes:?}");
    }
}

/// RFC 1870, section 6.1: A message that the server says is too big is not sent.
#[test]
fn rfc1870_6_1_a_message_that_is_too_big_is_not_sent() {
    let (mut connection, sent) = both("SIZE_10 PIPELINING");
    assert_eq!((sent.as_str(), connection.outcomes()), ("", vec!["failed 5.3.4 (extension)".to_owned(); 2]));
    assert!(connection.delivery.is_ready());
    let (_, sent) = both("SIZE_20");
    assert_eq!(sent, format!("{MAIL} SIZE=20"));
    assert_eq!(both("SIZE_0").1, format!("{MAIL} SIZE=20"));
}

/// RFC 6152, section 3: Octets above 127 go only to a server that takes them.
#[test]
fn rfc6152_3_octets_above_127_go_only_to_a_server_that_takes_them() {
    let envelope = Envelope { is_8bit: true, ..envelope(BOTH) };
    let (mut connection, sent) = Connection::greeted(settings(), envelope.clone(), "");
    assert_eq!((sent.as_str(), connection.outcomes()), ("", vec!["failed 5.6.3 (extension)".to_owned(); 2]));
    // The extensions of a server that knows HELO only are unknown.
    let mut connection = Connection::new(settings(), envelope.clone());
    for line in ["220 x", "502 what", "250 x"] {
        connection.hears(line);
    }
    assert_eq!(connection.outcomes(), ["deferred 4.6.3 (extension)"; 2]);
    let (_, sent) = Connection::greeted(settings(), envelope, "8BITMIME");
    assert_eq!(sent, format!("{MAIL} BODY=8BITMIME"));
}

/// RFC 6531, section 3.2: Addresses and headers outside of ASCII go only to a server with SMTPUTF8.
#[test]
fn rfc6531_3_2_what_is_outside_of_ascii_goes_only_to_a_server_with_smtputf8() {
    let recipients = &["jürgen@far.example", "carl@far.example"];
    let (mut connection, sent) = Connection::greeted(settings(), envelope(recipients), "PIPELINING");
    assert_eq!(sent, format!("{MAIL}|RCPT TO:<carl@far.example>|DATA"), "the others get it");
    connection.hears("250 OK|250 OK|354 go");
    connection.hears("250 queued");
    assert_eq!(connection.outcomes(), ["failed 5.6.7 (extension)", "delivered 2.0.0"]);
    let (_, sent) = Connection::greeted(settings(), envelope(recipients), "SMTPUTF8");
    assert_eq!(sent, format!("{MAIL} SMTPUTF8"));
    // RFC 5891, section 4.4: where only the domain is outside of ASCII its A-labels do.
    let sender = ReversePath::Mailbox(Mailbox::parse("anna@büro.example").unwrap());
    let mut domains = Envelope { sender, ..envelope(&["bob@bücher.example"]) };
    let (mut connection, sent) = Connection::greeted(settings(), domains.clone(), "");
    assert_eq!(sent, "MAIL FROM:<anna@xn--bro-hoa.example>");
    assert_eq!(connection.hears("250 OK"), "RCPT TO:<bob@xn--bcher-kva.example>");
    let (_, sent) = Connection::greeted(settings(), domains.clone(), "SMTPUTF8");
    assert_eq!(sent, "MAIL FROM:<anna@büro.example> SMTPUTF8");
    domains.recipients[0].address = Mailbox::parse("bob@far.example").unwrap();
    assert_eq!(Connection::greeted(settings(), domains, "").1, "MAIL FROM:<anna@xn--bro-hoa.example>");
    let sender = ReversePath::Mailbox(Mailbox::parse("änne@office.example").unwrap());
    for envelope in
        [Envelope { has_utf8_header: true, ..envelope(BOTH) }, Envelope { sender, ..envelope(BOTH) }]
    {
        let (mut connection, _) = Connection::greeted(settings(), envelope, "8BITMIME");
        assert_eq!(connection.outcomes(), ["failed 5.6.9 (extension)", "failed 5.6.9 (extension)"]);
    }
}

/// RFC 5321, section 4.1.1.5: A transaction that came to nothing is reset before the next.
#[test]
fn rfc5321_4_1_1_5_a_transaction_that_came_to_nothing_is_reset_before_the_next() {
    let (mut connection, _) = both("");
    connection.hears("250 OK");
    connection.hears("550 no");
    connection.hears("550 no");
    connection.reports = None;
    connection.delivery.deliver(connection.now, envelope(BOTH));
    assert_eq!(connection.drain(), "RSET");
    assert_eq!(connection.hears("250 OK"), MAIL);
    // By pipelining it is in the group.
    let (mut connection, _) = both("PIPELINING");
    connection.hears("250 OK|550 no|550 no|503 no");
    connection.reports = None;
    connection.delivery.deliver(connection.now, envelope(BOTH));
    assert_eq!(connection.drain(), format!("RSET|{GROUP}"));
    connection.hears("250 OK|250 OK|250 OK|250 OK|354 go");
    connection.hears("250 queued");
    connection.reports = None;
    // After a complete message there is nothing to reset.
    connection.delivery.deliver(connection.now, envelope(BOTH));
    assert_eq!(connection.drain(), GROUP);
    // RSET has no effect in the middle of a message.
    connection.delivery.deliver(connection.now, envelope(BOTH));
    connection.delivery.quit();
    assert_eq!(connection.drain(), "");
}

/// RFC 3461, section 5.2.2: The outcome says whether the next server is responsible for DSNs.
#[test]
fn rfc3461_5_2_2_whether_the_server_sends_the_reports_is_told() {
    for (extensions, is_passed_on) in [("PIPELINING DSN", true), ("PIPELINING", false)] {
        let (mut connection, _) = both(extensions);
        connection.hears("250 OK|250 OK|550 no|354 go");
        connection.hears("250 queued");
        let reports = connection.reports.unwrap();
        assert_eq!(reports[0].is_dsn_passed_on, is_passed_on);
        assert!(!reports[1].is_dsn_passed_on, "it took nothing");
    }
}
