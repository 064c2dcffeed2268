//! The queries that wait for upstream servers, with shares for clients and zones.
//!
//! Queries that wait for the same exchange are stored together. The table bounds queries and exchanges:
//!
//! | | at most | a further query |
//! | --- | --- | --- |
//! | queries of one client | [`WAITING_PER_CLIENT_MAX`], [`WAITING_PER_CLIENT_BUSY_MAX`] while the table is at least half full | is rejected |
//! | exchanges about one zone | [`EXCHANGES_PER_ZONE_MAX`], [`EXCHANGES_PER_FAILING_ZONE_MAX`] if it is failing | evicts another of the zone, or is rejected |
//! | exchanges of strangers | [`EXCHANGES_OF_STRANGERS_MAX`] | evicts another stranger's, or is rejected |
//! | exchanges, queries | [`EXCHANGES_MAX`], [`WAITING_MAX`] | evicts another, or is rejected |
//!
//! A *stranger* is a client without lease or reservation, whose address may be forged. The exchange to evict is the one
//! whose least busy client is busiest (strangers before others, then by queries in the table that is full), the oldest
//! among equals; and only if that client is busier than the new one. So an exchange on which a quiet client waits
//! stays, whichever client began it, and no client can evict more than its fair share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::forwarder::EXCHANGES_MAX;
use super::message::Question;
use super::upstream_zone::UpstreamZone;

/// The most waiting queries.
pub const WAITING_MAX: usize = 1_024;

/// The most waiting queries of one client: a quarter of all. A browser that restores its session, or a resolver or NAT
/// router behind one address, sends so many at once.
pub const WAITING_PER_CLIENT_MAX: usize = 256;

/// The most waiting queries of one client while the table is at least half full: a sixteenth of all. A client that has
/// more already keeps them, but gets no further one.
pub const WAITING_PER_CLIENT_BUSY_MAX: usize = 64;

/// The most exchanges for the names of one zone: an eighth of all.
pub const EXCHANGES_PER_ZONE_MAX: usize = 32;

/// The most exchanges for a failing zone: enough to notice that it answers again.
pub const EXCHANGES_PER_FAILING_ZONE_MAX: usize = 4;

/// The most exchanges for which only strangers wait; the others are reserved for known clients.
pub const EXCHANGES_OF_STRANGERS_MAX: usize = EXCHANGES_MAX / 2;

/// The client to which a query is accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its address.
    pub address: IpAddr,
    /// Whether it has neither lease nor reservation.
    pub is_stranger: bool,
}

/// The limit that a query would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// The share of its client.
    Client,
    /// The share of its zone.
    Zone,
    /// The limit of strangers, or of the table.
    Table,
}

/// The waiting queries, each with the caller's `T`.
pub struct WaitingTable<T> {
    exchanges: BTreeMap<Question, Exchange<T>>,
    exchanges_begun: u64,
}

struct Exchange<T> {
    zone: UpstreamZone,
    /// A sequence number by the beginning.
    number: u64,
    /// At least one.
    questions: Vec<(Asker, T)>,
}

impl<T> Default for WaitingTable<T> {
    fn default() -> Self {
        Self { exchanges: BTreeMap::new(), exchanges_begun: 0 }
    }
}

/// The order of eviction: exchanges of strangers first, then those of the client with the most.
type Rank = (bool, usize);

impl<T> WaitingTable<T> {
    /// Whether no query waits.
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// The queries that wait for the exchange for `question`.
    pub fn of(&self, question: &Question) -> impl Iterator<Item = &T> {
        let exchange = self.exchanges.get(question);
        exchange.into_iter().flat_map(|exchange| exchange.questions.iter().map(|(_, waiting)| waiting))
    }

    /// Makes room for one more query of `asker`. Returns the exchange to evict, if there is one: it stays in the table
    /// until it is [taken](Self::take).
    ///
    /// # Errors
    ///
    /// The exceeded limit, if no exchange can be evicted.
    pub fn make_room(
        &self,
        question: &Question,
        zone: &UpstreamZone,
        zone_fails: bool,
        asker: Asker,
    ) -> Result<Option<Question>, LimitReached> {
        let questions = || self.exchanges.values().flat_map(|exchange| &exchange.questions);
        let is_busy = self.exchanges.len() >= EXCHANGES_MAX / 2 || questions().count() >= WAITING_MAX / 2;
        let client_max = if is_busy { WAITING_PER_CLIENT_BUSY_MAX } else { WAITING_PER_CLIENT_MAX };
        if questions().filter(|(other, _)| other.address == asker.address).count() >= client_max {
            return Err(LimitReached::Client);
        }
        let begins = !self.exchanges.contains_key(question);
        let count = |belongs: &dyn Fn(&Exchange<T>) -> bool| {
            self.exchanges.values().filter(|exchange| belongs(exchange)).count()
        };
        let in_zone = |exchange: &Exchange<T>| exchange.zone == *zone;
        let zone_max = if zone_fails { EXCHANGES_PER_FAILING_ZONE_MAX } else { EXCHANGES_PER_ZONE_MAX };
        // Evicting an exchange of a zone frees room in the other limits, too.
        if begins && count(&in_zone) >= zone_max {
            return self.gives_way(question, asker, in_zone).map(Some).ok_or(LimitReached::Zone);
        }
        if begins && asker.is_stranger && count(&Exchange::is_of_strangers) >= EXCHANGES_OF_STRANGERS_MAX {
            let other = self.gives_way(question, asker, Exchange::is_of_strangers);
            return other.map(Some).ok_or(LimitReached::Table);
        }
        if begins && self.exchanges.len() >= EXCHANGES_MAX || questions().count() >= WAITING_MAX {
            return self.gives_way(question, asker, |_| true).map(Some).ok_or(LimitReached::Table);
        }
        Ok(None)
    }

    /// Adds `waiting` to the exchange for `question`, a name of `zone`.
    pub fn insert(&mut self, question: Question, zone: UpstreamZone, asker: Asker, waiting: T) {
        let exchange = self.exchanges.entry(question).or_insert_with(|| {
            self.exchanges_begun += 1;
            Exchange { zone, number: self.exchanges_begun, questions: Vec::new() }
        });
        exchange.questions.push((asker, waiting));
    }

    /// Removes all queries that wait for the exchange for `question`, in the order of arrival.
    pub fn take(&mut self, question: &Question) -> impl Iterator<Item = T> + use<T> {
        let exchange = self.exchanges.remove(question);
        exchange.into_iter().flat_map(|exchange| exchange.questions).map(|(_, waiting)| waiting)
    }

    /// The exchange among those that `belongs` selects to evict for `new`, a question of `asker`.
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
