//! A client and an office for the tests of the session: a test reads like a transcript.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_ground::Instant;

use super::{Action, Answer, Ask, Output, Recipient, Sender, Session};
use crate::mail::address::{Domain, ForwardPath};
use crate::mail::sasl::{Mechanism, Request, Verdict, scram};
use crate::mail::smtp::{CHUNK_OCTETS, Limits, Policy, Rejection, Role, Tls};

pub(super) const PC1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10));
pub(super) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// The policy for a stranger on port 25, without TLS.
pub(super) fn wan() -> Policy {
    Policy {
        role: Role::Mx,
        hostname: "smtp.office.example".to_owned(),
        domain: office(),
        peer: STRANGER,
        peer_name: None,
        is_lan: false,
        may_relay: false,
        has_dsn: true,
        tls: Tls::Unavailable,
        plaintext_login: false,
        mechanisms: Vec::new(),
        limits: Limits { refusals_at_once: None, ..Limits::wan(1_000_000) },
    }
}

/// The policy for a computer of the office on port 25.
pub(super) fn lan() -> Policy {
    Policy { peer: PC1, is_lan: true, may_relay: true, limits: Limits::lan(1_000_000), ..wan() }
}

/// The policy for a user on port 465.
pub(super) fn submissions() -> Policy {
    Policy { role: Role::Submission, tls: Tls::Active, mechanisms: Mechanism::ALL.to_vec(), ..wan() }
}

/// The policy for another server on LMTP's port.
pub(super) fn lmtp() -> Policy {
    Policy { role: Role::Lmtp, ..wan() }
}

pub(super) fn office() -> Domain {
    Domain::Name("office.example".to_owned())
}

/// A message that is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub sender: Sender,
    pub recipients: Vec<Recipient>,
    pub message: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    sender: Sender,
    recipients: Vec<Recipient>,
    message: Vec<u8>,
}

/// Whoever answers: mailboxes `anna` and `bob`, `full` without room, `later` that is not to be reached, and a disk
/// that takes messages of [`Office::room`] octets.
#[derive(Debug)]
pub(super) struct Office {
    open: Option<Open>,
    pub delivered: Vec<Delivered>,
    pub aborted: usize,
    pub room: usize,
    /// What the next commits say, before they work again.
    pub commit_refusals: Vec<Rejection>,
    asked_routes: BTreeSet<String>,
}

impl Office {
    pub fn new() -> Self {
        Self {
            open: None,
            delivered: Vec::new(),
            aborted: 0,
            room: usize::MAX,
            commit_refusals: Vec::new(),
            asked_routes: BTreeSet::new(),
        }
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn abort(&mut self) {
        assert!(self.open.take().is_some(), "nothing to abort");
        self.aborted += 1;
    }

    fn answer(&mut self, ask: Ask, is_lmtp: bool) -> Answer {
        match ask {
            Ask::Begin(sender) => {
                assert!(self.open.is_none(), "two transactions");
                if sender.parameters.size.is_some_and(|size| size > self.room as u64) {
                    return Answer::Begin(Err(Rejection::NoRoom));
                }
                self.open = Some(Open { sender, recipients: Vec::new(), message: Vec::new() });
                Answer::Begin(Ok(()))
            }
            Ask::Route(recipient) => {
                let open = self.open.as_mut().expect("a transaction");
                self.asked_routes.insert(recipient.path.to_string());
                let result = route(&recipient);
                if result.is_ok() {
                    open.recipients.push(recipient);
                }
                Answer::Route(result)
            }
            Ask::Authenticate(request) => Answer::Authenticate(verdict(request)),
            Ask::Chunk(octets) => {
                assert!(!octets.is_empty() && octets.len() <= CHUNK_OCTETS);
                let open = self.open.as_mut().expect("a transaction");
                open.message.extend_from_slice(&octets);
                if open.message.len() > self.room {
                    self.open = None;
                    return Answer::Chunk(Err(Rejection::NoRoom));
                }
                Answer::Chunk(Ok(()))
            }
            Ask::Commit => {
                let open = self.open.take().expect("a transaction");
                assert!(!open.recipients.is_empty());
                if let Some(refusal) = self.commit_refusals.pop() {
                    return Answer::Commit(vec![Err(refusal)]);
                }
                let id = (self.delivered.len() + 1).to_string();
                let len = if is_lmtp { open.recipients.len() } else { 1 };
                let Open { sender, recipients, message } = open;
                self.delivered.push(Delivered { sender, recipients, message });
                Answer::Commit(vec![Ok(id); len])
            }
        }
    }
}

fn route(recipient: &Recipient) -> Result<(), Rejection> {
    let mailbox = match &recipient.path {
        ForwardPath::Postmaster => return Ok(()),
        ForwardPath::Mailbox(mailbox) => mailbox,
    };
    let is_local = mailbox.domain == office()
        || mailbox.domain == Domain::Literal(Ipv4Addr::new(203, 0, 113, 10).into());
    match mailbox.local.as_str() {
        _ if !is_local && !recipient.may_relay => Err(Rejection::RelayDenied),
        _ if !is_local => Ok(()),
        "anna" | "bob" | "postmaster" => Ok(()),
        "full" => Err(Rejection::MailboxFull),
        "later" => Err(Rejection::TryLater),
        _ if mailbox.local.may_hold_route() => Err(Rejection::BadRecipient),
        _ => Err(Rejection::NoSuchMailbox),
    }
}

fn verdict(request: Request) -> Verdict {
    match request {
        Request::Password { user, password, .. } if user == "anna" && password.0 == "secret" => {
            Verdict::Accepted { user }
        }
        Request::Password { user, .. } if user == "later" => Verdict::Unavailable,
        Request::Password { .. } => Verdict::Refused,
        Request::Verifier { user } if user == "later" => Verdict::Unavailable,
        Request::Verifier { user } => scram::testing::verdict("secret", user != "anna"),
        Request::Proved { user } => Verdict::Accepted { user },
    }
}

/// Everything between a client and its session.
pub(super) struct Line {
    pub session: Session,
    pub office: Office,
    pub now: Instant,
    is_lmtp: bool,
    /// How the octets are cut that are sent; afterwards they are whole.
    pub portion: usize,
    /// How long the latest reply was held back.
    pub held_back: Duration,
    pub actions: Vec<Action>,
    replies: Vec<u8>,
}

impl Line {
    /// A connection whose greeting has come.
    pub fn open(policy: Policy) -> Self {
        let now = Instant::from_secs(1000);
        let is_lmtp = policy.role == Role::Lmtp;
        let mut line = Self {
            session: Session::new(now, policy),
            office: Office::new(),
            now,
            is_lmtp,
            portion: usize::MAX,
            held_back: Duration::ZERO,
            actions: Vec::new(),
            replies: Vec::new(),
        };
        line.settle();
        assert!(line.said().starts_with("220 smtp.office.example "));
        line
    }

    /// A connection on which the client has introduced itself.
    pub fn greeted(policy: Policy) -> Self {
        let mut line = Self::open(policy);
        let hello = if line.is_lmtp { "LHLO a.example" } else { "EHLO a.example" };
        assert!(line.say(hello).starts_with("250-smtp.office.example\r\n"));
        line
    }

    /// Sends octets, as they are, and returns the replies.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) -> String {
        for portion in octets.as_ref().chunks(self.portion) {
            let mut rest = portion;
            while !rest.is_empty() {
                let taken = self.session.receive(self.now, rest);
                let has_settled = self.settle();
                assert!(taken > 0 || has_settled, "it does not go on");
                rest = &rest[taken..];
            }
        }
        self.said()
    }

    /// Sends one line.
    pub fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"))
    }

    /// Sends lines, each of which must be answered by a reply with the given beginning.
    pub fn dialogue(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            let reply = self.say(line);
            assert!(reply.starts_with(expected), "{line:?}: {reply:?}, not {expected:?}");
            assert_eq!(replies(&reply), 1, "{line:?}: {reply:?}");
        }
    }

    /// Goes to the deadline and lets it pass.
    pub fn time_out(&mut self) -> String {
        self.now = self.session.deadline().expect("a deadline");
        self.session.handle_timeout(self.now);
        self.settle();
        self.said()
    }

    pub fn is_closed(&self) -> bool {
        self.actions.last() == Some(&Action::Close)
    }

    fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.replies)).expect("replies are text")
    }

    /// Takes all that comes out and answers it; whether there was anything. Time goes on to when a reply is due.
    pub fn settle(&mut self) -> bool {
        let mut has_settled = false;
        loop {
            while let Some(output) = self.session.poll_output(self.now) {
                has_settled = true;
                match output {
                    Output::Reply(octets) => self.replies.extend(octets),
                    Output::Ask(ask) => {
                        assert_eq!(
                            self.session.receive(self.now, b"QUIT\r\n"),
                            0,
                            "nothing is taken meanwhile"
                        );
                        assert_eq!(self.session.deadline(), None, "the client is not to blame");
                        let answer = self.office.answer(ask, self.is_lmtp);
                        self.session.answer(self.now, answer);
                    }
                    Output::Action(action) => {
                        if action == Action::Abort {
                            self.office.abort();
                        }
                        self.actions.push(action);
                    }
                }
            }
            if self.session.outputs.is_empty() {
                return has_settled;
            }
            let due = self.session.deadline().expect("it is held back");
            self.held_back = due.since(self.now);
            self.now = due;
        }
    }
}

/// How many replies there are: lines of several lines are one.
pub(super) fn replies(text: &str) -> usize {
    text.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).count()
}
