//! Logins, and what comes of them.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use data_encoding::BASE64;

use super::lab::*;
use crate::mail::sasl::scram;
use crate::mail::service::Settings;
use crate::mail::service::remote::NoRemote;
use crate::mail::service::stream::{Duplex, StartTls};
use crate::mail::smtp::Role;
use crate::service::LocalFuture;

const PASSWORD: &str = "blue harbour 47";

async fn submission(plaintext_login: bool) -> Lab {
    let settings = Settings { port: 587, plaintext_login, ..settings() };
    let lab = Lab::start(&Arc::default(), Role::Submission, settings).await;
    lab.set_password("anna", PASSWORD);
    lab
}

fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64.encode(format!("\0{user}\0{password}").as_bytes()))
}

async fn pc(lab: &Lab) -> Client {
    let mut client = lab.dial(PC1, LAN, 587).await;
    client.dialogue(&[("EHLO pc1", "250-smtp.office.example")]).await;
    client
}

/// RFC 6409, section 4.3: A user logs in before a message is taken.
#[test]
fn rfc6409_4_3_a_user_logs_in_before_a_message_is_taken() {
    simulate(async {
        let lab = submission(true).await;
        let mut client = pc(&lab).await;
        client
            .dialogue(&[
                ("MAIL FROM:<anna@office.example>", "530 5.7.0"),
                (&plain("anna", "wrong harbour 47"), "535 5.7.8"),
                (&plain("nobody", PASSWORD), "535 5.7.8"),
                (&plain("berta", PASSWORD), "535 5.7.8"),
                (&plain("Anna@Office.Example", PASSWORD), "235"),
            ])
            .await;
        let taken = client.mail("anna@office.example", &["berta@office.example"], "a: b\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        assert!(lab.inbox("berta").await[0].contains(" with ESMTPA id "));
        assert_eq!((lab.count("logins"), lab.count("logins_failed")), (1, 3));
        let mut by_login = pc(&lab).await;
        by_login
            .dialogue(&[
                ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
                (&BASE64.encode(b"anna"), "334 UGFzc3dvcmQ6"),
                (&BASE64.encode(PASSWORD.as_bytes()), "235"),
            ])
            .await;
    });
}

/// RFC 5802, section 3: The password need not be sent.
#[test]
fn rfc5802_3_a_user_logs_in_without_sending_the_password() {
    simulate(async {
        let lab = submission(true).await;
        for (user, password, is_right) in
            [("anna", PASSWORD, true), ("anna", "wrong harbour 47", false), ("nobody", PASSWORD, false)]
        {
            let mut client = pc(&lab).await;
            let bare = format!("n={user},r=abc");
            let first = BASE64.encode(format!("n,,{bare}").as_bytes());
            let challenge = client.say(&format!("AUTH SCRAM-SHA-256 {first}")).await;
            let challenge = BASE64.decode(challenge[4..].trim_end().as_bytes()).unwrap();
            let challenge = String::from_utf8(challenge).unwrap();
            let last = scram::testing::client_final(password, "n,,", &bare, &challenge);
            let reply = client.say(&BASE64.encode(last.as_bytes())).await;
            assert_eq!(reply.starts_with("334 "), is_right, "{user}: {reply}");
            if is_right {
                client.dialogue(&[("", "235")]).await;
            } else {
                assert!(reply.starts_with("535"), "{reply}");
            }
        }
        assert_eq!(lab.count("logins"), 1);
    });
}

#[test]
fn without_tls_nobody_logs_in_but_where_the_lan_may() {
    simulate(async {
        for (is_allowed, source, to, is_open) in
            [(true, PC1, LAN, true), (true, STRANGER, WAN, false), (false, PC1, LAN, false)]
        {
            let lab = submission(is_allowed).await;
            let mut client = lab.dial(source, to, 587).await;
            let said = client.say("EHLO a.example").await;
            assert_eq!(said.contains("AUTH "), is_open, "{said}");
            let expected = if is_open { "235" } else { "538" };
            client.dialogue(&[(&plain("anna", PASSWORD), expected)]).await;
        }
    });
}

#[test]
fn a_user_sends_with_no_address_that_is_anothers() {
    simulate(async {
        let lab = submission(true).await;
        let mut client = pc(&lab).await;
        client.dialogue(&[(&plain("anna", PASSWORD), "235")]).await;
        for (sender, expected) in [
            ("anna@office.example", "250"),
            ("Anna+x@smtp.office.example", "250"),
            ("postmaster@office.example", "250"),
            ("", "250"),
            ("anna@elsewhere.example", "250"),
            ("berta@office.example", "550 5.7.1"),
            ("nobody@office.example", "550 5.7.1"),
        ] {
            client.dialogue(&[(&format!("MAIL FROM:<{sender}>"), expected), ("RSET", "250")]).await;
        }
        lab.go_over_to(Settings {
            port: 587,
            plaintext_login: true,
            users: vec![user("berta")],
            ..settings()
        })
        .await;
        let refused = pc(&lab).await.say(&plain("anna", PASSWORD)).await;
        assert!(refused.starts_with("535"), "there is no such user any more: {refused}");
    });
}

/// TLS as far as the service can see: it may fail, and has its octets in clear.
struct Handshakes {
    fails: Cell<bool>,
    done: Cell<usize>,
}

impl StartTls for Handshakes {
    fn start_tls(&self, stream: Box<dyn Duplex>) -> LocalFuture<'_, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            if self.fails.get() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.done.set(self.done.get() + 1);
            Ok(stream)
        })
    }
}

/// RFC 3207, section 4.2: Under TLS all begins anew, and logins are open.
#[test]
fn rfc3207_4_2_under_tls_all_begins_anew_and_logins_are_open() {
    simulate(async {
        let tls = Rc::new(Handshakes { fails: Cell::new(false), done: Cell::new(0) });
        let lab =
            Lab::new(&Arc::default(), Role::Submission, Rc::new(NoRemote)).with_tls(Rc::clone(&tls) as _);
        lab.go_over_to(Settings { port: 587, ..settings() }).await;
        lab.set_password("anna", PASSWORD);
        let mut client = lab.dial(STRANGER, WAN, 587).await;
        let said = client.say("EHLO a.example").await;
        assert!(said.contains("STARTTLS") && !said.contains("AUTH"), "{said}");
        client.dialogue(&[("MAIL FROM:<anna@office.example>", "530 5.7.0 say STARTTLS")]).await;
        client.dialogue(&[("STARTTLS", "220"), (&plain("anna", PASSWORD), "503")]).await;
        let said = client.say("EHLO a.example").await;
        assert!(!said.contains("STARTTLS") && said.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN"), "{said}");
        client.dialogue(&[(&plain("anna", PASSWORD), "235")]).await;
        let taken = client.mail("anna@office.example", &["berta@office.example"], "a: b\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        assert!(lab.inbox("berta").await[0].contains(" with ESMTPSA id "));
        tls.fails.set(true);
        let mut client = lab.dial(STRANGER, WAN, 587).await;
        client.dialogue(&[("EHLO a.example", "250"), ("STARTTLS", "220")]).await;
        assert!(client.is_closed().await);
        assert_eq!((tls.done.get(), lab.count("connections_lost")), (1, 1));
    });
}
