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
    /// The SYN that it was expected for.
    syn: Syn,
}

/// A SYN, which opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn {
    /// Who opens it.
    pub client: SocketAddrV4,
    /// Whom it is opened with.
    pub local: SocketAddrV4,
    /// The initial sequence number. (RFC 9293, section 3.4.1)
    pub sequence: u32,
}

impl Connections {
    /// Knows nothing of any connection any more.
    pub fn forget(&mut self, stack: &mut Stack) {
        for connection in self.open.drain(..) {
            stack.sockets.remove(connection.handle);
        }
    }

    /// Listens for the connection with `server` that `syn` is about to open. A SYN that comes twice is for the
    /// connection that there is: smoltcp would have a listening socket open another one with the same ports.
    pub fn expect(&mut self, stack: &mut Stack, syn: Syn, server: usize) {
        let endpoint = |address: SocketAddrV4| IpEndpoint::new((*address.ip()).into(), address.port());
        let is_expected = self.open.iter().any(|connection| {
            let socket = stack.sockets.get::<tcp::Socket<'_>>(connection.handle);
            let is_open = socket.remote_endpoint() == Some(endpoint(syn.client));
            let is_listening =
                socket.is_listening() && socket.listen_endpoint() == endpoint(syn.local).into();
            is_listening || (is_open && socket.local_endpoint() == Some(endpoint(syn.local)))
        });
        if !is_expected && self.open.len() < CONNECTIONS_MAX {
            let handle = stack.add_tcp();
            stack.tcp(handle).listen(endpoint(syn.local)).expect("a new socket can listen");
            self.opened += 1;
            self.open.push(Open { id: ConnectionId(self.opened), handle, server, local: syn.local, syn });
        }
    }

    /// Ends the connection that stands in the way of `syn`: the client knows nothing of it any more, as it opens
    /// another one from the same port. RFC 9293, section 3.10.7.4, has the server send a challenge ACK, and the client
    /// answer it with a reset, which ends the old connection; smoltcp ignores such a SYN.
    pub fn replace(&mut self, stack: &mut Stack, syn: Syn) -> Option<Open> {
        let is_forgotten = |connection: &Open| {
            let old = connection.syn;
            let is_same = (old.client, old.local) == (syn.client, syn.local) && old.sequence != syn.sequence;
            is_same
                && stack.sockets.get::<tcp::Socket<'_>>(connection.handle).state() == tcp::State::Established
        };
        let ended = self.open.remove(self.open.iter().position(is_forgotten)?);
        stack.sockets.remove(ended.handle);
        Some(ended)
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
