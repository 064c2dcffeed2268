//! Where the gateway's certificate comes from, and how it stays good.
//!
//! [`Certificate::prepare`] makes what a configuration asks for: the certificate and key of the administrator's
//! ([`Files`]), or else one of the office's own authority, which is made when it is first asked for and kept in
//! [`OWN_FILE`]. Nothing has changed until [`Certificate::activate`], so that a certificate that is no good refuses a
//! configuration, and the former one goes on. At the start there is no former one, and a gateway that does not come up
//! after a power cut because a certificate has expired meanwhile is worse: the office's own authority stands in.
//!
//! [`Certificate::run`] looks every minute: what the authority has signed is signed anew before it ends, and files that have
//! changed are taken, as programs that renew certificates write them. Files that are no good then are told of in
//! the status, and the certificate that was there goes on.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Tls;
use super::authority::{Authority, Leaf, Names, NotSigned};
use super::identity::{Day, Identity};
use crate::calendar::DAY;
use crate::clock::{Clock, UnixTime};
use crate::crypto::signing::KeyKind;
use crate::store::{Disk, Topic, open_regular, sealed};
use crate::work::{self, Work};

/// Where the office's own authority is kept, with its key, and what it has signed.
pub const OWN_FILE: &str = "tls/own.json";

/// The most authorities that are kept, each for a host name and a domain; the one that was used longest ago is forgotten.
pub const AUTHORITIES_KEPT_MAX: usize = 8;

/// How often files are looked at, and how late a certificate is renewed at most: a clock that is set after the start
/// makes the certificate of the start a wrong one.
pub const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// The longest file of a certificate or of a key, in octets.
pub const FILE_OCTETS_MAX: u64 = 1 << 20;

/// How many days before the end of a certificate of the administrator's it is told that nobody has renewed it.
pub const WARNED_DAYS_BEFORE: u64 = 14;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What the gateway is called, for its own authority.
    pub names: Names,
    /// The files of the administrator, if there are any.
    pub files: Option<Files>,
}

/// A certificate of the administrator's, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, and those that lead from it to its authority.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCertificate {
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl NoCertificate {
    /// What is told while the office's own authority stands in.
    fn stood_in_for(self) -> String {
        format!("{}; the office's own authority stands in; {}", self.why, self.remedy)
    }
}

impl fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for NoCertificate {}

/// What a certificate is kept with.
#[derive(Clone)]
pub struct Keeping {
    /// Who shows the certificate.
    pub tls: Rc<Tls>,
    /// Where the authority is kept.
    pub disk: Disk,
    /// Who reads files.
    pub work: Rc<dyn Work>,
    /// The time.
    pub clock: Rc<dyn Clock>,
    /// Of which kind the authority's keys are.
    pub kind: KeyKind,
}

/// A certificate by one configuration.
pub struct Certificate {
    keeping: Keeping,
    source: Source,
    rng: StdRng,
    identity: Identity,
    /// The authority's certificate in PEM, if it is the office's own.
    authority: Option<String>,
    /// What is wrong with the administrator's files.
    problem: Option<String>,
    /// Whether the office's own authority stands in for files of the administrator's that have never been good.
    stands_in: bool,
}

/// An authority, and what it has signed last. [`OWN_FILE`] holds a list of them, sealed, the one that was used last
/// first: whoever goes back to a former domain has the authority back that clients know.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Own {
    authority: Authority,
    leaf: Leaf,
}

/// The authorities of this process.
#[derive(Clone, Default)]
pub(super) struct Kept {
    entries: Vec<Own>,
    /// The file was read, and may be written.
    is_read: bool,
    /// The file holds all of it.
    is_safe: bool,
}

impl Certificate {
    /// Makes, or reads, what `source` says. Nobody is shown it yet. As long as nothing is shown, the office's own
    /// authority stands in for files that are no good.
    ///
    /// # Errors
    ///
    /// The administrator's files are no good, or the names are none.
    pub async fn prepare(source: Source, keeping: Keeping, mut rng: StdRng) -> Result<Self, NoCertificate> {
        let (stands_in, problem, (identity, authority)) = match keeping.identity(&source, &mut rng).await {
            Ok(made) => (false, None, made),
            Err(no_good) if source.files.is_some() && !keeping.tls.has_identity() => {
                (true, Some(no_good.stood_in_for()), keeping.of_own(&source.names, &mut rng).await?)
            }
            Err(no_good) => return Err(no_good),
        };
        Ok(Self { keeping, source, rng, identity, authority, problem, stands_in })
    }

    /// Shows it from now on.
    pub fn activate(&self) {
        self.keeping.tls.set_identity(&self.identity);
        *self.keeping.tls.own_authority.borrow_mut() = self.authority.clone();
        self.report();
    }

    /// Keeps it good. It never ends.
    pub async fn run(mut self) {
        loop {
            sleep(LOOKED_AT_EVERY).await;
            self.look().await;
        }
    }

    /// Shows the certificate that is due, if one is.
    pub(super) async fn look(&mut self) {
        let (made, problem) = match self.keeping.identity(&self.source, &mut self.rng).await {
            Ok(made) => {
                self.stands_in = false;
                (Some(made), None)
            }
            Err(no_good) if self.stands_in => {
                let problem = no_good.stood_in_for();
                // What stands in ends, too.
                (self.keeping.of_own(&self.source.names, &mut self.rng).await.ok(), Some(problem))
            }
            Err(NoCertificate { why, remedy }) => {
                (None, Some(format!("{why}; the certificate that was there is still shown; {remedy}")))
            }
        };
        self.problem = problem;
        if let Some((identity, authority)) = made {
            let is_new = identity.certified.cert != self.identity.certified.cert;
            (self.identity, self.authority) = (identity, authority);
            if is_new {
                return self.activate();
            }
        }
        self.report();
    }

    /// Tells what is wrong, or will be.
    fn report(&self) {
        let (now, end) = (self.keeping.clock.unix_time(), self.identity.not_after());
        let ends_soon = || {
            let files = self.source.files.as_ref()?;
            let is_near = now.0.saturating_add(WARNED_DAYS_BEFORE * DAY) > end.0;
            let file = files.certificate.display();
            is_near.then(|| format!("the certificate in {file} ends on {}; renew it", Day(end)))
        };
        let problem = self.problem.clone().or_else(ends_soon);
        self.keeping.disk.report(Topic::Certificate, problem);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Keeping {
    /// What servers are to show, and the office's own authority, if it has signed that.
    async fn identity(
        &self,
        source: &Source,
        rng: &mut StdRng,
    ) -> Result<(Identity, Option<String>), NoCertificate> {
        match &source.files {
            Some(Files { certificate, key }) => Ok((self.of_files(certificate, key).await?, None)),
            None => self.of_own(&source.names, rng).await,
        }
    }

    async fn of_own(
        &self,
        names: &Names,
        rng: &mut StdRng,
    ) -> Result<(Identity, Option<String>), NoCertificate> {
        let own = self.own(names, rng).await.map_err(|error| NoCertificate {
            why: format!("no certificate can be made for {}.{}: {error}", names.hostname, names.domain),
            remedy: "write names that DNS has in system.hostname and system.domain".to_owned(),
        })?;
        let identity = own.leaf.identity(self.clock.unix_time(), self.tls.provider());
        let identity = identity.map_err(|error| NoCertificate {
            why: format!("the certificate that was made is no good: {error}"),
            remedy: error.remedy().to_owned(),
        })?;
        Ok((identity, Some(own.authority.certificate_pem())))
    }

    async fn of_files(&self, certificate: &Path, key: &Path) -> Result<Identity, NoCertificate> {
        let (chain, secret) = (self.read(certificate).await?, self.read(key).await?);
        let now = self.clock.unix_time();
        Identity::from_pem(&chain, &secret, now, self.tls.provider()).map_err(|error| {
            let file = if error.is_of_key() { key } else { certificate };
            NoCertificate { why: format!("{}: {error}", file.display()), remedy: error.remedy().to_owned() }
        })
    }

    async fn read(&self, path: &Path) -> Result<Vec<u8>, NoCertificate> {
        let file = path.to_owned();
        let read = work::run(&*self.work, move || read_bounded(&file)).await;
        read.map_err(io::Error::from).and_then(|read| read).map_err(|error| NoCertificate {
            why: format!("{} cannot be read: {error}", path.display()),
            remedy: "write files that the gateway may read in tls.certificate and tls.key".to_owned(),
        })
    }

    /// The office's own authority with a certificate for `names`, as it is kept, or made and kept now.
    async fn own(&self, names: &Names, rng: &mut StdRng) -> Result<Own, NotSigned> {
        // A reload and the configuration in force may ask at once: the second sees what the first has made.
        let _turn = self.tls.own_turn.lock().await;
        let now = self.clock.unix_time();
        let mut kept = self.kept().await;
        // While the clock is so wrong that not even a new one lasted, one after the other would push out what is kept.
        let serving = serving(&kept.entries, names, now)
            .filter(|place| kept.entries[*place].authority.lasts(now) || !Authority::would_last(now));
        let (authority, leaf) = match serving.map(|place| kept.entries.remove(place)) {
            Some(own) => (own.authority, Some(own.leaf)),
            None => (Authority::make(self.kind, names, now, rng)?, None),
        };
        let leaf = match leaf.filter(|leaf| !leaf.is_due(names, now)) {
            Some(leaf) => leaf,
            None => {
                kept.is_safe = false;
                authority.sign(self.kind, names, now, rng)?
            }
        };
        let own = Own { authority, leaf };
        kept.entries.insert(0, own.clone());
        kept.entries.truncate(AUTHORITIES_KEPT_MAX);
        if kept.is_read && !kept.is_safe {
            kept.is_safe = self.keep(&kept.entries).await;
        }
        *self.tls.own.borrow_mut() = kept;
        Ok(own)
    }

    /// What is kept: what this process knows, or else what the file says. What could not be read is read again the next
    /// time, and not overwritten; until then what was made meanwhile serves.
    async fn kept(&self) -> Kept {
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
        let Some(content) = content else { return Kept { is_read: true, ..Kept::default() } };
        let why = match parse(&content) {
            Ok(entries) => return Kept { entries, is_read: true, is_safe: true },
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
        Kept { is_read: aside.is_ok(), ..known }
    }

    /// Whether `entries` are safe on the disk.
    async fn keep(&self, entries: &[Own]) -> bool {
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

/// What is wrong with the content of [`OWN_FILE`], if anything is.
pub fn damage(content: &[u8]) -> Option<String> {
    parse(content).err()
}

/// The place of the authority that serves `names` at the time `now`: of those that last, the one that ends first, which
/// is the one that clients know. One that a wrong clock had made comes after it once the clock is right, and before it
/// while the clock is wrong. While none lasts, it is the one that ends last.
fn serving(entries: &[Own], names: &Names, now: UnixTime) -> Option<usize> {
    let own = || entries.iter().enumerate().filter(|(_, own)| own.authority.is_for(names));
    let lasting = own().filter(|(_, own)| own.authority.lasts(now));
    let first = lasting.min_by_key(|(_, own)| own.authority.not_after());
    first.or_else(|| own().max_by_key(|(_, own)| own.authority.not_after())).map(|(place, _)| place)
}

/// The certificate, in PEM, of the authority that serves `names` at the time `now` by what [`OWN_FILE`] holds; `None` if
/// there is none.
///
/// # Errors
///
/// The content is damaged, in a sentence.
pub fn authority_in(content: &[u8], names: &Names, now: UnixTime) -> Result<Option<String>, String> {
    let entries = parse(content)?;
    Ok(serving(&entries, names, now).map(|place| entries[place].authority.certificate_pem()))
}

fn parse(content: &[u8]) -> Result<Vec<Own>, String> {
    let payload = sealed::unseal(content).map_err(|damage| damage.to_string())?;
    // What serde says of an error may quote a key.
    serde_json::from_slice(payload)
        .map_err(|error| format!("it makes no sense at octet {} of its content", error.column()))
}

/// The content of the file `path` of the administrator's.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)?.take(FILE_OCTETS_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_OCTETS_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is far too long"));
    }
    Ok(content)
}
