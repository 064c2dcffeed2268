//! Octets from a server to the SMTP client: it never panics, reports each recipient once, takes a message for delivered
//! only if it was sent whole and then answered by 2xx, sends exactly the message, and no password in clear. How a reply is
//! cut makes no difference, to the reader of replies and to the session.
//!
//! The input is how the server is spoken to, the message, how replies are cut, and what the server says, a line at a time;
//! lines of one control octet are what happens otherwise.

#![no_main]

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::mail::address::{Mailbox, ReversePath};
use gatepost_services::mail::sasl::Password;
use gatepost_services::mail::sasl::client::{Credentials, NONCE_OCTETS};
use gatepost_services::mail::smtp::RcptParameters;
use gatepost_services::mail::smtp::client::{
    BrokenReply, Client, Encryption, Envelope, EnvelopeRecipient, Outcome, Output, ReplyReader, Report,
    ServerReply, Settings,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (flags, message, cuts, stream) = (input.u8(), input.chunk(), input.chunk(), input.rest());
    assert!(replies(stream, cuts) == replies(stream, &[]), "cut at {cuts:?} the replies are others");
    let whole = run(flags, message, stream, &[]);
    let cut = run(flags, message, stream, cuts);
    assert!(cut == whole, "cut at {cuts:?} it comes to {cut:?} and not to {whole:?}");
});

/// Octets in portions of so many each, or whole.
fn portions<'a>(octets: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut portions) = (octets, Vec::new());
    let mut lens = cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
    while !rest.is_empty() {
        let (portion, after) = rest.split_at(lens.next().unwrap_or(rest.len()).min(rest.len()));
        portions.push(portion);
        rest = after;
    }
    portions
}

/// All replies of a stream, up to what is none.
fn replies(stream: &[u8], cuts: &[u8]) -> Vec<Result<ServerReply, BrokenReply>> {
    let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
    for mut octets in portions(stream, cuts) {
        while !octets.is_empty() {
            let (taken, reply) = reader.read(octets);
            assert!(taken > 0);
            octets = &octets[taken..];
            let is_broken = matches!(reply, Some(Err(_)));
            replies.extend(reply);
            if is_broken {
                return replies;
            }
        }
    }
    for reply in replies.iter().flatten() {
        assert!((200..600).contains(&reply.code) && !reply.to_text().contains(['\r', '\n']));
    }
    replies
}

fn settings(flags: u8) -> Settings {
    let login = Credentials {
        user: "anna".to_owned(),
        password: Password("secret".to_owned()),
        nonce: [7; NONCE_OCTETS],
    };
    let encryption = [Encryption::Never, Encryption::Opportunistic, Encryption::Required, Encryption::Active];
    Settings {
        hostname: "smtp.office.example".to_owned(),
        encryption: encryption[usize::from(flags & 3)],
        login: (flags & 4 != 0).then_some(login),
        is_verified: true,
    }
}

fn envelope(flags: u8, message: &[u8]) -> Envelope {
    let recipients = ["bob@far.example", "jürgen@far.example", "\"c d\"@far.example"];
    let recipient = |text: &&str| EnvelopeRecipient {
        address: Mailbox::parse(text).expect("an address"),
        parameters: RcptParameters::default(),
    };
    Envelope {
        sender: ReversePath::Null,
        size: message.len() as u64,
        is_8bit: flags & 8 != 0,
        has_utf8_header: flags & 16 != 0,
        ret: None,
        envid: None,
        recipients: recipients.iter().map(recipient).collect(),
    }
}

/// What goes out of a message, said once more: whole lines, each with CRLF, and dots.
fn data(message: &[u8]) -> Vec<u8> {
    let (mut lines, mut rest) = (Vec::new(), message);
    while let Some(end) = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')) {
        lines.push(&rest[..end]);
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    let mut data = Vec::new();
    for line in lines {
        if line.starts_with(b".") {
            data.push(b'.');
        }
        data.extend_from_slice(line);
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    data
}

/// What a session came to: all that was sent, and the reports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    sent: Vec<u8>,
    reports: Vec<Vec<Report>>,
}

fn run(flags: u8, message: &[u8], stream: &[u8], cuts: &[u8]) -> Came {
    let mut now = Instant::from_secs(1);
    let envelope = envelope(flags, message);
    let mut delivery = Client::new(now, settings(flags), envelope.clone());
    let (mut came, mut messages) = (Came::default(), 1);
    let mut fetched = 0;
    // Where what was sent for the message begins, once it was asked for; and whether all of it was.
    let (mut data_from, mut is_whole) = (None, false);
    let mut lines = stream.split_inclusive(|octet| *octet == b'\n').peekable();
    loop {
        while let Some(output) = delivery.poll_output(now) {
            match output {
                Output::Send(octets) => {
                    assert!(flags & 3 != 0 && delivery.is_tls() || !octets.starts_with(b"AUTH"));
                    came.sent.extend_from_slice(&octets);
                }
                Output::Fetch => {
                    let from = *data_from.get_or_insert(came.sent.len());
                    let portion = message[fetched..].chunks(5).next();
                    assert_eq!(delivery.deadline(), None);
                    match portion {
                        Some(octets) => {
                            fetched += octets.len();
                            delivery.data(octets);
                        }
                        None if flags & 32 != 0 => delivery.data_failed("the disk failed"),
                        None => {
                            delivery.data_ended();
                            let Some(Output::Send(octets)) = delivery.poll_output(now) else { panic!() };
                            came.sent.extend_from_slice(&octets);
                            assert_eq!(came.sent[from..], data(message));
                            is_whole = true;
                        }
                    }
                }
                Output::Derive(_) => delivery.derived(&[7; 32]),
                Output::StartTls => assert!(matches!(flags & 3, 1 | 2)),
                Output::Reports(reports) => {
                    assert_eq!(reports.len(), envelope.recipients.len());
                    assert!(came.reports.len() < messages, "reported twice");
                    for report in &reports {
                        let is_delivered = report.outcome == Outcome::Delivered;
                        assert!(!is_delivered || is_whole && report.is_reply, "{report:?}");
                        assert!(!report.may_be_delivered || is_whole && !is_delivered, "{report:?}");
                    }
                    came.reports.push(reports);
                    (data_from, is_whole, fetched) = (None, false, 0);
                }
                Output::Close => {
                    assert!(delivery.is_closed() && delivery.deadline().is_none());
                    assert_eq!(delivery.poll_output(now), None);
                    assert_eq!(came.reports.len(), messages, "a message without an end");
                    return came;
                }
            }
        }
        match lines.next() {
            None if delivery.is_ready() => delivery.quit(),
            None => delivery.lost(),
            Some(b"\x01\n") => delivery.tls_started(now, flags & 64 != 0),
            Some(b"\x02\n") => {
                now = delivery.deadline().unwrap_or(now);
                delivery.handle_timeout(now);
            }
            Some(b"\x03\n") => delivery.tls_failed("no common cipher"),
            Some(b"\x04\n") if delivery.is_ready() => {
                delivery.deliver(now, envelope.clone());
                messages += 1;
            }
            Some(line) => portions(line, cuts).iter().for_each(|portion| delivery.receive(now, portion)),
        }
    }
}
