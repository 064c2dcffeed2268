//! The services' streams as hyper wants them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::progress::Progress;
use crate::net::Stream;

/// The most octets of one read.
const READ_OCTETS: usize = 4096;

/// A stream whose first octet was read already.
#[derive(Debug)]
pub(super) struct Begun<S> {
    stream: S,
    first: Option<u8>,
}

impl<S: Stream> Begun<S> {
    /// Waits for the first octet of `stream`; `None` if the client closes it before.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub async fn wait(mut stream: S) -> io::Result<Option<(u8, Self)>> {
        let mut first = [0];
        let count = stream.read(&mut first).await?;
        Ok((count > 0).then_some((first[0], Self { stream, first: Some(first[0]) })))
    }
}

impl<S: Stream> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Stream> AsyncWrite for Begun<S> {
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

impl<S: Stream> Stream for Begun<S> {
    fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr()
    }

    fn peer_addr(&self) -> SocketAddr {
        self.stream.peer_addr()
    }
}

/// A stream for hyper, whose progress is watched.
pub(super) struct Io<S> {
    pub stream: S,
    pub progress: Rc<Progress>,
}

impl<S: Stream> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut octets = [0; READ_OCTETS];
        let room = buffer.remaining().min(READ_OCTETS);
        let mut read = ReadBuf::new(&mut octets[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        if !read.filled().is_empty() {
            self.progress.received();
            buffer.put_slice(read.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, octets))?;
        self.progress.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
