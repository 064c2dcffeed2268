//! The message and its end.

use std::time::Duration;

use crate::mail::smtp::client::testing::{Connection, MESSAGE, envelope, settings};
use crate::mail::smtp::client::{DEAF_TIMEOUT, MESSAGE_TIMEOUT};

const BOTH: &[&str] = &["bob@far.example", "carl@far.example"];
const SENT: &str = "Subject: x||..dot|.";

/// A connection whose server waits for the message, of which nothing is fetched.
fn in_data() -> Connection {
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    connection.is_fetching = false;
    assert_eq!(connection.hears("250 OK|250 OK|250 OK|354 go"), "(fetch)");
    connection
}

/// A connection that has sent the message whole.
fn at_end() -> Connection {
    let mut connection = in_data();
    connection.is_fetching = true;
    connection.fetch();
    assert_eq!(connection.drain(), SENT);
    connection
}

/// RFC 5321, section 4.2.5: The server answers for the message once it has answered its end.
#[test]
fn rfc5321_4_2_5_the_reply_to_the_end_decides() {
    for (reply, outcome) in [
        ("250 OK", "delivered 2.0.0"),
        ("451 4.3.0 later", "deferred 4.3.0"),
        ("452 no room", "deferred 4.3.1"),
        ("554 5.6.0 spam", "failed 5.6.0"),
        ("552 too big", "failed 5.2.2"),
    ] {
        let mut connection = at_end();
        assert_eq!(connection.hears(reply), "");
        assert_eq!(connection.outcomes(), [outcome, outcome], "{reply}");
        assert!(connection.delivery.is_ready());
    }
    let mut connection = at_end();
    assert_eq!(connection.hears("421 4.3.2 stopping"), "(close)");
    assert!(!connection.reports.as_ref().unwrap()[0].may_be_delivered, "it says that it is not");
    assert_eq!(connection.outcomes(), ["deferred 4.3.2 (host)"; 2]);
}

/// RFC 5321, section 6.1: A reply that is lost means another try, and perhaps a second copy.
#[test]
fn rfc5321_6_1_a_reply_that_is_lost_means_another_try() {
    let mut connection = at_end();
    connection.delivery.lost();
    assert_eq!(connection.drain(), "(close)");
    assert!(connection.reports.as_ref().unwrap().iter().all(|report| report.may_be_delivered));
    assert!(
        connection.reports.as_ref().unwrap()[0].text.ends_with("; it may have been delivered all the same")
    );
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    let mut connection = at_end();
    assert_eq!(connection.hears("354 more"), "(close)");
    assert!(connection.reports.as_ref().unwrap()[0].may_be_delivered);
    // Before the end of the message the server can have no copy.
    let mut connection = in_data();
    connection.fetch();
    connection.drain();
    connection.delivery.lost();
    connection.drain();
    assert!(!connection.reports.as_ref().unwrap()[0].may_be_delivered);
}

/// RFC 5321, section 4.5.3.2: DATA has two minutes, each portion three, the end ten.
#[test]
fn rfc5321_4_5_3_2_data_has_two_minutes_each_portion_three_the_end_ten() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    assert_eq!(connection.hears("250 OK|250 OK|250 OK"), "");
    assert_eq!(connection.times_out(), (minutes(2), "(close)".to_owned()));
    let mut connection = in_data();
    assert_eq!(connection.delivery.deadline(), None, "it waits for this side");
    connection.fetch();
    // The octets are with the sender, and not consumed.
    assert!(connection.delivery.poll_output(connection.now).is_some());
    assert_eq!(connection.delivery.deadline(), Some(connection.now + minutes(3)));
    connection.now = connection.now + minutes(3);
    connection.delivery.handle_timeout(connection.now);
    assert_eq!(connection.drain(), "(close)");
    let report = &connection.reports.as_ref().unwrap()[0];
    assert!(!report.may_be_delivered && report.text.contains("did not take the message"));
    let mut connection = at_end();
    assert_eq!(connection.times_out(), (minutes(10), "(close)".to_owned()));
    assert!(connection.reports.as_ref().unwrap()[0].may_be_delivered);
    // However long the envelope has taken.
    let (mut connection, _) = Connection::greeted(settings(), envelope(BOTH), "PIPELINING");
    connection.now = connection.now + minutes(4);
    connection.hears("250 OK|250 OK|250 OK|354 go");
    let begin = connection.now;
    connection.now = begin + minutes(56);
    assert_eq!(connection.delivery.deadline(), Some(begin + minutes(10)));
}

#[test]
fn a_server_that_takes_a_portion_now_and_then_is_left() {
    let mut connection = in_data();
    let begin = connection.now;
    for _ in 0..100 {
        connection.delivery.data(b"line\r\n");
        let mut output = connection.delivery.poll_output(connection.now);
        if connection.delivery.deadline() == Some(begin + MESSAGE_TIMEOUT) {
            break;
        }
        connection.now = connection.now + Duration::from_secs(170);
        while output.is_some() {
            output = connection.delivery.poll_output(connection.now);
        }
    }
    assert_eq!(connection.delivery.deadline(), Some(begin + MESSAGE_TIMEOUT));
    connection.now = begin + MESSAGE_TIMEOUT;
    connection.delivery.handle_timeout(connection.now);
    assert_eq!(connection.drain(), "(close)");
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
}

#[test]
fn of_a_server_that_takes_no_more_a_refusal_is_heard_and_nothing_else() {
    for (reply, outcome) in [
        ("552 5.3.4 too big", "failed 5.3.4"),
        ("421 4.3.2 stopping", "deferred 4.3.2 (host)"),
        ("250 2.0.0 OK", "deferred 4.4.2 (host)"),
    ] {
        for mut connection in [in_data(), at_end()] {
            connection.delivery.deaf(connection.now);
            assert_eq!(connection.drain(), "", "nothing is fetched or sent");
            assert_eq!(connection.hears(reply), "(close)");
            assert!(connection.reports.as_ref().unwrap().iter().all(|report| !report.may_be_delivered));
            assert_eq!(connection.outcomes(), [outcome; 2], "{reply}");
        }
    }
    // The server is silent.
    for mut connection in [in_data(), at_end()] {
        connection.delivery.data(b"x");
        connection.delivery.poll_output(connection.now);
        connection.delivery.deaf(connection.now);
        assert_eq!(connection.times_out(), (DEAF_TIMEOUT, "(close)".to_owned()));
        assert!(!connection.reports.as_ref().unwrap()[0].may_be_delivered);
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"; 2]);
    }
}

/// RFC 5321, section 4.1.1.4: Of a message that cannot be read whole no end is sent.
#[test]
fn rfc5321_4_1_1_4_of_a_message_that_cannot_be_read_no_end_is_sent() {
    let mut connection = in_data();
    connection.fetch();
    assert_eq!(connection.drain(), "Subject|(fetch)".replace('|', ""));
    connection.delivery.data_failed("the disk failed");
    assert_eq!(connection.drain(), "(close)");
    assert_eq!(connection.reports.as_ref().unwrap()[0].text, "the disk failed");
    assert_eq!(connection.outcomes(), ["deferred 4.3.0"; 2], "no other server can help");
    // A late reply does no harm.
    connection.fetch();
    connection.delivery.data_ended();
    assert_eq!(connection.drain(), "");
}

#[test]
fn a_refusal_in_the_midst_of_the_message_counts() {
    for (reply, outcome) in [
        ("552 5.3.4 too big", "failed 5.3.4"),
        ("451 4.7.0 no", "deferred 4.7.0"),
        ("421 4.4.2 too slow", "deferred 4.4.2 (host)"),
    ] {
        let mut connection = in_data();
        connection.fetch();
        connection.drain();
        assert_eq!(connection.hears(reply), "(close)", "no end is sent");
        assert_eq!(connection.outcomes(), [outcome, outcome], "{reply}");
    }
    assert!(MESSAGE.len() > 7, "there was more to be sent");
}
