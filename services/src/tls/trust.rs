//! The trusted authorities of servers on the internet, and their updates.
//!
//! These are the authorities that the system trusts, and those of the administrator's file. The system's come from the
//! file in which distributions bundle them, so that an update of the system, or an authority that the administrator has
//! added there, is effective here as well. Changed files are reloaded within a minute.
//!
//! Without the system's file only the administrator's authorities are trusted, and without that none: then no password
//! is sent to a remote server. All else works without authorities.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::time::sleep;
use tracing::debug;

use super::keeper::{CHECK_INTERVAL, CertificateError, Environment, read_bounded};
use super::peer::Authorities;
use crate::crypto::{Sha256Digest, sha256};
use crate::store::Topic;
use crate::work;

/// The bundles of Debian and Alpine, Fedora, SUSE, and others. The first readable one is used.
pub const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files with certificates of authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The system's files, of which one is used.
    pub system: Vec<PathBuf>,
    /// The administrator's file, which is used in addition.
    pub own: Option<PathBuf>,
}

/// The trusted authorities of one configuration. They can be activated again, after those of another configuration:
/// without the disk, and with what they were last.
pub struct Trust {
    environment: Environment,
    trusted: Trusted,
    read: RefCell<Read>,
    /// The problem with the administrator's file.
    problem: RefCell<Option<String>>,
}

/// The content of the files.
#[derive(Clone)]
struct Read {
    authorities: Authorities,
    /// The digest of the content, by which unchanged files are not parsed again.
    digest: Sha256Digest,
}

impl Trust {
    /// Reads the files of `trusted`, which are not used yet. At startup the system's authorities are used alone if the
    /// administrator's file is unusable.
    ///
    /// # Errors
    ///
    /// The administrator's file is unusable.
    pub async fn prepare(trusted: Trusted, environment: Environment) -> Result<Self, CertificateError> {
        let has_begun = environment.tls.has_identity();
        match read(&environment, &trusted).await {
            Ok(read) => Ok(Self::new(environment, trusted, read, None)),
            Err(no_good) if has_begun => Err(no_good),
            Err(no_good) => {
                let of_system = Trusted { own: None, ..trusted.clone() };
                let read = read(&environment, &of_system).await?;
                let problem = sentence(&no_good, "only the system's authorities are trusted");
                Ok(Self::new(environment, trusted, read, Some(problem)))
            }
        }
    }

    fn new(environment: Environment, trusted: Trusted, read: Read, problem: Option<String>) -> Self {
        Self { environment, trusted, read: RefCell::new(read), problem: RefCell::new(problem) }
    }

    /// Whether they are those of the files `trusted`.
    pub fn is_of(&self, trusted: &Trusted) -> bool {
        self.trusted == *trusted
    }

    /// Uses the authorities from now on.
    pub fn activate(&self) {
        let authorities = &self.read.borrow().authorities;
        debug!("{} authorities are trusted for remote servers", authorities.count());
        self.environment.tls.set_authorities(authorities);
        self.report();
    }

    /// Reloads changed files. It never returns.
    pub async fn run(self: Rc<Self>) {
        loop {
            sleep(CHECK_INTERVAL).await;
            self.look().await;
        }
    }

    /// Reloads the files if they have changed.
    pub(super) async fn look(&self) {
        let problem = match read(&self.environment, &self.trusted).await {
            Ok(read) => {
                if read.digest != self.read.borrow().digest {
                    self.read.replace(read);
                    self.activate();
                }
                None
            }
            Err(no_good) => Some(sentence(&no_good, "what was trusted before still is")),
        };
        self.problem.replace(problem);
        self.report();
    }

    fn report(&self) {
        self.environment.disk.report(Topic::Authorities, self.problem.borrow().clone());
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

fn sentence(CertificateError { why, remedy }: &CertificateError, meanwhile: &str) -> String {
    format!("{why}; {meanwhile}; {remedy}")
}

async fn read(environment: &Environment, trusted: &Trusted) -> Result<Read, CertificateError> {
    let files = trusted.clone();
    let read = work::run(&*environment.work, move || read_files(&files)).await;
    read.map_err(|error| no_good(format!("the authorities' certificates cannot be read: {error}")))?
}

fn read_files(trusted: &Trusted) -> Result<Read, CertificateError> {
    let mut certificates = trusted.system.iter().find_map(|file| read_bounded(file).ok()).unwrap_or_default();
    if let Some(own) = &trusted.own {
        let content = read_own(own)?;
        // The system's file may lack a newline at its end.
        certificates.push(b'\n');
        certificates.extend(content);
    }
    let digest = sha256(&certificates);
    // Without any certificate no server is trusted.
    let authorities = Authorities::from_pem(&certificates).unwrap_or_else(|_| Authorities::none());
    Ok(Read { authorities, digest })
}

/// The administrator's file, which must contain a certificate.
fn read_own(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let why = |error: &dyn fmt::Display| no_good(format!("{}: {error}", file.display()));
    let content = read_bounded(file).map_err(|error: io::Error| why(&error))?;
    Authorities::from_pem(&content).map_err(|error| why(&error))?;
    Ok(content)
}

fn no_good(why: String) -> CertificateError {
    let remedy = "write a file with certificates in PEM in tls.authorities, or leave it out";
    CertificateError { why, remedy: remedy.to_owned() }
}
