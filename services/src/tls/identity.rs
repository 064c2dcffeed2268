//! A certificate chain with its key, which authenticates a server.
//!
//! [`Identity::from_pem`] accepts only an identity that is usable now: a readable key that matches, and certificates in
//! their validity period. It does not verify signatures or the chain: clients do.

use std::fmt;
use std::sync::Arc;

use rustls::CertificateError::{ExpiredContext, InvalidPurposeContext, NotValidYetContext};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::time::for_rustls;
use crate::calendar::Date;
use crate::clock::UnixTime;

/// The most certificates of a chain.
pub const CHAIN_MAX: usize = 8;

/// One second after the latest time that a certificate can express, 9999-12-31T23:59:59Z. (RFC 5280, section 4.1.2.5)
const END_OF_TIME: UnixTime = UnixTime(253_402_300_800);

/// A certificate, its intermediate certificates, and its key.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    not_after: UnixTime,
}

/// Why a certificate and a key are not an [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// There is no certificate in the file, or one of them cannot be read.
    Certificate,
    /// There are more than [`CHAIN_MAX`] certificates.
    TooManyCertificates,
    /// There is no key in the file, or it cannot be read.
    Key,
    /// The key is encrypted with a password.
    KeyEncrypted,
    /// TLS does not support the key's type or length.
    KeyUnsupported,
    /// The first certificate has another public key.
    KeyOfAnother,
    /// The certificate expired at this time.
    Expired(UnixTime),
    /// The certificate becomes valid at this time.
    NotYetValid(UnixTime),
    /// An intermediate certificate expired at this time.
    ChainExpired(UnixTime),
    /// An intermediate certificate becomes valid at this time.
    ChainNotYetValid(UnixTime),
    /// The certificate's usages exclude servers.
    NotForServers,
}

impl IdentityError {
    /// The same error for an intermediate certificate.
    fn of_chain(self) -> Self {
        match self {
            Self::Expired(end) => Self::ChainExpired(end),
            Self::NotYetValid(start) => Self::ChainNotYetValid(start),
            other => other,
        }
    }

    /// Whether the problem is in the key's file.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Self::Key | Self::KeyEncrypted | Self::KeyUnsupported | Self::KeyOfAnother)
    }

    /// The remedy for the user.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Certificate => "write the file of a certificate in PEM, -----BEGIN CERTIFICATE-----",
            Self::TooManyCertificates => {
                "leave the server's own certificate and those that lead to its authority"
            }
            Self::Key => "write the file of the certificate's key in PEM, -----BEGIN PRIVATE KEY-----",
            Self::KeyEncrypted => "take the password off: openssl pkey -in KEY -out NEW",
            Self::KeyUnsupported => {
                "use a key of ECDSA P-256 or P-384, of Ed25519, or of RSA with 2048 to 8192 bits"
            }
            Self::KeyOfAnother => {
                "write the key that the certificate was made with, and put the server's own certificate first"
            }
            Self::Expired(_) => "renew the certificate",
            Self::ChainExpired(_) => "write those that lead to the authority today behind the server's own",
            Self::NotYetValid(_) | Self::ChainNotYetValid(_) => "set the machine's clock, or wait until then",
            Self::NotForServers => "have one made for a server (extended key usage serverAuth)",
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("there is no certificate that can be read"),
            Self::TooManyCertificates => write!(f, "there are more than {CHAIN_MAX} certificates"),
            Self::Key => f.write_str("there is no key that can be read"),
            Self::KeyEncrypted => f.write_str("the key is encrypted"),
            Self::KeyUnsupported => f.write_str("the key is of a kind or of a length that TLS does not take"),
            Self::KeyOfAnother => f.write_str("the key is not that of the first certificate"),
            Self::Expired(end) => write!(f, "the certificate has expired on {}", Day(*end)),
            Self::NotYetValid(start) => write!(f, "the certificate is valid from {} only", Day(*start)),
            Self::ChainExpired(end) => {
                write!(f, "a certificate behind the first has expired on {}", Day(*end))
            }
            Self::ChainNotYetValid(start) => {
                write!(f, "a certificate behind the first is valid from {} only", Day(*start))
            }
            Self::NotForServers => f.write_str("the certificate is not for servers"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// A day, displayed as YYYY-MM-DD.
pub(super) struct Day(pub UnixTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day, .. } = Date::after_1970(self.0.0);
        write!(f, "{day} {month} {year}")
    }
}

impl Identity {
    /// Reads a certificate chain in PEM, the server's own certificate first, and its key in PEM (PKCS #8, PKCS #1 or
    /// SEC 1), for use at the time `now`.
    ///
    /// # Errors
    ///
    /// The identity is unusable; see [`IdentityError`].
    pub fn from_pem(
        certificates: &[u8],
        key: &[u8],
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificates).take(CHAIN_MAX + 1).collect();
        let chain = chain.map_err(|_| IdentityError::Certificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(IdentityError::TooManyCertificates);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| match is_encrypted(key) {
            true => IdentityError::KeyEncrypted,
            false => IdentityError::Key,
        })?;
        Self::from_der(chain, key, now, provider)
    }

    /// The same with the decoded content of PEM.
    ///
    /// # Errors
    ///
    /// The identity is unusable; see [`IdentityError`].
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        let (own, others) = chain.split_first().ok_or(IdentityError::Certificate)?;
        let parsed = ParsedCertificate::try_from(own).map_err(|_| IdentityError::Certificate)?;
        let mut not_after = validity_end(&parsed, now, provider)?;
        for other in others {
            let parsed = ParsedCertificate::try_from(other).map_err(|_| IdentityError::Certificate)?;
            let end = validity_end(&parsed, now, provider).map_err(IdentityError::of_chain)?;
            not_after = not_after.min(end);
        }
        let key = provider.key_provider.load_private_key(key).map_err(|_| IdentityError::KeyUnsupported)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // `Unknown`: the key cannot be compared, as it is not one of this provider.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(IdentityError::KeyOfAnother),
        }
        Ok(Self { certified: Arc::new(certified), not_after })
    }

    /// The last second in which all certificates are valid.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Hides the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Whether PEM contains an encrypted key.
fn is_encrypted(pem: &[u8]) -> bool {
    // `BEGIN ENCRYPTED PRIVATE KEY` (RFC 7468, section 11), or the header `Proc-Type: 4,ENCRYPTED` of older files.
    pem.windows(9).any(|octets| octets == b"ENCRYPTED")
}

/// The end of `certificate`'s validity, if it is valid at `now` and its usages include servers.
fn validity_end(
    certificate: &ParsedCertificate<'_>,
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<UnixTime, IdentityError> {
    // webpki checks the time before the issuer, and without an authority every issuer is unknown.
    let judged = |at: UnixTime| {
        let algorithms = provider.signature_verification_algorithms.all;
        let none = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(certificate, &none, &[], for_rustls(at), algorithms)
    };
    match judged(now) {
        Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => {
            return Err(IdentityError::Expired(UnixTime(not_after.as_secs())));
        }
        Err(Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => {
            return Err(IdentityError::NotYetValid(UnixTime(not_before.as_secs())));
        }
        Err(Error::InvalidCertificate(InvalidPurposeContext { .. })) => {
            return Err(IdentityError::NotForServers);
        }
        _ => {}
    }
    // The library reports a certificate's end only when it has passed.
    match judged(END_OF_TIME) {
        Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => Ok(UnixTime(not_after.as_secs())),
        _ => Ok(END_OF_TIME),
    }
}
