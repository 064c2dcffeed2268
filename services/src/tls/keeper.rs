//! The source of the gateway's certificate, and its renewal.
//!
//! [`Certificate::prepare`] makes what a configuration asks for: the administrator's certificate and key ([`Files`]),
//! or else a certificate of the office's own authority, which is made at its first use and stored in [`OWN_FILE`].
//! Until [`Certificate::activate`] nothing changes, so an unusable certificate rejects a configuration, and the former
//! one stays in force. At startup there is no former one, and a gateway must start although a certificate has expired
//! meanwhile: it falls back to its own authority.
//!
//! [`Certificate::run`] checks every minute: it renews certificates of the own authority before they expire, and
//! reloads changed files, as written by ACME clients. If the new files are unusable, the status says so, and the former
//! certificate stays in use.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Tls;
use super::authority::{Authority, Leaf, Names, SigningError, fingerprint};
use super::identity::{Day, Identity};
use crate::calendar::DAY;
use crate::clock::{Clock, UnixTime};
use crate::crypto::signing::KeyKind;
use crate::store::{Disk, Topic, open_regular, sealed};
use crate::work::{self, Work};

/// The file of the own authorities with their keys and last certificates.
pub const OWN_FILE: &str = "tls/own.json";

/// The most authorities in the file, each for a host name and a domain; the least recently used one is removed.
pub const AUTHORITIES_KEPT_MAX: usize = 8;

/// The interval of checks, and the longest delay of a renewal: if the clock is set after startup, the certificate of
/// the startup becomes invalid.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The longest file of a certificate or of a key, in octets.
pub const FILE_OCTETS_MAX: u64 = 1 << 20;

/// How many days before the end of the administrator's certificate the status warns that it was not renewed.
pub const WARNING_DAYS_LEFT: u64 = 14;

/// The configured source of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The gateway's names, for its own authority.
    pub names: Names,
    /// The administrator's files, if configured.
    pub files: Option<Files>,
}

/// The administrator's certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate and its intermediate certificates.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateError {
    /// The problem.
    pub why: String,
    /// The remedy for the user.
    pub remedy: String,
}

impl CertificateError {
    /// The problem's report while the gateway uses its own authority instead.
    fn with_fallback(self) -> String {
        format!("{}; the office's own authority is used instead; {}", self.why, self.remedy)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for CertificateError {}

/// The environment of a certificate.
#[derive(Clone)]
pub struct Environment {
    /// The TLS that uses the certificate.
    pub tls: Rc<Tls>,
    /// The disk of the own authority.
    pub disk: Disk,
    /// The executor of reads.
    pub work: Rc<dyn Work>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// The kind of the authority's keys.
    pub kind: KeyKind,
}

/// The certificate of one configuration. It can be activated again, after that of another configuration: without the
/// disk, and with what it was last.
pub struct Certificate {
    environment: Environment,
    source: Source,
    rng: RefCell<StdRng>,
    made: RefCell<Made>,
}

/// The present state of a certificate.
struct Made {
    identity: Identity,
    /// The authority's certificate in PEM, if it is the own one.
    authority: Option<String>,
    /// The problem with the administrator's files.
    problem: Option<String>,
    /// Whether the gateway uses its own authority because the administrator's files have never been usable.
    is_fallback: bool,
}

/// An authority and its last certificate. [`OWN_FILE`] holds a sealed list of them, the most recently used one first:
/// after a return to a former domain clients find the authority that they trust.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct OwnAuthority {
    authority: Authority,
    leaf: Leaf,
}

/// The own authorities in memory.
#[derive(Clone, Default)]
pub(super) struct OwnAuthorities {
    entries: Vec<OwnAuthority>,
    /// Whether the file was read, and may be written.
    is_read: bool,
    /// Whether the file is up to date.
    is_safe: bool,
}

impl Certificate {
    /// Makes or reads the certificate of `source`, which is not used yet. As long as TLS has no certificate, the own
    /// authority stands in for unusable files.
    ///
    /// # Errors
    ///
    /// The administrator's files are unusable, or the names are invalid.
    pub async fn prepare(
        source: Source,
        environment: Environment,
        mut rng: StdRng,
    ) -> Result<Self, CertificateError> {
        let (is_fallback, problem, (identity, authority)) =
            match environment.identity(&source, &mut rng).await {
                Ok(made) => (false, None, made),
                Err(no_good) if source.files.is_some() && !environment.tls.has_identity() => {
                    (true, Some(no_good.with_fallback()), environment.of_own(&source.names, &mut rng).await?)
                }
                Err(no_good) => return Err(no_good),
            };
        let made = RefCell::new(Made { identity, authority, problem, is_fallback });
        Ok(Self { environment, source, rng: RefCell::new(rng), made })
    }

    /// Whether it is what `source` asks for.
    pub fn is_of(&self, source: &Source) -> bool {
        self.source == *source
    }

    /// Uses the certificate from now on.
    pub fn activate(&self) {
        let Made { identity, authority, .. } = &*self.made.borrow();
        self.environment.tls.set_identity(identity);
        *self.environment.tls.own_authority.borrow_mut() = authority.clone();
        self.report();
    }

    /// Renews and reloads the certificate. It never returns.
    pub async fn run(self: Rc<Self>) {
        loop {
            sleep(CHECK_INTERVAL).await;
            self.look().await;
        }
    }

    /// Replaces the certificate if it is due.
    pub(super) async fn look(&self) {
        let mut rng = StdRng::from_rng(&mut *self.rng.borrow_mut());
        let is_fallback = self.made.borrow().is_fallback;
        let (made, problem) = match self.environment.identity(&self.source, &mut rng).await {
            Ok(made) => {
                self.made.borrow_mut().is_fallback = false;
                (Some(made), None)
            }
            Err(no_good) if is_fallback => {
                let problem = no_good.with_fallback();
                // The own authority's certificate expires, too.
                (self.environment.of_own(&self.source.names, &mut rng).await.ok(), Some(problem))
            }
            Err(CertificateError { why, remedy }) => {
                (None, Some(format!("{why}; the certificate that was there is still shown; {remedy}")))
            }
        };
        let is_new = self.made.borrow_mut().take(made, problem);
        if is_new { self.activate() } else { self.report() }
    }

    /// Reports the current or the coming problem.
    fn report(&self) {
        let made = self.made.borrow();
        let (now, end) = (self.environment.clock.unix_time(), made.identity.not_after());
        let ends_soon = || {
            let files = self.source.files.as_ref()?;
            let is_near = now.0.saturating_add(WARNING_DAYS_LEFT * DAY) > end.0;
            let file = files.certificate.display();
            is_near.then(|| format!("the certificate in {file} ends on {}; renew it", Day(end)))
        };
        let problem = made.problem.clone().or_else(ends_soon);
        self.environment.disk.report(Topic::Certificate, problem);
    }
}

impl Made {
    /// Takes what was made, if it was, with the problem. Returns whether the certificate is another one now.
    fn take(&mut self, made: Option<(Identity, Option<String>)>, problem: Option<String>) -> bool {
        self.problem = problem;
        let Some((identity, authority)) = made else { return false };
        let is_new = identity.certified.cert != self.identity.certified.cert;
        (self.identity, self.authority) = (identity, authority);
        is_new
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Environment {
    /// The identity for servers, and the own authority's certificate if it has signed the identity.
    async fn identity(
        &self,
        source: &Source,
        rng: &mut StdRng,
    ) -> Result<(Identity, Option<String>), CertificateError> {
        match &source.files {
            Some(Files { certificate, key }) => Ok((self.of_files(certificate, key).await?, None)),
            None => self.of_own(&source.names, rng).await,
        }
    }

    async fn of_own(
        &self,
        names: &Names,
        rng: &mut StdRng,
    ) -> Result<(Identity, Option<String>), CertificateError> {
        let own = self.own(names, rng).await.map_err(|error| CertificateError {
            why: format!("no certificate can be made for {}.{}: {error}", names.hostname, names.domain),
            remedy: "write names that DNS has in system.hostname and system.domain".to_owned(),
        })?;
        let identity = own.leaf.identity(self.clock.unix_time(), self.tls.provider());
        let identity = identity.map_err(|error| CertificateError {
            why: format!("the certificate that was made is no good: {error}"),
            remedy: error.remedy().to_owned(),
        })?;
        Ok((identity, Some(own.authority.certificate_pem())))
    }

    async fn of_files(&self, certificate: &Path, key: &Path) -> Result<Identity, CertificateError> {
        let (chain, secret) = (self.read(certificate).await?, self.read(key).await?);
        let now = self.clock.unix_time();
        Identity::from_pem(&chain, &secret, now, self.tls.provider()).map_err(|error| {
            let file = if error.is_of_key() { key } else { certificate };
            CertificateError {
                why: format!("{}: {error}", file.display()),
                remedy: error.remedy().to_owned(),
            }
        })
    }

    async fn read(&self, path: &Path) -> Result<Vec<u8>, CertificateError> {
        let file = path.to_owned();
        let read = work::run(&*self.work, move || read_bounded(&file)).await;
        read.map_err(io::Error::from).and_then(|read| read).map_err(|error| CertificateError {
            why: format!("{} cannot be read: {error}", path.display()),
            remedy: "write files that the gateway may read in tls.certificate and tls.key".to_owned(),
        })
    }

    /// The own authority with a certificate for `names`, read or made and stored now.
    async fn own(&self, names: &Names, rng: &mut StdRng) -> Result<OwnAuthority, SigningError> {
        // A reload may run concurrently with the configuration in force: the second caller sees the first one's result.
        let _turn = self.tls.own_lock.lock().await;
        let now = self.clock.unix_time();
        let mut kept = self.kept().await;
        // While the clock is so wrong that not even a new authority lasted, new ones would displace all stored ones.
        let serving = serving(&kept.entries, names, now)
            .filter(|place| kept.entries[*place].authority.lasts(now) || !Authority::would_last(now));
        let (authority, leaf) = match serving.map(|place| kept.entries.remove(place)) {
            Some(own) => (own.authority, Some(own.leaf)),
            None => {
                let authority = Authority::make(self.kind, names, now, rng)?;
                let fingerprint = fingerprint(&authority.certificate_pem()).unwrap_or_default();
                tracing::info!(
                    "made a certificate authority for the office: SHA-256 fingerprint {fingerprint}"
                );
                (authority, None)
            }
        };
        let leaf = match leaf.filter(|leaf| !leaf.is_due(names, now)) {
            Some(leaf) => leaf,
            None => {
                kept.is_safe = false;
                authority.sign(self.kind, names, now, rng)?
            }
        };
        let own = OwnAuthority { authority, leaf };
        kept.entries.insert(0, own.clone());
        kept.entries.truncate(AUTHORITIES_KEPT_MAX);
        if kept.is_read && !kept.is_safe {
            kept.is_safe = self.keep(&kept.entries).await;
        }
        *self.tls.own.borrow_mut() = kept;
        Ok(own)
    }

    /// The own authorities: those in memory, or else those of the file. An unreadable file is read again the next time,
    /// and not overwritten; until then authorities made meanwhile are used.
    async fn kept(&self) -> OwnAuthorities {
        let known = self.tls.own.borrow().clone();
        if known.is_read {
            return known;
        }
        let content = match self.disk.read(OWN_FILE).await {
            Ok(content) => content,
            Err(error) => {
                let problem = format!(
                    "{OWN_FILE} cannot be read: {error}; clients do not know the authority that serves meanwhile"
                );
                self.disk.report(Topic::AuthorityNotKept, Some(problem));
                return known;
            }
        };
        self.disk.report(Topic::AuthorityNotKept, None);
        let Some(content) = content else {
            return OwnAuthorities { is_read: true, ..OwnAuthorities::default() };
        };
        let why = match parse(&content) {
            Ok(entries) => return OwnAuthorities { entries, is_read: true, is_safe: true },
            Err(why) => why,
        };
        let aside = self.disk.set_aside(OWN_FILE, content).await;
        let copy = match &aside {
            Ok(copy) => format!("a copy is kept as {copy}"),
            Err(error) => format!("no copy could be kept: {error}"),
        };
        let problem = format!(
            "{OWN_FILE} is damaged: {why}; there is a new authority, whose certificate clients have to install; {copy}"
        );
        self.disk.report(Topic::AuthorityDamaged, Some(problem));
        OwnAuthorities { is_read: aside.is_ok(), ..known }
    }

    /// Stores `entries`; returns whether they are on the disk.
    async fn keep(&self, entries: &[OwnAuthority]) -> bool {
        let kept = match serde_json::to_vec(entries) {
            Ok(content) => self.disk.replace(OWN_FILE, sealed::seal(&content)).await,
            Err(error) => Err(error.into()),
        };
        let problem = kept.err().map(|error| {
            format!("{OWN_FILE} cannot be written: {error}; there will be another authority after a restart")
        });
        let is_safe = problem.is_none();
        self.disk.report(Topic::AuthorityNotKept, problem);
        is_safe
    }
}

/// The problem with the content of [`OWN_FILE`], if there is one.
pub fn damage(content: &[u8]) -> Option<String> {
    parse(content).err()
}

/// The index of the authority to use for `names` at the time `now`: of those that last, the one that ends first, which
/// clients trust. An authority made with a wrong clock comes after it once the clock is right, and before it while the
/// clock is wrong. While none lasts, it is the one that ends last.
fn serving(entries: &[OwnAuthority], names: &Names, now: UnixTime) -> Option<usize> {
    let own = || entries.iter().enumerate().filter(|(_, own)| own.authority.is_for(names));
    let lasting = own().filter(|(_, own)| own.authority.lasts(now));
    let first = lasting.min_by_key(|(_, own)| own.authority.not_after());
    first.or_else(|| own().max_by_key(|(_, own)| own.authority.not_after())).map(|(place, _)| place)
}

/// The certificate, in PEM, of the authority for `names` at the time `now` in `content` of [`OWN_FILE`]; `None` if
/// there is none.
///
/// # Errors
///
/// The content is damaged; the error is a sentence.
pub fn authority_in(content: &[u8], names: &Names, now: UnixTime) -> Result<Option<String>, String> {
    let entries = parse(content)?;
    Ok(serving(&entries, names, now).map(|place| entries[place].authority.certificate_pem()))
}

fn parse(content: &[u8]) -> Result<Vec<OwnAuthority>, String> {
    let payload = sealed::unseal(content).map_err(|damage| damage.to_string())?;
    // An error of serde may quote a key.
    serde_json::from_slice(payload)
        .map_err(|error| format!("it makes no sense at octet {} of its content", error.column()))
}

/// The content of the administrator's file `path`, up to [`FILE_OCTETS_MAX`].
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)?.take(FILE_OCTETS_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_OCTETS_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is far too long"));
    }
    Ok(content)
}
