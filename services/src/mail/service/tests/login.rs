//! Logins, and what comes of them.

use std::rc::Rc;
use std::sync::Arc;

use data_encoding::BASE64;

use super::lab::*;
use crate::mail::sasl::scram;
use crate::mail::service::Settings;
use crate::mail::service::remote::NoRemote;
use crate::mail::smtp::Role;
use crate::tls::Tls;

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

async fn submission_with_tls() -> (Lab, Tls) {
    let (lab, tls) = Lab::new(&Arc::default(), Role::Submission, Rc::new(NoRemote)).with_tls();
    lab.go_over_to(Settings { port: 587, ..settings() }).await;
    lab.set_password("anna", PASSWORD);
    (lab, tls)
}

/// RFC 3207, section 4.2: Under TLS all begins anew, and logins are open.
#[test]
fn rfc3207_4_2_under_tls_all_begins_anew_and_logins_are_open() {
    simulate(async {
        let (lab, tls) = submission_with_tls().await;
        let mut client = lab.dial(STRANGER, WAN, 587).await;
        let said = client.say("EHLO a.example").await;
        assert!(said.contains("STARTTLS") && !said.contains("AUTH"), "{said}");
        client.dialogue(&[("MAIL FROM:<anna@office.example>", "530 5.7.0 say STARTTLS")]).await;
        client.dialogue(&[("STARTTLS", "220")]).await;
        let mut client = client.secured(&tls).await.unwrap();
        client.dialogue(&[(&plain("anna", PASSWORD), "503")]).await;
        let said = client.say("EHLO a.example").await;
        assert!(!said.contains("STARTTLS") && said.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN"), "{said}");
        client.dialogue(&[(&plain("anna", PASSWORD), "235")]).await;
        let taken = client.mail("anna@office.example", &["berta@office.example"], "a: b\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        assert!(lab.inbox("berta").await[0].contains(" with ESMTPSA id "));
        client.dialogue(&[("QUIT", "221")]).await;
        assert!(client.is_closed().await, "TLS says that it ends");
        assert_eq!(lab.count("connections_lost"), 0);
    });
}

/// RFC 3207, section 5: Clear text that follows STARTTLS is never a command under TLS.
#[test]
fn rfc3207_5_what_somebody_puts_behind_starttls_is_never_a_command_under_tls() {
    simulate(async {
        let (lab, tls) = submission_with_tls().await;
        let mut client = lab.dial(STRANGER, WAN, 587).await;
        client.dialogue(&[("EHLO a.example", "250")]).await;
        client.send("STARTTLS\r\nEHLO evil.example\r\n").await;
        client.secured(&tls).await.map(|_| ()).expect_err("the connection ends");
        // After a failed handshake the session does not go on in the clear.
        let mut client = lab.dial(STRANGER, WAN, 587).await;
        client.dialogue(&[("EHLO a.example", "250"), ("STARTTLS", "220")]).await;
        client.send("EHLO a.example\r\n").await;
        assert!(client.ends_with_alert().await);
        assert_eq!(lab.count("connections_lost"), 1);
    });
}

/// RFC 8314, section 3.3: On its own port TLS comes before the greeting.
#[test]
fn rfc8314_3_3_on_its_own_port_tls_comes_before_the_greeting() {
    simulate(async {
        let (lab, tls) = submission_with_tls().await;
        let ports = lab.instance().listens().into_iter().map(|listening| listening.local.port());
        assert_eq!(ports.collect::<Vec<_>>(), [465, 587, 465, 587]);
        let mut client = lab.raw(STRANGER, WAN, 465).secured(&tls).await.unwrap();
        assert!(client.reply().await.starts_with("220 smtp.office.example "));
        let said = client.say("EHLO a.example").await;
        assert!(!said.contains("STARTTLS") && said.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN"), "{said}");
        client.dialogue(&[(&plain("anna", PASSWORD), "235")]).await;
        let taken = client.mail("anna@office.example", &["berta@office.example"], "a: b\r\n").await;
        assert!(taken.starts_with("250"), "{taken}");
        assert!(lab.inbox("berta").await[0].contains(" with ESMTPSA id "));
        // Both can be elsewhere, or one of them nowhere.
        for (port, tls_port, expected) in [(0, 4650, [4650, 4650]), (5870, 0, [5870, 5870])] {
            let moved = lab.prepare(Settings { port, tls_port, ..settings() }).await.unwrap();
            let ports = moved.listens().into_iter().map(|listening| listening.local.port());
            assert_eq!(ports.collect::<Vec<_>>(), expected);
        }
        // The server closes a silent connection in time, and a service that stops does not wait for it.
        let mut silent = lab.raw(STRANGER, WAN, 465);
        assert!(silent.is_closed().await);
        let mut silent = lab.raw(STRANGER, WAN, 465);
        tokio::join!(lab.stop(), async { assert!(silent.is_closed().await) });
    });
}
