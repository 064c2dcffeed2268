//! What the gateway reads of a message that anybody wrote when it is distributed, answered and imported: somebody gets
//! it, an answer has lines of a bearable length, and how a file is cut into portions makes no difference.
//!
//! The input is how the file is cut, and the file. That is read as a message, and as an mbox of several.

#![no_main]

use std::convert::Infallible;

use gatepost_fuzz::Input;
use gatepost_services::clock::UnixTime;
use gatepost_services::mail::address::{Domain, Mailbox, ReversePath};
use gatepost_services::mail::poll::distribute::{Distribution, Found, distribute};
use gatepost_services::mail::rules::vacation::{Answer, asks};
use gatepost_services::mail::transfer::{Head, Parser, Sink};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime(1_709_210_096);
/// The longest line of a message, without its CRLF. (RFC 5322, section 2.1.1)
const LINE_OCTETS_MAX: usize = 998;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let cuts = input.chunk();
    let file = input.rest();
    give(file);
    answer(file);
    let whole = import(file, &[]);
    assert!(import(file, cuts) == whole, "cut at {cuts:?} it has other messages");
});

/// Has a message of a common mailbox go to whom it is for.
fn give(message: &[u8]) {
    let otherwise_to = ["boss".to_owned()];
    let how = Distribution { envelope_field: None, account: "office77", otherwise_to: &otherwise_to };
    let distributed = distribute(message, &how, |mailbox: &Mailbox| match &mailbox.domain {
        Domain::Name(domain) if domain == "office.example" => match mailbox.local.as_str() {
            "anna" => Found::Users(vec!["anna".to_owned()]),
            _ => Found::Nobody,
        },
        _ => Found::Elsewhere,
    });
    assert!(!distributed.receivers.is_empty());
    let field = distributed.to_header();
    for (at, line) in field.strip_suffix("\r\n").expect("a line").split("\r\n").enumerate() {
        assert!(at == 0 || line.starts_with('\t'), "{field:?}");
        assert!(
            line.len() <= LINE_OCTETS_MAX && line.bytes().all(|octet| matches!(octet, b'\t' | b' '..=b'~'))
        );
    }
}

/// Has somebody who is away answer a message.
fn answer(message: &[u8]) {
    let own = Mailbox::parse("anna@office.example").expect("an address");
    let sender = Mailbox::parse("bob@far.example").expect("an address");
    let text = String::from_utf8_lossy(message);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let fields: Vec<_> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let path = ReversePath::Mailbox(sender);
    let Ok(to) = asks(&fields, &path, |mailbox| *mailbox == own) else { return };
    let answer = Answer {
        from: &own,
        full_name: "Anna",
        text: "Back on Monday.",
        to,
        message_id: "<1@office.example>",
        now: NOW,
    };
    for line in answer.to_octets(&fields).split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("a line that ends with CRLF");
        assert!(line.len() <= LINE_OCTETS_MAX && !line.contains(&b'\r'), "{line:?}");
    }
}

/// The messages of an mbox.
fn import(file: &[u8], cuts: &[u8]) -> Vec<(Vec<u8>, Head)> {
    let (mut parser, mut imported) = (Parser::new(), Imported::default());
    let (mut rest, mut cuts) = (file, cuts.iter());
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).clamp(1, rest.len()));
        let (portion, after) = rest.split_at(len);
        let Ok(()) = parser.push(portion, &mut imported);
        rest = after;
    }
    let Ok(()) = parser.finish(&mut imported);
    imported.messages
}

#[derive(Default)]
struct Imported {
    open: Vec<u8>,
    messages: Vec<(Vec<u8>, Head)>,
}

impl Sink for Imported {
    type Error = Infallible;

    fn part(&mut self, octets: &[u8]) -> Result<(), Infallible> {
        self.open.extend_from_slice(octets);
        Ok(())
    }

    fn end(&mut self, head: &Head) -> Result<(), Infallible> {
        self.messages.push((std::mem::take(&mut self.open), head.clone()));
        Ok(())
    }
}
