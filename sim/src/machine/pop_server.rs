//! A remote mailbox, which the gateway polls for a user: a POP3 server with one account, to which mail comes during the
//! whole run. Until all faults end it sometimes disconnects. (RFC 1939)

mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::session::{Fault, Session};
use super::Record;
use super::internet::ConnectionId;
use super::internet::server::{Server, Wire};
use super::mailer::Address;
use super::mailer::draft::Draft;
use super::post::SharedPost;

/// The most messages that come.
const MESSAGES_MAX: u64 = 1_000;

/// The credentials of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub user: &'static str,
    /// Its password.
    pub password: &'static str,
}

/// The server.
pub struct PopServer {
    sessions: BTreeMap<ConnectionId, Session>,
    house: House,
    /// The receiver of the mail, and the longest interval of messages.
    owner: &'static Address,
    pause_max: Duration,
    next_at: Instant,
}

/// The state that the sessions share.
struct House {
    login: Login,
    /// The mailbox here in which its messages end.
    mailbox: &'static str,
    messages: Vec<Kept>,
    is_calm: bool,
    rng: StdRng,
    post: SharedPost,
    account: PopAccount,
}

/// A message of the account.
#[derive(Clone, Debug)]
struct Kept {
    uidl: String,
    mark: String,
    /// As it goes over the wire, with the line that ends it.
    wire: Vec<u8>,
    came_at: Instant,
}

/// The outcomes of the account's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PopAccount {
    /// Messages that came.
    pub came: u64,
    /// Times that a message was handed out whole.
    pub fetched: u64,
    /// Messages that were deleted.
    pub deleted: u64,
    /// Sessions that were broken off.
    pub broken: u64,
    /// When the oldest message came that is still there.
    pub oldest_at: Option<Instant>,
}

impl fmt::Display for PopAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { came, fetched, deleted, broken, .. } = self;
        write!(f, "{came} came, {fetched} handed out, {deleted} deleted, {broken} sessions broken off")
    }
}

impl PopServer {
    /// The account of `login`, to which mail comes for `owner`, with pauses up to `pause_max`. `post` records new and
    /// deleted messages.
    pub fn new(
        login: Login,
        owner: &'static Address,
        pause_max: Duration,
        post: &SharedPost,
        seed: u64,
    ) -> Self {
        let house = House {
            login,
            mailbox: owner.mailboxes[0],
            messages: Vec::new(),
            is_calm: false,
            rng: StdRng::seed_from_u64(seed),
            post: Rc::clone(post),
            account: PopAccount::default(),
        };
        Self { sessions: BTreeMap::new(), house, owner, pause_max, next_at: Instant::ZERO }
    }

    /// Has the messages come that are due.
    fn receive(&mut self, now: Instant) {
        let Self { house, owner, pause_max, next_at, .. } = self;
        while *next_at <= now && house.account.came < MESSAGES_MAX {
            let from = "friend@elsewhere.example".to_owned();
            let (draft, letter) = Draft::write("friend", from, vec![*owner], 0, &mut house.rng);
            house.post.borrow_mut().deposit(&draft.mark, letter, house.mailbox);
            let Draft { mark, wire, .. } = draft;
            let uidl = format!("{:08x}", house.rng.random::<u32>());
            house.messages.push(Kept { uidl, mark, wire, came_at: now });
            house.account.came += 1;
            let pause = u64::try_from(pause_max.as_millis()).unwrap_or(u64::MAX);
            *next_at = now + Duration::from_millis(house.rng.random_range(1..=pause));
        }
    }
}

impl House {
    /// The fault of a new session.
    fn fault(&mut self) -> Option<Fault> {
        if self.is_calm || self.rng.random() {
            return None;
        }
        let all = [Fault::InUse, Fault::InMessage, Fault::BeforeDeletion, Fault::AfterDeletion];
        Some(all[self.rng.random_range(0..all.len())])
    }

    /// The messages with these marks are deleted.
    fn delete(&mut self, marks: &[String]) {
        self.messages.retain(|message| !marks.contains(&message.mark));
        self.account.deleted += marks.len() as u64;
    }
}

impl Server for PopServer {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        self.receive(now);
        let Self { sessions, house, .. } = self;
        wire.each_connection(|connection| {
            let session = sessions.entry(connection.id()).or_insert_with(|| Session::begin(house));
            connection.receive(&mut session.unread);
            session.work(house);
            let sent = connection.send(&session.unsent);
            session.unsent.drain(..sent);
            if session.unsent.is_empty() && (session.is_over || connection.is_half_closed()) {
                connection.close();
            }
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.house.account.came < MESSAGES_MAX).then_some(self.next_at)
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        self.sessions.remove(&connection);
    }

    fn on_switched_off(&mut self) {
        self.sessions.clear();
    }

    fn calm(&mut self) {
        self.house.is_calm = true;
    }

    /// A [`PopAccount`].
    fn record(&self) -> Arc<dyn Record> {
        let oldest_at = self.house.messages.iter().map(|message| message.came_at).min();
        Arc::new(PopAccount { oldest_at, ..self.house.account })
    }
}

#[cfg(test)]
mod tests;
