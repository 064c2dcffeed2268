//! A host of the office that serves a zone: the name server of a branch of the domain, or of a directory.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use gatepost_ground::{Instant, MacAddr};

use super::Machine;
use super::identity::Identity;
use super::internet::{DNS_PORT, OfficeZone, ZoneManner, ZoneService, take_message};
use super::stack::{SocketHandle, Stack, turn};

/// Connections served at a time; further ones are refused.
const CONNECTIONS_MAX: usize = 16;
/// How long a client may be silent.
const CLIENT_TIMEOUT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(30);

/// The host.
pub struct ZoneHost {
    stack: Stack,
    socket: SocketHandle,
    service: ZoneService<Client>,
    connections: BTreeMap<SocketHandle, Connection>,
    due: Option<Instant>,
}

/// The sender of a query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Udp(SocketAddrV4),
    Tcp(SocketHandle),
}

#[derive(Default)]
struct Connection {
    unread: Vec<u8>,
    unsent: Vec<u8>,
    has_ended: bool,
}

impl ZoneHost {
    /// The server of `zone` that is `identity`.
    pub fn new(identity: &Identity, zone: OfficeZone, manner: ZoneManner) -> Self {
        let mut stack = Stack::of(identity, identity.seed);
        let socket = stack.bind_udp(DNS_PORT);
        let connections = (0..CONNECTIONS_MAX).map(|_| {
            let handle = stack.add_tcp();
            stack.tcp(handle).set_timeout(Some(CLIENT_TIMEOUT));
            (handle, Connection::default())
        });
        let connections = connections.collect();
        let service = ZoneService::new(zone, manner, identity.seed);
        Self { stack, socket, service, connections, due: Some(Instant::ZERO) }
    }

    fn work(&mut self, now: Instant) {
        while let Some((from, query)) = self.stack.receive_udp(self.socket) {
            self.service.ask_by_udp(now, Client::Udp(from), &query);
        }
        for (handle, connection) in &mut self.connections {
            for query in connection.receive(&mut self.stack, *handle) {
                // The only server of its zone is not the silent one of two.
                self.service.ask_by_tcp(now, Client::Tcp(*handle), false, &query);
            }
            if !self.stack.tcp(*handle).is_open() {
                self.service.forget(Client::Tcp(*handle));
                *connection = Connection::default();
                self.stack.tcp(*handle).listen(DNS_PORT).expect("a closed socket can listen");
            }
        }
        while let Some((client, answer)) = self.service.take_due(now) {
            match client {
                Client::Udp(to) => self.stack.send_udp(self.socket, to, &answer),
                Client::Tcp(handle) => {
                    let Some(connection) = self.connections.get_mut(&handle) else { continue };
                    let len = u16::try_from(answer.len()).expect("an answer is that long at most");
                    connection.unsent.extend(len.to_be_bytes());
                    connection.unsent.extend(answer);
                    if self.service.closes_after_answer() {
                        self.service.forget(client);
                        connection.has_ended = true;
                    }
                }
            }
        }
        for (handle, connection) in &mut self.connections {
            connection.send(&mut self.stack, *handle);
        }
    }
}

impl Connection {
    /// The queries that have come.
    fn receive(&mut self, stack: &mut Stack, handle: SocketHandle) -> Vec<Vec<u8>> {
        let socket = stack.tcp(handle);
        while socket.can_recv() {
            let read = socket.recv(|octets| {
                self.unread.extend_from_slice(octets);
                (octets.len(), ())
            });
            if read.is_err() {
                break;
            }
        }
        if self.has_ended {
            self.unread.clear();
        }
        std::iter::from_fn(|| take_message(&mut self.unread)).collect()
    }

    /// Sends what can be sent, and closes after the last answer, or if the client has closed.
    fn send(&mut self, stack: &mut Stack, handle: SocketHandle) {
        let socket = stack.tcp(handle);
        let len = socket.send_slice(&self.unsent).unwrap_or(0);
        self.unsent.drain(..len);
        let is_half_closed = socket.may_send() && !socket.may_recv();
        if self.unsent.is_empty() && (self.has_ended || is_half_closed) {
            socket.close();
        }
    }
}

impl Machine for ZoneHost {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.due = self.stack.poll_timeout(now).into_iter().chain(self.service.poll_timeout()).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}
