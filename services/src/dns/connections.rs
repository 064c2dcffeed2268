//! The admission of TCP connections on one listening address.
//!
//! A connection is *idle* while none of its queries is being answered. When a source has its share
//! ([`CONNECTIONS_PER_SOURCE_MAX`]), its own longest idle connection is closed for the new one; when the table is full
//! ([`CONNECTIONS_MAX`]), the longest idle of all is, and if none is idle, the least recently active one of the busiest
//! source, provided that this source has more than the new one would have. Otherwise the new connection is closed. So a
//! connection that is being answered is never closed while there is an idle one (RFC 7766, section 6.2.3).

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatepost_ground::Instant;

/// Connections at a time on one address.
pub const CONNECTIONS_MAX: usize = 128;

/// Connections of one source at a time: an eighth of all. Clients need one (RFC 7766, section 6.2.2).
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 16;

/// A connection's handle, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// The connections of one listening address.
#[derive(Debug, Default)]
pub struct ConnectionTable {
    connections: BTreeMap<ConnectionId, Connection>,
    opened: u64,
}

#[derive(Debug)]
struct Connection {
    source: IpAddr,
    /// Queries that are being answered.
    under_way: usize,
    /// When it was opened, or when one of its queries last came or was answered.
    active: Instant,
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.under_way == 0
    }
}

/// The admission of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The new connection.
    pub id: ConnectionId,
    /// The connection that is closed for it, already removed from the table.
    pub closes: Option<ConnectionId>,
}

impl ConnectionTable {
    /// Admits a connection from `source`; `None` if it has to be closed.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> Option<Admission> {
        let own = self.count(source);
        let closes = if own >= CONNECTIONS_PER_SOURCE_MAX {
            Some(self.longest_idle(|connection| connection.source == source)?)
        } else if self.connections.len() >= CONNECTIONS_MAX {
            Some(self.longest_idle(|_| true).or_else(|| self.of_busiest(own + 1))?)
        } else {
            None
        };
        if let Some(closed) = closes {
            self.remove(closed);
        }
        self.opened += 1;
        let id = ConnectionId(self.opened);
        self.connections.insert(id, Connection { source, under_way: 0, active: now });
        Some(Admission { id, closes })
    }

    /// Records a query on the connection.
    pub fn begin(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way += 1;
            connection.active = now;
        }
    }

    /// Records an answer on the connection.
    pub fn end(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.under_way = connection.under_way.saturating_sub(1);
            connection.active = now;
        }
    }

    /// Removes a closed connection.
    pub fn remove(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    fn count(&self, source: IpAddr) -> usize {
        self.connections.values().filter(|connection| connection.source == source).count()
    }

    fn longest_idle(&self, suits: impl Fn(&Connection) -> bool) -> Option<ConnectionId> {
        let idle =
            self.connections.iter().filter(|(_, connection)| connection.is_idle() && suits(connection));
        idle.min_by_key(|(id, connection)| (connection.active, **id)).map(|(id, _)| *id)
    }

    /// The least recently active connection of the busiest source, if that has more than `others`.
    fn of_busiest(&self, others: usize) -> Option<ConnectionId> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for connection in self.connections.values() {
            *counts.entry(connection.source).or_default() += 1;
        }
        let (busiest, _) =
            counts.into_iter().filter(|(_, count)| *count > others).max_by_key(|(_, count)| *count)?;
        let its = self.connections.iter().filter(|(_, connection)| connection.source == busiest);
        its.min_by_key(|(id, connection)| (connection.active, **id)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: usize = CONNECTIONS_MAX / CONNECTIONS_PER_SOURCE_MAX;

    fn host(host: usize) -> IpAddr {
        IpAddr::from([192, 168, 1, u8::try_from(host).unwrap()])
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn open(table: &mut ConnectionTable, secs: u64, source: usize) -> ConnectionId {
        let admission = table.admit(at(secs), host(source)).unwrap();
        assert_eq!(admission.closes, None);
        admission.id
    }

    /// A table in which as many sources as fit have their share; the first source has the oldest connections.
    fn full() -> (ConnectionTable, Vec<ConnectionId>) {
        let mut table = ConnectionTable::default();
        let mut ids = Vec::new();
        for n in 0..CONNECTIONS_MAX {
            ids.push(open(&mut table, 1, n / CONNECTIONS_PER_SOURCE_MAX));
        }
        (table, ids)
    }

    #[test]
    fn the_longest_idle_connection_of_a_source_gives_way_to_its_next() {
        let mut table = ConnectionTable::default();
        let ids: Vec<_> = (0..CONNECTIONS_PER_SOURCE_MAX).map(|n| open(&mut table, n as u64, 2)).collect();
        let other = open(&mut table, 0, 3);
        table.begin(at(100), ids[0]);
        table.end(at(101), ids[0]);
        assert_eq!(table.admit(at(102), host(2)).unwrap().closes, Some(ids[1]));
        assert_eq!(table.admit(at(103), host(2)).unwrap().closes, Some(ids[2]));
        table.remove(other);
        assert_eq!(table.connections.len(), CONNECTIONS_PER_SOURCE_MAX);
    }

    #[test]
    fn a_source_whose_connections_are_all_being_answered_gets_no_more() {
        let mut table = ConnectionTable::default();
        for _ in 0..CONNECTIONS_PER_SOURCE_MAX {
            let id = open(&mut table, 1, 2);
            table.begin(at(2), id);
        }
        assert_eq!(table.admit(at(3), host(2)), None);
        open(&mut table, 3, 3);
    }

    #[test]
    fn in_a_full_table_the_longest_idle_gives_way_and_never_one_that_is_being_answered() {
        let (mut table, ids) = full();
        table.begin(at(2), ids[0]);
        let closed: Vec<_> =
            (0..3).map(|n| table.admit(at(3), host(100 + n)).unwrap().closes.unwrap()).collect();
        assert_eq!(closed, ids[1..4]);
        assert_eq!(table.connections.len(), CONNECTIONS_MAX);
    }

    #[test]
    fn when_none_is_idle_the_busiest_source_gives_way_to_quieter_ones() {
        let (mut table, ids) = full();
        ids.iter().for_each(|id| table.begin(at(2), *id));
        let mut got = 0;
        while let Some(admission) = table.admit(at(3), host(100)) {
            assert!(admission.closes.is_some());
            table.begin(at(3), admission.id);
            got += 1;
        }
        assert!((CONNECTIONS_MAX / (SOURCES + 1)..=CONNECTIONS_PER_SOURCE_MAX).contains(&got), "{got}");
        assert_eq!(table.connections.len(), CONNECTIONS_MAX);
    }

    #[test]
    fn what_is_over_makes_room() {
        let (mut table, ids) = full();
        table.remove(ids[5]);
        open(&mut table, 2, 100);
        table.begin(at(3), ids[5]);
        table.end(at(3), ids[5]);
        assert_eq!(table.connections.len(), CONNECTIONS_MAX, "what is gone is not heard");
    }
}
