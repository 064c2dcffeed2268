//! The requirements of a TLS client on its server.

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
use super::time::SharedTime;

/// The most trusted authorities; those after them are left out. Systems have some 150.
pub const AUTHORITIES_MAX: usize = 1024;

/// The server that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer<'a> {
    /// Any server with any certificate: encryption alone keeps out passive attackers (opportunistic TLS, RFC 7435). The
    /// name, if there is one, is sent as SNI.
    Anybody(Option<&'a str>),
    /// A server with a certificate for this name, or for this address in text, from a trusted authority.
    Named(&'a str),
}

/// The trusted authorities.
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
    /// Trusts none.
    pub fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// Reads the certificates of a file in PEM, such as a system's `ca-certificates.crt`. Unreadable ones are skipped.
    ///
    /// # Errors
    ///
    /// There is no readable certificate.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, NoAuthority> {
        let certificates = CertificateDer::pem_slice_iter(certificates).flatten().take(AUTHORITIES_MAX);
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        if store.is_empty() { Err(NoAuthority) } else { Ok(Self(Arc::new(store))) }
    }

    /// The number of authorities.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.count())
    }
}

/// The client's configuration for [`Peer::Named`].
pub(super) fn authenticating(
    provider: &Arc<CryptoProvider>,
    time: &Arc<SharedTime>,
    trusted: &Authorities,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(time) as _);
    let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
    let config = builder.with_root_certificates(Arc::clone(&trusted.0)).with_no_client_auth();
    Arc::new(remembering_nothing(config))
}

/// The client's configuration for [`Peer::Anybody`].
pub(super) fn opportunistic(provider: &Arc<CryptoProvider>, time: &Arc<SharedTime>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(time) as _);
    let builder = builder.with_safe_default_protocol_versions().expect("suites of both versions");
    let verifier = Arc::new(AnyCertificate(Arc::clone(provider)));
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Arc::new(remembering_nothing(config))
}

/// Disables resumption: a resumed session is not authenticated again.
fn remembering_nothing(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// The name that the server's certificate must have.
///
/// # Errors
///
/// No certificate can have this name.
pub(super) fn name_to_prove(name: &str) -> Result<ServerName<'static>, HandshakeError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| HandshakeError::Untrusted(format!("{name:?} is no name of a server")))
}

/// The name for SNI: `name`, or none for a server that is known only by its `address`.
pub(super) fn name_to_tell(name: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let told = name.and_then(|name| name_to_prove(name).ok());
    told.unwrap_or(ServerName::IpAddress(address.into()))
}

/// Accepts every certificate. As the server is not authenticated, a signature by its key proves nothing, and requiring
/// one would reject certificates that rustls cannot read, such as those of X.509 version 1 from old mail servers. (RFC
/// 7435, section 3)
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
