//! Encrypted streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{CommonState, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;

/// A connection over TLS: a [`Stream`] with two differences.
///
/// Written data may stay in memory, up to [`super::WRITE_BUFFER_OCTETS`], until it is flushed: a caller flushes before
/// it waits for the peer or drops the stream. `shutdown` flushes, and sends `close_notify`. A stream that the peer ends
/// without `close_notify` reads as [`io::ErrorKind::UnexpectedEof`], since an attacker on the path can end a TCP
/// connection. (RFC 8446, section 6.1)
#[derive(Debug)]
pub struct TlsStream<S>(tokio_rustls::TlsStream<S>);

/// The protection of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The version of the protocol, such as `TLS1.3`.
    pub version: &'static str,
    /// The cipher suite by its name in IANA's registry, such as `TLS_AES_128_GCM_SHA256`.
    pub suite: &'static str,
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(stream: impl Into<tokio_rustls::TlsStream<S>>) -> Self {
        Self(stream.into())
    }

    /// The connection's protocol version and cipher suite.
    pub fn protection(&self) -> Protection {
        let state = self.state();
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS1.2",
            _ => "TLS1.3",
        };
        let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Protection { version, suite: without_version(suite.unwrap_or_default()) }
    }

    fn state(&self) -> &CommonState {
        self.0.get_ref().1
    }

    fn below(&self) -> &S {
        self.0.get_ref().0
    }
}

/// Restores the registry's name: rustls puts the version into the names of TLS 1.3 suites.
fn without_version(suite: &'static str) -> &'static str {
    // All names in the registry begin with `TLS_`; rustls writes `TLS13_` here.
    match suite {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn local_addr(&self) -> SocketAddr {
        self.below().local_addr()
    }

    fn peer_addr(&self) -> SocketAddr {
        self.below().peer_addr()
    }
}

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
