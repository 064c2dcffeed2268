//! TLS of the simulated machines: rustls between a machine and its connection.
//!
//! A [`Channel`] is in clear until one side begins TLS. Randomness, keys and certificates come from the machine's seed,
//! and the simulated time decides on the validity of certificates, so that a handshake has the same octets for the same
//! seed.
//!
//! A [`TlsServer`] has a self-signed certificate, as many mail servers do. A [`TlsClient`] trusts only the office's own
//! authority, once its user has installed it: the output of `gatepost tls ca`.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use gatepost_ground::Instant;
use gatepost_services::crypto::signing::{KeyKind, generate};
use gatepost_services::crypto::tls::provider_that_repeats;
use gatepost_services::tls::SharedTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, RootCertStore, ServerConfig, ServerConnection,
};
use smoltcp::socket::tcp;

use crate::world::clock::time_of_day;

/// A connection's octets: in clear, or under TLS from some point on.
#[derive(Default)]
pub struct Channel {
    tls: Option<Connection>,
    /// Octets for the wire.
    unsent: Vec<u8>,
}

impl Channel {
    /// Continues under TLS. Earlier output is sent in clear before.
    pub fn begin(&mut self, tls: impl Into<Connection>) {
        let mut tls = tls.into();
        tls.set_buffer_limit(None);
        self.tls = Some(tls);
        self.encrypt();
    }

    /// Whether a handshake has begun.
    pub fn has_begun(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a handshake is done.
    pub fn is_encrypted(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Handles octets from the wire, and appends the peer's to `heard`.
    ///
    /// # Errors
    ///
    /// The peer's TLS is missing or unacceptable. The caller must read no more.
    pub fn receive(&mut self, wire: &[u8], heard: &mut Vec<u8>) -> Result<(), Error> {
        let Some(tls) = &mut self.tls else {
            heard.extend_from_slice(wire);
            return Ok(());
        };
        let mut rest = wire;
        let mut processed = Ok(());
        while processed.is_ok() && tls.read_tls(&mut rest).is_ok_and(|read| read > 0) {
            processed = tls.process_new_packets().map(|state| {
                let before = heard.len();
                heard.resize(before + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut heard[before..]).expect("it is there");
            });
        }
        // The answers of the handshake, or the reason why there is none.
        self.encrypt();
        processed
    }

    /// Reads from `socket`, until `heard` has `octets_max`.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`].
    pub fn receive_from(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        heard: &mut Vec<u8>,
        octets_max: usize,
    ) -> Result<(), Error> {
        while socket.can_recv() && heard.len() < octets_max {
            match socket.recv(|octets| (octets.len(), self.receive(octets, heard))) {
                Ok(received) => received?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sends as much as `socket` accepts.
    pub fn send_to(&mut self, socket: &mut tcp::Socket<'_>) {
        let sent = socket.send_slice(&self.unsent).unwrap_or_default();
        self.sent(sent);
    }

    /// Says something. Before the end of a handshake it waits for that.
    pub fn say(&mut self, octets: &[u8]) {
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(octets).expect("there is room");
                self.encrypt();
            }
            None => self.unsent.extend_from_slice(octets),
        }
    }

    /// Sends close_notify, if TLS has begun.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.encrypt();
        }
    }

    /// Octets for the wire.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// The connection has taken so many octets of [`Channel::unsent`].
    pub fn sent(&mut self, octets: usize) {
        self.unsent.drain(..octets);
    }

    fn encrypt(&mut self) {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.unsent).expect("memory takes it");
            }
        }
    }
}

/// A server with a self-signed certificate.
pub struct TlsServer(Arc<ServerConfig>);

impl TlsServer {
    /// The server of that name.
    pub fn new(name: &str, rng: &mut StdRng) -> Self {
        let key = generate(KeyKind::Ed25519, rng);
        let serial: [u8; 8] = rng.random();
        let pair = KeyPair::try_from(key.as_slice()).expect("it was just made");
        let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.self_signed(&pair).expect("the key can sign").der().clone();
        let provider = provider_that_repeats(StdRng::from_rng(rng));
        let builder = ServerConfig::builder_with_details(provider, Arc::new(SharedTime::default()));
        let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
        let mut config = config.expect("the key is that of the certificate");
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Self(Arc::new(config))
    }

    /// The server's side of a connection on which the client begins TLS now.
    pub fn accept(&self) -> ServerConnection {
        ServerConnection::new(Arc::clone(&self.0)).expect("the configuration is sound")
    }
}

/// The certificate of the office's own authority, in PEM, as its users get it.
#[derive(Default)]
pub struct OfficeAuthority(OnceCell<Box<Issue>>);

type Issue = dyn Fn(Instant) -> Option<String>;

impl OfficeAuthority {
    /// `issue` returns the certificate that is in force at a time; `None` while the gateway's disk has none that is
    /// durable.
    pub fn issued_by(&self, issue: impl Fn(Instant) -> Option<String> + 'static) {
        _ = self.0.set(Box::new(issue));
    }
}

/// A mail program that does TLS.
pub struct TlsClient {
    authority: Rc<OfficeAuthority>,
    provider: Arc<CryptoProvider>,
    time: Arc<SharedTime>,
    /// `None` until the authority is installed. It stays the same from then on.
    config: Option<Arc<ClientConfig>>,
}

impl TlsClient {
    /// A client whose user will install the certificate of `authority`.
    pub fn new(authority: &Rc<OfficeAuthority>, seed: u64) -> Self {
        Self {
            authority: Rc::clone(authority),
            provider: provider_that_repeats(StdRng::seed_from_u64(seed)),
            time: Arc::default(),
            config: None,
        }
    }

    /// The client's side of a connection on which TLS begins soon, with the office's server of that name; `None` while
    /// there is no certificate to install.
    pub fn connect(&mut self, server: &'static str, now: Instant) -> Option<ClientConnection> {
        self.time.set(time_of_day(now));
        if self.config.is_none() {
            self.config = self.install(now).map(Arc::new);
        }
        let name = ServerName::try_from(server).expect("it is a name");
        let config = Arc::clone(self.config.as_ref()?);
        Some(ClientConnection::new(config, name).expect("the configuration is sound"))
    }

    fn install(&self, now: Instant) -> Option<ClientConfig> {
        let pem = self.authority.0.get()?(now)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("the gateway tells PEM");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("the gateway's authority can be read");
        let builder =
            ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time) as _);
        let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use gatepost_services::tls::authority::{Authority, Names};
    use rustls::CertificateError;

    use super::*;

    /// A client of `seed` with the office's authority begins TLS with a server that has none: the octets on the wire,
    /// and the client's result.
    fn conversation(seed: u64) -> (Vec<u8>, Result<(), Error>) {
        let authority = Rc::<OfficeAuthority>::default();
        let names = Names::new("gatepost", "office.example", []);
        authority.issued_by(move |now| {
            let rng = &mut StdRng::seed_from_u64(7);
            let made = Authority::make(KeyKind::Ed25519, &names, time_of_day(now), rng);
            Some(made.expect("the names are names").certificate_pem())
        });
        let mut client = TlsClient::new(&authority, seed);
        let server = TlsServer::new("mx-0.example.net", &mut StdRng::seed_from_u64(seed));
        let (mut asks, mut serves) = (Channel::default(), Channel::default());
        asks.say(b"STARTTLS\r\n");
        asks.begin(client.connect("mx-0.example.net", Instant::ZERO).expect("it has an authority"));
        asks.say(b"EHLO us\r\n");
        let mut heard = Vec::new();
        let (command, hello) = asks.unsent().split_at(b"STARTTLS\r\n".len());
        serves.receive(command, &mut heard).expect("it is in clear");
        serves.begin(server.accept());
        serves.receive(hello, &mut heard).expect("it is a ClientHello");
        assert_eq!(heard, b"STARTTLS\r\n");
        let wire = [asks.unsent(), serves.unsent()].concat();
        (wire, asks.receive(serves.unsent(), &mut heard))
    }

    #[test]
    fn a_handshake_is_what_the_seed_says_and_a_stranger_is_not_believed() {
        let (wire, end) = conversation(1);
        assert_eq!(end, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        assert!(wire.len() > 500, "{} octets", wire.len());
        assert!(wire == conversation(1).0 && wire != conversation(2).0);
    }

    #[test]
    fn without_an_authority_there_is_no_tls() {
        let mut client = TlsClient::new(&Rc::default(), 1);
        assert!(client.connect("smtp.office.example", Instant::ZERO).is_none());
    }
}
