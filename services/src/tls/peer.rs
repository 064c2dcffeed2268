//! Whom a client of TLS is content with.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::HandshakeError;
use super::time::HandedTime;

/// The most authorities that are trusted; those after them are left out. Systems have some 150.
pub const AUTHORITIES_MAX: usize = 1024;

/// Whom a client is content with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer<'a> {
    /// Whoever answers, with whatever certificate: it is encrypted all the same, which keeps out who only listens
    /// (opportunistic TLS; RFC 7435). The name, if there is one, is told to the server, which may have several.
    Anybody(Option<&'a str>),
    /// A server that has a certificate for this name, or for this address in text, by an authority that is trusted.
    Named(&'a str),
}

/// The authorities whose certificates are believed.
#[derive(Clone)]
pub struct Authorities(pub(super) Arc<RootCertStore>);

/// No authority's certificate could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAuthority;

impl fmt::Display for NoAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no authority's certificate that can be read")
    }
}

impl std::error::Error for NoAuthority {}

impl Authorities {
    /// Nobody.
    pub fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// Those whose certificates are in a file in PEM, such as a system's `ca-certificates.crt`. What cannot be read is
    /// left out.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, NoAuthority> {
        let certificates = CertificateDer::pem_slice_iter(certificates).flatten().take(AUTHORITIES_MAX);
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        if store.is_empty() { Err(NoAuthority) } else { Ok(Self(Arc::new(store))) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.count())
    }
}

/// What a client needs to talk to [`Peer::Named`].
pub(super) fn authenticating(
    provider: &Arc<CryptoProvider>,
    time: &Arc<HandedTime>,
    trusted: &Authorities,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(time) as _);
    let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
    let config = builder.with_root_certificates(Arc::clone(&trusted.0)).with_no_client_auth();
    Arc::new(remembering_nothing(config))
}

/// What a client needs to talk to [`Peer::Anybody`].
pub(super) fn opportunistic(provider: &Arc<CryptoProvider>, time: &Arc<HandedTime>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(time) as _);
    let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
    let verifier = Arc::new(AnyCertificate(Arc::clone(provider)));
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Arc::new(remembering_nothing(config))
}

/// Every session begins anew: a session that is resumed is not authenticated again.
fn remembering_nothing(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// The name that a server has to prove.
///
/// # Errors
///
/// Nobody could prove it.
pub(super) fn name_to_prove(name: &str) -> Result<ServerName<'static>, HandshakeError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| HandshakeError::Untrusted(format!("{name:?} is no name of a server")))
}

/// The name that a server is told and need not prove: `name`, or none for a server that is known by its `address` only.
pub(super) fn name_to_tell(name: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let told = name.and_then(|name| name_to_prove(name).ok());
    told.unwrap_or(ServerName::IpAddress(address.into()))
}

/// Takes every certificate, from whoever shows it: nobody is authenticated, so that a signature by its key would prove
/// nothing, and asking for one refuses certificates that cannot be read here, such as those of X.509 version 1, which
/// old mail servers have. // RFC 7435, section 3
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
