//! Fixtures for tests of TLS and of the services that use it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use gatepost_ground::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::authority::{Authority, Leaf, Names};
use super::{Authorities, Tls};
pub(in crate::tls) use crate::calendar::DAY;
use crate::clock::{Clock, UnixTime};
use crate::crypto::signing::KeyKind;
use crate::crypto::tls::provider;
use crate::net::Stream;

/// 2026-11-29T00:00:00Z.
pub const NOW: UnixTime = UnixTime(1_795_910_400);

/// A clock set by the test.
#[derive(Clone, Debug)]
pub struct SetClock(pub Rc<Cell<UnixTime>>);

impl SetClock {
    pub fn at(time: UnixTime) -> Self {
        Self(Rc::new(Cell::new(time)))
    }
}

impl Clock for SetClock {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn unix_time(&self) -> UnixTime {
        self.0.get()
    }
}

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub fn names() -> Names {
    Names {
        hostname: "gatepost".into(),
        domain: "office.example".into(),
        addresses: BTreeSet::from(["192.168.1.1".parse().unwrap(), "203.0.113.1".parse().unwrap()]),
    }
}

pub fn authority() -> Authority {
    Authority::make(KeyKind::Ed25519, &names(), NOW, &mut rng(1)).unwrap()
}

pub fn leaf(authority: &Authority, now: UnixTime) -> Leaf {
    authority.sign(KeyKind::Ed25519, &names(), now, &mut rng(2)).unwrap()
}

pub fn crypto() -> Arc<CryptoProvider> {
    provider(rng(3))
}

/// The TLS of a server, and of a client that trusts its authority, with their own clock.
pub fn office() -> (Tls, Tls, SetClock) {
    let clock = SetClock::at(NOW);
    let (server, client) = pair(&(Rc::new(clock.clone()) as Rc<dyn Clock>));
    (server, client, clock)
}

/// The TLS of a server, and of a client that trusts its authority, with `clock`.
pub fn pair(clock: &Rc<dyn Clock>) -> (Tls, Tls) {
    let tls = || Tls::new(crypto(), Rc::clone(clock));
    let (server, client, authority, now) = (tls(), tls(), authority(), clock.unix_time());
    server.set_identity(&leaf(&authority, now).identity(now, server.provider()).unwrap());
    client.set_authorities(&Authorities::from_pem(authority.certificate_pem().as_bytes()).unwrap());
    (server, client)
}

/// A connection in memory.
#[derive(Debug)]
pub struct Pipe {
    stream: DuplexStream,
    portion: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

/// The most octets of one read.
pub const PORTION_MAX: usize = 4096;

/// Both ends of a connection, the client's first, with at most `portion` octets for each read.
pub fn pipe(portion: usize) -> (Pipe, Pipe) {
    pipe_to(465, portion)
}

/// The same to a server at `port`.
pub fn pipe_to(port: u16, portion: usize) -> (Pipe, Pipe) {
    // rustls does not read while it has handshake data to write: there is room for a whole flight.
    let (client, server) = tokio::io::duplex(1 << 14);
    let [at_client, mut at_server] =
        ["192.168.1.50:40000", "192.168.1.1:465"].map(|text| text.parse::<SocketAddr>().unwrap());
    at_server.set_port(port);
    (
        Pipe { stream: client, portion, local: at_client, peer: at_server },
        Pipe { stream: server, portion, local: at_server, peer: at_client },
    )
}

impl Stream for Pipe {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut octets = [0; PORTION_MAX];
        let mut portion = ReadBuf::new(&mut octets[..self.portion.min(buffer.remaining())]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut portion);
        buffer.put_slice(portion.filled());
        polled
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
