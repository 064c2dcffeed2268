//! The authentication of mail from outside.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::{Instant, sleep};

use super::lab::*;
use crate::dns::resolver::{Answerer, Resolver};
use crate::mail::auth::dkim::testing::{record, sign};
use crate::mail::service::remote::NoRemote;
use crate::mail::service::{AUTHENTICATION_TIMEOUT, Authenticity, RelayFrom, Settings};
use crate::mail::smtp::Role;
use crate::mail::store::JUNK;
use crate::service::LocalFuture;
use crate::test_log::Log;

/// Names that have text; all others are not there. Those that end so are answered very late.
struct World {
    texts: Vec<(&'static str, String)>,
    late: Option<&'static str>,
    asked: Cell<usize>,
}

impl Answerer for World {
    fn ask(&self, _: Name, _: RecordType) -> LocalFuture<'_, Option<Message>> {
        panic!("our own zone says nothing of mail from outside");
    }

    fn ask_world(&self, name: Name, record_type: RecordType) -> LocalFuture<'_, Option<Message>> {
        self.asked.set(self.asked.get() + 1);
        let mut response = Message::response(0, OpCode::Query);
        let text = name.to_ascii();
        let is_late = self.late.is_some_and(|late| text.trim_end_matches('.').ends_with(late));
        let texts = self.texts.iter().filter(|(of, _)| *of == text.trim_end_matches('.'));
        let texts: Vec<_> = texts.map(|(_, text)| text.clone()).collect();
        response.metadata.response_code =
            if texts.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        if record_type == RecordType::TXT {
            for text in texts {
                response.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(TXT::new(vec![text]))));
            }
        }
        Box::pin(async move {
            if is_late {
                sleep(Duration::from_secs(3600)).await;
            }
            Some(response)
        })
    }
}

/// A domain that asks to refuse what it did not send, and sends from 8.8.4.4 and with a key of its own.
fn world(late: Option<&'static str>) -> Rc<World> {
    let texts = vec![
        ("far.example", "v=spf1 ip4:8.8.4.4 -all".to_owned()),
        ("_dmarc.far.example", "v=DMARC1; p=reject; sp=quarantine".to_owned()),
        ("_dmarc.xn--mnchen-3ya.example", "v=DMARC1; p=reject".to_owned()),
        ("news.far.example", "v=spf1 -all".to_owned()),
        ("one._domainkey.far.example", record("")),
    ];
    Rc::new(World { texts, late, asked: Cell::new(0) })
}

async fn lab_with(world: &Rc<World>, role: Role, settings: Settings) -> Lab {
    let lab = Lab::new(&Arc::default(), role, Rc::new(NoRemote));
    lab.host.publish_resolver(Resolver::new(Rc::clone(world) as Rc<dyn Answerer>));
    lab.go_over_to(settings).await;
    lab
}

async fn lab(authenticity: Authenticity) -> Lab {
    lab_with(&world(None), Role::Mx, Settings { authenticity, ..settings() }).await
}

fn message(from: &str) -> String {
    format!("From: {from}\r\nDate: x\r\nMessage-ID: <1@b.example>\r\nSubject: s\r\n\r\nbody\r\n")
}

fn results(inbox: &str) -> String {
    let unfolded = inbox.replace("\r\n\t", " ");
    let field =
        unfolded.lines().find_map(|line| line.strip_prefix("Authentication-Results: smtp.office.example; "));
    field.unwrap_or_default().to_owned()
}

/// RFC 8601, section 4: The results of the checks are prepended to the message, above the server's Received.
#[test]
fn rfc8601_4_what_came_of_the_checks_stands_before_the_message() {
    simulate(async {
        let lab = lab(Authenticity::Report).await;
        let mut client = lab.stranger().await;
        let signed = sign(
            &message("Anna <a@news.far.example>"),
            "d=far.example; s=one; h=from:subject; c=relaxed/relaxed",
        );
        let forged = format!("Authentication-Results: smtp.office.example; dmarc=pass\r\n{signed}");
        for (sender, message) in [("a@far.example", &forged), ("", &message("x@nobody.example"))] {
            assert!(client.mail(sender, &["anna@office.example"], message).await.starts_with("250"));
        }
        let inbox = lab.inbox("anna").await;
        assert!(
            inbox[0].contains("X-Original-To: anna@office.example\r\nAuthentication-Results: "),
            "{inbox:?}"
        );
        assert!(inbox[0].contains(";\r\n\tdkim=pass "), "{inbox:?}");
        // RFC 8601, section 5: the stranger's results in this server's name are removed, and nothing else.
        assert!(inbox[0].ends_with(&signed) && inbox[0].matches("Authentication-Results:").count() == 1);
        let told = "dmarc=pass header.from=news.far.example; spf=pass smtp.mailfrom=far.example; \
                    dkim=pass header.d=far.example header.s=one header.b=";
        assert!(results(&inbox[0]).starts_with(told), "{inbox:?}");
        assert_eq!(
            results(&inbox[1]),
            "dmarc=none header.from=nobody.example; spf=none smtp.helo=mx.elsewhere.example; dkim=none"
        );
        for (counter, expected) in
            [("spf_pass", 1), ("spf_none", 1), ("dkim_pass", 1), ("dmarc_pass", 1), ("dmarc_none", 1)]
        {
            assert_eq!(lab.count(counter), expected, "{counter}");
        }
        assert_eq!(lab.folders("anna"), ["INBOX", "INBOX"]);
    });
}

/// RFC 9989, section 5.4: What fails is treated as the office and the domain want it.
#[test]
fn rfc9989_5_4_what_fails_is_treated_as_the_office_and_the_domain_want_it() {
    use Authenticity::{Quarantine, Reject, Report};
    let refused = "550 5.7.1 far.example asks to refuse what it did not send (DMARC)\r\n";
    for (authenticity, from, expected) in [
        (Report, "a@far.example", "INBOX"),
        (Quarantine, "a@far.example", JUNK),
        (Quarantine, "a@news.far.example", JUNK),
        (Quarantine, "a@nobody.example", "INBOX"),
        (Quarantine, "nobody", JUNK),
        (Reject, "a@far.example", refused),
        (Reject, "a@news.far.example", JUNK),
        (Reject, "a@nobody.example", "INBOX"),
        (Reject, "nobody", JUNK),
        // A second author does not help, wherever a program may find the first.
        (Reject, "a@nobody.example, b@far.example", refused),
        (Reject, "a@nobody.example\r\nFrom: b@far.example", refused),
        (Reject, "a@nobody.example\r\nfrom\t: b@nobody.example", JUNK),
        (Reject, "a@far.example <b@nobody.example>", refused),
        (Reject, "\"A <a@far.example>\" <b@nobody.example>", refused),
        (Reject, "<a@nobody.example> <b@nobody.example>", JUNK),
        (Reject, &format!("a@nobody.example\r\n{}From: b@far.example", "X: y\r\n".repeat(22_000)), JUNK),
        (Reject, "a@m\u{fc}nchen.example", &refused.replace("far", "xn--mnchen-3ya")),
    ] {
        simulate(async {
            let lab = lab(authenticity).await;
            let mut client = lab.stranger().await;
            let said = client.mail("a@evil.example", &["anna@office.example"], &message(from)).await;
            if expected.starts_with("550") {
                assert_eq!((said.as_str(), lab.folders("anna").len()), (expected, 0), "{from}");
                assert_eq!((lab.count("messages_refused"), lab.count("messages")), (1, 0));
            } else {
                assert!(said.starts_with("250"), "{said}");
                assert_eq!(lab.folders("anna"), [expected], "{authenticity:?} {from}");
                assert_eq!(lab.count("messages_junk"), u64::from(expected == JUNK));
            }
            // The connection goes on.
            assert!(
                client
                    .mail("a@far.example", &["anna@office.example"], &message("a@far.example"))
                    .await
                    .starts_with("250")
            );
        });
    }
}

#[test]
fn what_dmarc_refuses_is_in_the_log() {
    let refused = || {
        simulate(async {
            let lab = lab(Authenticity::Reject).await;
            let mut client = lab.stranger().await;
            client.mail("", &["anna@office.example"], &message("a@far.example")).await
        })
    };
    let (log, reply) = Log::of(refused);
    let end = format!(" from 8.8.4.4 (<>) for 1 is refused: {}", reply.trim_end());
    let lines: Vec<_> = log.iter().filter(|line| line.contains("far.example")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("INFO ") && lines[0].ends_with(&end), "{log:?}");
}

#[test]
fn rules_see_what_came_of_the_checks() {
    simulate(async {
        let rules = filing("Authentication-Results", "dmarc=fail", "Forged");
        let lab = lab_with(&world(None), Role::Mx, Settings { rules, ..settings() }).await;
        let mut client = lab.stranger().await;
        // A stranger's results in this server's name are neither shown nor stored.
        let forged = "Authentication-Results: smtp.office.example; dmarc=fail\r\n";
        for (before, from) in [("", "a@far.example"), ("", "a@nobody.example"), (forged, "a@nobody.example")]
        {
            let message = format!("{before}{}", message(from));
            let said = client.mail("a@evil.example", &["anna@office.example"], &message).await;
            assert!(said.starts_with("250"), "{said}");
        }
        assert_eq!(lab.folders("anna"), ["Forged", "INBOX", "INBOX"]);
    });
}

#[test]
fn mail_of_the_office_is_not_checked() {
    simulate(async {
        let world = world(None);
        let relay_from = RelayFrom { lan: true, networks: vec!["8.8.4.4/32".parse().unwrap()] };
        let strict = Settings { authenticity: Authenticity::Reject, ..settings() };
        let lmtp = Settings { port: 24, ..strict.clone() };
        for (role, settings) in [
            (Role::Mx, strict),
            (Role::Mx, Settings { relay_from, authenticity: Authenticity::Reject, ..settings() }),
            (Role::Lmtp, lmtp),
        ] {
            let is_strange = !settings.relay_from.networks.is_empty();
            let (hello, port) = (if role == Role::Lmtp { "LHLO pc1" } else { "EHLO pc1" }, settings.port);
            let lab = lab_with(&world, role, settings).await;
            let (source, to) = if is_strange { (STRANGER, WAN) } else { (PC1, LAN) };
            let mut client = lab.dial(source, to, port).await;
            client.dialogue(&[(hello, "250")]).await;
            let forged = message("a@far.example");
            let said = client.mail("a@far.example", &["anna@office.example"], &forged).await;
            assert!(said.starts_with("250"), "{said}");
            assert!(!lab.inbox("anna").await[0].contains("Authentication-Results"));
        }
        assert_eq!(world.asked.get(), 0);
    });
}

/// RFC 7208, section 4.6.4: The time is bounded; what is not known by then is a passing error, and the message is taken.
#[test]
fn rfc7208_4_6_4_a_name_service_that_is_slow_holds_nothing_up() {
    simulate(async {
        let world = world(Some(""));
        let settings = Settings { authenticity: Authenticity::Reject, ..settings() };
        let lab = lab_with(&world, Role::Mx, settings).await;
        let mut client = lab.stranger().await;
        let began = Instant::now();
        let signed = sign(&message("a@far.example"), "d=far.example; s=one; h=from");
        let said = client.mail("a@far.example", &["anna@office.example"], &signed).await;
        assert!(said.starts_with("250"), "{said}");
        assert_eq!(began.elapsed(), 2 * AUTHENTICATION_TIMEOUT);
        let inbox = lab.inbox("anna").await;
        assert!(
            results(&inbox[0]).starts_with(
                "dmarc=temperror header.from=far.example; spf=temperror smtp.mailfrom=far.example; \
                 dkim=temperror (the key cannot be had now) header.d=far.example"
            ),
            "{inbox:?}"
        );
        assert_eq!(lab.folders("anna"), ["INBOX"]);
    });
}

/// RFC 9989, section 5.3.6: Whoever forges a message cannot have it pass by name servers that are slow.
#[test]
fn rfc9989_5_3_6_slow_name_servers_of_the_forger_hold_up_no_other_check() {
    let refused = "550 5.7.1 far.example asks to refuse what it did not send (DMARC)\r\n";
    let later = "451 4.7.1 whether far.example has sent this cannot be known now (DMARC)\r\n";
    for (late, sender, from, domain, expected) in [
        // SPF and the key of the forger's own domain.
        ("evil.example", "a@evil.example", "a@far.example", "evil.example", refused),
        // The policy of the forger's own domain, too, before the other in From.
        ("evil.example", "a@evil.example", "a@evil.example, b@far.example", "evil.example", refused),
        // A key of the domain itself: then the sender gets a temporary failure.
        ("_domainkey.far.example", "a@evil.example", "a@far.example", "far.example", later),
    ] {
        simulate(async {
            let settings = Settings { authenticity: Authenticity::Reject, ..settings() };
            let lab = lab_with(&world(Some(late)), Role::Mx, settings).await;
            let mut client = lab.stranger().await;
            let signed = sign(&message(from), &format!("d={domain}; s=one; h=from"));
            assert_eq!(client.mail(sender, &["anna@office.example"], &signed).await, expected, "{late}");
            assert_eq!(lab.folders("anna").len(), 0);
        });
    }
}

#[test]
fn a_message_to_very_many_has_a_shorter_field_and_is_taken() {
    simulate(async {
        let users: Vec<_> = (0..600).map(|number| user(&format!("u{number}"))).collect();
        let lab = lab_with(&world(None), Role::Mx, Settings { users, ..settings() }).await;
        let mut client = lab.stranger().await;
        let recipients: Vec<_> = (0..600).map(|number| format!("u{number}@office.example")).collect();
        let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
        let signatures = "DKIM-Signature: v=1; a=x; d=far.example; s=one; b=abc\r\n".repeat(8);
        let said = client.mail("a@far.example", &recipients, &(signatures + &message("a@far.example"))).await;
        assert!(said.starts_with("250"), "{said}");
        let inbox = lab.inbox("u599").await;
        assert!(results(&inbox[0]).contains("dmarc=pass") && results(&inbox[0]).matches("dkim=").count() < 8);
    });
}
