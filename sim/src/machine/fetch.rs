//! Fetching pages: one connection for each, with every octet compared.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::internet::is_page;
use super::stack::Stack;

/// How long a page may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take to close before it is forgotten.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest page by default, in octets.
const PAGE_LEN_MAX: u32 = 20_000;

/// A page on its way.
pub struct Fetch {
    handle: SocketHandle,
    wanted: u32,
    got: u32,
    is_asked: bool,
    until: Instant,
}

/// The outcome of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It came whole.
    Whole,
    /// Some octet of it was wrong.
    Wrong,
    /// It did not come.
    Failed,
}

impl Fetch {
    /// Asks `server` for a page of so many `octets`, or else of any length; `None` if there is no way there.
    pub fn begin(
        stack: &mut Stack,
        rng: &mut StdRng,
        server: (Ipv4Addr, u16),
        octets: Option<u32>,
        now: Instant,
    ) -> Option<Self> {
        let wanted = octets.unwrap_or_else(|| rng.random_range(1..=PAGE_LEN_MAX));
        let handle = connect(stack, rng, server)?;
        Some(Self { handle, wanted, got: 0, is_asked: false, until: now + FETCH_TIMEOUT })
    }

    /// Receives. At its end the connection goes to `closing`.
    pub fn work(&mut self, stack: &mut Stack, closing: &mut Closing, now: Instant) -> Option<Fetched> {
        let socket = stack.tcp(self.handle);
        if socket.can_send() && !self.is_asked {
            let asked = socket.send_slice(&self.wanted.to_be_bytes());
            self.is_asked = asked.is_ok_and(|len| len == size_of::<u32>());
        }
        let mut is_wrong = false;
        while socket.can_recv() {
            let got = self.got;
            let read = socket.recv(|octets| (octets.len(), (is_page(got, octets), octets.len())));
            let Ok((is_right, len)) = read else { break };
            is_wrong |= !is_right;
            self.got = self.got.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
            if self.got == self.wanted {
                self.until = self.until.min(now + CLOSE_TIMEOUT);
            }
        }
        let is_ended = self.is_asked && !socket.may_recv() || !socket.is_open();
        if is_wrong {
            closing.abort(stack, self.handle, now);
            Some(Fetched::Wrong)
        } else if self.got == self.wanted && (is_ended || self.until <= now) {
            // smoltcp may lose its FIN: it does not send it again after an acknowledgment of only the octets before.
            closing.close(stack, self.handle, now);
            Some(Fetched::Whole)
        } else if is_ended || self.until <= now {
            closing.abort(stack, self.handle, now);
            Some(Fetched::Failed)
        } else {
            None
        }
    }

    /// Gives it up.
    pub fn abort(&self, stack: &mut Stack, closing: &mut Closing, now: Instant) {
        closing.abort(stack, self.handle, now);
    }

    /// When it has taken too long.
    pub fn poll_timeout(&self) -> Instant {
        self.until
    }
}

/// Connections that are no longer used, until they have ended.
#[derive(Default)]
pub struct Closing(Vec<(SocketHandle, Instant)>);

impl Closing {
    /// Closes a connection.
    pub fn close(&mut self, stack: &mut Stack, handle: SocketHandle, now: Instant) {
        stack.tcp(handle).close();
        self.0.push((handle, now + CLOSE_TIMEOUT));
    }

    /// Resets a connection.
    pub fn abort(&mut self, stack: &mut Stack, handle: SocketHandle, now: Instant) {
        stack.tcp(handle).abort();
        self.0.push((handle, now));
    }

    /// Removes finished connections and those that time out. Their last output must have been sent.
    pub fn forget(&mut self, stack: &mut Stack, now: Instant) {
        self.0.retain(|(handle, until)| {
            let state = stack.tcp(*handle).state();
            let is_over = matches!(state, tcp::State::Closed | tcp::State::TimeWait) || *until <= now;
            if is_over {
                stack.sockets.remove(*handle);
            }
            !is_over
        });
    }

    /// When the next of them has taken too long.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }
}

/// A client that fetches pages from one server repeatedly.
pub struct Visits {
    server: (Ipv4Addr, u16),
    every: Duration,
    next_at: Instant,
    fetch: Option<Fetch>,
    /// Pages that came whole.
    pub pages: u64,
    /// Pages that did not come, or not as they are.
    pub failed: u64,
    /// When the latest page came.
    pub last_page_at: Option<Instant>,
}

impl Visits {
    /// Visits to `server`.
    pub fn new(server: (Ipv4Addr, u16), every: Duration) -> Self {
        Self { server, every, next_at: Instant::ZERO, fetch: None, pages: 0, failed: 0, last_page_at: None }
    }

    /// The server is there from now on.
    pub fn set_address(&mut self, address: Ipv4Addr) {
        self.server.0 = address;
    }

    /// Fetches what is due.
    pub fn work(&mut self, stack: &mut Stack, rng: &mut StdRng, closing: &mut Closing, now: Instant) {
        if let Some(fetch) = &mut self.fetch {
            let Some(fetched) = fetch.work(stack, closing, now) else { return };
            self.fetch = None;
            if fetched == Fetched::Whole {
                self.pages += 1;
                self.last_page_at = Some(now);
            } else {
                self.failed += 1;
            }
        }
        if self.next_at <= now {
            self.next_at = now + self.every;
            self.fetch = Fetch::begin(stack, rng, self.server, None, now);
        }
    }

    /// When to work even if nothing comes.
    pub fn poll_timeout(&self) -> Instant {
        self.fetch.as_ref().map_or(self.next_at, Fetch::poll_timeout)
    }
}

/// Opens a connection from some port; `None` if there is no way there.
pub fn connect(stack: &mut Stack, rng: &mut StdRng, server: (Ipv4Addr, u16)) -> Option<SocketHandle> {
    let local_port: u16 = rng.random_range(49_152..=u16::MAX);
    let handle = stack.add_tcp();
    let Stack { iface, sockets, .. } = stack;
    let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
    if socket.connect(iface.context(), server, local_port).is_err() {
        sockets.remove(handle);
        return None;
    }
    Some(handle)
}
