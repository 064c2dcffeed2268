//! The TCP connections that the internet serves: pages, chats, and questions for name servers.

use std::net::Ipv4Addr;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::IpEndpoint;

use super::{CHAT_PORT, DNS_PORT, WEB_PORT};
use crate::machine::stack::Stack;

/// Connections served at a time; further ones are refused.
pub const CONNECTIONS_MAX: usize = 2_048;

/// The period of a page's pattern: prime, so that a shift by any packet length shows.
const PAGE_PERIOD: u32 = 251;
/// Octets of the length before each DNS message.
const LENGTH_OCTETS: usize = 2;

/// Whether `octets` are what a page has from `offset` on.
pub fn is_page(offset: u32, octets: &[u8]) -> bool {
    (offset..).zip(octets).all(|(at, octet)| *octet == page_octet(at))
}

fn page_octet(at: u32) -> u8 {
    u8::try_from(at % PAGE_PERIOD).expect("the period is below 256")
}

/// A connection's number, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId(u64);

/// A question that came over a connection.
pub struct Asked {
    /// Over which.
    pub connection: ConnectionId,
    /// Whom.
    pub server: Ipv4Addr,
    /// The message, without its length.
    pub message: Vec<u8>,
}

/// All connections.
#[derive(Default)]
pub struct Connections {
    open: Vec<Connection>,
    opened: u64,
}

struct Connection {
    id: ConnectionId,
    handle: SocketHandle,
    serves: Serves,
}

enum Serves {
    Page { wanted: Option<u32>, sent: u32 },
    Chat,
    Names { server: Ipv4Addr, unread: Vec<u8>, unsent: Vec<u8> },
}

impl Connections {
    /// Knows nothing of any connection any more.
    pub fn forget(&mut self, stack: &mut Stack) {
        for connection in self.open.drain(..) {
            stack.sockets.remove(connection.handle);
        }
    }

    /// Listens for a connection that `client` is about to open. A SYN that comes twice is for the connection
    /// that there is: smoltcp would have a listening socket open another one with the same ports.
    pub fn expect(&mut self, stack: &mut Stack, client: (Ipv4Addr, u16), server: Ipv4Addr, port: u16) {
        let serves = match port {
            WEB_PORT => Serves::Page { wanted: None, sent: 0 },
            CHAT_PORT => Serves::Chat,
            DNS_PORT => Serves::Names { server, unread: Vec::new(), unsent: Vec::new() },
            _ => return,
        };
        let local = IpEndpoint::new(server.into(), port);
        let is_expected = self.open.iter().any(|connection| {
            let socket = stack.sockets.get::<tcp::Socket<'_>>(connection.handle);
            let is_open = socket.remote_endpoint() == Some(client.into());
            let is_listening = socket.is_listening() && socket.listen_endpoint() == local.into();
            is_listening || (is_open && socket.local_endpoint() == Some(local))
        });
        if !is_expected && self.open.len() < CONNECTIONS_MAX {
            let handle = stack.add_tcp();
            stack.tcp(handle).listen(local).expect("a new socket can listen");
            self.opened += 1;
            self.open.push(Connection { id: ConnectionId(self.opened), handle, serves });
        }
    }

    /// Serves them, and gives back the questions that have come.
    pub fn serve(&mut self, stack: &mut Stack) -> Vec<Asked> {
        let mut questions = Vec::new();
        for Connection { id, handle, serves } in &mut self.open {
            let socket = stack.tcp(*handle);
            match serves {
                Serves::Page { wanted, sent } => serve_page(socket, wanted, sent),
                Serves::Chat => serve_chat(socket),
                Serves::Names { server, unread, unsent } => {
                    read(socket, unread);
                    while let Some(message) = take_message(unread) {
                        questions.push(Asked { connection: *id, server: *server, message });
                    }
                    write(socket, unsent);
                }
            }
        }
        self.open.retain(|connection| {
            let state = stack.tcp(connection.handle).state();
            let is_over = matches!(state, tcp::State::Closed | tcp::State::TimeWait);
            if is_over {
                stack.sockets.remove(connection.handle);
            }
            !is_over
        });
        questions
    }

    /// Answers a question of a connection, if that is still open.
    pub fn answer(&mut self, stack: &mut Stack, id: ConnectionId, message: &[u8]) {
        let open = self.open.iter_mut().find(|connection| connection.id == id);
        if let Some(Connection { handle, serves: Serves::Names { unsent, .. }, .. }) = open {
            let len = u16::try_from(message.len()).expect("an answer is that long at most");
            unsent.extend(len.to_be_bytes());
            unsent.extend(message);
            write(stack.tcp(*handle), unsent);
        }
    }
}

/// Answers on a connection with the page that is asked for.
pub fn serve_page(socket: &mut tcp::Socket<'_>, wanted: &mut Option<u32>, sent: &mut u32) {
    if wanted.is_none() && socket.recv_queue() >= size_of::<u32>() {
        let mut request = [0; 4];
        *wanted = socket.recv_slice(&mut request).ok().map(|_| u32::from_be_bytes(request));
    }
    let Some(wanted) = *wanted else {
        // Nobody can ask any more.
        if socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        return;
    };
    while *sent < wanted && socket.can_send() {
        let write = |room: &mut [u8]| {
            let len = room.len().min((wanted - *sent) as usize);
            (*sent..).zip(&mut room[..len]).for_each(|(at, octet)| *octet = page_octet(at));
            (len, len)
        };
        let Ok(len) = socket.send(write) else { return };
        *sent += u32::try_from(len).expect("a page is that long");
    }
    if *sent == wanted {
        socket.close();
    }
}

fn serve_chat(socket: &mut tcp::Socket<'_>) {
    let mut line = [0; 64];
    while socket.can_recv() && socket.send_capacity() - socket.send_queue() >= line.len() {
        let Ok(len) = socket.recv_slice(&mut line) else { return };
        if socket.send_slice(&line[..len]) != Ok(len) {
            return;
        }
    }
    if socket.state() == tcp::State::CloseWait {
        socket.close();
    }
}

fn read(socket: &mut tcp::Socket<'_>, unread: &mut Vec<u8>) {
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

fn take_message(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes(*unread.first_chunk::<LENGTH_OCTETS>()?));
    let message = unread.get(LENGTH_OCTETS..LENGTH_OCTETS + len)?.to_vec();
    unread.drain(..LENGTH_OCTETS + len);
    Some(message)
}

/// Sends what can be sent, and closes for whoever will not ask again.
fn write(socket: &mut tcp::Socket<'_>, unsent: &mut Vec<u8>) {
    if let Ok(len) = socket.send_slice(unsent) {
        unsent.drain(..len);
    }
    if unsent.is_empty() && socket.state() == tcp::State::CloseWait {
        socket.close();
    }
}
