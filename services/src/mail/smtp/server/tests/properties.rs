//! Transactions that are made up, sent in any portions: what comes out is what went in.

use proptest::prelude::*;

use crate::cases;
use crate::mail::smtp::server::testing::{Line, lan, replies, wan};

/// A message as lines, some of which look like something else.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b".".to_vec()),
        Just(b"..".to_vec()),
        Just(b"".to_vec()),
        Just(b"RSET".to_vec()),
        Just(b"QUIT".to_vec()),
        Just(b"BDAT 5 LAST".to_vec()),
        Just(b"Received: x".to_vec()),
        prop::collection::vec(prop::sample::select(&b".ab\xff \t"[..]), 0..12),
        Just(vec![b'x'; 70_000]),
    ];
    prop::collection::vec(line, 0..8)
        .prop_map(|lines| lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect())
}

/// How a message goes over the wire.
#[derive(Clone, Debug)]
enum Transfer {
    Data,
    /// Chunks that end at these parts of the message, of 256.
    Chunks(Vec<u8>),
}

fn transfer() -> impl Strategy<Value = Transfer> {
    prop_oneof![Just(Transfer::Data), prop::collection::vec(any::<u8>(), 0..4).prop_map(Transfer::Chunks)]
}

/// The octets of a transaction, and how many replies it has.
fn transaction(message: &[u8], transfer: &Transfer, recipients: usize) -> (Vec<u8>, usize) {
    let mut stream = b"MAIL FROM:<a@b.example>\r\n".to_vec();
    stream.extend(b"RCPT TO:<no@office.example>\r\n".repeat(recipients));
    stream.extend(b"RCPT TO:<anna@office.example>\r\n".repeat(recipients));
    let replies = match transfer {
        Transfer::Data => {
            stream.extend(b"DATA\r\n");
            let lines = message.split_inclusive(|octet| *octet == b'\n');
            lines.for_each(|line| {
                let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
                stream.extend([dot, line].concat());
            });
            stream.extend(b".\r\n");
            2
        }
        Transfer::Chunks(ends) => {
            let mut ends: Vec<_> = ends.iter().map(|end| message.len() * usize::from(*end) / 256).collect();
            ends.sort_unstable();
            let mut start = 0;
            for end in &ends {
                stream
                    .extend(format!("BDAT {}\r\n", end - start).bytes().chain(message[start..*end].to_vec()));
                start = *end;
            }
            let last = format!("BDAT {} LAST\r\n", message.len() - start);
            stream.extend(last.bytes().chain(message[start..].to_vec()));
            ends.len() + 1
        }
    };
    (stream, 1 + 2 * recipients + replies)
}

/// Sends a stream cut at these lengths, and says all that came of it.
fn outcome(stream: &[u8], portions: &[usize], line: &mut Line) -> String {
    let (mut said, mut rest) = (String::new(), stream);
    for len in portions.iter().cycle() {
        let (portion, after) = rest.split_at((*len).min(rest.len()));
        said += &line.send(portion);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    said
}

fn octet() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        b"EHLO a.example\r\n".to_vec(),
        b"MAIL FROM:<a@b.example>\r\n".to_vec(),
        b"RCPT TO:<anna@office.example>\r\n".to_vec(),
        b"RCPT TO:<no@office.example>\r\n".to_vec(),
        b"DATA\r\n".to_vec(),
        b"BDAT 5\r\n".to_vec(),
        b"BDAT 7 LAST\r\n".to_vec(),
        b"BDAT 3 X\r\n".to_vec(),
        b"RSET\r\n".to_vec(),
        b"NOOP\r\n".to_vec(),
        b"AUTH LOGIN\r\n".to_vec(),
        b"YW5uYQ==\r\n".to_vec(),
        b"*\r\n".to_vec(),
        b"\r\n.\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"\r".to_vec(),
        b"\n".to_vec(),
        b".".to_vec(),
        b"\0".to_vec(),
        b"text".to_vec(),
        vec![b'x'; 3000],
        vec![b'y'; 70_000],
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(128)))]

    #[test]
    fn the_message_that_comes_out_is_the_one_that_went_in(
        transactions in prop::collection::vec((message(), transfer(), 1_usize..4), 1..4),
        portions in prop::collection::vec(prop_oneof![1_usize..40, Just(1_usize << 20)], 1..6),
    ) {
        let mut line = Line::greeted(lan());
        let (mut stream, mut expected) = (Vec::new(), 0);
        for (message, transfer, recipients) in &transactions {
            let (octets, replies) = transaction(message, transfer, *recipients);
            stream.extend(octets);
            expected += replies;
        }
        let said = outcome(&stream, &portions, &mut line);
        prop_assert_eq!(replies(&said), expected, "{}", said);
        prop_assert_eq!(line.office.delivered.len(), transactions.len(), "{}", said);
        for (delivered, (message, _, recipients)) in line.office.delivered.iter().zip(&transactions) {
            prop_assert!(delivered.message == *message);
            prop_assert_eq!(delivered.recipients.len(), *recipients);
        }
    }

    #[test]
    fn portions_make_no_difference(
        stream in prop::collection::vec(octet(), 0..40),
        portions in prop::collection::vec(prop_oneof![1_usize..40, Just(1_usize << 20)], 1..6),
        is_lan: bool,
    ) {
        let stream = stream.concat();
        let policy = if is_lan { lan() } else { wan() };
        let (mut whole, mut cut) = (Line::greeted(policy.clone()), Line::greeted(policy));
        let said = outcome(&stream, &[usize::MAX], &mut whole);
        prop_assert_eq!(outcome(&stream, &portions, &mut cut), said);
        prop_assert_eq!(&cut.office.delivered, &whole.office.delivered);
        prop_assert_eq!(&cut.actions, &whole.actions);
        prop_assert_eq!(cut.session.deadline(), whole.session.deadline());
    }
}
