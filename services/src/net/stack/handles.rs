//! The services' handles of listeners, connections and sockets, which the engine keeps. The handles do the waiting.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::connection::{Read, State};
use super::tcp::SocketId;
use super::{Shared, ipv6_gate};
use crate::net::{Listener, Stream, UdpSocket};

/// A listener of the gateway's stack. Dropping it resets the connections that were not accepted.
pub struct StackListener {
    shared: Rc<Shared>,
    local: SocketAddr,
    arrived: Rc<Notify>,
}

/// A connection of the gateway's stack. Dropping it closes it; written data is still sent.
pub struct StackStream {
    shared: Rc<Shared>,
    id: SocketId,
    local: SocketAddr,
    peer: SocketAddr,
}

/// A UDP socket of the gateway's stack.
pub struct StackUdp {
    shared: Rc<Shared>,
    local: SocketAddr,
    arrived: Rc<Notify>,
}

impl StackListener {
    pub(super) fn new(shared: &Rc<Shared>, local: SocketAddr, arrived: Rc<Notify>) -> Self {
        Self { shared: Rc::clone(shared), local, arrived }
    }
}

impl Listener for StackListener {
    type Stream = StackStream;

    async fn accept(&self) -> io::Result<StackStream> {
        loop {
            let id = self.shared.engine.borrow_mut().tcp.accept(self.local, &self.arrived);
            if let Some(id) = id {
                return Ok(StackStream::new(&self.shared, id));
            }
            self.arrived.notified().await;
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for StackListener {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.shared.engine.borrow_mut().tcp.unlisten(now, self.local, &self.arrived);
        self.shared.changed.notify_one();
    }
}

impl StackStream {
    fn new(shared: &Rc<Shared>, id: SocketId) -> Self {
        let (local, peer) = shared.engine.borrow_mut().tcp.socket(id).tuple();
        Self { shared: Rc::clone(shared), id, local, peer }
    }

    pub(super) async fn connect(shared: &Rc<Shared>, remote: SocketAddr) -> io::Result<Self> {
        let now = shared.clock.now();
        let id = shared.engine.borrow_mut().connect(now, remote)?;
        // From here on, dropping the future drops the stream and so the attempt.
        let stream = Self::new(shared, id);
        shared.changed.notify_one();
        poll_fn(|context| stream.poll_connected(context)).await?;
        Ok(stream)
    }

    fn poll_connected(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.shared.engine.borrow_mut();
        let socket = engine.tcp.socket(self.id);
        match (socket.error(), socket.state()) {
            (Some(error), _) => Poll::Ready(Err(error.into())),
            (None, State::SynSent | State::SynReceived) => {
                socket.connection.wake_when_writable(context);
                Poll::Pending
            }
            (None, _) => Poll::Ready(Ok(())),
        }
    }

    /// The socket has something to send, or room.
    fn touch(&self) {
        self.shared.engine.borrow_mut().tcp.make_due(self.id);
        self.shared.changed.notify_one();
    }
}

impl Stream for StackStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for StackStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let now = self.shared.clock.now();
        let (read, error) = self.shared.engine.borrow_mut().tcp.serve(self.id, |socket| {
            (socket.connection.read(now, buffer.initialize_unfilled(), context), socket.error())
        });
        let received = match read {
            Read::Octets(len) => len,
            Read::Pending => return Poll::Pending,
            Read::Finished => return Poll::Ready(Ok(())),
            Read::Broken => {
                return Poll::Ready(Err(error.unwrap_or(io::ErrorKind::ConnectionReset).into()));
            }
        };
        buffer.advance(received);
        self.touch();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StackStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.shared.engine.borrow_mut().tcp.serve(self.id, |socket| match socket.error() {
            Some(error) => Err(error.into()),
            None => socket.connection.write(octets, context),
        });
        let sent = match written {
            Ok(0) if !octets.is_empty() => return Poll::Pending,
            Ok(len) => len,
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.touch();
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // nothing is held back
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.engine.borrow_mut().tcp.socket(self.id).connection.close();
        self.touch();
        Poll::Ready(Ok(()))
    }
}

impl Drop for StackStream {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.shared.engine.borrow_mut().tcp.release(now, self.id);
        self.shared.changed.notify_one();
    }
}

impl StackUdp {
    pub(super) fn new(shared: &Rc<Shared>, local: SocketAddr, arrived: Rc<Notify>) -> Self {
        Self { shared: Rc::clone(shared), local, arrived }
    }
}

impl UdpSocket for StackUdp {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = self.shared.engine.borrow_mut().udp.receive_from(self.local, &self.arrived);
            if let Some((remote, datagram)) = received {
                let len = datagram.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram[..len]);
                return Ok((len, remote));
            }
            self.arrived.notified().await;
        }
    }

    async fn send_to(&self, datagram: &[u8], remote: SocketAddr) -> io::Result<()> {
        let remote = ipv6_gate::check_family(remote)?;
        loop {
            let room = self.shared.room.notified();
            if self.shared.engine.borrow_mut().send_udp(self.local, datagram, remote)? {
                self.shared.changed.notify_one();
                return Ok(());
            }
            room.await;
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for StackUdp {
    fn drop(&mut self) {
        self.shared.engine.borrow_mut().udp.close(self.local, &self.arrived);
    }
}
