//! A network in memory: clients anywhere, and listeners.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::{Mutex, mpsc};

use crate::net::{Listener, Net, Stream, UdpSocket};

/// Octets that are under way in each direction.
pub const UNDER_WAY: usize = 4096;

#[derive(Clone, Default)]
pub struct Wire {
    listeners: Rc<RefCell<BTreeMap<SocketAddr, mpsc::UnboundedSender<End>>>>,
    writes: Rc<Cell<usize>>,
}

/// One end of a connection.
pub struct End {
    stream: DuplexStream,
    local: SocketAddr,
    peer: SocketAddr,
    writes: Rc<Cell<usize>>,
}

pub struct Ear {
    local: SocketAddr,
    calls: Mutex<mpsc::UnboundedReceiver<End>>,
    wire: Wire,
}

impl Wire {
    /// How often services have written to connections.
    pub fn writes(&self) -> usize {
        self.writes.get()
    }

    /// Connects from any address to any; `None` without a listener there.
    pub fn dial(&self, from: SocketAddr, to: SocketAddr) -> Option<End> {
        let (near, far) = duplex(UNDER_WAY);
        let listener = self.listeners.borrow().get(&to).cloned()?;
        let writes = Rc::clone(&self.writes);
        listener.send(End { stream: far, local: to, peer: from, writes }).ok()?;
        Some(End { stream: near, local: from, peer: to, writes: Rc::default() })
    }
}

impl Wire {
    /// Has the listener at `local` fail.
    pub fn fail(&self, local: SocketAddr) {
        self.listeners.borrow_mut().remove(&local);
    }
}

impl Net for Wire {
    type Listener = Ear;
    type Stream = End;
    type Udp = NoUdp;

    async fn listen(&self, local: SocketAddr) -> io::Result<Ear> {
        let (sender, calls) = mpsc::unbounded_channel();
        // As with a staged network, the latest has the port.
        self.listeners.borrow_mut().insert(local, sender);
        Ok(Ear { local, calls: Mutex::new(calls), wire: self.clone() })
    }

    async fn connect(&self, remote: SocketAddr) -> io::Result<End> {
        let own = SocketAddr::from(([203, 0, 113, 10], 50_000));
        self.dial(own, remote).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    async fn bind_udp(&self, _: SocketAddr) -> io::Result<NoUdp> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Listener for Ear {
    type Stream = End;

    async fn accept(&self) -> io::Result<End> {
        self.calls.lock().await.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut listeners = self.wire.listeners.borrow_mut();
        self.calls.get_mut().close();
        if listeners.get(&self.local).is_some_and(mpsc::UnboundedSender::is_closed) {
            listeners.remove(&self.local);
        }
    }
}

impl Stream for End {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

pub enum NoUdp {}

impl UdpSocket for NoUdp {
    async fn recv_from(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match *self {}
    }

    async fn send_to(&self, _: &[u8], _: SocketAddr) -> io::Result<()> {
        match *self {}
    }

    fn local_addr(&self) -> SocketAddr {
        match *self {}
    }
}
