//! The web server. A page is a number of octets with a known pattern, asked for by that number.

use std::collections::BTreeMap;

use gatepost_ground::Instant;
use smoltcp::socket::tcp;

use super::connections::ConnectionId;
use super::server::{Server, Wire};

/// The period of a page's pattern: prime, so that a shift by any packet length shows.
const PAGE_PERIOD: u32 = 251;

/// The server.
#[derive(Default)]
pub(super) struct WebServer {
    pages: BTreeMap<ConnectionId, Page>,
}

/// A page on its way.
#[derive(Default)]
pub struct Page {
    /// How many octets were asked for, once that is known.
    wanted: Option<u32>,
    sent: u32,
}

impl Server for WebServer {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        wire.each_connection(|connection| {
            self.pages.entry(connection.id()).or_default().serve(connection.socket);
        });
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        self.pages.remove(&connection);
    }

    fn on_switched_off(&mut self) {
        self.pages.clear();
    }
}

impl Page {
    /// Answers on a connection with the page that is asked for.
    pub fn serve(&mut self, socket: &mut tcp::Socket<'_>) {
        let Self { wanted, sent } = self;
        if wanted.is_none() && socket.recv_queue() >= size_of::<u32>() {
            let mut request = [0; 4];
            *wanted = socket.recv_slice(&mut request).ok().map(|_| u32::from_be_bytes(request));
        }
        let Some(wanted) = *wanted else {
            // There are no more requests.
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
}

/// Whether `octets` are the content of a page from `offset` on.
pub fn is_page(offset: u32, octets: &[u8]) -> bool {
    (offset..).zip(octets).all(|(at, octet)| *octet == page_octet(at))
}

fn page_octet(at: u32) -> u8 {
    u8::try_from(at % PAGE_PERIOD).expect("the period is below 256")
}
