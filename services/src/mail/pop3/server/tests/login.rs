//! Logins, TLS before them, and what keeps an inbox closed.

use data_encoding::BASE64;

use crate::mail::pop3::server::testing::*;
use crate::mail::pop3::server::{LOGIN_FAILURES_MAX, Policy};
use crate::mail::sasl::scram;
use crate::mail::smtp::Tls;

fn plain(user: &str, password: &str) -> String {
    BASE64.encode(format!("\0{user}\0{password}").as_bytes())
}

/// RFC 1939, section 7: USER and PASS log a user in, and the replies do not reveal whether a name exists.
#[test]
fn rfc1939_7_user_and_pass_let_a_user_in() {
    for name in ["anna", "anna@office.example"] {
        let mut client = Connection::new(policy(Tls::Active), Office::with(&["a: b\r\n"]));
        client.dialogue(&[
            (&format!("USER {name}"), "+OK"),
            (&format!("PASS {PASSWORD}"), "+OK 1 messages (6 octets)"),
        ]);
    }
    let mut client = Connection::new(policy(Tls::Active), Office::default());
    let of_nobody = (client.says("USER nobody"), client.says(&format!("PASS {PASSWORD}")));
    let wrong = (client.says("USER anna"), client.says("PASS wrong"));
    assert_eq!(of_nobody, wrong);
    client.dialogue(&[
        ("USER anna", "+OK"),
        ("PASS ", "-ERR [AUTH]"),
        (&format!("PASS {PASSWORD}"), "-ERR USER"),
    ]);
}

/// RFC 1939, section 7: Blanks belong to a password, also at its end.
#[test]
fn rfc1939_7_blanks_belong_to_a_password() {
    let mut client = Connection::new(policy(Tls::Active), Office::default());
    client.dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD} "), "-ERR [AUTH]")]);
    client.dialogue(&[("USER anna", "+OK"), (&format!("PASS  {PASSWORD}"), "-ERR [AUTH]")]);
    client.dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD}"), "+OK 0")]);
}

/// RFC 3206, section 4: A wrong password gets [AUTH], and a failure of the server [SYS/TEMP].
#[test]
fn rfc3206_4_a_wrong_password_is_told_from_a_server_that_cannot_tell() {
    let mut client = Connection::new(policy(Tls::Active), Office::default());
    client.dialogue(&[("USER anna", "+OK"), ("PASS wrong", "-ERR [AUTH]")]);
    client.dialogue(&[("USER later", "+OK"), ("PASS x", "-ERR [SYS/TEMP]")]);
    client.dialogue(&[(&format!("AUTH PLAIN {}", plain("anna", "wrong")), "-ERR [AUTH]")]);
    assert_eq!(LOGIN_FAILURES_MAX, 3);
    client.dialogue(&[("USER anna", "+OK"), ("PASS wrong", "-ERR [AUTH]")]);
    assert!(client.is_closed, "that was one too many");
}

/// RFC 2449, section 8.1.2: Of two sessions one has the inbox.
#[test]
fn rfc2449_8_1_2_of_two_sessions_one_has_the_inbox() {
    let mut client = Connection::new(policy(Tls::Active), Office { is_in_use: true, ..Office::default() });
    let password = format!("PASS {PASSWORD}");
    client.dialogue(&[("USER anna", "+OK"), (&password, "-ERR [IN-USE]"), ("STAT", "-ERR log in first")]);
    client.dialogue(&[(&format!("AUTH PLAIN {}", plain("anna", PASSWORD)), "-ERR [IN-USE]")]);
    client.office.is_in_use = false;
    client.dialogue(&[("USER anna", "+OK"), (&password, "+OK 0")]);
    let mut early = Connection::new(policy(Tls::Active), Office { is_starting: true, ..Office::default() });
    early.dialogue(&[("USER anna", "+OK"), (&password, "-ERR [SYS/TEMP]")]);
}

/// RFC 5034, section 4: A login by a mechanism, with the initial response or without.
#[test]
fn rfc5034_4_a_login_by_a_mechanism() {
    let of_anna = plain("anna", PASSWORD);
    let (user, password) = (BASE64.encode(b"anna"), BASE64.encode(PASSWORD.as_bytes()));
    let dialogues: [&[(&str, &str)]; 4] = [
        &[(&format!("AUTH PLAIN {of_anna}"), "+OK")],
        &[("auth plain", "+ \r\n"), (&of_anna, "+OK")],
        &[("AUTH LOGIN", "+ VXNlcm5hbWU6\r\n"), (&user, "+ UGFzc3dvcmQ6\r\n"), (&password, "+OK")],
        &[(&format!("AUTH LOGIN {user}"), "+ UGFzc3dvcmQ6\r\n"), (&password, "+OK")],
    ];
    for dialogue in dialogues {
        let mut client = Connection::new(policy(Tls::Active), Office::default());
        client.dialogue(dialogue);
        client.dialogue(&[("STAT", "+OK 0 0")]);
    }
    let mut client = Connection::new(policy(Tls::Active), Office::default());
    client.dialogue(&[
        ("AUTH", "-ERR"),
        ("AUTH CRAM-MD5", "-ERR there is no such mechanism"),
        ("AUTH PLAIN =", "-ERR that is no message"),
        ("AUTH PLAIN ?", "-ERR that is not base64"),
        ("AUTH PLAIN", "+ "),
        ("*", "-ERR the login is cancelled"),
        ("AUTH PLAIN", "+ "),
        ("?", "-ERR that is not base64"),
        ("AUTH LOGIN", "+ "),
        (&"x".repeat(20_000), "-ERR the line is too long"),
        ("STAT", "-ERR log in first"),
    ]);
    assert!(client.hears("AUTH PLAIN\r\nAAA\n").contains("-ERR lines end"));
    client.dialogue(&[("STAT", "-ERR log in first")]);
}

/// RFC 5802, section 3: The password need not be sent.
#[test]
fn rfc5802_3_a_user_reads_mail_without_sending_the_password() {
    for (user, password, is_right) in
        [("anna", PASSWORD, true), ("anna", "wrong", false), ("nobody", PASSWORD, false)]
    {
        let mut client = Connection::new(policy(Tls::Active), Office::default());
        let bare = format!("n={user},r=abc");
        let challenge =
            client.says(&format!("AUTH SCRAM-SHA-256 {}", BASE64.encode(format!("n,,{bare}").as_bytes())));
        let challenge = BASE64.decode(challenge.trim_end().strip_prefix("+ ").unwrap().as_bytes()).unwrap();
        let last =
            scram::testing::client_final(password, "n,,", &bare, std::str::from_utf8(&challenge).unwrap());
        let said = client.says(&BASE64.encode(last.as_bytes()));
        if is_right {
            assert!(said.starts_with("+ "), "{said}");
            client.dialogue(&[("", "+OK 0 messages")]);
        } else {
            assert!(said.starts_with("-ERR [AUTH]"), "{said}");
        }
    }
}

/// RFC 2595, section 2.3: Without TLS no password is taken, but where the LAN may.
#[test]
fn rfc2595_2_3_without_tls_no_password_is_taken_but_where_the_lan_may() {
    for tls in [Tls::Available, Tls::Unavailable] {
        let mut client = Connection::new(policy(tls), Office::default());
        client.dialogue(&[
            ("USER anna", "-ERR a login needs TLS"),
            (&format!("PASS {PASSWORD}"), "-ERR a login needs TLS"),
            (&format!("AUTH PLAIN {}", plain("anna", PASSWORD)), "-ERR a login needs TLS"),
            ("AUTH PLAIN", "-ERR a login needs TLS"),
        ]);
        let lan = Policy { plaintext_login: true, ..policy(tls) };
        Connection::new(lan, Office::default())
            .dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD}"), "+OK 0")]);
    }
}

/// RFC 2595, section 4: STLS begins TLS, before the login alone, and what was said before is forgotten.
#[test]
fn rfc2595_4_stls_begins_tls_and_what_was_said_before_is_forgotten() {
    let lan = Policy { plaintext_login: true, ..policy(Tls::Available) };
    let mut client = Connection::new(lan.clone(), Office::default());
    client.dialogue(&[("USER anna", "+OK"), ("STLS", "+OK begin TLS")]);
    assert!(client.has_tls && !client.session.is_listening());
    client.session.tls_started(client.now);
    client.dialogue(&[(&format!("PASS {PASSWORD}"), "-ERR USER"), ("STLS", "-ERR TLS is active")]);
    client.dialogue(&[("USER anna", "+OK"), (&format!("PASS {PASSWORD}"), "+OK"), ("STLS", "-ERR")]);
    let mut late = Connection::new(lan, Office::default());
    late.dialogue(&[
        ("USER anna", "+OK"),
        (&format!("PASS {PASSWORD}"), "+OK"),
        ("STLS", "-ERR"),
        ("STAT", "+OK"),
    ]);
    Connection::new(policy(Tls::Unavailable), Office::default())
        .dialogue(&[("STLS", "-ERR there is no TLS")]);
}

/// RFC 2595, section 4: Clear text that follows STLS is discarded, and the connection ends.
#[test]
fn rfc2595_4_what_comes_behind_stls_in_clear_is_thrown_away() {
    let mut client = Connection::new(policy(Tls::Available), Office::default());
    let said = client.hears("STLS\r\nUSER evil\r\n");
    assert!(said.starts_with("+OK") && client.is_closed && !client.has_tls, "{said}");
    // A handshake that never comes.
    let mut client = Connection::new(policy(Tls::Available), Office::default());
    client.says("STLS");
    assert_eq!(client.waits(crate::mail::pop3::server::IDLE_TIMEOUT), "");
    assert!(client.is_closed);
}
