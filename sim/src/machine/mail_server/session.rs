//! A client's session with a mail server.

use std::mem;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;

use super::manner::{BusyAt, Manner, TlsManner};
use super::{House, NOBODY};
use crate::machine::post::{Arrival, domain_of};
use crate::machine::tls::Channel;

/// The longest line that is read, in octets, and the longest message.
const LINE_OCTETS_MAX: usize = 2_048;
const MESSAGE_OCTETS_MAX: usize = 4 << 20;
/// The pause between an answer injected in clear after STARTTLS and the true one.
const INJECTED_PAUSE: Duration = Duration::from_secs(1);

/// A session.
pub(super) struct Session {
    pub channel: Channel,
    /// Received octets that are unread.
    pub unread: Vec<u8>,
    /// Unsent replies, and their time.
    unsent: Vec<u8>,
    due: Instant,
    sender: Option<String>,
    recipients: Vec<String>,
    is_data: bool,
    /// The TLS that follows the unsent replies, if any.
    tls: Option<TlsManner>,
    /// Whether it has injected an answer in clear.
    pub has_injected: bool,
    busy_at: Option<BusyAt>,
    /// The messages that it has accepted, or is about to.
    arrivals: Vec<Arrival>,
    /// What follows the unsent replies.
    way: Way,
    /// Whether the client has said anything, which it does once it has the greeting.
    was_greeted: bool,
    has_quit: bool,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    On,
    Close,
    Abort,
}

impl Session {
    /// A client has connected.
    pub fn begin(house: &mut House) -> Self {
        let mut session = Self {
            channel: Channel::default(),
            unread: Vec::new(),
            unsent: Vec::new(),
            due: Instant::ZERO,
            sender: None,
            recipients: Vec::new(),
            is_data: false,
            tls: None,
            has_injected: false,
            busy_at: house.manner.is_busy_at(house.now, &mut house.rng),
            arrivals: Vec::new(),
            way: Way::On,
            was_greeted: false,
            has_quit: false,
        };
        if session.busy_at == Some(BusyAt::Connection) {
            session.say(house, "421 4.3.2 too busy, try again in 60 seconds");
            session.way = Way::Close;
        } else {
            let greeting = format!("220 {} ESMTP", house.name);
            session.say(house, &greeting);
        }
        session
    }

    /// Whether the client has said QUIT.
    pub fn is_well(&self) -> bool {
        self.has_quit
    }

    /// Whether the client knows that it was greeted.
    pub fn was_greeted(&self) -> bool {
        self.was_greeted
    }

    /// The number of recipients for whom a message was accepted.
    pub fn unconfirmed(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// Receives from the wire.
    pub fn receive(&mut self, house: &mut House, wire: &[u8]) {
        self.was_greeted |= !wire.is_empty();
        match self.tls {
            // It does not read any more.
            Some(TlsManner::Silent) if self.unsent.is_empty() => {}
            Some(TlsManner::Garbled) if self.unsent.is_empty() && !wire.is_empty() => {
                self.say(house, "500 5.5.1 what?");
                self.tls = None;
                self.way = Way::Close;
            }
            _ => {
                if self.channel.receive(wire, &mut self.unread).is_err() {
                    self.way = Way::Close;
                }
            }
        }
        if self.has_injected && house.now < self.due && !self.unread.is_empty() {
            let what = format!("{} is spoken to before it has said anything under TLS", house.name);
            house.post.borrow_mut().fault(what);
        }
    }

    /// Sends the replies that are due. After a positive reply to STARTTLS it begins TLS.
    pub fn speak(&mut self, house: &House) {
        if house.now < self.due {
            return;
        }
        self.channel.say(&mem::take(&mut self.unsent));
        if let (Some(TlsManner::Sound | TlsManner::Injecting), Some(tls)) = (self.tls, &house.tls) {
            self.tls = None;
            self.channel.begin(tls.accept());
        }
        if self.way == Way::Close {
            self.channel.close();
        }
    }

    /// When there is something to be said, if that is not now.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        (now < self.due).then_some(self.due)
    }

    /// How the connection goes on, once all is said.
    pub fn way(&self) -> Way {
        if self.unsent.is_empty() && self.channel.unsent().is_empty() { self.way } else { Way::On }
    }

    /// Reads up to a command whose reply takes time; returns whether there was one.
    pub fn work(&mut self, house: &mut House) -> bool {
        let mut is_any = false;
        while self.way == Way::On && self.due <= house.now {
            let is_read = if self.is_data { self.read_message(house) } else { self.read_line(house) };
            if !is_read {
                break;
            }
            is_any = true;
        }
        is_any
    }

    fn say(&mut self, house: &mut House, reply: &str) {
        match reply.as_bytes().first() {
            Some(b'4') => house.account.deferred += 1,
            Some(b'5') => house.account.refused += 1,
            _ => {}
        }
        self.unsent.extend_from_slice(reply.as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        self.due = house.now + house.manner.delay(&mut house.rng);
    }

    /// Whether there was a line.
    fn read_line(&mut self, house: &mut House) -> bool {
        let Some(len) = self.unread.windows(2).position(|at| at == b"\r\n") else {
            if self.unread.len() > LINE_OCTETS_MAX {
                self.way = Way::Abort;
            }
            return false;
        };
        let line: Vec<u8> = self.unread.drain(..len + 2).collect();
        let line = String::from_utf8_lossy(&line[..len]).into_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let pipelining = if house.has_pipelining { "250-PIPELINING\r\n" } else { "" };
                let offers_tls = house.tls.is_some() && !self.channel.has_begun();
                let tls = if offers_tls { "250-STARTTLS\r\n" } else { "" };
                let reply = format!("250-{}\r\n{pipelining}{tls}250 8BITMIME", house.name);
                self.say(house, &reply);
                if self.has_injected {
                    self.due = self.due.max(house.now + INJECTED_PAUSE);
                }
            }
            "STARTTLS" if house.tls.is_some() && !self.channel.has_begun() => self.start_tls(house),
            "MAIL" => self.take_sender(house, address_in(&line)),
            "RCPT" => self.take_recipient(house, address_in(&line)),
            "DATA" if self.recipients.is_empty() => self.say(house, "554 5.5.1 nobody is to have it"),
            "DATA" => {
                self.is_data = true;
                self.say(house, "354 go on");
            }
            "RSET" => {
                self.forget();
                self.say(house, "250 2.0.0 forgotten");
            }
            "QUIT" => {
                for arrival in self.arrivals.drain(..) {
                    house.post.borrow_mut().confirm(&arrival);
                }
                self.has_quit = true;
                self.say(house, "221 2.0.0 goodbye");
                self.way = Way::Close;
            }
            _ => self.say(house, "500 5.5.1 what?"),
        }
        true
    }

    /// Discards earlier state, and begins TLS by its manner. (RFC 3207, section 4.2)
    fn start_tls(&mut self, house: &mut House) {
        self.forget();
        if !self.unread.is_empty() {
            let what = format!("{} is spoken to in clear behind STARTTLS", house.name);
            house.post.borrow_mut().fault(what);
            self.unread.clear();
        }
        match house.tls_manner {
            TlsManner::Unavailable => return self.say(house, "454 4.7.0 no TLS for now"),
            TlsManner::Injecting if house.rng.random() => {
                self.has_injected = true;
                self.say(house, "220 2.0.0 begin\r\n250-mx\r\n250 PIPELINING");
            }
            _ => self.say(house, "220 2.0.0 begin"),
        }
        self.tls = Some(house.tls_manner);
    }

    fn take_sender(&mut self, house: &mut House, sender: &str) {
        self.forget();
        if self.busy_at == Some(BusyAt::Sender) {
            return self.say(house, "451 4.3.0 not now");
        }
        self.sender = Some(sender.to_owned());
        self.say(house, "250 2.1.0 go on");
    }

    fn take_recipient(&mut self, house: &mut House, recipient: &str) {
        let Some(sender) = self.sender.clone() else { return self.say(house, "503 5.5.1 from whom?") };
        if !house.domains.iter().any(|domain| domain == domain_of(recipient)) {
            let what = format!("{} is asked to take mail for {recipient}", house.name);
            house.post.borrow_mut().fault(what);
            return self.say(house, "550 5.7.1 not here");
        }
        if self.busy_at == Some(BusyAt::Recipient) {
            return self.say(house, "452 4.2.2 the mailbox is full");
        }
        if house.manner == Manner::Greylisting && house.known.insert((sender, recipient.to_owned())) {
            return self.say(house, "450 4.7.1 greylisted, try again in 60 seconds");
        }
        if recipient.split('@').next() == Some(NOBODY) {
            return self.say(house, "550 5.1.1 there is nobody of that name");
        }
        self.recipients.push(recipient.to_owned());
        self.say(house, "250 2.1.5 go on");
    }

    /// Whether there was a whole message.
    fn read_message(&mut self, house: &mut House) -> bool {
        let Some((message, len)) = message_in(&self.unread) else {
            if self.unread.len() > MESSAGE_OCTETS_MAX {
                self.way = Way::Abort;
            }
            return false;
        };
        self.unread.drain(..len);
        self.is_data = false;
        let recipients = mem::take(&mut self.recipients);
        self.forget();
        let is_lost = house.rng.random();
        match house.manner {
            _ if self.busy_at == Some(BusyAt::Message) => self.say(house, "451 4.3.0 not now"),
            Manner::ClosingAfterData if is_lost => {
                house.account.dropped += 1;
                self.break_off(house);
            }
            manner => {
                for recipient in recipients {
                    let arrival = house.post.borrow_mut().arrive(&house.name, &recipient, &message);
                    self.arrivals.extend(arrival);
                }
                house.account.taken += 1;
                house.account.encrypted += u64::from(self.channel.is_encrypted());
                house.account.last_taken_at = Some(house.now);
                match manner {
                    Manner::LosingReplies if is_lost => self.break_off(house),
                    _ => self.say(house, "250 2.0.0 taken"),
                }
            }
        }
        true
    }

    fn break_off(&mut self, house: &mut House) {
        self.way = if house.rng.random() { Way::Close } else { Way::Abort };
    }

    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }
}

/// The address of a MAIL or RCPT command.
fn address_in(line: &str) -> &str {
    let address = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    address.map_or("", |(address, _)| address)
}

/// A message that has come whole, without the dots that were added on the way, and its octets on the way with its end.
fn message_in(octets: &[u8]) -> Option<(Vec<u8>, usize)> {
    const END: &[u8] = b"\r\n.\r\n";
    let len = if octets.starts_with(&END[2..]) {
        0
    } else {
        octets.windows(END.len()).position(|at| at == END)? + 2
    };
    let mut message = Vec::with_capacity(len);
    for line in octets[..len].split_inclusive(|octet| *octet == b'\n') {
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    Some((message, len + 3))
}
