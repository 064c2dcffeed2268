//! The TCP connections to upstream servers.
//!
//! Queries share a connection and are answered in any order (RFC 7766, section 6.2.1.1): up to [`QUERIES_MAX`] at a
//! time, no two with the same ID (RFC 7766, section 6.2.1). A connection without queries is closed after [`IDLE_MAX`].
//!
//! If the server closes a connection, its queries move to a new connection: each once, and again whenever the closed
//! connection has brought an answer. So a server that closes idle connections, or one after each answer, costs none. A
//! connection gets no further query while a query has waited for [`ATTEMPT_TIMEOUT`] and no response has come: the
//! server may have forgotten the connection. A message that has the ID of a query and is no response to it does not
//! count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_ground::Instant;

use super::forwarder::{ATTEMPT_TIMEOUT, AttemptId, UpstreamQuery};

/// The most connections at a time.
pub const CONNECTIONS_MAX: usize = 64;

/// The most queries in progress on one connection.
pub const QUERIES_MAX: usize = 16;

/// How long a connection without queries stays open: a few seconds. (RFC 7766, section 6.2.3)
pub const IDLE_MAX: Duration = Duration::from_secs(5);

/// A connection's handle, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// The connections, and the queries on them.
#[derive(Debug, Default)]
pub struct UpstreamConnections {
    connections: BTreeMap<ConnectionId, Connection>,
    opened: u64,
}

#[derive(Debug)]
struct Connection {
    server: SocketAddr,
    is_established: bool,
    /// A query was answered on it.
    has_answered: bool,
    queries: Vec<Query>,
    /// When a query last began or ended.
    active: Instant,
    /// Since when nothing has come although a query waits, or waited at its end.
    waits_since: Option<Instant>,
}

#[derive(Debug)]
struct Query {
    query: UpstreamQuery,
    is_sent: bool,
    /// An earlier connection was closed before the answer.
    is_repeated: bool,
}

/// The connection that got a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The connection.
    pub id: ConnectionId,
    /// Whether the connection has to be opened.
    pub is_new: bool,
    /// The idle connection that is closed for it, already removed.
    pub closes: Option<ConnectionId>,
}

/// What becomes of the queries of a closed connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The connection to open to this server, which has the queries that are repeated.
    pub opens: Option<(ConnectionId, SocketAddr)>,
    /// The queries that have failed.
    pub failed: Vec<AttemptId>,
}

impl UpstreamConnections {
    /// Adds a query to a connection to its server, or to a new one; `None` if there is no room.
    pub fn add(&mut self, now: Instant, query: UpstreamQuery) -> Option<Placement> {
        let suits = |connection: &Connection| connection.takes(now, &query);
        let open = self.connections.iter().find(|(_, connection)| suits(connection)).map(|(id, _)| *id);
        let (id, closes) = match open {
            Some(id) => (id, None),
            None if self.connections.len() < CONNECTIONS_MAX => (self.open(now, query.server), None),
            None => {
                let idle = self.connections.iter().filter(|(_, connection)| connection.queries.is_empty());
                let longest = idle.min_by_key(|(_, connection)| connection.active).map(|(id, _)| *id)?;
                self.connections.remove(&longest);
                (self.open(now, query.server), Some(longest))
            }
        };
        let connection = self.connections.get_mut(&id)?;
        connection.active = now;
        connection.waits_since.get_or_insert(now);
        connection.queries.push(Query { query, is_sent: false, is_repeated: false });
        Some(Placement { id, is_new: open.is_none(), closes })
    }

    /// Records that the connection is established.
    pub fn establish(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_established = true;
        }
    }

    /// The next query to send on the connection, which counts as sent from now on.
    pub fn take_unsent(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        let unsent = self.connections.get_mut(&id)?.queries.iter_mut().find(|query| !query.is_sent)?;
        unsent.is_sent = true;
        Some(unsent.query.message.clone())
    }

    /// The attempt whose query has the ID of a message from the server; see [`note_response`](Self::note_response). A
    /// message with another ID may be a late response, so that the connection works.
    pub fn receive(&mut self, now: Instant, id: ConnectionId, message: &[u8]) -> Option<AttemptId> {
        let connection = self.connections.get_mut(&id)?;
        let asked = connection.queries.iter().find(|query| message_id(message) == query.id());
        let attempt = asked.map(|query| query.query.attempt);
        if attempt.is_none() {
            connection.note_life(now);
        }
        attempt
    }

    /// Records that a message on the connection was a response to one of its queries, which has ended.
    pub fn note_response(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.has_answered = true;
            connection.note_life(now);
        }
    }

    /// Ends a query that was answered or given up.
    pub fn end(&mut self, now: Instant, attempt: AttemptId) {
        for connection in self.connections.values_mut() {
            let before = connection.queries.len();
            connection.queries.retain(|query| query.query.attempt != attempt);
            if connection.queries.len() < before {
                connection.active = now;
            }
        }
    }

    /// Removes a connection that the server has closed, or that could not be opened.
    pub fn close(&mut self, now: Instant, id: ConnectionId) -> Closed {
        let Some(closed) = self.connections.remove(&id) else { return Closed::default() };
        let Connection { server, is_established, has_answered, queries, .. } = closed;
        let is_repeatable = |query: &Query| is_established && (has_answered || !query.is_repeated);
        let (repeated, failed): (Vec<_>, Vec<_>) = queries.into_iter().partition(is_repeatable);
        let failed = failed.into_iter().map(|query| query.query.attempt).collect();
        if repeated.is_empty() {
            return Closed { opens: None, failed };
        }
        let new = self.open(now, server);
        if let Some(connection) = self.connections.get_mut(&new) {
            let again = |query| Query { is_sent: false, is_repeated: true, ..query };
            connection.queries = repeated.into_iter().map(again).collect();
            connection.waits_since = Some(now);
        }
        Closed { opens: Some((new, server)), failed }
    }

    /// Removes the connections that have been idle for too long, and returns them.
    pub fn take_idle(&mut self, now: Instant) -> Vec<ConnectionId> {
        let is_due = |connection: &Connection| connection.idle_until().is_some_and(|until| until <= now);
        self.connections.extract_if(.., |_, connection| is_due(connection)).map(|(id, _)| id).collect()
    }

    /// When [`take_idle`](Self::take_idle) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connections.values().filter_map(Connection::idle_until).min()
    }

    fn open(&mut self, now: Instant, server: SocketAddr) -> ConnectionId {
        self.opened += 1;
        let id = ConnectionId(self.opened);
        let connection = Connection {
            server,
            is_established: false,
            has_answered: false,
            queries: Vec::new(),
            active: now,
            waits_since: None,
        };
        self.connections.insert(id, connection);
        id
    }
}

impl Connection {
    /// Whether `query` can be sent on this connection.
    fn takes(&self, now: Instant, query: &UpstreamQuery) -> bool {
        self.server == query.server
            && self.queries.len() < QUERIES_MAX
            && self.waits_since.is_none_or(|since| now < since + ATTEMPT_TIMEOUT)
            && self.queries.iter().all(|other| other.id() != message_id(&query.message))
    }

    /// Records that something came from the server.
    fn note_life(&mut self, now: Instant) {
        self.waits_since = (!self.queries.is_empty()).then_some(now);
    }

    fn idle_until(&self) -> Option<Instant> {
        self.queries.is_empty().then(|| self.active + IDLE_MAX)
    }
}

impl Query {
    fn id(&self) -> Option<&[u8; 2]> {
        message_id(&self.query.message)
    }
}

/// The ID of a message; `None` if it is too short.
fn message_id(message: &[u8]) -> Option<&[u8; 2]> {
    message.first_chunk()
}

#[cfg(test)]
mod tests {
    use super::super::message::Transport;
    use super::*;

    fn secs(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    /// A query with this number as attempt and ID, to the server with this number.
    fn query(number: u8, server: u8) -> UpstreamQuery {
        UpstreamQuery {
            attempt: AttemptId(number.into()),
            server: SocketAddr::from(([203, 0, 113, server], 53)),
            transport: Transport::Tcp,
            message: vec![0, number, 1],
        }
    }

    /// Adds the query to a new connection, which the server accepts.
    fn opened(connections: &mut UpstreamConnections, now: Instant, query: UpstreamQuery) -> ConnectionId {
        let placement = connections.add(now, query).unwrap();
        assert!(placement.is_new, "{placement:?}");
        connections.establish(placement.id);
        placement.id
    }

    /// RFC 7766, section 6.2.1: Queries to one server share a connection, without the same ID twice.
    #[test]
    fn rfc7766_6_2_1_queries_to_one_server_share_a_connection() {
        let mut connections = UpstreamConnections::default();
        let first = opened(&mut connections, secs(0), query(1, 1));
        let second = Placement { id: first, is_new: false, closes: None };
        assert_eq!(connections.add(secs(0), query(2, 1)), Some(second));
        assert!(connections.add(secs(0), query(3, 2)).unwrap().is_new, "another server");
        let same_id = UpstreamQuery { attempt: AttemptId(9), ..query(1, 1) };
        assert!(connections.add(secs(0), same_id).unwrap().is_new);
        let sent = std::iter::from_fn(|| connections.take_unsent(first)).collect::<Vec<_>>();
        assert_eq!(sent, [[0, 1, 1], [0, 2, 1]]);
        // Out of order
        assert_eq!(connections.receive(secs(1), first, &[0, 2, 7]), Some(AttemptId(2)));
        assert_eq!(connections.receive(secs(1), first, &[0, 1, 7]), Some(AttemptId(1)));
        for nonsense in [&[0, 77, 7][..], &[0], &[]] {
            assert_eq!(connections.receive(secs(1), first, nonsense), None);
        }
        connections.end(secs(1), AttemptId(1));
        assert_eq!(connections.receive(secs(1), first, &[0, 1, 7]), None, "it has ended");
    }

    /// RFC 7766, section 6.2.4: A query whose connection the server closes is repeated.
    #[test]
    fn rfc7766_6_2_4_the_queries_of_a_closed_connection_are_repeated_once() {
        let mut connections = UpstreamConnections::default();
        let first = opened(&mut connections, secs(0), query(1, 1));
        connections.add(secs(0), query(2, 1)).unwrap();
        assert!(connections.take_unsent(first).is_some());
        let closed = connections.close(secs(1), first);
        let (second, server) = closed.opens.unwrap();
        assert!(closed.failed.is_empty() && second != first && server == query(1, 1).server);
        connections.establish(second);
        assert_eq!(connections.take_unsent(second), Some(vec![0, 1, 1]));
        assert_eq!(connections.take_unsent(second), Some(vec![0, 2, 1]));
        connections.add(secs(1), query(3, 1)).unwrap();
        let closed = connections.close(secs(2), second);
        assert!(closed.opens.is_some());
        assert_eq!(closed.failed, [AttemptId(1), AttemptId(2)]);
        assert_eq!(connections.close(secs(3), second), Closed::default());
    }

    #[test]
    fn a_server_that_closes_after_each_answer_answers_all() {
        let mut connections = UpstreamConnections::default();
        let mut id = opened(&mut connections, secs(0), query(1, 1));
        (2..=5).for_each(|number| assert_eq!(connections.add(secs(0), query(number, 1)).unwrap().id, id));
        for number in 1..=4 {
            assert_eq!(connections.receive(secs(0), id, &[0, number]), Some(AttemptId(number.into())));
            connections.end(secs(0), AttemptId(number.into()));
            connections.note_response(secs(0), id);
            let closed = connections.close(secs(0), id);
            assert!(closed.failed.is_empty(), "{closed:?}");
            id = closed.opens.unwrap().0;
            connections.establish(id);
        }
        assert_eq!(connections.close(secs(0), id).failed, [AttemptId(5)], "it closes without an answer");
    }

    #[test]
    fn a_refused_connection_fails_at_once() {
        let mut connections = UpstreamConnections::default();
        let refused = connections.add(secs(0), query(1, 1)).unwrap().id;
        let closed = connections.close(secs(0), refused);
        assert_eq!(closed, Closed { opens: None, failed: vec![AttemptId(1)] });
    }

    /// RFC 7766, section 6.2.3: Idle connections are closed after a few seconds.
    #[test]
    fn rfc7766_6_2_3_a_connection_is_closed_when_it_has_been_idle() {
        let mut connections = UpstreamConnections::default();
        let id = opened(&mut connections, secs(0), query(1, 1));
        assert_eq!(connections.poll_timeout(), None);
        connections.end(secs(1), AttemptId(1));
        let due = secs(1) + IDLE_MAX;
        assert_eq!(connections.poll_timeout(), Some(due));
        assert!(connections.take_idle(secs(5)).is_empty());
        assert_eq!(connections.take_idle(due), [id]);
        assert_eq!(connections.poll_timeout(), None);
    }

    #[test]
    fn a_connection_on_which_nothing_comes_gets_no_further_query() {
        let mut connections = UpstreamConnections::default();
        let silent = opened(&mut connections, secs(0), query(1, 1));
        connections.end(secs(1), AttemptId(1));
        let fresh = opened(&mut connections, secs(2), query(2, 1));
        assert_ne!(fresh, silent);
        // Something comes after all.
        connections.receive(secs(3), silent, &[0, 1]);
        assert_eq!(connections.add(secs(4), query(3, 1)).unwrap().id, silent);
    }

    #[test]
    fn a_message_that_is_no_response_does_not_show_that_a_connection_works() {
        let mut connections = UpstreamConnections::default();
        let wrong = opened(&mut connections, secs(0), query(1, 1));
        // It has the ID of the query and another question.
        assert_eq!(connections.receive(secs(1), wrong, &[0, 1, 7]), Some(AttemptId(1)));
        let fresh = opened(&mut connections, secs(2), query(2, 1));
        assert_ne!(fresh, wrong);
        let closed = connections.close(secs(2), wrong);
        let (repeated, _) = closed.opens.unwrap();
        connections.establish(repeated);
        assert_eq!(connections.receive(secs(2), repeated, &[0, 1, 7]), Some(AttemptId(1)));
        let closed = connections.close(secs(2), repeated);
        assert_eq!(closed, Closed { opens: None, failed: vec![AttemptId(1)] }, "it has brought no answer");
        connections.end(secs(3), AttemptId(2));
        connections.note_response(secs(3), fresh);
        assert_eq!(connections.add(secs(6), query(3, 1)).unwrap().id, fresh);
    }

    #[test]
    fn connections_and_their_queries_are_bounded_and_idle_ones_give_way() {
        let mut connections = UpstreamConnections::default();
        let first = opened(&mut connections, secs(0), query(0, 0));
        for number in 1..u8::try_from(QUERIES_MAX).unwrap() {
            assert_eq!(connections.add(secs(0), query(number, 0)).unwrap().id, first);
        }
        opened(&mut connections, secs(0), query(200, 0));
        let last = u8::try_from(CONNECTIONS_MAX).unwrap();
        for number in 2..last {
            opened(&mut connections, secs(0), query(number, number));
        }
        assert_eq!(connections.add(secs(0), query(201, 201)), None, "none is idle");
        connections.end(secs(1), AttemptId(200));
        let placement = connections.add(secs(1), query(201, 201)).unwrap();
        assert!(placement.is_new && placement.closes.is_some());
        assert_eq!(connections.connections.len(), CONNECTIONS_MAX);
    }
}
