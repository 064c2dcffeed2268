use std::cell::{Cell, RefCell};
use std::sync::Arc;

use gatepost_ground::Instant;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;
use crate::clock::UnixTime;
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::service::remote::NoRemote;
use crate::mail::service::tests::lab::{self, Lab, simulate};
use crate::mail::smtp::client::{
    BLOCK_TIMEOUT, Encryption, Envelope, EnvelopeRecipient, GREETING_TIMEOUT, Outcome, QUIT_TIMEOUT, Scope,
    Settings,
};
use crate::mail::smtp::{RcptParameters, Role};
use crate::work::AtOnce;

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::from_secs(1000) + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(lab::NOW)
    }
}

/// Handshakes that fail, or hand over this stream.
#[derive(Default)]
struct Handshake(RefCell<Option<Box<dyn Stream>>>);

impl StartTls for Handshake {
    fn start_tls(&self, _: Box<dyn Stream>) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async { self.0.take().ok_or_else(|| io::Error::other("no common cipher")) })
    }

    fn has_to_prove(&self) -> bool {
        false
    }
}

/// A message, from where on it cannot be read, and how often it was.
struct Text(Vec<u8>, u64, Cell<usize>);

impl Source for Text {
    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, io::Result<Vec<u8>>> {
        let octets = crate::store::part_of(&self.0, offset, len);
        let is_whole = offset < self.1;
        self.2.set(self.2.get() + 1);
        Box::pin(async move { if is_whole { Ok(octets) } else { Err(io::Error::other("the disk failed")) } })
    }
}

fn message(lines: usize) -> Text {
    let mut text = b"Date: x\r\nFrom: a@b.example\r\nMessage-ID: <1@b.example>\r\n\r\n".to_vec();
    text.extend_from_slice(&b".line\r\n".repeat(lines));
    Text(text, u64::MAX, Cell::default())
}

fn environment() -> Environment {
    let clock = Rc::new(Paused(tokio::time::Instant::now()));
    Environment { clock, work: Rc::new(AtOnce), tls: Rc::new(Handshake::default()) }
}

/// As [`send`], to the connection's end.
async fn send_and_leave(
    environment: &Environment,
    stream: Box<dyn Stream>,
    client: Client,
    message: &dyn Source,
) -> Vec<Report> {
    let stops = watch::channel(false).1;
    let (reports, quit) = send(environment, stops, stream, client, message, None).await;
    quit.send().await;
    reports
}

fn delivery(environment: &Environment, encryption: Encryption, recipients: &[&str]) -> Client {
    let recipient = |text: &&str| EnvelopeRecipient {
        address: Mailbox::parse(text).unwrap(),
        parameters: RcptParameters::default(),
    };
    let envelope = Envelope {
        sender: ReversePath::Mailbox(Mailbox::parse("a@b.example").unwrap()),
        size: 100,
        is_8bit: false,
        has_utf8_header: false,
        ret: None,
        envid: None,
        recipients: recipients.iter().map(recipient).collect(),
    };
    let settings =
        Settings { hostname: "mx.b.example".to_owned(), encryption, login: None, is_verified: false };
    Client::new(environment.clock.now(), settings, envelope)
}

/// A server that reads up to a line with this in it, and says this; then it is silent.
async fn serve(stream: &mut DuplexStream, dialogue: &[(&str, &str)]) {
    for (wanted, said) in dialogue {
        let mut heard = Vec::new();
        while !wanted.is_empty() && !heard.ends_with(format!("{wanted}\r\n").as_bytes()) {
            heard.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(said.as_bytes()).await.unwrap();
    }
}

const ENVELOPE: &[(&str, &str)] = &[
    ("", "220 x\r\n"),
    ("EHLO mx.b.example", "250 x\r\n"),
    ("MAIL FROM:<a@b.example>", "250 OK\r\n"),
    ("RCPT TO:<c@d.example>", "250 OK\r\n"),
    ("DATA", "354 go\r\n"),
];

/// What becomes of a message for one recipient at a server; it gets so many octets without being read.
async fn send_to<T>(
    message: &Text,
    encryption: Encryption,
    room: usize,
    server: impl AsyncFnOnce(DuplexStream) -> T,
) -> (Report, T, Duration) {
    let (near, far) = duplex(room);
    let environment = environment();
    let begin = environment.clock.now();
    let sent = async {
        let reports = send_and_leave(
            &environment,
            Box::new(near),
            delivery(&environment, encryption, &["c@d.example"]),
            message,
        )
        .await;
        (reports, environment.clock.now().since(begin))
    };
    let ((mut reports, took), served) = tokio::join!(sent, server(far));
    assert_eq!(reports.len(), 1);
    (reports.remove(0), served, took)
}

/// RFC 7435, section 3: A server that proves nothing is sent the message under TLS all the same.
#[test]
fn rfc7435_3_a_server_that_proves_nothing_is_sent_the_message_under_tls() {
    simulate(async {
        for (has_to_prove, name, is_delivered) in [
            (false, "mx.elsewhere.example", true),
            (true, "smtp.office.example", true),
            (true, "mx.elsewhere.example", false),
        ] {
            let (lab, tls) = Lab::new(&Arc::default(), Role::Mx, Rc::new(NoRemote)).with_tls();
            lab.go_over_to(lab::settings()).await;
            let (from, to) = ("8.8.4.4:40000".parse().unwrap(), "203.0.113.10:25".parse().unwrap());
            let stream = lab.wire.dial(from, to).expect("it listens");
            let tls = Rc::new(TlsTo { tls: Rc::new(tls), name: name.to_owned(), has_to_prove });
            let (environment, message) = (Environment { tls, ..environment() }, message(50_000));
            let delivery = delivery(&environment, Encryption::Required, &["anna@office.example"]);
            let reports = send_and_leave(&environment, Box::new(stream), delivery, &message).await;
            assert_eq!(reports[0].outcome == Outcome::Delivered, is_delivered, "{name}: {reports:?}");
            let inbox = lab.inbox("anna").await;
            assert_eq!(inbox.len(), usize::from(is_delivered));
            assert!(inbox.iter().all(|text| text.contains(" with ESMTPS id ")), "{name}");
        }
    });
}

#[test]
fn a_message_comes_to_another_office_as_it_was() {
    simulate(async {
        let lab = Lab::smtp().await;
        let (from, to) = ("8.8.4.4:40000".parse().unwrap(), "203.0.113.10:25".parse().unwrap());
        let stream = lab.wire.dial(from, to).expect("it listens");
        let (environment, message) = (environment(), message(50_000));
        let recipients = ["anna@office.example", "nobody@office.example", "berta@office.example"];
        let delivery = delivery(&environment, Encryption::Opportunistic, &recipients);
        let reports = send_and_leave(&environment, Box::new(stream), delivery, &message).await;
        let outcomes: Vec<_> = reports.iter().map(|report| report.outcome).collect();
        assert_eq!(outcomes, [Outcome::Delivered, Outcome::Failed, Outcome::Delivered], "{reports:?}");
        assert_eq!(reports[1].status.to_string(), "5.1.1");
        let text = String::from_utf8(message.0).unwrap();
        for user in ["anna", "berta"] {
            let inbox = lab.inbox(user).await;
            assert!(inbox.len() == 1 && inbox[0].ends_with(&text), "{user}");
        }
    });
}

#[test]
fn a_server_that_is_silent_is_left_when_its_time_is_over() {
    simulate(async {
        let silent = async |stream: DuplexStream| {
            sleep(Duration::from_secs(3600)).await;
            drop(stream);
        };
        let (report, (), took) = send_to(&message(1), Encryption::Never, 1000, silent).await;
        assert_eq!((report.outcome, took), (Outcome::Deferred, GREETING_TIMEOUT));
        // The server reads no more in the middle of the message.
        let stuck = async |mut stream: DuplexStream| {
            serve(&mut stream, ENVELOPE).await;
            sleep(Duration::from_secs(3600)).await;
            drop(stream);
        };
        let (report, (), took) = send_to(&message(100_000), Encryption::Never, 1000, stuck).await;
        assert_eq!((report.outcome, took), (Outcome::Deferred, BLOCK_TIMEOUT));
        assert!(!report.may_be_delivered);
    });
}

#[test]
fn a_server_that_falls_silent_is_stuck_and_one_that_never_spoke_or_is_slow_is_not() {
    simulate(async {
        let message = message(300);
        // Up to where the server answers, and how many octets it takes each 15 seconds then.
        for (answered, octets, is_stuck) in
            [(0, 0, false), (1, 0, true), (4, 0, true), (5, 0, true), (5, 300, false), (5, usize::MAX, true)]
        {
            let (near, mut far) = duplex(300);
            let environment = environment();
            let delivery = delivery(&environment, Encryption::Never, &["c@d.example"]);
            let told = Cell::new(0);
            let stuck = || told.set(told.get() + 1);
            let server = async {
                serve(&mut far, &ENVELOPE[..answered]).await;
                let mut heard = Vec::new();
                while octets > 0 && !heard.ends_with(b"\r\n.\r\n") {
                    let mut part = vec![0; octets.min(8_000)];
                    let len = far.read(&mut part).await.unwrap();
                    heard.extend_from_slice(&part[..len]);
                    sleep(Duration::from_secs(if octets < 1_000 { 15 } else { 0 })).await;
                }
                match octets {
                    300 => serve(&mut far, &[("", "250 taken\r\n")]).await,
                    _ => sleep(Duration::from_secs(3600)).await,
                }
            };
            let stops = watch::channel(false).1;
            let sent = send(&environment, stops, Box::new(near), delivery, &message, Some(&stuck));
            let ((reports, _), ()) = tokio::join!(sent, server);
            assert_eq!(reports[0].outcome == Outcome::Delivered, octets == 300, "{answered} {octets}");
            assert_eq!(told.get(), u32::from(is_stuck), "{answered} {octets}");
        }
    });
}

#[test]
fn a_refusal_is_heard_of_a_server_that_does_not_listen_any_more() {
    simulate(async {
        let refuses = async |mut stream: DuplexStream| {
            serve(&mut stream, ENVELOPE).await;
            stream.write_all(b"552 5.3.4 too big\r\n").await.unwrap();
        };
        let (report, (), _) = send_to(&message(100_000), Encryption::Never, 1000, refuses).await;
        assert_eq!(report.text, "552 5.3.4 too big");
        assert_eq!(report.outcome, Outcome::Failed);
        // And a silent server has not accepted it.
        let closes = async |mut stream: DuplexStream| serve(&mut stream, ENVELOPE).await;
        let message = message(100_000);
        let (report, (), _) = send_to(&message, Encryption::Never, 1000, closes).await;
        assert_eq!((report.outcome, report.scope), (Outcome::Deferred, Scope::Host));
        assert!(!report.may_be_delivered, "it has no end");
        assert!(message.2.get() <= 2, "the rest is not read");
    });
}

#[test]
fn of_a_message_that_cannot_be_read_whole_no_end_comes() {
    simulate(async {
        let reads = async |mut stream: DuplexStream| {
            serve(&mut stream, ENVELOPE).await;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let whole = message(100_000);
        let (report, heard, _) =
            send_to(&Text(whole.0, 100_000, Cell::default()), Encryption::Never, 1000, reads).await;
        assert_eq!(report.text, "the message cannot be read now");
        assert!(!heard.is_empty() && !heard.ends_with(b"\r\n.\r\n"));
    });
}

#[test]
fn a_handshake_that_fails_is_told() {
    simulate(async {
        let offers = async |mut stream: DuplexStream| {
            let dialogue = [
                ("", "220 x\r\n"),
                ("EHLO mx.b.example", "250-x\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "220 go\r\n"),
            ];
            serve(&mut stream, &dialogue).await;
        };
        let (report, (), _) = send_to(&message(1), Encryption::Opportunistic, 1000, offers).await;
        assert_eq!((report.outcome, report.scope), (Outcome::Deferred, Scope::Tls));
        assert_eq!(report.text, "no common cipher");
    });
}

#[test]
fn what_follows_a_handshake_goes_by_its_stream() {
    simulate(async {
        let (inner, mut under_tls) = duplex(1000);
        let (near, mut far) = duplex(1000);
        let tls = Rc::new(Handshake(RefCell::new(Some(Box::new(inner)))));
        let environment = Environment { tls, ..environment() };
        let message = message(3);
        let delivery = delivery(&environment, Encryption::Required, &["c@d.example"]);
        let server = async {
            let dialogue = [
                ("", "220 x\r\n"),
                ("EHLO mx.b.example", "250-x\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "220 go\r\n"),
            ];
            serve(&mut far, &dialogue).await;
            serve(&mut under_tls, &ENVELOPE[1..]).await;
            serve(&mut under_tls, &[("\r\n.", "250 queued\r\n"), ("QUIT", "221 bye\r\n")]).await;
        };
        let (reports, ()) =
            tokio::join!(send_and_leave(&environment, Box::new(near), delivery, &message), server);
        assert_eq!(reports[0].outcome, Outcome::Delivered);
    });
}

#[test]
fn what_became_of_a_message_is_known_before_quit_is_answered() {
    simulate(async {
        let (near, mut far) = duplex(1000);
        let (environment, message) = (environment(), message(3));
        let delivery = delivery(&environment, Encryption::Never, &["c@d.example"]);
        let begin = environment.clock.now();
        let sent = async {
            let (reports, quit) =
                send(&environment, watch::channel(false).1, Box::new(near), delivery, &message, None).await;
            let known = environment.clock.now();
            quit.send().await;
            (reports, known.since(begin), environment.clock.now().since(known))
        };
        let server = async {
            serve(&mut far, ENVELOPE).await;
            serve(&mut far, &[("\r\n.", "250 queued\r\n"), ("QUIT", "")]).await;
            sleep(Duration::from_secs(3600)).await;
        };
        let ((reports, known, left), ()) = tokio::join!(sent, server);
        assert_eq!((reports[0].outcome, known), (Outcome::Delivered, Duration::ZERO));
        assert_eq!(left, QUIT_TIMEOUT);
    });
}

#[test]
fn a_server_is_left_in_order_as_this_side_stops() {
    simulate(async {
        // The last answered command; what the server receives then; and whether its reply to the end counts.
        for (answered, heard, is_delivered) in [
            (0, "", false),
            (1, "EHLO mx.b.example\r\n", false),
            (2, "MAIL FROM:<a@b.example>\r\nQUIT\r\n", false),
            (3, "RCPT TO:<c@d.example>\r\nQUIT\r\n", false),
            (4, "DATA\r\n", false),
            (5, "\r\n.\r\nQUIT\r\n", true),
        ] {
            let (near, mut far) = duplex(1000);
            let (stop, stops) = watch::channel(false);
            let (environment, message) =
                (environment(), Text(b"A: b\r\n".to_vec(), u64::MAX, Cell::default()));
            let delivery = delivery(&environment, Encryption::Never, &["c@d.example"]);
            let server = async {
                serve(&mut far, &ENVELOPE[..answered]).await;
                sleep(Duration::from_secs(1)).await;
                stop.send_replace(true);
                sleep(Duration::from_secs(1)).await;
                if is_delivered {
                    far.write_all(b"250 OK\r\n").await.unwrap();
                }
                let mut heard = Vec::new();
                far.read_to_end(&mut heard).await.unwrap();
                String::from_utf8(heard).unwrap()
            };
            let sent = async {
                let (reports, quit) =
                    send(&environment, stops, Box::new(near), delivery, &message, None).await;
                quit.send().await;
                reports
            };
            let (reports, said) = tokio::join!(sent, server);
            assert_eq!(reports[0].outcome == Outcome::Delivered, is_delivered, "{answered}: {reports:?}");
            assert!(said.ends_with(heard), "{answered}: {said}");
            assert!(is_delivered || reports[0].text == "this server is stopping", "{reports:?}");
        }
    });
}
