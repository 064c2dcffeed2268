//! The commands of an open inbox.

use gatepost_ground::Instant;

use super::replies::{
    BYE, DAMAGED, DELETED_ALREADY, GONE, IN_USE, NO_MESSAGE, NOT_DELETED, NOT_NOW, NOT_READY, OK,
};
use super::{Action, Ask, Inbox, NotFetched, NotOpened, OpenQuestion, Output, Phase, Session};
use crate::mail::pop3::command::Command;
use crate::mail::pop3::top::Top;
use crate::mail::smtp::client::DotWriter;
use crate::mail::store::Uid;

/// Octets of a listing that go out at a time, or some more.
const LISTING_OCTETS: usize = 4096;

/// The inbox as the session has it.
#[derive(Debug)]
pub(super) struct Maildrop {
    uid_validity: u32,
    messages: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    uid: Uid,
    is_deleted: bool,
    octets: u64,
}

impl Maildrop {
    /// The messages that QUIT removes.
    pub fn deleted(&self) -> Vec<Uid> {
        self.messages.iter().filter(|listed| listed.is_deleted).map(|listed| listed.uid).collect()
    }

    /// How many messages there are, and their octets, without those that are marked.
    fn totals(&self) -> (usize, u64) {
        let kept = self.messages.iter().filter(|listed| !listed.is_deleted);
        kept.fold((0, 0), |(messages, octets), listed| (messages + 1, octets + listed.octets))
    }

    /// The message that is called `number` in this session.
    fn message(&mut self, number: usize) -> Result<&mut Listed, &'static str> {
        let listed = number.checked_sub(1).and_then(|at| self.messages.get_mut(at)).ok_or(NO_MESSAGE)?;
        if listed.is_deleted { Err(DELETED_ALREADY) } else { Ok(listed) }
    }

    fn line(&mut self, told: Column, number: usize) -> Result<String, &'static str> {
        let uid_validity = self.uid_validity;
        self.message(number).map(|listed| format!("+OK {}", told.line(number, uid_validity, listed)))
    }
}

/// The column of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Octets,
    Name,
}

impl Column {
    /// A message's line. Its name holds for ever: a number of a mailbox is not used again, and a mailbox that is made
    /// anew has another validity. (RFC 1939, section 7)
    fn line(self, number: usize, uid_validity: u32, listed: &Listed) -> String {
        match self {
            Self::Octets => format!("{number} {}", listed.octets),
            Self::Name => format!("{number} {uid_validity}.{}", listed.uid),
        }
    }
}

/// A listing being sent.
#[derive(Debug)]
pub(super) struct Listing {
    told: Column,
    /// The index of the next message.
    next: usize,
}

/// A message being sent.
#[derive(Debug)]
pub(super) struct Sending {
    /// `None` for the whole message.
    top: Option<Top>,
    /// The octets of the message, and how many of them have come.
    octets: u64,
    came: u64,
    writer: DotWriter,
}

impl Session {
    pub(super) fn opened(&mut self, now: Instant, opened: Result<Inbox, NotOpened>) {
        match opened {
            Ok(Inbox { uid_validity, messages }) => {
                let listed =
                    messages.into_iter().map(|(uid, octets)| Listed { uid, octets, is_deleted: false });
                let maildrop = Maildrop { uid_validity, messages: listed.collect() };
                let (messages, octets) = maildrop.totals();
                self.maildrop = Some(maildrop);
                self.say(now, &format!("+OK {messages} messages ({octets} octets)"));
            }
            Err(NotOpened::InUse) => self.say(now, IN_USE),
            Err(NotOpened::TryLater) => self.say(now, NOT_READY),
        }
    }

    pub(super) fn perform_in_inbox(&mut self, now: Instant, command: Command<'_>) {
        let Some(maildrop) = &mut self.maildrop else { return };
        let said = match command {
            Command::Stat => {
                let (messages, octets) = maildrop.totals();
                Ok(format!("+OK {messages} {octets}"))
            }
            Command::List(None) => return self.list(now, Column::Octets),
            Command::Uidl(None) => return self.list(now, Column::Name),
            Command::List(Some(number)) => maildrop.line(Column::Octets, number),
            Command::Uidl(Some(number)) => maildrop.line(Column::Name, number),
            Command::Retr(number) => return self.fetch(now, number, None),
            Command::Top { number, lines } => return self.fetch(now, number, Some(Top::new(lines))),
            Command::Dele(number) => maildrop.message(number).map(|listed| {
                listed.is_deleted = true;
                format!("+OK message {number} is deleted by QUIT")
            }),
            Command::Noop => Ok(OK.to_owned()),
            Command::Rset => {
                maildrop.messages.iter_mut().for_each(|listed| listed.is_deleted = false);
                let (messages, octets) = maildrop.totals();
                Ok(format!("+OK {messages} messages ({octets} octets)"))
            }
            _ => return self.refuse_in_inbox(now),
        };
        match said {
            Ok(line) => self.say(now, &line),
            Err(refusal) => self.refuse(now, refusal),
        }
    }

    fn list(&mut self, now: Instant, told: Column) {
        let (messages, octets) = self.maildrop.as_ref().map(Maildrop::totals).unwrap_or_default();
        self.phase = Phase::Listing(Listing { told, next: 0 });
        self.say(now, &format!("+OK {messages} messages ({octets} octets)"));
    }

    /// The next portion of the listing.
    pub(super) fn list_on(&mut self, now: Instant) {
        let (Phase::Listing(listing), Some(maildrop)) = (&mut self.phase, &self.maildrop) else { return };
        let mut lines = String::new();
        while lines.len() < LISTING_OCTETS
            && let Some(listed) = maildrop.messages.get(listing.next)
        {
            listing.next += 1;
            if !listed.is_deleted {
                lines += &listing.told.line(listing.next, maildrop.uid_validity, listed);
                lines += "\r\n";
            }
        }
        let is_end = listing.next >= maildrop.messages.len();
        if is_end {
            lines += ".\r\n";
            self.phase = Phase::Command;
        }
        self.send(now, lines.into_bytes());
        if is_end {
            self.stop_if_asked(now);
        }
    }

    fn fetch(&mut self, now: Instant, number: usize, top: Option<Top>) {
        let Some(maildrop) = &mut self.maildrop else { return };
        match maildrop.message(number) {
            Ok(listed) => {
                let uid = listed.uid;
                let writer = DotWriter::default();
                self.phase = Phase::Sending(Sending { top, octets: 0, came: 0, writer });
                self.ask(Ask::Fetch(uid), OpenQuestion::Fetch);
            }
            Err(refusal) => self.refuse(now, refusal),
        }
    }

    pub(super) fn fetched(&mut self, now: Instant, fetched: Result<u64, NotFetched>) {
        let Phase::Sending(sending) = &mut self.phase else { return };
        let refusal = match fetched {
            Ok(octets) => {
                sending.octets = octets;
                let line = match sending.top {
                    Some(_) => OK.to_owned(),
                    None => format!("+OK {octets} octets"),
                };
                self.say(now, &line);
                return self.send_on(now, false);
            }
            Err(NotFetched::Gone) => GONE,
            Err(NotFetched::Damaged) => DAMAGED,
            Err(NotFetched::TryLater) => NOT_NOW,
        };
        // The client did nothing wrong: the others can be read.
        self.phase = Phase::Command;
        self.say(now, refusal);
    }

    /// Requests the next part of the message, or ends it.
    fn send_on(&mut self, now: Instant, is_end: bool) {
        let Phase::Sending(sending) = &mut self.phase else { return };
        if !is_end && sending.came < sending.octets {
            let offset = sending.came;
            return self.ask(Ask::Part { offset }, OpenQuestion::Part);
        }
        let mut end = Vec::new();
        std::mem::take(&mut sending.writer).end(&mut end);
        self.phase = Phase::Command;
        self.outputs.push_back(Output::Action(Action::Forget));
        self.send(now, end);
    }

    /// Handles octets of the message. If the rest is missing, the connection ends, so that the client does not take a
    /// part for the whole.
    pub(super) fn part(&mut self, now: Instant, octets: Option<&[u8]>) {
        let Phase::Sending(sending) = &mut self.phase else { return };
        let Some(octets) = octets.filter(|octets| !octets.is_empty()) else { return self.close() };
        sending.came += octets.len() as u64;
        let (shown, is_end) = match &mut sending.top {
            Some(top) => top.take(octets),
            None => (octets.len(), false),
        };
        let mut out = Vec::new();
        sending.writer.write(&octets[..shown], &mut out);
        self.send(now, out);
        self.send_on(now, is_end);
    }

    pub(super) fn updated(&mut self, now: Instant, is_done: bool) {
        // RFC 1939, section 6: the connection is closed in any case.
        self.end(now, if is_done { BYE } else { NOT_DELETED });
    }
}
