//! [`Net`] over the machine's own stack: for the simulated internet of the lab, and for tests.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket as TokioUdpSocket};

use super::{Listener, Net, Stream, UdpSocket};

/// The machine's network, in the namespace of the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

/// A listening socket of the machine.
#[derive(Debug)]
pub struct KernelListener {
    listener: TcpListener,
    local: SocketAddr,
}

/// A connection of the machine.
#[derive(Debug)]
pub struct KernelStream {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
}

/// A UDP socket of the machine.
#[derive(Debug)]
pub struct KernelUdp {
    socket: TokioUdpSocket,
    local: SocketAddr,
}

impl Net for Kernel {
    type Listener = KernelListener;
    type Stream = KernelStream;
    type Udp = KernelUdp;

    async fn listen(&self, local: SocketAddr) -> io::Result<KernelListener> {
        let listener = TcpListener::bind(local).await?;
        let local = listener.local_addr()?;
        Ok(KernelListener { listener, local })
    }

    async fn connect(&self, remote: SocketAddr) -> io::Result<KernelStream> {
        KernelStream::new(TcpStream::connect(remote).await?, remote)
    }

    async fn bind_udp(&self, local: SocketAddr) -> io::Result<KernelUdp> {
        let socket = TokioUdpSocket::bind(local).await?;
        let local = socket.local_addr()?;
        Ok(KernelUdp { socket, local })
    }
}

impl Listener for KernelListener {
    type Stream = KernelStream;

    async fn accept(&self) -> io::Result<KernelStream> {
        loop {
            match self.listener.accept().await.and_then(|(stream, peer)| KernelStream::new(stream, peer)) {
                Err(error) if is_of_one_connection(&error) => {}
                result => return result,
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl KernelStream {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(Self { stream, local, peer })
    }
}

impl Stream for KernelStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for KernelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for KernelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl UdpSocket for KernelUdp {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    async fn send_to(&self, datagram: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.socket.send_to(datagram, remote).await.map(|_| ())
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Whether `accept` failed because of one connection, and not because of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    // accept(2) returns errors that occurred on the connection before; so do the calls that set its options.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn pair() -> (KernelStream, KernelStream) {
        let listener = Kernel.listen(LOOPBACK).await.expect("listen");
        let client = Kernel.connect(listener.local_addr()).await.expect("connect");
        (client, listener.accept().await.expect("accept"))
    }

    #[tokio::test]
    async fn what_was_written_before_drop_arrives_then_the_end() {
        let (mut client, mut server) = pair().await;
        assert_eq!((client.local_addr(), client.peer_addr()), (server.peer_addr(), server.local_addr()));
        client.write_all(b"last words").await.expect("write");
        drop(client);
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.expect("an end, not an error");
        assert_eq!(read, b"last words");
    }

    #[tokio::test]
    async fn a_reset_is_an_error() {
        let (mut client, server) = pair().await;
        client.write_all(b"never read").await.expect("write");
        server.stream.readable().await.expect("readable");
        drop(server); // closing with data unread makes Linux send RST
        let error = client.read(&mut [0; 1]).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn nobody_listening_is_refused() {
        let listener = Kernel.listen(LOOPBACK).await.expect("listen");
        let address = listener.local_addr();
        drop(listener);
        let error = Kernel.connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_long_datagram_is_cut_off() {
        let (a, b) =
            (Kernel.bind_udp(LOOPBACK).await.expect("a"), Kernel.bind_udp(LOOPBACK).await.expect("b"));
        a.send_to(b"0123456789", b.local_addr()).await.expect("send");
        let mut buffer = [0; 4];
        assert_eq!(b.recv_from(&mut buffer).await.expect("receive"), (4, a.local_addr()));
        assert_eq!(&buffer, b"0123");
    }
}
