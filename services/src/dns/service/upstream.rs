//! The sockets of queries to upstream servers: one for each query over UDP, shared connections over TCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use tokio::sync::Notify;

use super::{DATAGRAM_OCTETS_MAX, Shared, State, read_message, write_message};
use crate::dns::forwarder::{AttemptId, UpstreamQuery};
use crate::dns::message::Transport;
use crate::dns::upstream_connections::{Closed, ConnectionId, Placement};
use crate::net::{Net, UdpSocket};
use crate::task::Task;
use crate::wait::first_of;

/// A TCP connection to an upstream server.
pub(super) struct Connection {
    _task: Task,
    /// Notified of a query to send.
    has_unsent: Rc<Notify>,
}

impl<N: Net> Shared<N> {
    /// Sends a query.
    pub(super) fn begin(self: &Rc<Self>, state: &mut State, query: UpstreamQuery) {
        let attempt = query.attempt;
        match query.transport {
            Transport::Udp => {
                state.attempts.insert(attempt, Task::spawn(Rc::clone(self).attempt_udp(query)));
            }
            Transport::Tcp => self.begin_tcp(state, query),
        }
    }

    /// Ends a query that was answered or given up.
    pub(super) fn end(&self, state: &mut State, attempt: AttemptId) {
        if state.attempts.remove(&attempt).is_none() {
            state.upstream_table.end(self.clock.now(), attempt);
        }
    }

    /// Closes the TCP connections that have been idle for too long.
    pub(super) fn close_idle(&self) {
        let mut state = self.state.borrow_mut();
        for id in state.upstream_table.take_idle(self.clock.now()) {
            state.upstream_connections.remove(&id);
        }
    }

    async fn attempt_udp(self: Rc<Self>, query: UpstreamQuery) {
        // It ends only with an error, or when the server closes it.
        _ = self.exchange_datagrams(&query).await;
        self.handle(|server, now| server.handle_failure(now, query.attempt));
    }

    async fn exchange_datagrams(self: &Rc<Self>, query: &UpstreamQuery) -> io::Result<()> {
        let server = query.server;
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = self.net.bind_udp(SocketAddr::new(any, 0)).await?;
        socket.send_to(&query.message, server).await?;
        let mut buffer = [0; DATAGRAM_OCTETS_MAX];
        loop {
            let (len, sender) = socket.recv_from(&mut buffer).await?;
            // RFC 5452, section 9.1
            if sender == server {
                self.handle(|server, now| _ = server.handle_response(now, query.attempt, &buffer[..len]));
            }
        }
    }

    fn begin_tcp(self: &Rc<Self>, state: &mut State, query: UpstreamQuery) {
        let (attempt, server, now) = (query.attempt, query.server, self.clock.now());
        let Some(Placement { id, is_new, closes }) = state.upstream_table.add(now, query) else {
            return state.server.handle_no_room(now, attempt);
        };
        if let Some(closed) = closes {
            state.upstream_connections.remove(&closed);
        }
        if is_new {
            self.connect(state, id, server);
        } else if let Some(connection) = state.upstream_connections.get(&id) {
            connection.has_unsent.notify_one();
        }
    }

    fn connect(self: &Rc<Self>, state: &mut State, id: ConnectionId, server: SocketAddr) {
        let has_unsent = Rc::new(Notify::new());
        let task = Task::spawn(Rc::clone(self).keep_connection(id, server, Rc::clone(&has_unsent)));
        state.upstream_connections.insert(id, Connection { _task: task, has_unsent });
    }

    async fn keep_connection(self: Rc<Self>, id: ConnectionId, server: SocketAddr, has_unsent: Rc<Notify>) {
        // It ends only with an error.
        _ = self.exchange_messages(id, server, &has_unsent).await;
        let failed = {
            let mut state = self.state.borrow_mut();
            let Closed { opens, failed } = state.upstream_table.close(self.clock.now(), id);
            state.upstream_connections.remove(&id);
            if let Some((id, server)) = opens {
                self.connect(&mut state, id, server);
            }
            failed
        };
        for attempt in failed {
            self.handle(|server, now| server.handle_failure(now, attempt));
        }
    }

    /// Sends the queries of a connection, and reads responses to them in any order.
    async fn exchange_messages(
        self: &Rc<Self>,
        id: ConnectionId,
        server: SocketAddr,
        has_unsent: &Notify,
    ) -> io::Result<()> {
        let stream = self.net.connect(server).await?;
        self.state.borrow_mut().upstream_table.establish(id);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = async {
            loop {
                let response = read_message(&mut reader).await?;
                let now = self.clock.now();
                let attempt = self.state.borrow_mut().upstream_table.receive(now, id, &response);
                let Some(attempt) = attempt else { continue };
                let mut is_response = false;
                self.handle(|server, now| is_response = server.handle_response(now, attempt, &response));
                if is_response {
                    self.state.borrow_mut().upstream_table.note_response(now, id);
                }
            }
        };
        let write = async {
            loop {
                let unsent = self.state.borrow_mut().upstream_table.take_unsent(id);
                match unsent {
                    Some(query) => write_message(&mut writer, &query).await?,
                    None => has_unsent.notified().await,
                }
            }
        };
        first_of(read, write).await
    }
}
