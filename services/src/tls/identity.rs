//! A certificate with its key: what a server shows of itself.
//!
//! [`Identity::from_pem`] takes only what a client can use now: a key that can be read and fits, certificates whose
//! time has come and is not over. Who signed them is not asked, nor whether they lead from one to the next: that is for
//! clients to judge.

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

/// The latest time of day that a certificate can name, 9999-12-31T23:59:59Z, and a second. // RFC 5280, section 4.1.2.5
const END_OF_TIME: UnixTime = UnixTime(253_402_300_800);

/// A certificate, those that lead from it to an authority, and its key.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    not_after: UnixTime,
}

/// Why a certificate and a key are no [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadIdentity {
    /// There is no certificate in the file, or one of them cannot be read.
    Certificate,
    /// There are more than [`CHAIN_MAX`] certificates.
    TooManyCertificates,
    /// There is no key in the file, or it cannot be read.
    Key,
    /// The key needs a password.
    KeyEncrypted,
    /// The key is of a kind, or of a length, that TLS does not take.
    KeyUnsupported,
    /// The first certificate is of another key.
    KeyOfAnother,
    /// The certificate's time was over then.
    Expired(UnixTime),
    /// The certificate's time begins then.
    NotYetValid(UnixTime),
    /// The time of one of those behind the first was over then.
    ChainExpired(UnixTime),
    /// The time of one of those behind the first begins then.
    ChainNotYetValid(UnixTime),
    /// The certificate is not for servers.
    NotForServers,
}

impl BadIdentity {
    /// The same of a certificate behind the first.
    fn of_chain(self) -> Self {
        match self {
            Self::Expired(end) => Self::ChainExpired(end),
            Self::NotYetValid(start) => Self::ChainNotYetValid(start),
            other => other,
        }
    }

    /// Whether it is the key's file that is to be looked at.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Self::Key | Self::KeyEncrypted | Self::KeyUnsupported | Self::KeyOfAnother)
    }

    /// What to do about it.
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

impl fmt::Display for BadIdentity {
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

impl std::error::Error for BadIdentity {}

/// A day as people write it.
pub(super) struct Day(pub UnixTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day, .. } = Date::after_1970(self.0.0);
        write!(f, "{day} {month} {year}")
    }
}

impl Identity {
    /// The identity of a chain of certificates in PEM, the server's own first, and of its key in PEM (PKCS #8, PKCS #1
    /// or SEC 1), at the time `now`.
    ///
    /// # Errors
    ///
    /// No client could use it; see [`BadIdentity`].
    pub fn from_pem(
        certificates: &[u8],
        key: &[u8],
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<Self, BadIdentity> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificates).take(CHAIN_MAX + 1).collect();
        let chain = chain.map_err(|_| BadIdentity::Certificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(BadIdentity::TooManyCertificates);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| match is_encrypted(key) {
            true => BadIdentity::KeyEncrypted,
            false => BadIdentity::Key,
        })?;
        Self::from_der(chain, key, now, provider)
    }

    /// The same of what PEM holds.
    ///
    /// # Errors
    ///
    /// No client could use it; see [`BadIdentity`].
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<Self, BadIdentity> {
        let (own, others) = chain.split_first().ok_or(BadIdentity::Certificate)?;
        let parsed = ParsedCertificate::try_from(own).map_err(|_| BadIdentity::Certificate)?;
        let mut not_after = validity_end(&parsed, now, provider)?;
        for other in others {
            let parsed = ParsedCertificate::try_from(other).map_err(|_| BadIdentity::Certificate)?;
            let end = validity_end(&parsed, now, provider).map_err(BadIdentity::of_chain)?;
            not_after = not_after.min(end);
        }
        let key = provider.key_provider.load_private_key(key).map_err(|_| BadIdentity::KeyUnsupported)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A key that cannot tell what fits is none of this provider's.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(BadIdentity::KeyOfAnother),
        }
        Ok(Self { certified: Arc::new(certified), not_after })
    }

    /// The last second in which all its certificates are valid.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Nothing of the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Whether PEM holds a key under a password.
fn is_encrypted(pem: &[u8]) -> bool {
    // `BEGIN ENCRYPTED PRIVATE KEY` (RFC 7468, section 11), or the header `Proc-Type: 4,ENCRYPTED` of older files.
    pem.windows(9).any(|octets| octets == b"ENCRYPTED")
}

/// When the time of `certificate` ends, if it has begun and is not over, and the certificate is not for others than
/// servers.
fn validity_end(
    certificate: &ParsedCertificate<'_>,
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<UnixTime, BadIdentity> {
    // The time is judged before the issuer, and without an authority no issuer is known.
    let judged = |at: UnixTime| {
        let algorithms = provider.signature_verification_algorithms.all;
        let none = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(certificate, &none, &[], for_rustls(at), algorithms)
    };
    match judged(now) {
        Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => {
            return Err(BadIdentity::Expired(UnixTime(not_after.as_secs())));
        }
        Err(Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => {
            return Err(BadIdentity::NotYetValid(UnixTime(not_before.as_secs())));
        }
        Err(Error::InvalidCertificate(InvalidPurposeContext { .. })) => {
            return Err(BadIdentity::NotForServers);
        }
        _ => {}
    }
    // The library tells a certificate's end only to whoever comes after it.
    match judged(END_OF_TIME) {
        Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => Ok(UnixTime(not_after.as_secs())),
        _ => Ok(END_OF_TIME),
    }
}
