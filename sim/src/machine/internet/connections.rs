//! The TCP connections of the internet's servers.

use std::net::SocketAddrV4;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::IpEndpoint;

use crate::machine::stack::Stack;

/// Connections served at a time; further ones are refused.
pub const CONNECTIONS_MAX: usize = 2_048;

/// A connection's number, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// All connections.
#[derive(Default)]
pub(super) struct Connections {
    open: Vec<Open>,
    opened: u64,
}

/// A connection that there is, or that is expected.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub id: ConnectionId,
    pub handle: SocketHandle,
    /// Which server's it is.
    pub server: usize,
    /// The server's address and port.
    pub local: SocketAddrV4,
}

impl Connections {
    /// Knows nothing of any connection any more.
    pub fn forget(&mut self, stack: &mut Stack) {
        for connection in self.open.drain(..) {
            stack.sockets.remove(connection.handle);
        }
    }

    /// Listens for a connection with `server` that `client` is about to open. A SYN that comes twice is for the
    /// connection that there is: smoltcp would have a listening socket open another one with the same ports.
    pub fn expect(&mut self, stack: &mut Stack, client: SocketAddrV4, local: SocketAddrV4, server: usize) {
        let endpoint = |address: SocketAddrV4| IpEndpoint::new((*address.ip()).into(), address.port());
        let is_expected = self.open.iter().any(|connection| {
            let socket = stack.sockets.get::<tcp::Socket<'_>>(connection.handle);
            let is_open = socket.remote_endpoint() == Some(endpoint(client));
            let is_listening = socket.is_listening() && socket.listen_endpoint() == endpoint(local).into();
            is_listening || (is_open && socket.local_endpoint() == Some(endpoint(local)))
        });
        if !is_expected && self.open.len() < CONNECTIONS_MAX {
            let handle = stack.add_tcp();
            stack.tcp(handle).listen(endpoint(local)).expect("a new socket can listen");
            self.opened += 1;
            self.open.push(Open { id: ConnectionId(self.opened), handle, server, local });
        }
    }

    /// The connections of a server, in the order in which they were opened.
    pub fn of(&self, server: usize) -> impl Iterator<Item = &Open> {
        self.open.iter().filter(move |connection| connection.server == server)
    }

    /// Removes those that have ended, and calls `ended` for each.
    pub fn remove_ended(&mut self, stack: &mut Stack, mut ended: impl FnMut(&Open)) {
        self.open.retain(|connection| {
            let socket = stack.tcp(connection.handle);
            // An aborted one knows its peer until the reset is sent.
            let is_over = match socket.state() {
                tcp::State::Closed => socket.remote_endpoint().is_none(),
                state => state == tcp::State::TimeWait,
            };
            if is_over {
                stack.sockets.remove(connection.handle);
                ended(connection);
            }
            !is_over
        });
    }
}

/// Appends received octets to `unread`.
pub(super) fn receive(socket: &mut tcp::Socket<'_>, unread: &mut Vec<u8>) {
    while socket.can_recv() {
        let take = |octets: &mut [u8]| {
            unread.extend_from_slice(octets);
            (octets.len(), ())
        };
        if socket.recv(take).is_err() {
            return;
        }
    }
}
