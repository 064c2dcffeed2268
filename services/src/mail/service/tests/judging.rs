//! Messages that judges outside look at before they are taken.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::lab::{LAN, Lab, PC1, filing, settings, simulate};
use crate::mail::judge::tests::{RSPAMD, start};
use crate::mail::judge::{Address, Protocol};
use crate::mail::service::Settings;
use crate::mail::smtp::Role;
use crate::test_log::Log;

const MAIL: &str = "Subject: Lunch\r\n\r\nAt noon?\r\nlast\r\n";
const END: &[u8] = b"last\r\n";

fn judged() -> Settings {
    let judge = Address { protocol: Protocol::Rspamd, host: "192.168.1.40".to_owned(), port: 11_333 };
    Settings { judges: vec![judge], ..settings() }
}

/// A judge's answer.
fn answer(action: &str) -> &'static str {
    let body = format!(r#"{{"action":"{action}","score":1,"required_score":2}}"#);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).leak()
}

/// The effect of a judge's `action` on a message to anna: the reply, and her inbox; and the judge's input.
async fn send(lab: &Lab, action: &str, mail: &str) -> (String, Vec<String>, Rc<RefCell<Vec<u8>>>) {
    let came = start(&lab.wire, RSPAMD, END, Some(answer(action))).await;
    let reply = lab.pc().await.mail("bob@far.example", &["Anna+x@office.example"], mail).await;
    lab.wire.fail(RSPAMD.parse().unwrap());
    (reply, lab.inbox("anna").await, came)
}

#[test]
fn what_a_judge_says_becomes_of_a_message() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, judged()).await;
        let (reply, inbox, _) = send(&lab, "reject", MAIL).await;
        assert_eq!(reply, "550 5.7.1 the message is taken for spam\r\n");
        let (again, inbox_again, _) = send(&lab, "greylist", MAIL).await;
        assert_eq!(again, "451 4.7.1 try again later\r\n");
        assert!(inbox.is_empty() && inbox_again.is_empty());
        let (reply, inbox, came) = send(&lab, "add header", MAIL).await;
        assert!(reply.starts_with("250") && inbox.len() == 1, "{reply}");
        let fields = "X-Original-To: Anna+x@office.example\r\nX-Spam-Status: Yes, score=1.00 required=2.00\r\n\
                      X-Spam-Flag: YES\r\nReceived: ";
        assert!(inbox[0].contains(fields), "{}", inbox[0]);
        let came = String::from_utf8(came.borrow().clone()).unwrap();
        let (head, message) = came.split_once("\r\n\r\n").unwrap();
        assert!(inbox[0].ends_with(message) && message.starts_with("Received: "), "{message}");
        for line in ["IP: 192.168.1.10", "Helo: pc1", "From: bob@far.example", "Rcpt: Anna+x@office.example"]
        {
            assert!(head.lines().any(|of| of == line), "{line}: {head}");
        }
        let counted = |name| lab.count(name);
        assert_eq!((counted("judged"), counted("judged_away"), counted("judges_silent")), (3, 2, 0));
        assert_eq!((counted("messages"), counted("messages_refused")), (1, 2));
    });
}

#[test]
fn a_message_of_any_length_is_shown_as_it_is_kept() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, judged()).await;
        for octets in [70_000, 300_000, 500_000] {
            let line = format!("{}\r\n", "x".repeat(98));
            let mail = format!("Subject: long\r\n\r\n{}last\r\n", line.repeat(octets / line.len()));
            let (reply, inbox, came) = send(&lab, "no action", &mail).await;
            assert!(reply.starts_with("250"), "{reply}");
            let came = String::from_utf8(came.borrow().clone()).unwrap();
            let message = came.split_once("\r\n\r\n").unwrap().1;
            assert!(inbox.last().unwrap().ends_with(message) && message.len() > octets - 100, "{octets}");
            assert!(inbox.last().unwrap().contains("X-Spam-Status: No, score"));
        }
    });
}

#[test]
fn rules_see_what_judges_put_before_a_message() {
    simulate(async {
        let rules = filing("X-Spam-Status", "yes", "Doubtful");
        let lab = Lab::start(&Arc::default(), Role::Mx, Settings { rules, ..judged() }).await;
        for action in ["add header", "no action"] {
            assert!(send(&lab, action, MAIL).await.0.starts_with("250"), "{action}");
        }
        assert_eq!(lab.folders("anna"), ["Doubtful", "INBOX"]);
    });
}

#[test]
fn what_a_judge_refuses_is_in_the_log() {
    let refused = || {
        simulate(async {
            let lab = Lab::start(&Arc::default(), Role::Mx, judged()).await;
            start(&lab.wire, RSPAMD, END, Some(answer("reject"))).await;
            let both = ["anna@office.example", "berta@office.example"];
            lab.pc().await.mail("bob@far.example", &both, MAIL).await
        })
    };
    let (log, reply) = Log::of(refused);
    assert!(reply.starts_with("550"), "{reply}");
    let end =
        " from 192.168.1.10 (<bob@far.example>) for 2 is refused: 550 5.7.1 the message is taken for spam";
    let lines: Vec<_> = log.iter().filter(|line| line.contains("bob@far.example")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("INFO ") && lines[0].ends_with(end), "{log:?}");
}

#[test]
fn a_message_is_taken_if_no_judge_answers() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Mx, judged()).await;
        let reply = lab.pc().await.mail("bob@far.example", &["anna@office.example"], MAIL).await;
        assert!(reply.starts_with("250"), "{reply}");
        let inbox = lab.inbox("anna").await;
        assert!(
            inbox[0].contains("\r\nX-Gatepost-Judge: 192.168.1.40:11333 has no opinion: "),
            "{}",
            inbox[0]
        );
        assert_eq!((lab.count("judged"), lab.count("judges_silent"), lab.count("judged_away")), (1, 1, 0));
    });
}

/// RFC 2033, section 4.2: What a judge refuses is refused for each recipient.
#[test]
fn rfc2033_4_2_what_a_judge_refuses_is_refused_for_each_recipient() {
    simulate(async {
        let lab = Lab::start(&Arc::default(), Role::Lmtp, Settings { port: 2424, ..judged() }).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"action\":\"reject\"}";
        start(&lab.wire, RSPAMD, END, Some(answer)).await;
        let mut client = lab.dial(PC1, LAN, 2424).await;
        client.dialogue(&[("LHLO pc1", "250-smtp.office.example")]).await;
        let reply =
            client.mail("bob@far.example", &["anna@office.example", "berta@office.example"], MAIL).await;
        assert!(reply.starts_with("550 5.7.1 "), "{reply}");
        assert!(client.reply().await.starts_with("550 5.7.1 "));
        assert!(lab.inbox("anna").await.is_empty() && lab.inbox("berta").await.is_empty());
        client.dialogue(&[("NOOP", "250")]).await;
    });
}
