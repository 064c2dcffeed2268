//! The services' interface to TCP and UDP, over either stack.
//!
//! [`Stack`](stack::Stack) is the gateway's own, over smoltcp's codecs; [`Kernel`](kernel::Kernel) is the
//! machine's. Everything is single-threaded: nothing here needs to be `Send`.

pub mod kernel;
pub(crate) mod listeners;
pub mod stack;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

/// A network for listening and connecting. Clones share it.
pub trait Net: Clone + 'static {
    /// Accepts connections.
    type Listener: Listener<Stream = Self::Stream>;
    /// A connection.
    type Stream: Stream;
    /// A UDP socket.
    type Udp: UdpSocket;

    /// Listens on `local`; the unspecified address means every address.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if another listener has the address and port, [`io::ErrorKind::AddrNotAvailable`]
    /// if the address is not the host's, and other errors of the stack.
    fn listen(&self, local: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>>;

    /// Connects to `remote`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionRefused`] on a reset, [`io::ErrorKind::TimedOut`] without an answer (after minutes;
    /// a caller with less time drops the future), and other errors of the stack.
    fn connect(&self, remote: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Opens a UDP socket on `local`; port 0 means any free one, chosen at random.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if the port is in use, [`io::ErrorKind::AddrNotAvailable`] if the address is not
    /// the host's, and other errors of the stack.
    fn bind_udp(&self, local: SocketAddr) -> impl Future<Output = io::Result<Self::Udp>>;
}

/// Accepts connections until it is dropped.
pub trait Listener: 'static {
    /// The connections.
    type Stream: Stream;

    /// The next connection.
    ///
    /// # Errors
    ///
    /// The listener itself has failed; a connection that failed before it was accepted is no error.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;

    /// The address and port of the listener.
    fn local_addr(&self) -> SocketAddr;
}

/// A TCP connection. A reset by the peer reads as [`io::ErrorKind::ConnectionReset`], never as an end of file; data
/// written before `shutdown` or drop is delivered unless the peer no longer answers. `flush` does not wait.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The gateway's end.
    fn local_addr(&self) -> SocketAddr;

    /// The other end.
    fn peer_addr(&self) -> SocketAddr;
}

/// A connection of either network.
impl<S: Stream + ?Sized> Stream for Box<S> {
    fn local_addr(&self) -> SocketAddr {
        (**self).local_addr()
    }

    fn peer_addr(&self) -> SocketAddr {
        (**self).peer_addr()
    }
}

/// A connection in memory, at no address.
#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn peer_addr(&self) -> SocketAddr {
        self.local_addr()
    }
}

/// A connection within this machine, at no address of a network.
impl Stream for tokio::net::UnixStream {
    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn peer_addr(&self) -> SocketAddr {
        Stream::local_addr(self)
    }
}

/// A UDP socket.
pub trait UdpSocket: 'static {
    /// Waits for a datagram, copies it to `buffer` and returns its length and sender. What does not
    /// fit is cut off.
    ///
    /// # Errors
    ///
    /// The socket itself has failed.
    fn recv_from(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>>;

    /// Sends a datagram; waits while there is no room to queue it. Dropping the socket afterwards does
    /// not take it back.
    ///
    /// # Errors
    ///
    /// It is too long, or there is no address to send it from or to.
    fn send_to(&self, datagram: &[u8], remote: SocketAddr) -> impl Future<Output = io::Result<()>>;

    /// Where it is bound, with the port that was chosen.
    fn local_addr(&self) -> SocketAddr;
}
