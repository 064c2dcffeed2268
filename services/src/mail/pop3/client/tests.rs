use data_encoding::BASE64;
use proptest::prelude::*;

use super::testing::{Connection, settings};
use super::*;
use crate::cases;
use crate::crypto;

/// RFC 1939, section 4: The client logs in and learns what is there.
#[test]
fn rfc1939_4_the_client_logs_in_and_learns_what_is_there() {
    let mut connection = Connection::ready();
    let listed = |number, size, uidl: &str| Listed { number, size, uidl: Some(uidl.to_owned()) };
    let messages = vec![listed(1, 120, "a"), listed(2, 200, "b")];
    let expected = Listing { messages, is_complete: true, has_uidls: true };
    assert_eq!(connection.listing.take(), Some(expected));
    connection.session.quit();
    assert_eq!(connection.drain(), "QUIT");
    assert_eq!(connection.hears("+OK bye"), "");
    assert_eq!(connection.end, Some(End::Quit { is_confirmed: true }));
}

/// RFC 2449, section 5: A server without CAPA is spoken to by what RFC 1939 has.
#[test]
fn rfc2449_5_a_server_without_capa_is_spoken_to_by_what_rfc_1939_has() {
    let mut connection = Connection::new(settings(Encryption::Active));
    assert_eq!(connection.hears("+OK ready"), "CAPA");
    assert_eq!(connection.hears("-ERR what?"), "USER anna");
    assert_eq!(connection.hears("+OK"), "PASS secret");
    assert_eq!(connection.hears("+OK"), "LIST");
    // RFC 1939, section 7: UIDL is optional.
    assert_eq!(connection.hears("+OK|1 100|."), "UIDL");
    assert_eq!(connection.hears("-ERR what?"), "");
    let listing = connection.listing.unwrap();
    assert!(!listing.has_uidls && listing.is_complete && listing.messages[0].uidl.is_none());
}

/// RFC 2595, section 4: After STLS the client asks for the capabilities again.
#[test]
fn rfc2595_4_capabilities_are_asked_for_again_under_tls() {
    for encryption in [Encryption::Opportunistic, Encryption::Required] {
        let (mut connection, sent) = Connection::greeted(encryption, "SASL PLAIN|STLS");
        assert_eq!(sent, "STLS");
        assert_eq!(connection.hears("+OK begin"), "(tls)");
        assert!(!connection.session.is_tls());
        connection.session.tls_started(connection.now);
        assert_eq!(connection.drain(), "CAPA");
        assert_eq!(connection.hears("+OK|USER|."), "USER anna", "what was said in clear is forgotten");
        assert!(connection.session.is_tls());
    }
}

/// RFC 2595, section 4: Clear text that follows the reply to STLS is not used.
#[test]
fn rfc2595_4_octets_in_clear_behind_stls_end_the_connection() {
    let mut connection = Connection::greeted(Encryption::Required, "STLS").0;
    assert_eq!(connection.hears("+OK begin|+OK|USER|."), "(tls)");
    assert_eq!(connection.failure(), "Protocol: the server spoke in clear where TLS begins");
    let mut connection = Connection::greeted(Encryption::Required, "STLS").0;
    connection.hears("+OK begin");
    assert_eq!(connection.hears("+OK"), "");
    assert_eq!(connection.failure(), "Protocol: the server spoke in clear where TLS begins");
}

/// RFC 2595, section 2.1: A password is not sent in clear, unless that is asked for.
#[test]
fn rfc2595_2_1_without_tls_no_password_is_sent_unless_that_is_asked_for() {
    for refusal in ["-ERR no TLS", "-ERR [SYS/TEMP] not now"] {
        let (mut connection, sent) = Connection::greeted(Encryption::Required, "USER");
        assert_eq!(sent, "STLS", "a server need not tell of it");
        assert_eq!(connection.hears(refusal), "");
        assert!(connection.failure().starts_with("Tls: "), "{}", connection.failure());
    }
    let (mut connection, _) = Connection::greeted(Encryption::Opportunistic, "STLS");
    assert_eq!(connection.hears("-ERR not now"), "USER anna");
    assert_eq!(Connection::greeted(Encryption::Opportunistic, "USER").1, "USER anna");
    assert_eq!(Connection::greeted(Encryption::Never, "STLS").1, "USER anna");
    let (mut connection, _) = Connection::greeted(Encryption::Required, "STLS");
    connection.hears("+OK");
    connection.session.tls_failed("the certificate is another's");
    assert_eq!(connection.drain(), "");
    assert_eq!(connection.failure(), "Tls: the certificate is another's");
}

/// RFC 5034, section 4: The first response goes with the command if the command is no longer than 255 octets.
#[test]
fn rfc5034_4_the_first_response_goes_with_a_command_of_255_octets() {
    let (mut connection, sent) = Connection::greeted(Encryption::Active, "SASL LOGIN PLAIN");
    assert_eq!(sent, "AUTH PLAIN AGFubmEAc2VjcmV0");
    assert_eq!(connection.hears("+OK"), "LIST");
    assert_eq!(Connection::greeted(Encryption::Active, "SASL LOGIN GSSAPI").1, "USER anna");

    let mut settings = settings(Encryption::Active);
    settings.login.password.0 = "x".repeat(200);
    let mut connection = Connection::new(settings);
    connection.hears("+OK");
    assert_eq!(connection.hears("+OK|SASL PLAIN|."), "AUTH PLAIN");
    let response = connection.hears("+ ");
    assert_eq!(BASE64.decode(response.as_bytes()).unwrap().len(), "\0anna\0".len() + 200);
    assert_eq!(connection.hears("+ more"), "*", "PLAIN has no more");
    assert_eq!(connection.hears("-ERR"), "");
    assert!(connection.failure().starts_with("Login: "));
}

/// What a server that knows `password` says to a SCRAM login, up to the end.
fn scram(password: &str) -> (Connection, String) {
    let base64 = |text: &str| BASE64.encode(text.as_bytes());
    let text = |said: &str| String::from_utf8(BASE64.decode(said.as_bytes()).unwrap()).unwrap();
    let (mut connection, sent) = Connection::greeted(Encryption::Active, "USER|SASL PLAIN SCRAM-SHA-256");
    let first = text(sent.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap());
    let bare = first.strip_prefix("n,,").unwrap();
    let server_first = format!("{}x,s={},i=4096", bare.strip_prefix("n=anna,").unwrap(), base64("salt"));
    let last = text(&connection.hears(&format!("+ {}", base64(&server_first))));
    let (without_proof, _) = last.rsplit_once(",p=").unwrap();
    let salted = crypto::pbkdf2_sha256(password.as_bytes(), b"salt", 4096.try_into().unwrap());
    let key = crypto::hmac_sha256(&salted, b"Server Key");
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let signature = BASE64.encode(&crypto::hmac_sha256(&key, auth_message.as_bytes()));
    let said = connection.hears(&format!("+ {}", base64(&format!("v={signature}"))));
    (connection, said)
}

/// RFC 5802, section 3: The client leaves a server that does not prove its knowledge of the password.
#[test]
fn rfc5802_3_a_server_that_does_not_know_the_password_is_left() {
    let (mut connection, said) = scram("secret");
    assert_eq!((said.as_str(), &connection.end), ("", &None));
    assert_eq!(connection.hears("+OK"), "LIST");
    let (mut connection, said) = scram("guess");
    assert_eq!(said, "*");
    connection.hears("-ERR cancelled");
    assert_eq!(connection.failure(), "Login: the server does not prove that it knows the password");
    let (mut connection, _) = Connection::greeted(Encryption::Active, "SASL SCRAM-SHA-256");
    assert_eq!(connection.hears("+OK come in"), "");
    assert_eq!(connection.failure(), "Login: the server did not prove that it knows the password");
    assert!(!format!("{:?}", connection.session).contains("secret"));
}

/// RFC 3206, section 4: A refusal says whether the login is wrong, or the server has no time.
#[test]
fn rfc3206_4_a_refusal_says_whether_the_login_is_wrong() {
    for (reply, kind) in [
        ("-ERR [AUTH] wrong", "Login"),
        ("-ERR wrong", "Login"),
        ("-ERR [SYS/PERM] call us", "Login"),
        ("-ERR [sys/temp] later", "Busy"),
        ("-ERR [IN-USE] locked", "Busy"),
        ("-ERR [LOGIN-DELAY] once in 5 minutes", "Busy"),
    ] {
        for capabilities in ["USER", "SASL PLAIN"] {
            let (mut connection, sent) = Connection::greeted(Encryption::Active, capabilities);
            if sent.starts_with("USER") {
                connection.hears("+OK");
            }
            assert_eq!(connection.hears(reply), "");
            assert!(connection.failure().starts_with(&format!("{kind}: the login was refused: ")), "{reply}");
        }
    }
    // A rejection before the first challenge may be of the mechanism.
    let (mut connection, _) = Connection::greeted(Encryption::Active, "SASL SCRAM-SHA-256|USER");
    assert_eq!(connection.hears("-ERR no such mechanism"), "USER anna");
    let mut connection = Connection::new(settings(Encryption::Active));
    connection.hears("-ERR too many connections");
    assert_eq!(connection.failure(), "Busy: the server refuses: too many connections");
}

#[test]
fn a_login_that_could_hold_a_further_command_is_not_sent() {
    for (user, password) in [("an\r\nna", "secret"), ("anna", "sec\nret"), ("", "secret"), ("anna", "")] {
        let mut settings = settings(Encryption::Active);
        (settings.login.user, settings.login.password.0) = (user.to_owned(), password.to_owned());
        let mut connection = Connection::new(settings);
        connection.hears("+OK");
        assert_eq!(connection.hears("-ERR"), "");
        assert!(connection.failure().starts_with("Login: "));
    }
}

/// RFC 1939, section 5: Messages are retrieved and deleted by their numbers.
#[test]
fn rfc1939_5_messages_are_retrieved_and_deleted_by_their_numbers() {
    let mut connection = Connection::ready();
    connection.session.retrieve(2);
    assert_eq!(connection.drain(), "RETR 2");
    assert_eq!(connection.hears("+OK 200 octets|Subject: x||..dot"), "");
    assert_eq!(
        (connection.message.as_slice(), connection.answers.len()),
        (&b"Subject: x\r\n\r\n.dot\r\n"[..], 0)
    );
    connection.hears(".");
    assert_eq!(connection.answers, [Answer::Whole]);
    connection.session.delete(2);
    assert_eq!(connection.drain(), "DELE 2");
    connection.hears("+OK marked");
    connection.session.top(1);
    assert_eq!(connection.drain(), "TOP 1 0");
    connection.hears("-ERR no TOP here");
    let refused = Answer::Refused("no TOP here".to_owned());
    assert_eq!(connection.answers, [Answer::Whole, Answer::Deleted, refused]);
    assert!(connection.session.is_ready(), "one refusal ends nothing");
}

/// RFC 1939, section 6: Nothing is deleted if the client does not say QUIT, and the server may fail to.
#[test]
fn rfc1939_6_only_a_confirmed_quit_has_deleted() {
    for (reply, is_confirmed) in [("+OK", true), ("-ERR some messages are not removed", false)] {
        let mut connection = Connection::ready();
        connection.session.quit();
        assert_eq!(connection.drain(), "QUIT");
        connection.hears(reply);
        assert_eq!(connection.end, Some(End::Quit { is_confirmed }));
    }
    let mut connection = Connection::ready();
    connection.session.quit();
    connection.drain();
    connection.session.lost();
    connection.drain();
    assert_eq!(connection.end, Some(End::Quit { is_confirmed: false }));
    let mut connection = Connection::ready();
    connection.session.quit();
    connection.drain();
    assert_eq!(connection.times_out(), QUIT_TIMEOUT);
    assert_eq!(connection.end, Some(End::Quit { is_confirmed: false }));
}

#[test]
fn a_server_that_answers_what_is_not_asked_is_left() {
    // Along with the greeting, what CAPA would be answered by.
    let mut connection = Connection::new(settings(Encryption::Active));
    assert_eq!(connection.hears("+OK ready|+OK|USER|."), "");
    assert_eq!(connection.failure(), "Protocol: the server answered what it was not asked");
    let mut connection = Connection::ready();
    connection.session.retrieve(1);
    connection.drain();
    connection.hears("+OK|x|.|+OK");
    assert_eq!(connection.failure(), "Protocol: the server answered what it was not asked");
    assert_eq!(connection.answers, [Answer::Whole]);
    let mut connection = Connection::ready();
    connection.hears("-ERR bye");
    assert_eq!(connection.failure(), "Protocol: the server answered what it was not asked");
}

#[test]
fn what_is_no_pop3_ends_the_connection() {
    let endless = "x".repeat(LINE_OCTETS_MAX + 1);
    for stream in [endless.as_str(), "220 smtp.example", "* OK IMAP4", "", "+ "] {
        let mut connection = Connection::new(settings(Encryption::Active));
        assert_eq!(connection.hears(stream), "");
        assert!(connection.failure().starts_with("Protocol: "), "{stream}");
        assert_eq!(connection.hears("+OK"), "", "it is over");
    }
    let mut connection = Connection::greeted(Encryption::Active, "").0;
    connection.hears("+OK");
    connection.hears("+OK");
    let list = "1 1|".repeat(10_000);
    connection.hears("+OK");
    while connection.end.is_none() {
        connection.session.receive(connection.now, list.replace('|', "\r\n").as_bytes());
        connection.drain();
    }
    assert_eq!(connection.failure(), "Protocol: the server sent a reply without end");
}

#[test]
fn a_server_that_keeps_silent_or_takes_for_ever_is_left() {
    let mut connection = Connection::new(settings(Encryption::Required));
    assert_eq!(connection.times_out(), REPLY_TIMEOUT);
    assert_eq!(connection.failure(), "Connection: the server did not answer the connection in time");
    let mut connection = Connection::greeted(Encryption::Required, "STLS").0;
    connection.hears("+OK");
    assert_eq!(connection.times_out(), HANDSHAKE_TIMEOUT);
    assert!(connection.failure().starts_with("Tls: "));
    let mut connection = Connection::ready();
    assert_eq!(connection.session.deadline(), None, "it is this side's turn");
    connection.session.retrieve(1);
    connection.drain();
    connection.hears("+OK");
    // A line each minute.
    let begin = connection.now;
    while connection.end.is_none() {
        connection.now = connection.now + Duration::from_secs(60);
        connection.session.handle_timeout(connection.now);
        connection.hears("x");
    }
    assert_eq!(connection.now.since(begin), COMMAND_TIMEOUT);
    assert_eq!(connection.failure(), "Connection: the server did not answer RETR in time");
    let mut connection = Connection::ready();
    connection.session.retrieve(1);
    connection.drain();
    connection.session.lost();
    connection.drain();
    assert_eq!(connection.failure(), "Connection: the connection was lost before RETR was answered");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(512)))]

    /// Whatever a server says, the connection ends once, and no password goes out in clear.
    #[test]
    fn whatever_a_server_says_no_password_goes_out_in_clear(
        replies in prop::collection::vec(prop::sample::select(vec![
            "+OK", "+OK|.", "+OK|STLS|SASL PLAIN SCRAM-SHA-256|.", "+OK|1 10|2 20|.", "+OK|1 a|2 a|.", "-ERR",
            "-ERR [AUTH] no", "+ ", "+ AAAA", "x", ".", "(tls)", "(lost)", "(time)", "(retr)", "(quit)",
        ]), 0..16),
    ) {
        let mut connection = Connection::new(settings(Encryption::Required));
        for reply in replies {
            let said = match reply {
                "(tls)" => {
                    connection.session.tls_started(connection.now);
                    connection.drain()
                }
                "(lost)" => {
                    connection.session.lost();
                    connection.drain()
                }
                "(time)" => {
                    if let Some(deadline) = connection.session.deadline() {
                        connection.now = deadline;
                        connection.session.handle_timeout(deadline);
                    }
                    connection.drain()
                }
                "(retr)" => {
                    connection.session.retrieve(1);
                    connection.drain()
                }
                "(quit)" => {
                    connection.session.quit();
                    connection.drain()
                }
                reply => connection.hears(reply),
            };
            let is_login = ["AUTH", "USER", "PASS"].iter().any(|word| said.contains(word));
            prop_assert!(connection.session.is_tls() || !is_login, "{said}");
        }
        connection.session.lost();
        connection.drain();
        prop_assert!(connection.end.is_some());
    }
}
