//! The transport of the name servers: a message in each datagram, or on a connection each after its length.

use std::collections::BTreeMap;

use gatepost_ground::Instant;

use super::{Caller, NameServers, Transport};
use crate::machine::internet::connections::ConnectionId;
use crate::machine::internet::server::{Connection, Server, Wire};

/// Octets of the length before each DNS message.
const LENGTH_OCTETS: usize = 2;
/// The first octet of a longer answer goes alone, so that its length comes in two segments.
const LONG_OCTETS: usize = 1_232;

/// All name servers, as customers reach them.
pub struct NameService {
    /// The name servers.
    pub names: NameServers,
    streams: BTreeMap<ConnectionId, Stream>,
}

/// The state of a connection.
#[derive(Default)]
pub(super) struct Stream {
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// The octets of it that go alone; the rest goes when their acknowledgement has come.
    first: usize,
    /// Nothing more is read, and the connection is closed when all is sent.
    has_ended: bool,
}

impl NameService {
    /// The service of `names`.
    pub fn new(names: NameServers) -> Self {
        Self { names, streams: BTreeMap::new() }
    }
}

impl Server for NameService {
    fn poll(&mut self, now: Instant, wire: &mut Wire<'_>) {
        let Self { names, streams } = self;
        while let Some(question) = wire.receive() {
            let server = *question.to.ip();
            let caller = Caller::Datagram { customer: question.from, server: question.to };
            names.ask(now, caller, server, Transport::Udp, question.payload);
        }
        wire.each_connection(|connection| {
            let stream = streams.entry(connection.id()).or_default();
            for message in stream.receive(connection) {
                let caller = Caller::Connection(connection.id());
                names.ask(now, caller, *connection.local().ip(), Transport::Tcp, message);
            }
            stream.send(connection);
        });
        names.poll(now, |caller, answer| match caller {
            Caller::Datagram { customer, server } => wire.send(server, customer, &answer),
            Caller::Connection(id) => {
                if let (Some(mut connection), Some(stream)) = (wire.connection(id), streams.get_mut(&id)) {
                    stream.push(&answer);
                    stream.send(&mut connection);
                }
            }
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.names.poll_timeout()
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        self.streams.remove(&connection);
    }

    fn on_switched_off(&mut self) {
        self.names.lose_letters();
        self.streams.clear();
    }

    fn calm(&mut self) {
        self.names.calm();
    }
}

impl Stream {
    /// The messages that have come.
    pub fn receive(&mut self, connection: &mut Connection<'_>) -> Vec<Vec<u8>> {
        connection.receive(&mut self.unread);
        if self.has_ended {
            self.unread.clear();
        }
        std::iter::from_fn(|| take_message(&mut self.unread)).collect()
    }

    /// Adds an answer to what is to be sent.
    pub fn push(&mut self, answer: &[u8]) {
        let len = u16::try_from(answer.len()).expect("an answer is that long at most");
        self.unsent.extend(len.to_be_bytes());
        if self.unsent.len() == LENGTH_OCTETS && answer.len() > LONG_OCTETS {
            self.first = 1;
        }
        self.unsent.extend(answer);
    }

    /// Closes the connection after the last answer so far.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// Sends what can be sent, and closes if the client has closed, or after the last answer.
    pub fn send(&mut self, connection: &mut Connection<'_>) {
        let part = if self.first > 0 { self.first } else { self.unsent.len() };
        let len = connection.send(&self.unsent[..part]);
        self.unsent.drain(..len);
        self.first = self.first.saturating_sub(len);
        if self.unsent.is_empty() && (self.has_ended || connection.is_half_closed()) {
            connection.close();
        }
    }
}

/// The next whole message of `unread`, without its length.
pub fn take_message(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes(*unread.first_chunk::<LENGTH_OCTETS>()?));
    let message = unread.get(LENGTH_OCTETS..LENGTH_OCTETS + len)?.to_vec();
    unread.drain(..LENGTH_OCTETS + len);
    Some(message)
}
