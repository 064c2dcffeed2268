//! A remote mail server: it accepts mail for its domains, as well or badly as its [`Manner`] defines, and records it.
//! (RFC 5321)

mod manner;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

pub use self::manner::{Manner, TlsManner};
use self::session::{Session, Way};
use super::Record;
use super::internet::ConnectionId;
use super::internet::server::{Server, Wire};
use super::post::SharedPost;
use super::tls::TlsServer;

/// A local part that does not exist at a mail server.
pub const NOBODY: &str = "gone";

/// The server.
pub struct MailServer {
    sessions: BTreeMap<ConnectionId, Session>,
    house: House,
}

/// The state that the sessions of a server share.
struct House {
    name: String,
    /// The domains whose mail it accepts.
    domains: Vec<String>,
    manner: Manner,
    tls_manner: TlsManner,
    /// `None`: it has no TLS.
    tls: Option<TlsServer>,
    has_pipelining: bool,
    /// The senders and recipients that have come once.
    known: BTreeSet<(String, String)>,
    rng: StdRng,
    post: SharedPost,
    account: MailServerAccount,
    now: Instant,
}

/// The outcomes of a server's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailServerAccount {
    /// Messages that it took.
    pub taken: u64,
    /// Of these, those that came under TLS.
    pub encrypted: u64,
    /// Of these, those whose sender cannot know it, as the connection ended before QUIT.
    pub unconfirmed: u64,
    /// Replies of 4xx.
    pub deferred: u64,
    /// Replies of 5xx.
    pub refused: u64,
    /// Messages that it forgot without a reply.
    pub dropped: u64,
    /// When it took the latest.
    pub last_taken_at: Option<Instant>,
}

impl fmt::Display for MailServerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, encrypted, unconfirmed, deferred, refused, dropped, .. } = self;
        write!(
            f,
            "{taken} taken, {encrypted} of these under TLS and {unconfirmed} without a word of it, {deferred} deferred, \
             {refused} refused, {dropped} dropped"
        )
    }
}

impl MailServer {
    /// The server `name` for these domains, with these manners or else random ones from `seed`. `post` records accepted
    /// messages.
    pub fn new(
        name: impl Into<String>,
        domains: Vec<String>,
        (manner, tls_manner): (Option<Manner>, Option<TlsManner>),
        post: &SharedPost,
        seed: u64,
    ) -> Self {
        let (name, mut rng) = (name.into(), StdRng::seed_from_u64(seed));
        let drawn = *Manner::ALL.choose(&mut rng).expect("there are some");
        // Of their own, so that TLS changes nothing of a server that has none.
        let mut tls_rng = StdRng::seed_from_u64(!seed);
        let drawn_tls = *TlsManner::ALL.choose(&mut tls_rng).expect("there are some");
        let tls_manner = tls_manner.unwrap_or(drawn_tls);
        let house = House {
            tls: (tls_manner != TlsManner::Off).then(|| TlsServer::new(&name, &mut tls_rng)),
            name,
            domains,
            manner: manner.unwrap_or(drawn),
            tls_manner,
            has_pipelining: rng.random(),
            known: BTreeSet::new(),
            rng,
            post: Rc::clone(post),
            account: MailServerAccount::default(),
            now: Instant::ZERO,
        };
        Self { sessions: BTreeMap::new(), house }
    }

    /// Ends all sessions.
    fn end_all(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            self.house.ended(&session);
        }
    }
}

impl House {
    /// A session has ended; if that was not by QUIT, the client may wait for a reply.
    fn ended(&mut self, session: &Session) {
        if session.is_well() {
            return;
        }
        self.account.unconfirmed += session.unconfirmed();
        for domain in &self.domains {
            self.post.borrow_mut().hang(domain, self.now, session.was_greeted());
        }
    }
}

impl Server for MailServer {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        let Self { sessions, house } = self;
        house.now = now;
        wire.each_connection(|connection| {
            let session = sessions.entry(connection.id()).or_insert_with(|| Session::begin(house));
            // A silent server does not even read.
            if house.manner == Manner::Silent {
                return;
            }
            let mut wire = Vec::new();
            connection.receive(&mut wire);
            session.receive(house, &wire);
            loop {
                session.speak(house);
                let sent = connection.send(session.channel.unsent());
                session.channel.sent(sent);
                if !session.work(house) {
                    break;
                }
            }
            match session.way() {
                Way::On if connection.is_half_closed() => connection.close(),
                Way::On => {}
                Way::Close => connection.close(),
                Way::Abort => connection.abort(),
            }
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.values().filter_map(|session| session.poll_timeout(self.house.now)).min()
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        if let Some(session) = self.sessions.remove(&connection) {
            self.house.ended(&session);
        }
    }

    fn on_switched_off(&mut self) {
        self.end_all();
    }

    /// Sessions with the old address stay until their connections end, and hear nothing more.
    fn on_renumber(&mut self, _network: Ipv4Net) {
        for session in self.sessions.values() {
            for domain in &self.house.domains {
                self.house.post.borrow_mut().hang(domain, self.house.now, session.was_greeted());
            }
        }
    }

    fn calm(&mut self) {
        self.house.manner = Manner::Prompt;
        if self.house.tls.is_some() {
            self.house.tls_manner = TlsManner::Sound;
        }
    }

    /// A [`MailServerAccount`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.house.account)
    }
}

#[cfg(test)]
mod tests;
