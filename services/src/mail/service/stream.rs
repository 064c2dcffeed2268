//! A connection, in clear or under TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::service::LocalFuture;

/// Octets in and out.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Duplex for S {}

/// Makes the server's side of TLS handshakes.
pub trait StartTls {
    /// What goes on over `stream` once the handshake is done. The caller limits how long that takes.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    fn start_tls(&self, stream: Box<dyn Duplex>) -> LocalFuture<'_, io::Result<Box<dyn Duplex>>>;
}
