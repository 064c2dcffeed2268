//! TLS over the services' streams.
//!
//! All services share one [`Tls`] for the gateway's lifetime. As a server it presents the [`Identity`] that was set
//! last ([`Tls::set_identity`]) in new handshakes; established connections stay. As a client it accepts
//! [`Peer::Anybody`], or requires a certificate for a name ([`Peer::Named`]) from one of the [`Authorities`], which
//! [`trust`] reads. A handshake returns a [`TlsStream`], which is a stream like those of the network.
//!
//! TLS 1.3 and 1.2 with forward secrecy and authenticated encryption, no renegotiation, no compression, no early data.
//! Sessions are not resumed: a handshake costs a fraction of a millisecond, and tickets cost forward secrecy and a key
//! that has to be rotated.
//!
//! Time and randomness are injected: the services' clock decides on the validity of certificates, and all randomness of
//! the protocol comes from the provider of [`crate::crypto::tls`]. Limits: a handshake takes at most
//! [`HANDSHAKE_TIME_MAX`], servers run at most [`HANDSHAKES_MAX`] at a time, and a connection buffers at most
//! [`WRITE_BUFFER_OCTETS`] each of encrypted and of unencrypted data.

pub mod authority;
mod identity;
pub mod keeper;
mod peer;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time;
pub mod trust;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use identity::{CHAIN_MAX, Identity, IdentityError};
pub use peer::{AUTHORITIES_MAX, Authorities, NoAuthority, Peer};
pub use stream::{Protection, TlsStream};

pub use self::time::SharedTime;
use crate::addresses::Subscription;
use crate::clock::{Clock, UnixTime};
use crate::net::Stream;
use crate::places::{Places, PlacesMax};

/// The timeout of a handshake: several times what its three flights need on a bad path.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// The most concurrent handshakes of servers. One holds up to 64 KiB of an incomplete message.
pub const HANDSHAKES_MAX: usize = 256;

/// Of these, the most from sources that are not on the LAN: half, so that these cannot exclude the LAN.
pub const HANDSHAKES_OUTSIDE_MAX: usize = 128;

/// The most concurrent handshakes of one source (an IPv4 address, an IPv6 /64).
pub const HANDSHAKES_PER_SOURCE_MAX: usize = 16;

/// The most octets that a connection buffers for a slow peer: two records. (RFC 8446, section 5.1)
pub const WRITE_BUFFER_OCTETS: usize = 32 * 1024;

/// The most characters of [`HandshakeError::Untrusted`], which quotes the server's certificate.
pub const REASON_CHARS_MAX: usize = 500;

/// TLS for all services.
pub struct Tls {
    clock: Rc<dyn Clock>,
    time: Arc<SharedTime>,
    provider: Arc<CryptoProvider>,
    server: RefCell<Option<Arc<ServerConfig>>>,
    opportunistic: Arc<ClientConfig>,
    authenticating: RefCell<Arc<ClientConfig>>,
    handshakes: Rc<Places>,
    /// The gateway's addresses, which identify the LAN.
    addresses: RefCell<Option<Subscription>>,
    /// The office's own authorities, loaded on demand.
    own: RefCell<keeper::OwnAuthorities>,
    /// Serialises access to the own authorities.
    own_lock: tokio::sync::Mutex<()>,
    own_authority: RefCell<Option<String>>,
    /// The end of the servers' certificate.
    not_after: Cell<Option<UnixTime>>,
    stats: Cell<Stats>,
}

/// Counts of handshakes since the gateway started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Successful handshakes as a server.
    pub accepted: u64,
    /// Successful handshakes as a client.
    pub connected: u64,
    /// Failed handshakes.
    pub failed: u64,
    /// Handshakes that timed out.
    pub timed_out: u64,
    /// Handshakes that were rejected, as too many were in progress.
    pub refused: u64,
}

/// Why a handshake failed. The connection is closed.
#[derive(Debug)]
pub enum HandshakeError {
    /// There is no certificate.
    NoIdentity,
    /// Too many handshakes are in progress.
    TooMany,
    /// It took longer than [`HANDSHAKE_TIME_MAX`].
    TimedOut,
    /// The server's certificate is not trusted, with the reason.
    Untrusted(String),
    /// The peer does not speak TLS, has no common parameters, or is gone.
    Failed(io::Error),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => f.write_str("there is no certificate to show"),
            Self::TooMany => f.write_str("too many handshakes are under way"),
            Self::TimedOut => f.write_str("the handshake took too long"),
            Self::Untrusted(why) => write!(f, "the server's certificate is not trusted: {why}"),
            Self::Failed(error) => write!(f, "the handshake failed: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Untrusted(printable(&why.to_string())),
            _ => Self::Failed(error),
        }
    }
}

/// Makes `text`, which may contain a peer's octets, printable and at most [`REASON_CHARS_MAX`] long.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(REASON_CHARS_MAX).collect()
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Failed(error) => error,
            HandshakeError::TimedOut => io::ErrorKind::TimedOut.into(),
            other => Self::other(other),
        }
    }
}

impl Tls {
    /// TLS with the cryptography of `provider`, without a certificate and without trusted authorities.
    pub fn new(provider: Arc<CryptoProvider>, clock: Rc<dyn Clock>) -> Self {
        let time = Arc::new(SharedTime::default());
        let opportunistic = peer::opportunistic(&provider, &time);
        let authenticating = peer::authenticating(&provider, &time, &Authorities::none());
        Self {
            clock,
            time,
            provider,
            server: RefCell::default(),
            opportunistic,
            authenticating: RefCell::new(authenticating),
            handshakes: Rc::new(Places::new(PlacesMax {
                all: HANDSHAKES_MAX,
                outside: HANDSHAKES_OUTSIDE_MAX,
                source: HANDSHAKES_PER_SOURCE_MAX,
            })),
            addresses: RefCell::default(),
            own: RefCell::default(),
            own_lock: tokio::sync::Mutex::default(),
            own_authority: RefCell::default(),
            not_after: Cell::default(),
            stats: Cell::default(),
        }
    }

    /// Sets the gateway's `addresses`, by which handshakes from the LAN get their own share. Until then no source
    /// counts as on the LAN.
    pub fn set_addresses(&self, addresses: Subscription) {
        *self.addresses.borrow_mut() = Some(addresses);
    }

    fn is_lan(&self, peer: IpAddr) -> bool {
        self.addresses.borrow().as_ref().is_some_and(|addresses| addresses.borrow().is_inside(peer))
    }

    /// The cryptographic provider.
    pub fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// Sets the identity for new handshakes. Established connections are not affected.
    pub fn set_identity(&self, identity: &Identity) {
        self.not_after.set(Some(identity.not_after()));
        self.show(&identity.certified);
    }

    fn show(&self, certified: &Arc<CertifiedKey>) {
        let time = Arc::clone(&self.time);
        let builder = ServerConfig::builder_with_details(Arc::clone(&self.provider), time);
        let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
        let certified = SingleCertAndKey::from(Arc::clone(certified));
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certified));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // An old client's list may begin with its weakest suite.
        config.ignore_client_order = true;
        *self.server.borrow_mut() = Some(Arc::new(config));
    }

    /// Whether there is a certificate; STARTTLS is offered only then.
    pub fn has_identity(&self) -> bool {
        self.server.borrow().is_some()
    }

    /// The time at which the servers' certificate ends; `None` without one.
    pub fn not_after(&self) -> Option<UnixTime> {
        self.not_after.get()
    }

    /// The public certificate, in PEM, of the own authority; `None` if another one has signed the servers' certificate.
    pub fn own_authority(&self) -> Option<String> {
        self.own_authority.borrow().clone()
    }

    /// Whether there is an own authority: see [`Tls::own_authority`].
    pub fn has_own_authority(&self) -> bool {
        self.own_authority.borrow().is_some()
    }

    /// Sets the authorities that clients trust.
    pub fn set_authorities(&self, trusted: &Authorities) {
        *self.authenticating.borrow_mut() = peer::authenticating(&self.provider, &self.time, trusted);
    }

    /// Runs a server's handshake on a connection on which the client begins TLS now: at the connection's beginning, or
    /// after the reply to STARTTLS.
    ///
    /// # Errors
    ///
    /// The handshake failed; the connection is closed, after an alert if TLS has one for it.
    pub async fn accept<S: Stream>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        let config = self.server.borrow().clone().ok_or(HandshakeError::NoIdentity)?;
        let peer = stream.peer_addr().ip().to_canonical();
        let Some(place) = self.handshakes.take(peer, self.is_lan(peer)) else {
            self.count(|stats| stats.refused += 1);
            return Err(HandshakeError::TooMany);
        };
        let limited = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(WRITE_BUFFER_OCTETS));
        };
        let handshake = TlsAcceptor::from(config).accept_with(stream, limited);
        let stream = self.within_time(handshake).await;
        drop(place);
        let stream = stream?;
        self.count(|stats| stats.accepted += 1);
        Ok(TlsStream::new(stream))
    }

    /// Runs a client's handshake that accepts `peer`. The caller limits the number of concurrent handshakes.
    ///
    /// # Errors
    ///
    /// The handshake failed; the connection is closed.
    pub async fn connect<S: Stream>(
        &self,
        stream: S,
        peer: Peer<'_>,
    ) -> Result<TlsStream<S>, HandshakeError> {
        let address = stream.peer_addr().ip();
        let (config, name) = match peer {
            Peer::Anybody(name) => (Arc::clone(&self.opportunistic), peer::name_to_tell(name, address)),
            Peer::Named(name) => (Arc::clone(&self.authenticating.borrow()), peer::name_to_prove(name)?),
        };
        let limited = |session: &mut rustls::ClientConnection| {
            session.set_buffer_limit(Some(WRITE_BUFFER_OCTETS));
        };
        let handshake = TlsConnector::from(config).connect_with(name, stream, limited);
        let stream = self.within_time(handshake).await?;
        self.count(|stats| stats.connected += 1);
        Ok(TlsStream::new(stream))
    }

    /// The counts of handshakes.
    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    /// Runs `handshake` until its timeout, and sets its time at each poll.
    async fn within_time<T>(
        &self,
        handshake: impl Future<Output = io::Result<T>>,
    ) -> Result<T, HandshakeError> {
        let mut handshake = pin!(handshake);
        let told = poll_fn(|context| {
            self.time.set(self.clock.unix_time());
            handshake.as_mut().poll(context)
        });
        match timeout(HANDSHAKE_TIME_MAX, told).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                self.count(|stats| stats.failed += 1);
                Err(error.into())
            }
            Err(_) => {
                self.count(|stats| stats.timed_out += 1);
                Err(HandshakeError::TimedOut)
            }
        }
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
