//! TLS over the services' streams, for whichever service speaks it.
//!
//! [`Tls`] is one for all services, as long as the gateway runs. As a server it shows the [`Identity`] that was set last
//! ([`Tls::set_identity`]): a handshake that begins later shows the new one, connections that stand stay as they are. As a
//! client it is content with [`Peer::Anybody`], or asks for a certificate for a name ([`Peer::Named`]) by one of the
//! [`Authorities`], which [`trust`] reads. What a handshake makes is a [`TlsStream`], which is a stream as those of the network are.
//!
//! TLS 1.3 and 1.2 with forward secrecy and authenticated encryption, no renegotiation, no compression, no early data.
//! Sessions are not resumed, neither by tickets nor by what a server remembers: a handshake costs a fraction of a
//! millisecond, tickets cost forward secrecy and a key that has to be changed by the clock.
//!
//! Time and randomness are handed in: certificates are judged by the services' clock, and all randomness of the protocol
//! comes from the provider that [`crate::crypto::tls`] makes. Limits: a handshake takes at most [`HANDSHAKE_TIME_MAX`],
//! servers have [`HANDSHAKES_MAX`] at a time, and a connection holds at most [`WRITE_BUFFER_OCTETS`] that its
//! peer has not taken, of what is encrypted and of what is not.

pub mod authority;
mod handshakes;
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

pub use handshakes::{HANDSHAKES_MAX, HANDSHAKES_OUTSIDE_MAX, HANDSHAKES_PER_SOURCE_MAX};
pub use identity::{BadIdentity, CHAIN_MAX, Identity};
pub use peer::{AUTHORITIES_MAX, Authorities, NoAuthority, Peer};
pub use stream::{Protection, TlsStream};

use self::handshakes::Handshakes;
pub use self::time::HandedTime;
use crate::addresses::Subscription;
use crate::clock::Clock;
use crate::net::Stream;

/// How long a handshake may take: several times what a bad path needs for its three flights.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// What a connection holds at most of what its peer has not taken, in octets: two records. // RFC 8446, section 5.1
pub const WRITE_BUFFER_OCTETS: usize = 32 * 1024;

/// The most characters of [`HandshakeError::Untrusted`], which names what a server's certificate says.
pub const REASON_CHARS_MAX: usize = 500;

/// TLS for all services.
pub struct Tls {
    clock: Rc<dyn Clock>,
    time: Arc<HandedTime>,
    provider: Arc<CryptoProvider>,
    server: RefCell<Option<Arc<ServerConfig>>>,
    opportunistic: Arc<ClientConfig>,
    authenticating: RefCell<Arc<ClientConfig>>,
    handshakes: Rc<Handshakes>,
    /// The gateway's addresses, by which the LAN is known.
    addresses: RefCell<Option<Subscription>>,
    /// The office's own authorities, as far as they were asked for.
    own: RefCell<keeper::Kept>,
    /// Who looks at them and adds to them.
    own_turn: tokio::sync::Mutex<()>,
    own_authority: RefCell<Option<String>>,
    stats: Cell<Stats>,
}

/// What became of handshakes since the gateway began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Handshakes as a server that made a connection.
    pub accepted: u64,
    /// Handshakes as a client that made a connection.
    pub connected: u64,
    /// Handshakes that failed.
    pub failed: u64,
    /// Handshakes that took too long.
    pub timed_out: u64,
    /// Handshakes that were not begun, since too many were under way.
    pub refused: u64,
}

/// Why there is no TLS. The connection is closed with it.
#[derive(Debug)]
pub enum HandshakeError {
    /// There is no certificate to show.
    NoIdentity,
    /// Too many handshakes are under way.
    TooMany,
    /// It took longer than [`HANDSHAKE_TIME_MAX`].
    TimedOut,
    /// The server's certificate is not good enough, for the reason in words.
    Untrusted(String),
    /// The peer speaks no TLS, none that is good enough, or is gone.
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

/// `text`, of which a stranger may have written a part, in visible characters, at most [`REASON_CHARS_MAX`].
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
    /// TLS that has no certificate yet and trusts nobody, by the cryptography of `provider`.
    pub fn new(provider: Arc<CryptoProvider>, clock: Rc<dyn Clock>) -> Self {
        let time = Arc::new(HandedTime::default());
        let opportunistic = peer::opportunistic(&provider, &time);
        let authenticating = peer::authenticating(&provider, &time, &Authorities::none());
        Self {
            clock,
            time,
            provider,
            server: RefCell::default(),
            opportunistic,
            authenticating: RefCell::new(authenticating),
            handshakes: Rc::default(),
            addresses: RefCell::default(),
            own: RefCell::default(),
            own_turn: tokio::sync::Mutex::default(),
            own_authority: RefCell::default(),
            stats: Cell::default(),
        }
    }

    /// Goes by the gateway's `addresses` from now on to know whom the share of handshakes that is the LAN's is for. Until
    /// then everybody is a stranger.
    pub fn set_addresses(&self, addresses: Subscription) {
        *self.addresses.borrow_mut() = Some(addresses);
    }

    fn is_lan(&self, peer: IpAddr) -> bool {
        self.addresses.borrow().as_ref().is_some_and(|addresses| addresses.borrow().is_inside(peer))
    }

    /// The cryptography that it goes by.
    pub fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// What servers show from now on. Connections that stand are not touched.
    pub fn set_identity(&self, identity: &Identity) {
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
        // Of an old client's list the weakest suite could be the first.
        config.ignore_client_order = true;
        *self.server.borrow_mut() = Some(Arc::new(config));
    }

    /// Whether there is a certificate to show: what has STARTTLS offers it only then.
    pub fn has_identity(&self) -> bool {
        self.server.borrow().is_some()
    }

    /// The certificate, in PEM, of the office's own authority, which everybody may have; `None` if another one has signed
    /// what servers show.
    pub fn own_authority(&self) -> Option<String> {
        self.own_authority.borrow().clone()
    }

    /// Whom clients trust from now on.
    pub fn set_authorities(&self, trusted: &Authorities) {
        *self.authenticating.borrow_mut() = peer::authenticating(&self.provider, &self.time, trusted);
    }

    /// Does the handshake as a server on a connection on which the client begins TLS now: as the first thing, or behind
    /// the reply to STARTTLS.
    ///
    /// # Errors
    ///
    /// There is no TLS; the connection is closed, and the client was told why if TLS has words for it.
    pub async fn accept<S: Stream>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        let config = self.server.borrow().clone().ok_or(HandshakeError::NoIdentity)?;
        let peer = stream.peer_addr().ip().to_canonical();
        let Some(place) = self.handshakes.begin(peer, self.is_lan(peer)) else {
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

    /// Does the handshake as a client that is content with `peer`. How many there are at a time is for the caller to
    /// limit.
    ///
    /// # Errors
    ///
    /// There is no TLS; the connection is closed.
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

    /// What became of handshakes.
    pub fn stats(&self) -> Stats {
        self.stats.get()
    }

    /// Waits for `handshake`, which is told the time whenever it goes on.
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
