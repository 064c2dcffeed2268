//! TLS of the simulated machines: rustls between what a machine says and what goes over its connection.
//!
//! A [`Channel`] is in clear until one of the sides begins TLS on it. Randomness, keys and certificates are drawn from the
//! machine's seed, and certificates are judged by the simulated time, so that a handshake is the same octets for the same seed.

use std::io::{Read, Write};
use std::sync::Arc;

use gatepost_services::crypto::signing::{KeyKind, generate};
use gatepost_services::crypto::tls::provider_that_repeats;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{Connection, Error, ServerConfig, ServerConnection};

use crate::world::clock::MachineTime;

/// A connection's octets: in clear, or under TLS from some point on.
#[derive(Default)]
pub struct Channel {
    tls: Option<Connection>,
    /// What is to go over the wire.
    unsent: Vec<u8>,
}

impl Channel {
    /// Goes on under TLS. What was said before goes out in clear, before all else.
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

    /// Takes in what came over the wire, and adds to `heard` what the other side has said.
    ///
    /// # Errors
    ///
    /// The other side speaks no TLS, or none that is good enough. Nothing more is to be taken in.
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

    /// Says that nothing more will be said, if that can be said.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.encrypt();
        }
    }

    /// What is to go over the wire.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// So many octets of it are on their way.
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

/// A server that has a certificate, which nobody has signed but itself.
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
        let builder = ServerConfig::builder_with_details(provider, Arc::new(MachineTime::default()));
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
