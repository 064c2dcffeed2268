//! Octets from a client to the SMTP server: it never panics, gives one reply for each command, takes no octet of a
//! message for a command, keeps exactly the message that was sent, and does not mind how the stream is cut.
//!
//! The input is who the client is, what is answered to questions, how the stream is cut, and the stream. Where commands
//! and messages end is found once more here, from the stream and the codes of the replies alone.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::str;

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::mail::address::Domain;
use gatepost_services::mail::sasl::{Mechanism, Verdict};
use gatepost_services::mail::smtp::server::{Action, Answer, Ask, Output, Session};
use gatepost_services::mail::smtp::{CHUNK_OCTETS, Limits, Policy, Rejection, Role, Tls};
use libfuzzer_sys::fuzz_target;

/// Octets of a message that are taken.
const MESSAGE_OCTETS_MAX: u64 = 1000;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let policy = policy(input.u8());
    let (answers, cuts, stream) = (input.chunk(), input.chunk(), input.rest());
    let whole = run(&policy, answers, stream, &[]);
    check(&policy, stream, &whole);
    let cut = run(&policy, answers, stream, cuts);
    assert!(cut == whole, "cut at {cuts:?} it comes to {cut:?} and not to {whole:?}");
});

fn policy(flags: u8) -> Policy {
    let is_lan = flags & 4 != 0;
    let limits = if is_lan { Limits::lan(MESSAGE_OCTETS_MAX) } else { Limits::wan(MESSAGE_OCTETS_MAX) };
    Policy {
        role: [Role::Mx, Role::Submission, Role::Lmtp, Role::Mx][usize::from(flags & 3)],
        hostname: "smtp.office.example".to_owned(),
        domain: Domain::Name("office.example".to_owned()),
        peer: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
        peer_name: None,
        is_lan,
        may_relay: is_lan,
        has_dsn: true,
        tls: if flags & 8 == 0 { Tls::Unavailable } else { Tls::Available },
        plaintext_login: true,
        mechanisms: if flags & 16 == 0 { Mechanism::ALL.to_vec() } else { Vec::new() },
        limits,
    }
}

/// What came of a stream, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A recipient was taken.
    Recipient,
    /// A message was to be made safe.
    Commit(Vec<u8>),
    Abort,
    /// Octets for the client, once so many of the stream were taken.
    Reply(usize, Vec<u8>),
    Close,
}

/// Gives the stream to a session, cut after so many octets each, or whole.
fn run(policy: &Policy, answers: &[u8], stream: &[u8], cuts: &[u8]) -> Vec<Event> {
    let mut now = Instant::from_secs(1);
    let mut session = Session::new(now, policy.clone());
    let mut refusals = answers.iter().cycle().map(|answer| answer & 3 == 3);
    let mut result = || match refusals.next() {
        Some(true) => Err(Rejection::TryLater),
        _ => Ok(()),
    };
    let mut lens = cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
    let (mut at, mut end) = (0, 0);
    let (mut events, mut message, mut recipients) = (Vec::new(), None::<Vec<u8>>, 0);
    let mut is_quiet = false;
    loop {
        while let Some(output) = session.poll_output(now) {
            is_quiet = false;
            let answer = match output {
                Output::Reply(octets) => {
                    events.push(Event::Reply(at, octets));
                    continue;
                }
                Output::Action(Action::Close) => {
                    assert_eq!(session.deadline(), None);
                    events.push(Event::Close);
                    return events;
                }
                // What follows in clear ends the session.
                Output::Action(Action::StartTls) => continue,
                Output::Action(Action::Abort) => {
                    assert!(message.take().is_some(), "nothing to abort");
                    events.push(Event::Abort);
                    continue;
                }
                Output::Ask(Ask::Begin(_)) => {
                    assert!(message.is_none(), "two messages at a time");
                    let result = result();
                    (message, recipients) = (result.is_ok().then(Vec::new), 0);
                    Answer::Begin(result)
                }
                Output::Ask(Ask::Route(recipient)) => {
                    assert!(message.is_some());
                    assert_eq!(recipient.may_relay, policy.may_relay || session.user().is_some());
                    let result = result();
                    if result.is_ok() {
                        recipients += 1;
                        events.push(Event::Recipient);
                    }
                    Answer::Route(result)
                }
                Output::Ask(Ask::Authenticate(_)) => Answer::Authenticate(match result() {
                    Ok(()) => Verdict::Accepted { user: "anna".to_owned() },
                    Err(_) => Verdict::Refused,
                }),
                Output::Ask(Ask::Chunk(octets)) => {
                    assert!(!octets.is_empty() && octets.len() <= CHUNK_OCTETS);
                    message.as_mut().expect("a message").extend(octets);
                    Answer::Chunk(Ok(()))
                }
                Output::Ask(Ask::Commit) => {
                    assert!(recipients > 0, "a message for nobody");
                    events.push(Event::Commit(message.take().expect("a message")));
                    Answer::Commit(vec![Ok("1".to_owned()); recipients])
                }
            };
            assert_eq!(session.receive(now, b"QUIT\r\n"), 0, "nothing is taken while a question is open");
            session.answer(now, answer);
        }
        let deadline = session.deadline().expect("it is not over");
        if at == stream.len() {
            if is_quiet {
                return events;
            }
            // A reply may be held back.
            (now, is_quiet) = (now.max(deadline), true);
            continue;
        }
        if end <= at {
            end = lens.next().map_or(stream.len(), |len| (at + len).min(stream.len()));
        }
        let taken = session.receive(now, &stream[at..end]);
        if taken == 0 {
            assert!(!is_quiet, "it does not go on");
            // A reply that is held back comes first.
            (now, is_quiet) = (now.max(deadline), true);
        }
        at = (at + taken).min(stream.len());
    }
}

/// What the client sends next, as its client sees it.
#[derive(Clone, Copy)]
enum Mode {
    Command,
    Login,
    Data,
}

fn check(policy: &Policy, stream: &[u8], events: &[Event]) {
    let (mut mode, mut at, mut recipients) = (Mode::Command, 0, 0);
    // What came of a message by BDAT; `None` once something of it was refused.
    let mut chunks = Some(Vec::new());
    let mut committed = None;
    let mut is_over = false;
    let mut events = events.iter();
    assert!(matches!(events.next(), Some(Event::Reply(0, greeting)) if greeting.starts_with(b"220 ")));
    while let Some(event) = events.next() {
        let (position, reply) = match event {
            Event::Recipient => {
                recipients += 1;
                continue;
            }
            Event::Commit(message) => {
                committed = Some(message);
                continue;
            }
            Event::Abort => continue,
            Event::Close => {
                is_over = true;
                continue;
            }
            Event::Reply(position, reply) => (*position, reply),
        };
        assert!(!is_over, "a reply after the end");
        let last = reply.trim_ascii_end().split(|octet| *octet == b'\n').next_back().unwrap_or_default();
        let code: u16 = str::from_utf8(&last[..3]).ok().and_then(|code| code.parse().ok()).expect("a code");
        if code == 421 {
            // It says itself that it takes no more.
            is_over = true;
            continue;
        }
        let (end, is_message, message) = next(stream, at, mode).expect("a reply to nothing");
        // What follows the end is thrown away, also while the last reply is held back.
        let behind = events.as_slice().iter().find(|event| !matches!(event, Event::Abort));
        let is_last = matches!(behind, Some(Event::Close));
        assert!(position == end || is_last && position > end, "a reply before its time, or after it");
        let is_whole = is_message.is_some_and(|is_last| is_last);
        let replies = reply.split_inclusive(|octet| *octet == b'\n').filter(|line| line[3] == b' ').count();
        let is_for_each = policy.role == Role::Lmtp && is_whole && replies != 1;
        assert_eq!(replies, if is_for_each { recipients } else { 1 });
        if let (Mode::Command, Some(_)) = (mode, is_message) {
            chunks = chunks.filter(|_| code == 250).map(|chunks| [chunks, message.clone()].concat());
        }
        if let Some(committed) = committed.take() {
            assert!(is_whole, "no message has ended here");
            let chunks = chunks.as_ref().expect("a message with a hole");
            let sent = if matches!(mode, Mode::Data) { &message } else { chunks };
            // An LF of the office is made CRLF.
            let mends = policy.is_lan && policy.role != Role::Lmtp;
            let sent = if mends { mended(sent) } else { sent.clone() };
            assert_eq!(*committed, sent, "another message than was sent");
            assert!(!has_bare(committed) && committed.len() as u64 <= MESSAGE_OCTETS_MAX);
        }
        if code == 250 && matches!(mode, Mode::Command) && verb(stream, at) == *b"MAIL" {
            recipients = 0;
            chunks = Some(Vec::new());
        }
        mode = match code {
            354 => Mode::Data,
            334 => Mode::Login,
            _ => Mode::Command,
        };
        at = end;
        is_over = code == 220 || code == 221;
    }
    assert!(is_over || next(stream, at, mode).is_none(), "a command without a reply");
}

/// The octets with each LF that has no CR before it made CRLF.
fn mended(octets: &[u8]) -> Vec<u8> {
    let before = [0].iter().chain(octets);
    let is_bare = |(before, octet): (&u8, &u8)| *octet == b'\n' && *before != b'\r';
    let pairs = before.zip(octets);
    pairs.flat_map(|pair| if is_bare(pair) { vec![b'\r', b'\n'] } else { vec![*pair.1] }).collect()
}

/// The first four letters of a line, in upper case.
fn verb(stream: &[u8], at: usize) -> [u8; 4] {
    let mut verb = [0; 4];
    let letters = stream[at..].iter().map(u8::to_ascii_uppercase);
    verb.iter_mut().zip(letters).for_each(|(place, letter)| *place = letter);
    verb
}

/// Where what stands at `at` ends; whether it is part of a message, and then the last; the octets of that.
fn next(stream: &[u8], at: usize, mode: Mode) -> Option<(usize, Option<bool>, Vec<u8>)> {
    let rest = &stream[at..];
    if let Mode::Data = mode {
        let (len, message) = data(rest)?;
        return Some((at + len, Some(true), message));
    }
    let len = rest.iter().position(|octet| *octet == b'\n')? + 1;
    let Some((octets, is_last)) = chunk(&rest[..len]).filter(|_| matches!(mode, Mode::Command)) else {
        return Some((at + len, None, Vec::new()));
    };
    let octets = usize::try_from(octets).ok().filter(|octets| *octets <= rest.len() - len)?;
    Some((at + len + octets, Some(is_last), rest[len..len + octets].to_vec()))
}

/// How many octets follow a line that is a BDAT, and whether they are the last.
fn chunk(line: &[u8]) -> Option<(u64, bool)> {
    let text = line.strip_suffix(b"\r\n")?;
    let words: Vec<_> = text.split(|octet| *octet == b' ').filter(|word| !word.is_empty()).collect();
    let (verb, octets) = (words.first()?, words.get(1)?);
    let is_bdat = verb.eq_ignore_ascii_case(b"BDAT") && !text.starts_with(b" ");
    let octets =
        str::from_utf8(octets).ok().filter(|octets| octets.bytes().all(|octet| octet.is_ascii_digit()))?;
    let is_last = words.len() == 3 && words[2].eq_ignore_ascii_case(b"LAST");
    Some((octets.parse().ok().filter(|_| is_bdat)?, is_last))
}

/// How many octets the data have to their end, doubtful or not, and the message in them: first pairs are found, then
/// lines between those that end one.
fn data(stream: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut message, mut line, mut at, mut is_after_bare) = (Vec::new(), Vec::new(), 0, false);
    let mut doubtful_from = None;
    while at < stream.len() {
        let token = if stream[at..].starts_with(b"\r\n") { &stream[at..at + 2] } else { &stream[at..=at] };
        at += token.len();
        if token == b"\r\n" && !is_after_bare {
            let is_doubtful = doubtful_from.is_some_and(|from: usize| line[from..] == *b".");
            if line == b"." || is_doubtful {
                line.pop();
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                return Some((at, message));
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            message.extend_from_slice(token);
            line.clear();
            doubtful_from = None;
        } else {
            line.extend_from_slice(token);
            doubtful_from = (token == b"\r\n").then_some(line.len()).or(doubtful_from);
        }
        is_after_bare = token == b"\r" || token == b"\n";
    }
    None
}

/// Whether a message has a CR or an LF that is no line's end, or a NUL.
fn has_bare(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some((first, after)) = rest.split_first() {
        rest = match rest.strip_prefix(b"\r\n") {
            Some(after) => after,
            None if matches!(first, b'\r' | b'\n' | 0) => return true,
            None => after,
        };
    }
    false
}
