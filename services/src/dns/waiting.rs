//! The questions that wait for upstream servers, and who may have how many of them wait.
//!
//! The questions that one exchange with upstream servers will answer stand together. Both are bounded, and
//! shared out:
//!
//! | | at most | a question beyond |
//! | --- | --- | --- |
//! | questions of one client | [`WAITING_PER_CLIENT_MAX`], [`WAITING_PER_CLIENT_BUSY_MAX`] while the table is at least half full | is refused |
//! | exchanges about one zone | [`EXCHANGES_PER_ZONE_MAX`], [`EXCHANGES_PER_FAILING_ZONE_MAX`] if it fails | takes the place of another in the zone, or is refused |
//! | exchanges of strangers | [`EXCHANGES_OF_STRANGERS_MAX`] | takes the place of another stranger's, or is refused |
//! | exchanges, questions | [`EXCHANGES_MAX`], [`WAITING_MAX`] | takes the place of another, or is refused |
//!
//! A *stranger* is a client that no lease and no reservation knows, so that its address may be forged. What
//! gives way is the exchange whose least busy client is busiest (strangers before others, then by questions in
//! the table that is full), the oldest among equals; and only if that client is busier than the new one. So an
//! exchange on which a quiet client waits stays, whoever began it, and no client can push out more than its
//! fair part.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::forwarder::EXCHANGES_MAX;
use super::message::Question;
use super::upstream_zone::UpstreamZone;

/// Questions that wait at a time.
pub const WAITING_MAX: usize = 1_024;

/// Questions of one client that wait at a time: a quarter of all. A browser that restores its session, or a resolver
/// or NAT router behind one address, asks for so many names at once.
pub const WAITING_PER_CLIENT_MAX: usize = 256;

/// Questions of one client that wait at a time while half of all questions or exchanges are under way: a sixteenth of
/// all. A client that has more already keeps them, but gets no further one.
pub const WAITING_PER_CLIENT_BUSY_MAX: usize = 64;

/// Exchanges at a time about the names of one zone: an eighth of all.
pub const EXCHANGES_PER_ZONE_MAX: usize = 32;

/// Exchanges at a time about the names of a zone that fails: enough to notice that it answers again.
pub const EXCHANGES_PER_FAILING_ZONE_MAX: usize = 4;

/// Exchanges at a time for which only strangers wait; the others are kept for known clients.
pub const EXCHANGES_OF_STRANGERS_MAX: usize = EXCHANGES_MAX / 2;

/// The client that a question counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its address.
    pub address: IpAddr,
    /// Whether no lease and no reservation knows it.
    pub is_stranger: bool,
}

/// The share that a question would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its client's.
    Client,
    /// Its zone's.
    Zone,
    /// That of strangers, or all of the table.
    Table,
}

/// The questions that wait; `T` is what the caller keeps of one.
pub struct WaitingTable<T> {
    exchanges: BTreeMap<Question, Exchange<T>>,
    exchanges_begun: u64,
}

struct Exchange<T> {
    zone: UpstreamZone,
    /// The later it began, the higher.
    number: u64,
    /// At least one.
    questions: Vec<(Asker, T)>,
}

impl<T> Default for WaitingTable<T> {
    fn default() -> Self {
        Self { exchanges: BTreeMap::new(), exchanges_begun: 0 }
    }
}

/// How willingly a client's exchanges are given up: strangers' first, then those of who has most.
type Rank = (bool, usize);

impl<T> WaitingTable<T> {
    /// Whether no question waits.
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// What waits for the exchange about `question`.
    pub fn of(&self, question: &Question) -> impl Iterator<Item = &T> {
        let exchange = self.exchanges.get(question);
        exchange.into_iter().flat_map(|exchange| exchange.questions.iter().map(|(_, waiting)| waiting))
    }

    /// Sees to it that one more question of `asker` fits. Returns the exchange that gives way, if one has
    /// to: it is in the table until it is [taken](Self::take).
    ///
    /// # Errors
    ///
    /// The share that is used up, if nothing gives way.
    pub fn make_room(
        &self,
        question: &Question,
        zone: &UpstreamZone,
        zone_fails: bool,
        asker: Asker,
    ) -> Result<Option<Question>, Refusal> {
        let questions = || self.exchanges.values().flat_map(|exchange| &exchange.questions);
        let is_busy = self.exchanges.len() >= EXCHANGES_MAX / 2 || questions().count() >= WAITING_MAX / 2;
        let client_max = if is_busy { WAITING_PER_CLIENT_BUSY_MAX } else { WAITING_PER_CLIENT_MAX };
        if questions().filter(|(other, _)| other.address == asker.address).count() >= client_max {
            return Err(Refusal::Client);
        }
        let begins = !self.exchanges.contains_key(question);
        let count = |belongs: &dyn Fn(&Exchange<T>) -> bool| {
            self.exchanges.values().filter(|exchange| belongs(exchange)).count()
        };
        let in_zone = |exchange: &Exchange<T>| exchange.zone == *zone;
        let zone_max = if zone_fails { EXCHANGES_PER_FAILING_ZONE_MAX } else { EXCHANGES_PER_ZONE_MAX };
        // An exchange of a zone that gives way leaves a place in the other tables too.
        if begins && count(&in_zone) >= zone_max {
            return self.gives_way(question, asker, in_zone).map(Some).ok_or(Refusal::Zone);
        }
        if begins && asker.is_stranger && count(&Exchange::is_of_strangers) >= EXCHANGES_OF_STRANGERS_MAX {
            let other = self.gives_way(question, asker, Exchange::is_of_strangers);
            return other.map(Some).ok_or(Refusal::Table);
        }
        if begins && self.exchanges.len() >= EXCHANGES_MAX || questions().count() >= WAITING_MAX {
            return self.gives_way(question, asker, |_| true).map(Some).ok_or(Refusal::Table);
        }
        Ok(None)
    }

    /// Has `waiting` wait for the exchange about `question`, a name of `zone`.
    pub fn insert(&mut self, question: Question, zone: UpstreamZone, asker: Asker, waiting: T) {
        let exchange = self.exchanges.entry(question).or_insert_with(|| {
            self.exchanges_begun += 1;
            Exchange { zone, number: self.exchanges_begun, questions: Vec::new() }
        });
        exchange.questions.push((asker, waiting));
    }

    /// Takes out all that waits for the exchange about `question`, in the order in which it came.
    pub fn take(&mut self, question: &Question) -> impl Iterator<Item = T> + use<T> {
        let exchange = self.exchanges.remove(question);
        exchange.into_iter().flat_map(|exchange| exchange.questions).map(|(_, waiting)| waiting)
    }

    /// Which of the exchanges that `belongs` picks gives way to `new`, a question of `asker`.
    fn gives_way(
        &self,
        new: &Question,
        asker: Asker,
        belongs: impl Fn(&Exchange<T>) -> bool,
    ) -> Option<Question> {
        let exchanges = || self.exchanges.iter().filter(|(_, exchange)| belongs(exchange));
        let mut busy: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (other, _) in exchanges().flat_map(|(_, exchange)| &exchange.questions) {
            *busy.entry(other.address).or_default() += 1;
        }
        let questions = |address: &IpAddr| busy.get(address).copied().unwrap_or(0);
        let rank = |exchange: &Exchange<T>| -> Rank {
            let ranks =
                exchange.questions.iter().map(|(asker, _)| (asker.is_stranger, questions(&asker.address)));
            ranks.min().unwrap_or_default()
        };
        let others = exchanges().filter(|(question, _)| *question != new);
        let (question, busiest) =
            others.max_by_key(|(_, exchange)| (rank(exchange), std::cmp::Reverse(exchange.number)))?;
        let own: Rank = (asker.is_stranger, questions(&asker.address) + 1);
        (rank(busiest) > own).then(|| question.clone())
    }
}

impl<T> Exchange<T> {
    fn is_of_strangers(&self) -> bool {
        self.questions.iter().all(|(asker, _)| asker.is_stranger)
    }
}

#[cfg(test)]
mod tests;
