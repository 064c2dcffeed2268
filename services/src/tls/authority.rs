//! The office's own certificate authority, which users install once to trust the gateway.
//!
//! An [`Authority`] signs certificates for the gateway's names alone. Every user has to install its certificate by
//! hand, so it is made once, and is valid for [`AUTHORITY_YEARS`] whatever the machine's clock shows. It ends up in the
//! trust stores of browsers, so its name constraints (RFC 5280, section 4.2.1.10) allow only the office's domain, the
//! gateway's host name and private addresses, and its usages only servers. Other names need another authority.
//!
//! A [`Leaf`] is the servers' certificate: it is valid for [`LEAF_DAYS`], and is due for renewal when a third of that
//! is left, when names have changed, or when the clock shows that it was made at a wrong time.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use data_encoding::BASE64;
use ipnet::IpNet;
use rand::RngExt;
use rand::rngs::StdRng;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::{Identity, IdentityError};
use crate::calendar::DAY;
use crate::clock::UnixTime;
use crate::crypto::sha256;
use crate::crypto::signing::{KeyKind, generate};

/// How long an authority's certificate is valid: longer than the gateway's hardware lasts.
pub const AUTHORITY_YEARS: u64 = 20;

/// How long a server's certificate is valid; Apple's systems accept at most 825 days from a private authority.
pub const LEAF_DAYS: u64 = 90;

/// How long before its end a server's certificate is renewed.
pub const RENEWAL_DAYS_LEFT: u64 = 30;

/// The most names of a certificate.
pub const NAMES_MAX: usize = 64;

/// 2026-01-01T00:00:00Z. A clock that shows less is wrong: this program is newer.
const PROGRAM_BEGINS: UnixTime = UnixTime(1_767_225_600);
/// 2099-01-01T00:00:00Z. A clock that shows more is wrong, or this program is out of date.
const CLOCK_MAX: UnixTime = UnixTime(4_070_908_800);

/// Address ranges that are not globally unique. (RFC 1918; RFC 6598; RFC 3927; RFC 4193; RFC 4291)
const PRIVATE: [(&str, u8); 7] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("100.64.0.0", 10),
    ("169.254.0.0", 16),
    ("fc00::", 7),
    ("fe80::", 10),
];

/// The names and addresses at which clients connect to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The gateway's host name without a domain.
    pub hostname: String,
    /// The office's domain; the gateway is authoritative for all names in it.
    pub domain: String,
    /// Its addresses on the LAN. Those that are not private are left out.
    pub addresses: BTreeSet<IpAddr>,
}

/// An authority: its certificate and its key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Authority {
    hostname: String,
    domain: String,
    #[serde(with = "base64")]
    certificate: Vec<u8>,
    #[serde(with = "base64")]
    key: Vec<u8>,
    not_after: u64,
}

/// A server's certificate and its key, signed by an [`Authority`].
#[derive(Clone, Serialize, Deserialize)]
pub struct Leaf {
    names: Names,
    #[serde(with = "base64")]
    certificate: Vec<u8>,
    #[serde(with = "base64")]
    key: Vec<u8>,
    not_before: u64,
    not_after: u64,
}

/// The stored data is no authority, or a name is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningError(String);

impl fmt::Display for SigningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SigningError {}

impl From<rcgen::Error> for SigningError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl Authority {
    /// Makes an authority with a new key for the domain and the host name of `names`, at the time `now`.
    ///
    /// # Errors
    ///
    /// A name is not a DNS name.
    pub fn make(kind: KeyKind, names: &Names, now: UnixTime, rng: &mut StdRng) -> Result<Self, SigningError> {
        names.check()?;
        let key = generate(kind, rng);
        let not_after = authority_end(now);
        let not_before = UnixTime(now.0.saturating_sub(DAY)).min(PROGRAM_BEGINS);
        let mut params = params(not_before, not_after, rng);
        params.distinguished_name = authority_name(&names.domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = AUTHORITY_USAGES.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(constraints(names));
        let certificate = params.self_signed(&key_pair(&key)?)?;
        Ok(Self {
            hostname: names.hostname.clone(),
            domain: names.domain.clone(),
            certificate: certificate.der().to_vec(),
            key,
            not_after: not_after.0,
        })
    }

    /// Whether its constraints permit `names`.
    pub fn is_for(&self, names: &Names) -> bool {
        self.hostname == names.hostname && self.domain == names.domain
    }

    /// Whether it lasts as long as a certificate that it would sign at the time `now`.
    pub fn lasts(&self, now: UnixTime) -> bool {
        leaf_end(now).0 <= self.not_after
    }

    /// Whether a new authority would last as long as a certificate that it would sign at the time `now`; `false` for
    /// times that no correct clock shows.
    pub(super) fn would_last(now: UnixTime) -> bool {
        leaf_end(now) <= authority_end(now)
    }

    /// The end of its validity.
    pub(super) fn not_after(&self) -> UnixTime {
        UnixTime(self.not_after)
    }

    /// Signs a certificate for `names` with a new key, at the time `now`. The certificate may outlast the authority: a
    /// wrong clock says nothing of the clients' clocks, and servers need a certificate until the clock is right.
    ///
    /// # Errors
    ///
    /// The authority's constraints exclude `names`, a name is not a DNS name, or the authority is not one of
    /// [`Authority::make`].
    pub fn sign(
        &self,
        kind: KeyKind,
        names: &Names,
        now: UnixTime,
        rng: &mut StdRng,
    ) -> Result<Leaf, SigningError> {
        if !self.is_for(names) {
            let full_name = names.full_name();
            return Err(SigningError(format!(
                "the authority of {} does not speak for {full_name}",
                self.domain
            )));
        }
        let key = generate(kind, rng);
        let not_before = UnixTime(now.0.saturating_sub(DAY));
        let not_after = leaf_end(now);
        let mut params = params(not_before, not_after, rng);
        params.distinguished_name = distinguished(&names.full_name());
        params.subject_alt_names = names.subject_alt_names()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key_pair(&key)?, &self.issuer()?)?;
        Ok(Leaf {
            names: names.clone(),
            certificate: certificate.der().to_vec(),
            key,
            not_before: not_before.0,
            not_after: not_after.0,
        })
    }

    /// Its certificate in PEM, which is public.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, SigningError> {
        // Signing uses only the name, the usages and the key.
        let mut params = CertificateParams::default();
        params.distinguished_name = authority_name(&self.domain);
        params.key_usages = AUTHORITY_USAGES.to_vec();
        Ok(Issuer::new(params, key_pair(&self.key)?))
    }
}

/// Hides the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Leaf {
    /// Whether it has to be renewed: it is about to expire, not yet valid, or not for `names`.
    pub fn is_due(&self, names: &Names, now: UnixTime) -> bool {
        self.names != *names
            || now.0 < self.not_before
            || now.0.saturating_add(RENEWAL_DAYS_LEFT * DAY) >= self.not_after
    }

    /// The identity for servers.
    ///
    /// # Errors
    ///
    /// It is not valid at the time `now`, or not one of [`Authority::sign`].
    pub fn identity(&self, now: UnixTime, provider: &CryptoProvider) -> Result<Identity, IdentityError> {
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        Identity::from_der(chain, key, now, provider)
    }

    /// Its certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Its private key in PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

/// Hides the key.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Names {
    /// The names of a gateway `hostname` in `domain`, in any case, with these addresses.
    pub fn new(hostname: &str, domain: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (hostname, domain) = (hostname.to_lowercase(), domain.to_lowercase());
        Self { hostname, domain, addresses: addresses.into_iter().collect() }
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.hostname, self.domain)
    }

    /// Rejects invalid names.
    fn check(&self) -> Result<(), SigningError> {
        match DnsName::try_from(self.full_name()) {
            Ok(_) => Ok(()),
            Err(_) => Err(SigningError(format!("{:?} is no name of DNS", self.full_name()))),
        }
    }

    /// The host name with and without the domain, the domain and every name in it, the private addresses.
    fn subject_alt_names(&self) -> Result<Vec<SanType>, SigningError> {
        self.check()?;
        let names = [
            self.full_name(),
            self.hostname.clone(),
            self.domain.clone(),
            // `smtp`, `pop` and the zone's other names of the gateway.
            format!("*.{}", self.domain),
        ];
        let names = names.into_iter().map(|name| Ok(SanType::DnsName(name.try_into()?)));
        let addresses = self.addresses.iter().copied().filter(|address| is_private(*address));
        let addresses = addresses.map(|address| Ok(SanType::IpAddress(address)));
        names.chain(addresses.take(NAMES_MAX)).collect()
    }
}

/// The key usages of an authority.
const AUTHORITY_USAGES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

fn authority_name(domain: &str) -> DistinguishedName {
    distinguished(&format!("Gatepost authority of {domain}"))
}

/// The end of an authority that is made at the time `now`.
fn authority_end(now: UnixTime) -> UnixTime {
    UnixTime(now.clamp(PROGRAM_BEGINS, CLOCK_MAX).0 + AUTHORITY_YEARS * 365 * DAY)
}

/// The end of a certificate that is signed at the time `now`.
fn leaf_end(now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_add(LEAF_DAYS * DAY))
}

/// The common fields of certificates. RFC 5280, section 4.1.2.2: a serial number is positive and has at most 20 octets.
fn params(not_before: UnixTime, not_after: UnixTime, rng: &mut StdRng) -> CertificateParams {
    let mut serial: [u8; 16] = rng.random();
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let date = |time: UnixTime| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.0.min(CLOCK_MAX.0 * 2));
    (params.not_before, params.not_after) = (date(not_before), date(not_after));
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    // RFC 5280, appendix A.1: a common name has at most 64 characters.
    distinguished.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    distinguished
}

/// The name constraints: the gateway's own names. (RFC 5280, section 4.2.1.10)
fn constraints(names: &Names) -> NameConstraints {
    let own = [&names.domain, &names.hostname].map(|name| GeneralSubtree::DnsName(name.clone()));
    // A name form without a subtree would be unrestricted.
    let mail = [GeneralSubtree::Rfc822Name(names.domain.clone())];
    let private = private()
        .map(|(address, bits)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits)));
    NameConstraints {
        permitted_subtrees: own.into_iter().chain(mail).chain(private).collect(),
        excluded_subtrees: Vec::new(),
    }
}

fn private() -> impl Iterator<Item = (IpAddr, u8)> {
    PRIVATE.iter().map(|(address, bits)| (address.parse().expect("an address"), *bits))
}

fn is_private(address: IpAddr) -> bool {
    private().any(|(network, bits)| {
        let network = IpNet::new(network, bits).expect("a prefix");
        network.contains(&address)
    })
}

fn key_pair(pkcs8: &[u8]) -> Result<KeyPair, SigningError> {
    Ok(KeyPair::try_from(pkcs8)?)
}

/// The SHA-256 fingerprint of the first certificate in `pem`, as browsers and `openssl x509` show it; `None` without one.
pub fn fingerprint(pem: &str) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let octets: Vec<_> = sha256(&certificate).iter().map(|octet| format!("{octet:02X}")).collect();
    Some(octets.join(":"))
}

/// `der` in the textual encoding. (RFC 7468, section 2)
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Octets in JSON.
mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(octets))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}
