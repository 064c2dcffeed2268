//! Servers that are no good.

use proptest::prelude::*;

use crate::cases;
use crate::mail::smtp::client::testing::{Connection, envelope, settings, with_login};
use crate::mail::smtp::client::{Encryption, Outcome, REPLY_LINE_OCTETS_MAX, REPLY_OCTETS_MAX};

const BOTH: &[&str] = &["bob@far.example", "carl@far.example"];

/// RFC 5321, section 4.2: A reply to what was not sent is none, and delivers nothing.
#[test]
fn rfc5321_4_2_a_reply_to_what_was_not_sent_delivers_nothing() {
    let all = "220 x|250 x|250 OK|250 OK|250 OK|354 go|250 queued";
    let mut connection = Connection::new(settings(), envelope(BOTH));
    assert_eq!(connection.hears(all), "(close)");
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    assert_eq!(connection.hears("250 OK|250 OK|250 OK|354 go|250 queued"), "(close)");
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    // While the message is sent.
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    connection.is_fetching = false;
    connection.hears("250 OK|250 OK|250 OK|354 go");
    assert_eq!(connection.hears("250 queued"), "(close)");
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    // Between the last octets and the end.
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    connection.is_fetching = false;
    connection.hears("250 OK|250 OK|250 OK|354 go");
    connection.delivery.data_ended();
    assert_eq!(connection.hears("250 queued"), "(close)");
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
}

#[test]
fn a_354_that_was_not_asked_for_ends_the_connection() {
    for replies in ["354 go", "250 OK|354 go", "250 OK|250 OK|354 go"] {
        let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
        assert_eq!(connection.hears(replies), "(close)", "{replies}");
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    }
    for reply in ["250 OK", "334 x", "220 x"] {
        let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
        assert_eq!(connection.hears(&format!("250 OK|250 OK|250 OK|{reply}")), "(close)", "to DATA");
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    }
}

#[test]
fn lines_and_replies_without_end_end_the_connection() {
    let endless_line = "2".repeat(REPLY_LINE_OCTETS_MAX + 1);
    let endless_reply = "220-x|".repeat(REPLY_OCTETS_MAX / 7 + 1);
    for stream in
        [endless_line.as_str(), &endless_reply, "HTTP/1.1 400 Bad Request", "SSH-2.0-x", "\x16\x03\x01"]
    {
        let mut connection = Connection::new(settings(), envelope(BOTH));
        assert_eq!(connection.hears(stream), "(close)");
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
        assert_eq!(connection.hears("220 x"), "", "it is over");
    }
}

/// RFC 5321, section 3.8: 421 and a closed connection defer the recipients without a final reply.
#[test]
fn rfc5321_3_8_a_server_that_closes_anywhere_defers_the_rest() {
    let transcript =
        ["220 x", "250-x|250 PIPELINING", "250 OK", "550 5.1.1 no", "250 OK", "354 go", "250 queued"];
    for end in 0..transcript.len() {
        for closing in ["421 4.3.2 bye", ""] {
            let mut connection = Connection::new(settings(), envelope(BOTH));
            for line in &transcript[..end] {
                connection.hears(line);
            }
            if closing.is_empty() {
                connection.delivery.lost();
                assert_eq!(connection.drain(), "(close)");
            } else {
                assert_eq!(connection.hears(closing), "(close)");
            }
            let outcomes = connection.outcomes();
            assert_eq!(outcomes[0] == "failed 5.1.1", end > 3, "{end}");
            assert!(outcomes[1].starts_with("deferred"), "{end}");
        }
    }
    // Between messages there is no recipient to defer.
    for closing in ["421 4.3.2 bye", ""] {
        let mut connection = Connection::new(settings(), envelope(BOTH));
        transcript.iter().for_each(|line| _ = connection.hears(line));
        assert_eq!(connection.outcomes(), ["failed 5.1.1", "delivered 2.0.0"]);
        if closing.is_empty() {
            connection.delivery.lost();
        } else {
            _ = connection.hears(closing);
        }
        connection.drain();
        assert!(connection.delivery.is_closed() && connection.reports.is_none());
    }
}

/// RFC 5321, section 4.1.1.10: What becomes of QUIT changes nothing.
#[test]
fn rfc5321_4_1_1_10_what_becomes_of_quit_changes_nothing() {
    for reply in ["221 bye", "500 what", "421 bye", "nonsense", "250-x|550 y"] {
        let (mut connection, _) = Connection::greeted(settings(), envelope(&[]), "");
        assert_eq!(connection.outcomes(), Vec::<String>::new());
        connection.delivery.quit();
        assert_eq!(connection.drain(), "QUIT");
        assert_eq!(connection.hears(reply), "(close)", "{reply}");
        assert!(connection.reports.is_none());
    }
    let (mut connection, _) = Connection::greeted(settings(), envelope(&[]), "");
    connection.delivery.quit();
    connection.drain();
    assert_eq!(connection.times_out().1, "(close)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(512)))]

    /// Whatever a server says, each recipient is reported once, and delivered only if the end of the message was sent
    /// and then answered by 2xx.
    #[test]
    fn whatever_a_server_says_nothing_is_delivered_without_its_word(
        replies in prop::collection::vec(prop::sample::select(vec![
            "220 x", "250 x", "250-x|250 PIPELINING", "250-x|250-STARTTLS|250 AUTH PLAIN", "354 go", "334 ", "235 in",
            "421 bye", "450 later", "550 no", "250-", "x", "(tls)", "(lost)", "(time)",
        ]), 0..14),
        has_login in any::<bool>(),
    ) {
        let settings = if has_login { with_login(Encryption::Required) } else { settings() };
        let mut connection = Connection::new(settings, envelope(BOTH));
        let (mut reports, mut is_end_sent, mut is_taken) = (None, false, false);
        for reply in replies {
            let was_ready = connection.delivery.is_ready();
            let said = match reply {
                "(tls)" => {
                    connection.delivery.tls_started(connection.now, true);
                    connection.drain()
                }
                "(lost)" => {
                    connection.delivery.lost();
                    connection.drain()
                }
                "(time)" => {
                    if let Some(deadline) = connection.delivery.deadline() {
                        connection.now = deadline;
                        connection.delivery.handle_timeout(deadline);
                    }
                    connection.drain()
                }
                reply => connection.hears(reply),
            };
            prop_assert!(!(has_login && !connection.delivery.is_tls() && said.contains("AUTH")));
            is_taken |= is_end_sent && reply.starts_with('2') && !was_ready;
            if let Some(got) = connection.reports.take() {
                prop_assert!(reports.is_none() && got.len() == BOTH.len());
                let is_delivered = got.iter().any(|report| report.outcome == Outcome::Delivered);
                prop_assert!(!is_delivered || is_taken, "{got:?}");
                reports = Some(got);
            }
            is_end_sent |= said.ends_with("..dot|.");
        }
        connection.delivery.lost();
        connection.drain();
        prop_assert!(connection.delivery.is_closed());
        prop_assert!(reports.is_some() != connection.reports.is_some());
    }
}
