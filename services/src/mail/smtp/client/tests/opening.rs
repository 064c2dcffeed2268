//! Up to the first message: greeting, names, TLS, login.

use std::time::Duration;

use crate::crypto;
use crate::mail::smtp::client::testing::{Connection, envelope, settings, with_login};
use crate::mail::smtp::client::{ENVELOPE_TIMEOUT, Encryption, Settings};

const BOB: &[&str] = &["bob@far.example"];
const MAIL: &str = "MAIL FROM:<anna@office.example>";

fn encrypted(encryption: Encryption) -> Settings {
    Settings { encryption, ..settings() }
}

/// A connection to a server with STARTTLS, in its handshake.
fn in_handshake(settings: Settings) -> Connection {
    let (mut connection, sent) = Connection::greeted(settings, envelope(BOB), "STARTTLS DSN");
    assert_eq!(sent, "STARTTLS");
    assert_eq!(connection.hears("220 go"), "(tls)");
    connection
}

/// RFC 5321, section 3.2: A server that does not know EHLO gets HELO.
#[test]
fn rfc5321_3_2_a_server_without_ehlo_is_told_helo() {
    let mut connection = Connection::new(settings(), envelope(BOB));
    assert_eq!(connection.hears("220-far.example|220 at your service"), "EHLO smtp.office.example");
    assert_eq!(connection.hears("502 what"), "HELO smtp.office.example");
    assert_eq!(connection.hears("250-far.example|250 PIPELINING"), MAIL, "HELO offers nothing");
    let mut connection = Connection::new(settings(), envelope(BOB));
    connection.hears("220 far.example");
    assert_eq!(connection.hears("450 not now"), "QUIT");
    assert_eq!(connection.outcomes(), ["deferred 4.2.0 (host)"]);
    assert_eq!(connection.hears("221 bye"), "(close)");
}

/// RFC 5321, section 3.1: A server that rejects the client gets QUIT, and the client tries another one.
#[test]
fn rfc5321_3_1_a_server_that_does_not_want_the_client() {
    for (greeting, outcome) in [
        ("554 5.7.1 go away", "failed 5.7.1 (host)"),
        ("521 no mail here", "failed 5.0.0 (host)"),
        ("450 not now", "deferred 4.2.0 (host)"),
    ] {
        let mut connection = Connection::new(settings(), envelope(BOB));
        assert_eq!(connection.hears(greeting), "QUIT");
        assert_eq!(connection.outcomes(), [outcome], "{greeting}");
        assert_eq!(connection.hears("221 bye"), "(close)");
    }
    for greeting in ["250 hello", "354 hello", "221 bye", "421 4.3.2 busy"] {
        let mut connection = Connection::new(settings(), envelope(BOB));
        assert_eq!(connection.hears(greeting), "(close)");
        let outcome =
            if greeting.starts_with("421") { "deferred 4.3.2 (host)" } else { "deferred 4.4.2 (host)" };
        assert_eq!(connection.outcomes(), [outcome], "{greeting}");
    }
}

/// RFC 5321, section 4.5.3.2: Each reply has its time, and all of them together.
#[test]
fn rfc5321_4_5_3_2_each_reply_of_the_opening_has_its_time() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let mut connection = Connection::new(settings(), envelope(BOB));
    assert_eq!(connection.times_out(), (minutes(5), "(close)".to_owned()));
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"]);
    assert_eq!(connection.delivery.deadline(), None);
    let mut connection = Connection::new(settings(), envelope(BOB));
    connection.hears("220 far.example");
    assert_eq!(connection.times_out(), (minutes(5), "(close)".to_owned()));
    for (encryption, scope) in [(Encryption::Opportunistic, "tls"), (Encryption::Required, "host")] {
        let mut connection = in_handshake(encrypted(encryption));
        assert_eq!(connection.times_out(), (minutes(1), "(close)".to_owned()));
        assert_eq!(connection.outcomes(), [format!("deferred 4.7.5 ({scope})")], "who may do without TLS");
    }
    // Slowly arriving lines of a reply do not extend the timeout.
    let mut connection = Connection::new(settings(), envelope(BOB));
    for _ in 0..4 {
        connection.now = connection.now + minutes(1);
        assert_eq!(connection.hears("220-still here"), "");
    }
    assert_eq!(connection.times_out().0, minutes(1));
    // A server that uses up the time of each recipient.
    let recipients: Vec<_> = (0..100).map(|number| format!("r{number}@far.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let (mut connection, _) = Connection::greeted(settings(), envelope(&recipients), "");
    let begin = connection.now;
    loop {
        if connection.delivery.deadline().unwrap() < connection.now + minutes(5) {
            break;
        }
        connection.now = connection.now + minutes(4);
        assert!(connection.hears("250 OK").starts_with("RCPT"));
    }
    assert_eq!(connection.times_out().1, "(close)");
    assert_eq!(connection.now, begin + ENVELOPE_TIMEOUT);
    assert!(connection.outcomes().iter().all(|outcome| outcome == "deferred 4.4.2 (host)"));
}

/// RFC 3207, section 4.2: After the handshake all that the server said before is forgotten.
#[test]
fn rfc3207_4_2_all_that_was_said_before_tls_is_forgotten() {
    let mut connection = in_handshake(encrypted(Encryption::Opportunistic));
    connection.delivery.tls_started(connection.now, true);
    assert_eq!(connection.drain(), "EHLO smtp.office.example");
    // No DSN and no SIZE any more; the client does not send STARTTLS twice.
    assert_eq!(connection.hears("250-far.example|250 STARTTLS"), MAIL);
    assert!(connection.delivery.is_tls());
}

/// RFC 3207, section 5: What comes in clear between the 220 and the handshake ends the connection.
#[test]
fn rfc3207_5_what_comes_in_clear_behind_the_220_ends_the_connection() {
    for behind in ["250-far.example|250 AUTH PLAIN", "x"] {
        let (mut connection, _) =
            Connection::greeted(encrypted(Encryption::Required), envelope(BOB), "STARTTLS");
        assert_eq!(connection.hears(&format!("220 go|{behind}")), "(close)");
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"], "TLS is not given up for it");
        let mut connection = in_handshake(encrypted(Encryption::Opportunistic));
        assert_eq!(connection.hears(behind), "(close)");
        assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"]);
        connection.delivery.tls_started(connection.now, true);
        assert_eq!(connection.drain(), "", "it is over");
    }
}

/// RFC 3207, section 4.1: Without TLS the client goes on, or does not.
#[test]
fn rfc3207_4_1_without_tls_the_client_goes_on_or_does_not() {
    let greeted =
        |encryption, extensions| Connection::greeted(encrypted(encryption), envelope(BOB), extensions);
    assert_eq!(greeted(Encryption::Opportunistic, "").1, MAIL);
    assert_eq!(greeted(Encryption::Never, "STARTTLS").1, MAIL);
    assert_eq!(greeted(Encryption::Active, "STARTTLS").1, MAIL);
    let (mut connection, sent) = greeted(Encryption::Required, "");
    assert_eq!((sent.as_str(), connection.outcomes()), ("QUIT", vec!["deferred 4.7.10 (host)".to_owned()]));
    let (mut connection, _) = greeted(Encryption::Opportunistic, "STARTTLS");
    assert_eq!(connection.hears("454 4.7.0 no TLS now"), MAIL);
    let (mut connection, _) = greeted(Encryption::Required, "STARTTLS");
    assert_eq!(connection.hears("454 4.7.0 no TLS now"), "QUIT");
    assert_eq!(connection.outcomes(), ["deferred 4.7.10 (host)"]);
}

#[test]
fn a_tls_that_dies_is_told_from_other_faults() {
    let mut connection = in_handshake(encrypted(Encryption::Opportunistic));
    connection.delivery.tls_failed("no common cipher");
    assert_eq!(
        (connection.drain().as_str(), connection.outcomes()),
        ("(close)", vec!["deferred 4.7.5 (tls)".to_owned()])
    );
    let mut connection = in_handshake(encrypted(Encryption::Required));
    connection.delivery.tls_failed(&format!("no \u{202e}cipher {}", "x".repeat(1000)));
    connection.drain();
    let text = &connection.reports.as_ref().unwrap()[0].text;
    assert!(text.starts_with("no ?cipher xxx") && text.len() == 500, "{text}");
    assert_eq!(connection.outcomes(), ["deferred 4.7.5 (host)"], "it is not tried in clear");
    // The connection ends before the first reply, or after it.
    for (reply, outcome) in [("", "deferred 4.7.5 (tls)"), ("250 far.example", "deferred 4.4.2 (host)")] {
        let mut connection = in_handshake(encrypted(Encryption::Opportunistic));
        connection.delivery.tls_started(connection.now, true);
        connection.drain();
        if !reply.is_empty() {
            connection.hears(reply);
        }
        connection.delivery.lost();
        assert_eq!(connection.drain(), "(close)");
        assert_eq!(connection.outcomes(), [outcome], "{reply}");
    }
    let mut connection = Connection::new(encrypted(Encryption::Active), envelope(BOB));
    connection.delivery.lost();
    connection.drain();
    assert_eq!(connection.outcomes(), ["deferred 4.4.2 (host)"], "there is nothing else to try");
}

/// RFC 4954, section 4: A password is sent under TLS only.
#[test]
fn rfc4954_4_a_password_is_sent_under_tls_only() {
    for encryption in [Encryption::Never, Encryption::Opportunistic, Encryption::Required] {
        let (mut connection, sent) =
            Connection::greeted(with_login(encryption), envelope(BOB), "AUTH_PLAIN_LOGIN_SCRAM-SHA-256");
        assert_eq!(sent, "QUIT");
        assert!(connection.outcomes()[0].starts_with("deferred 4.7.1"));
    }
}

/// RFC 4954, section 9: A password goes to a server that has proved its name, and to no other.
#[test]
fn rfc4954_9_a_password_goes_to_a_server_that_has_proved_its_name() {
    for (encryption, is_verified) in [
        (Encryption::Opportunistic, false),
        (Encryption::Opportunistic, true),
        (Encryption::Required, false),
        (Encryption::Required, true),
    ] {
        let mut connection = in_handshake(with_login(encryption));
        connection.delivery.tls_started(connection.now, is_verified);
        connection.drain();
        let said = connection.hears("250-far.example|250 AUTH PLAIN");
        assert_eq!(said.starts_with("AUTH PLAIN "), is_verified, "{said}");
        if !is_verified {
            assert_eq!(connection.outcomes(), ["deferred 4.7.11 (host)"]);
        }
    }
    let settings = Settings { is_verified: false, ..with_login(Encryption::Active) };
    let (mut connection, sent) = Connection::greeted(settings, envelope(BOB), "AUTH_PLAIN");
    assert_eq!((sent.as_str(), connection.outcomes()), ("QUIT", vec!["deferred 4.7.11 (host)".to_owned()]));
}

/// RFC 4954, section 4: A first response that is too long for the command is sent when it is asked for.
#[test]
fn rfc4954_4_a_long_first_response_waits_until_it_is_asked_for() {
    let mut settings = with_login(Encryption::Active);
    settings.login.as_mut().unwrap().user = "a".repeat(500);
    let (mut connection, sent) = Connection::greeted(settings.clone(), envelope(BOB), "AUTH_PLAIN");
    assert_eq!(sent, "AUTH PLAIN");
    let said = connection.hears("334 ");
    let plain = format!("\0{}\0secret", "a".repeat(500));
    assert_eq!(said, data_encoding::BASE64.encode(plain.as_bytes()));
    assert_eq!(connection.hears("235 welcome"), MAIL);
    // A server that accepts AUTH before the client has sent anything.
    let (mut connection, _) = Connection::greeted(settings, envelope(BOB), "AUTH_PLAIN");
    assert_eq!(connection.hears("235 welcome"), "QUIT");
    assert_eq!(connection.outcomes(), ["deferred 4.7.0 (host)"]);
}

/// RFC 4954, section 4: PLAIN in the command, LOGIN as it is asked for.
#[test]
fn rfc4954_4_plain_in_the_command_and_login_as_it_is_asked_for() {
    let greeted = |mechanisms: &str| {
        Connection::greeted(with_login(Encryption::Active), envelope(BOB), &format!("AUTH_{mechanisms}"))
    };
    let (mut connection, sent) = greeted("LOGIN_PLAIN");
    assert_eq!(sent, "AUTH PLAIN AGFubmEAc2VjcmV0");
    assert_eq!(connection.hears("235 2.7.0 welcome"), MAIL);
    for (first, second) in [("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"), ("334 who?", "334"), ("334 ", "334 ")] {
        let (mut connection, sent) = greeted("LOGIN");
        assert_eq!(sent, "AUTH LOGIN");
        assert_eq!(connection.hears(first), "YW5uYQ==");
        assert_eq!(connection.hears(second), "c2VjcmV0");
        assert_eq!(connection.hears("235 welcome"), MAIL);
    }
    // A mechanism that the server only claims to have.
    let (mut connection, _) = greeted("LOGIN_PLAIN");
    assert_eq!(connection.hears("504 5.5.4 no such mechanism"), "AUTH LOGIN");
    assert_eq!(connection.hears("502 nor this"), "QUIT");
    assert_eq!(connection.outcomes(), ["deferred 4.7.0 (host)"]);
    let (mut connection, sent) = greeted("GSSAPI");
    assert_eq!((sent.as_str(), connection.outcomes()), ("QUIT", vec!["deferred 4.7.0 (host)".to_owned()]));
}

/// RFC 4954, section 6: A login that is refused costs no message.
#[test]
fn rfc4954_6_a_login_that_is_refused_costs_no_message() {
    for reply in [
        "535 5.7.8 wrong: AUTH PLAIN AGFubmEAc2VjcmV0",
        "454 4.7.0 not now",
        "432 4.7.12 change your password",
    ] {
        let settings = with_login(Encryption::Active);
        let (mut connection, _) = Connection::greeted(settings, envelope(BOB), "AUTH_PLAIN");
        assert_eq!(connection.hears(reply), "QUIT");
        let report = &connection.reports.as_ref().unwrap()[0];
        let code = reply.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert_eq!(report.text, format!("the login was refused: {code}"), "and none of its words");
        assert_eq!(connection.outcomes(), ["deferred 4.7.8 (host)"]);
    }
    let settings = with_login(Encryption::Active);
    let (mut connection, _) = Connection::greeted(settings, envelope(BOB), "AUTH_PLAIN");
    assert_eq!(connection.hears("334 more"), "*", "PLAIN has no more");
    assert_eq!(connection.outcomes(), ["deferred 4.7.0 (host)"]);
    assert_eq!(connection.hears("501 cancelled"), "QUIT");
    assert_eq!(connection.hears("221 bye"), "(close)");
}

/// What a server that knows `password` says to a SCRAM login, up to the end.
fn scram(password: &str) -> (Connection, String) {
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let text = |said: &str| {
        let octets = data_encoding::BASE64.decode(said.as_bytes()).unwrap();
        String::from_utf8(octets).unwrap()
    };
    let settings = with_login(Encryption::Active);
    let (mut connection, sent) = Connection::greeted(settings, envelope(BOB), "AUTH_PLAIN_SCRAM-SHA-256");
    let first = text(sent.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap());
    let bare = first.strip_prefix("n,,").unwrap();
    let server_first = format!("{}x,s={},i=4096", bare.strip_prefix("n=anna,").unwrap(), base64("salt"));
    let last = text(&connection.hears(&format!("334 {}", base64(&server_first))));
    let (without_proof, _) = last.rsplit_once(",p=").unwrap();
    let salted = crypto::pbkdf2_sha256(password.as_bytes(), b"salt", 4096.try_into().unwrap());
    let key = crypto::hmac_sha256(&salted, b"Server Key");
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let signature = data_encoding::BASE64.encode(&crypto::hmac_sha256(&key, auth_message.as_bytes()));
    let said = connection.hears(&format!("334 {}", base64(&format!("v={signature}"))));
    (connection, said)
}

/// RFC 5802, section 3: A server that does not know the password gets no message.
#[test]
fn rfc5802_3_a_server_that_does_not_know_the_password_gets_no_message() {
    let (mut connection, said) = scram("secret");
    assert_eq!(said, "");
    assert_eq!(connection.hears("235 2.7.0 welcome"), MAIL);
    let (mut connection, said) = scram("guess");
    assert_eq!(said, "*");
    assert_eq!(connection.outcomes(), ["deferred 4.7.0 (host)"]);
    // The server has proved nothing yet.
    let settings = with_login(Encryption::Active);
    let (mut connection, _) = Connection::greeted(settings, envelope(BOB), "AUTH_SCRAM-SHA-256");
    assert_eq!(connection.hears("235 2.7.0 welcome"), "QUIT");
    assert_eq!(connection.outcomes(), ["deferred 4.7.0 (host)"]);
}

#[test]
fn a_password_is_not_in_what_debug_prints() {
    let settings = with_login(Encryption::Active);
    let mut connection = Connection::new(settings, envelope(BOB));
    connection.hears("220 far.example");
    connection.delivery.receive(connection.now, b"250-far.example\r\n250 AUTH PLAIN\r\n");
    let queued = format!("{:?}", connection.delivery);
    let output = connection.delivery.poll_output(connection.now).unwrap();
    let numbers = format!("{:?}", b"AGFubmEAc2VjcmV0");
    let secret = numbers.trim_matches(['[', ']']);
    for text in [queued, format!("{output:?}")] {
        assert!(!text.contains(secret) && !text.contains("secret") && text.contains("Send("), "{text}");
    }
}
