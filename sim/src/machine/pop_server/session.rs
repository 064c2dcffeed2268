//! A session with the account.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{House, Kept};

/// The longest line that is read, in octets.
const LINE_OCTETS_MAX: usize = 512;

/// How a session is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The account is in use by another client, it claims.
    InUse,
    /// In the midst of a message.
    InMessage,
    /// At QUIT, and nothing is deleted.
    BeforeDeletion,
    /// At QUIT, and all is deleted.
    AfterDeletion,
}

/// A session.
pub(super) struct Session {
    /// Received octets that are unread.
    pub unread: Vec<u8>,
    /// Unsent replies.
    pub unsent: Vec<u8>,
    /// Whether it ends once that is said.
    pub is_over: bool,
    fault: Option<Fault>,
    has_user: bool,
    is_open: bool,
    /// The messages as they are numbered here.
    messages: Vec<Kept>,
    /// The places of those that are marked.
    marked: BTreeSet<usize>,
}

impl Session {
    /// A client has connected.
    pub fn begin(house: &mut House) -> Self {
        Self {
            unread: Vec::new(),
            unsent: b"+OK ready\r\n".to_vec(),
            is_over: false,
            fault: house.fault(),
            has_user: false,
            is_open: false,
            messages: Vec::new(),
            marked: BTreeSet::new(),
        }
    }

    #[cfg(test)]
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// Reads what has come.
    pub fn work(&mut self, house: &mut House) {
        while !self.is_over
            && let Some(len) = self.unread.windows(2).position(|at| at == b"\r\n")
        {
            let line: Vec<u8> = self.unread.drain(..len + 2).collect();
            let line = String::from_utf8_lossy(&line[..len]).into_owned();
            let mut words = line.split(' ');
            let verb = words.next().unwrap_or_default().to_ascii_uppercase();
            self.answer(house, &verb, words.next().unwrap_or_default());
        }
        self.is_over |= self.unread.len() > LINE_OCTETS_MAX;
    }

    fn answer(&mut self, house: &mut House, verb: &str, word: &str) {
        match verb {
            "USER" => {
                self.has_user = word == house.login.user;
                self.say("+OK");
            }
            "PASS" if self.fault == Some(Fault::InUse) => self.say("-ERR [IN-USE] somebody else is here"),
            "PASS" if self.has_user && word == house.login.password => {
                self.is_open = true;
                self.messages = house.messages.clone();
                self.say("+OK");
            }
            "QUIT" => self.quit(house),
            _ if !self.is_open => self.say("-ERR not now"),
            "LIST" => self.list(|message| size_of(message).to_string()),
            "UIDL" => self.list(|message| message.uidl.clone()),
            "RETR" | "DELE" => {
                let place = word.parse().ok().and_then(|number: usize| number.checked_sub(1));
                let place =
                    place.filter(|place| *place < self.messages.len() && !self.marked.contains(place));
                let Some(place) = place else { return self.say("-ERR there is no such message") };
                if verb == "RETR" { self.retrieve(house, place) } else { self.delete(house, place) }
            }
            _ => self.say("-ERR what?"),
        }
    }

    fn say(&mut self, line: &str) {
        self.unsent.extend_from_slice(line.as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
    }

    /// Tells something of each message.
    fn list(&mut self, tell: impl Fn(&Kept) -> String) {
        let mut text = "+OK\r\n".to_owned();
        for (place, message) in self.messages.iter().enumerate() {
            if !self.marked.contains(&place) {
                _ = write!(text, "{} {}\r\n", place + 1, tell(message));
            }
        }
        self.say(&format!("{text}."));
    }

    fn retrieve(&mut self, house: &mut House, place: usize) {
        let wire = &self.messages[place].wire;
        let is_broken = self.fault == Some(Fault::InMessage);
        let len = if is_broken { wire.len() / 2 } else { wire.len() };
        self.unsent.extend_from_slice(b"+OK\r\n");
        self.unsent.extend_from_slice(&wire[..len]);
        if is_broken {
            self.break_off(house);
        } else {
            house.account.fetched += 1;
        }
    }

    /// Marks a message for deletion. A client that deletes it must have stored it.
    fn delete(&mut self, house: &mut House, place: usize) {
        house.post.borrow_mut().collect(&self.messages[place].mark, house.mailbox);
        self.marked.insert(place);
        self.say("+OK");
    }

    fn quit(&mut self, house: &mut House) {
        self.is_over = true;
        if self.fault == Some(Fault::BeforeDeletion) {
            return self.break_off(house);
        }
        let marks: Vec<_> = self.marked.iter().map(|place| self.messages[*place].mark.clone()).collect();
        house.delete(&marks);
        if self.fault == Some(Fault::AfterDeletion) {
            return self.break_off(house);
        }
        self.say("+OK goodbye");
    }

    fn break_off(&mut self, house: &mut House) {
        house.account.broken += 1;
        self.is_over = true;
    }
}

/// The octets of a message, without the dots that were added for the way and the line that ends it.
fn size_of(message: &Kept) -> usize {
    let lines = message.wire.split_inclusive(|octet| *octet == b'\n');
    let dots = lines.filter(|line| line.starts_with(b".")).count();
    // The last line is a dot as well.
    message.wire.len() - dots - b"\r\n".len()
}
