//! Octets from a client to the POP3 server: it never panics, gives one reply for each line, takes no password in clear
//! unless it may, sends messages as they are stored, removes by QUIT alone and only what was marked, and does not mind how
//! the stream is cut.
//!
//! The input is what the server allows, what is answered to questions, how the stream is cut, and the stream. An octet of 22, with
//! which a client's handshake begins, is the place of a handshake.

#![no_main]

use std::collections::BTreeSet;

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::mail::pop3::server::{
    Action, Answer, Ask, Inbox, NotFetched, NotOpened, Output, Policy, Session,
};
use gatepost_services::mail::sasl::Verdict;
use gatepost_services::mail::smtp::Tls;
use libfuzzer_sys::fuzz_target;

const HANDSHAKE: u8 = 22;

/// The messages of the inbox, by their numbers there.
const STORED: [(u32, &[u8]); 4] = [
    (3, b"a: b\r\n\r\n.\r\n..two\r\n\r\nfour\r\n"),
    (6, b"a: b\r\n c\r\n\r\nno end"),
    (7, b""),
    (9, b".\r\n\r\n.\r\n.\r\n"),
];

/// Octets of a message that are read at a time.
const PART_OCTETS: usize = 5;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (flags, answers, cuts, stream) = (input.u8(), input.chunk(), input.chunk(), input.rest());
    let whole = Client::new(flags, answers).run(stream, &[]);
    let cut = Client::new(flags, answers).run(stream, cuts);
    assert!(cut == whole, "cut at {cuts:?} it comes to {cut:?} and not to {whole:?}");
});

/// What came of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    said: Vec<u8>,
    removed: Option<Vec<u32>>,
    is_closed: bool,
}

/// A message that goes out.
struct Sending {
    message: &'static [u8],
    /// Octets of it that were read.
    read: usize,
    /// The lines of its body that were asked for, if not all of it was.
    lines: Option<usize>,
    said: Vec<u8>,
    /// Whether no more of it is read.
    is_read: bool,
}

/// A session, whoever answers it, and what is known of it from its client's lines and its replies alone.
struct Client<'a> {
    session: Session,
    now: Instant,
    plaintext_login: bool,
    answers: Box<dyn Iterator<Item = u8> + 'a>,
    /// The line that was taken last, and whether something was said to it.
    line: Vec<u8>,
    is_answered: bool,
    is_encrypted: bool,
    /// Whether a handshake is due.
    awaits_handshake: bool,
    is_accepted: bool,
    is_open: bool,
    marked: BTreeSet<u32>,
    sending: Option<Sending>,
    came: Came,
}

impl<'a> Client<'a> {
    fn new(flags: u8, answers: &'a [u8]) -> Self {
        let tls = [Tls::Unavailable, Tls::Available, Tls::Active, Tls::Available][usize::from(flags & 3)];
        let plaintext_login = flags & 4 != 0;
        let policy = Policy { hostname: "smtp.office.example".to_owned(), tls, plaintext_login };
        let now = Instant::from_secs(1);
        Self {
            session: Session::new(now, policy),
            now,
            plaintext_login,
            answers: Box::new(answers.iter().copied().cycle()),
            line: Vec::new(),
            is_answered: false,
            is_encrypted: tls == Tls::Active,
            awaits_handshake: false,
            is_accepted: false,
            is_open: false,
            marked: BTreeSet::new(),
            sending: None,
            came: Came::default(),
        }
    }

    /// Gives it the stream, cut after so many octets each, or between handshakes whole.
    fn run(mut self, stream: &[u8], cuts: &[u8]) -> Came {
        self.settle();
        let mut lens = cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
        for (number, between) in stream.split(|octet| *octet == HANDSHAKE).enumerate() {
            if number > 0 && std::mem::take(&mut self.awaits_handshake) {
                self.session.tls_started(self.now);
                self.is_encrypted = true;
                self.settle();
            }
            let mut rest = between;
            while !rest.is_empty() && !self.came.is_closed {
                let (mut portion, after) = rest.split_at(lens.next().unwrap_or(rest.len()).min(rest.len()));
                rest = after;
                while !portion.is_empty() && !self.came.is_closed {
                    let taken = self.session.receive(self.now, portion);
                    self.takes(&portion[..taken]);
                    portion = &portion[taken..];
                    let is_closed_before = self.came.is_closed;
                    self.settle();
                    assert!(taken > 0 || self.came.is_closed != is_closed_before, "it does not go on");
                }
            }
        }
        assert_eq!(self.session.deadline().is_none(), self.came.is_closed);
        self.came
    }

    /// Takes note of octets that the session took: up to the end of one line at most.
    fn takes(&mut self, octets: &[u8]) {
        let end = octets.iter().position(|octet| *octet == b'\n');
        assert!(end.is_none_or(|end| end + 1 == octets.len()), "more than one line");
        if !octets.is_empty() && self.line.last().is_none_or(|last| *last == b'\n') {
            assert!(self.is_answered, "a line without a reply");
            self.line.clear();
            self.is_answered = false;
        }
        self.line.extend_from_slice(octets);
    }

    /// The words of the last line, the first in upper case.
    fn words(&self) -> Vec<String> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        let words = line.trim_end_matches(['\r', '\n']).split(' ').filter(|word| !word.is_empty());
        words
            .enumerate()
            .map(|(at, word)| if at == 0 { word.to_uppercase() } else { word.to_owned() })
            .collect()
    }

    /// Does all that the session wants done.
    fn settle(&mut self) {
        while let Some(output) = self.session.poll_output(self.now) {
            assert!(!self.came.is_closed, "something behind the end: {output:?}");
            match output {
                Output::Reply(octets) => self.hears(&octets),
                Output::Ask(ask) => {
                    assert_eq!(self.session.receive(self.now, b"QUIT\r\n"), 0, "a question is open");
                    let answer = self.answer(ask);
                    self.session.answer(self.now, answer);
                }
                Output::Action(Action::Forget) => self.sending.as_mut().expect("a message").is_read = true,
                Output::Action(Action::StartTls) => {
                    assert!(!self.is_encrypted && self.words() == ["STLS"]);
                    self.awaits_handshake = true;
                }
                Output::Action(Action::Close) => {
                    assert_eq!(self.session.deadline(), None);
                    self.came.is_closed = true;
                }
            }
        }
    }

    fn hears(&mut self, octets: &[u8]) {
        assert!(self.sending.is_some() || octets.ends_with(b"\r\n"));
        let is_first = !std::mem::replace(&mut self.is_answered, true);
        let is_ok = octets.starts_with(b"+OK");
        assert!(!is_first || is_ok || octets.starts_with(b"-ERR ") || octets.starts_with(b"+ "));
        self.came.said.extend_from_slice(octets);
        if let Some(sending) = &mut self.sending {
            sending.said.extend_from_slice(octets);
            if sending.is_read {
                self.sending.take().expect("a message").check();
            }
            return;
        }
        let words = self.words();
        if !self.is_open {
            return;
        }
        assert!(!is_ok || words != ["QUIT"] || self.came.removed.is_some(), "a reply before the removal");
        if !is_first {
            // What follows the first line of a list: all of it, as it is short.
            let line = |(number, (uid, octets)): (usize, &(u32, &[u8]))| match &words[0][..] {
                _ if self.marked.contains(uid) => String::new(),
                "LIST" => format!("{number} {}\r\n", octets.len()),
                _ => format!("{number} 1.{uid}\r\n"),
            };
            let lines: String = (1..).zip(&STORED).map(line).collect();
            return assert_eq!(octets, format!("{lines}.\r\n").as_bytes());
        }
        if !is_ok {
            return;
        }
        match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["DELE", number] => {
                let number: usize = number.parse().expect("a number");
                assert!(self.marked.insert(STORED[number - 1].0), "marked twice");
            }
            ["RSET"] => self.marked.clear(),
            ["STAT"] => {
                let kept = STORED.iter().filter(|(uid, _)| !self.marked.contains(uid));
                let (messages, sum) =
                    kept.fold((0, 0), |(messages, sum), (_, octets)| (messages + 1, sum + octets.len()));
                assert_eq!(octets, format!("+OK {messages} {sum}\r\n").as_bytes());
            }
            _ => {}
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let refuses = self.answers.next().is_some_and(|answer| answer & 3 == 3);
        match ask {
            Ask::Authenticate(_) => {
                assert!(!self.is_open && (self.is_encrypted || self.plaintext_login));
                self.is_accepted = !refuses;
                let accepted = Verdict::Accepted { user: "anna".to_owned() };
                Answer::Authenticate(if refuses { Verdict::Refused } else { accepted })
            }
            Ask::Open { user } => {
                assert!(user == "anna" && std::mem::take(&mut self.is_accepted) && !self.is_open);
                if refuses {
                    return Answer::Open(Err(NotOpened::InUse));
                }
                self.is_open = true;
                let messages = STORED.iter().map(|(uid, octets)| (*uid, octets.len() as u64)).collect();
                Answer::Open(Ok(Inbox { uid_validity: 1, messages }))
            }
            Ask::Fetch(uid) => {
                assert!(self.is_open && self.sending.is_none() && !self.marked.contains(&uid));
                let words = self.words();
                let number = STORED.iter().position(|(of, _)| *of == uid).expect("there is such a message");
                assert_eq!(words[1].parse(), Ok(number + 1));
                let lines = (words[0] == "TOP").then(|| words[2].parse().unwrap_or(usize::MAX));
                assert!(lines.is_some() || words[0] == "RETR");
                if refuses {
                    return Answer::Fetch(Err(NotFetched::Damaged));
                }
                let message = STORED[number].1;
                self.sending = Some(Sending { message, read: 0, lines, said: Vec::new(), is_read: false });
                Answer::Fetch(Ok(message.len() as u64))
            }
            Ask::Part { offset } => {
                let sending = self.sending.as_mut().expect("a message");
                assert!(offset == sending.read as u64 && !sending.is_read);
                if refuses {
                    // It must end now, and not as if it were whole.
                    self.sending = None;
                    return Answer::Part(None);
                }
                let end = sending.message.len().min(sending.read + PART_OCTETS);
                let octets = sending.message[sending.read..end].to_vec();
                sending.read = end;
                Answer::Part(Some(octets))
            }
            Ask::Update(uids) => {
                assert_eq!(self.words(), ["QUIT"]);
                assert!(
                    uids.iter().copied().eq(self.marked.iter().copied()),
                    "{uids:?}, not {:?}",
                    self.marked
                );
                assert!(self.came.removed.replace(uids).is_none() && self.is_open);
                Answer::Update(!refuses)
            }
        }
    }
}

impl Sending {
    /// Asserts that what was said is the message, or the wanted part of it.
    fn check(&self) {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("the messages are text");
        let (said, message) = (text(&self.said), text(self.message));
        let (first, rest) = said.split_once("\r\n").expect("a line");
        assert!(first.starts_with("+OK"));
        let rest = rest.strip_suffix(".\r\n").expect("its end");
        assert!(rest.is_empty() || rest.ends_with("\r\n"));
        let line = |line: &str| line.strip_prefix('.').unwrap_or(line).to_owned();
        let lines: String = rest.split_inclusive("\r\n").map(line).collect();
        let mut message = message;
        if !message.is_empty() && !message.ends_with("\r\n") {
            message += "\r\n";
        }
        let Some(wanted) = self.lines else { return assert_eq!(lines, message) };
        let all: Vec<_> = message.split_inclusive("\r\n").collect();
        let header = all.iter().position(|line| *line == "\r\n").map_or(all.len(), |at| at + 1);
        assert_eq!(lines, all[..all.len().min(header.saturating_add(wanted))].concat());
    }
}
