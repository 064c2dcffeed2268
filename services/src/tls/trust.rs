//! Whose certificates are believed of servers elsewhere, and how that stays up to date.
//!
//! Those are the authorities that the system trusts, and those of a file of the administrator's. The system's are read from the
//! one file in which distributions keep them together, so that an update of the system, or an authority that the administrator
//! has put there, counts here as everywhere on the machine. Files that have changed are taken within a minute.
//!
//! Without the system's file only the administrator's is believed, and without that nobody: then no password goes to a
//! server elsewhere. Nothing else depends on it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::sleep;
use tracing::debug;

use super::keeper::{Keeping, LOOKED_AT_EVERY, NoCertificate, read_bounded};
use super::peer::Authorities;
use crate::crypto::{Sha256Digest, sha256};
use crate::store::Topic;
use crate::work;

/// Where systems keep what they trust: Debian and Alpine, Fedora, SUSE, and others. The first that can be read counts.
pub const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where certificates of authorities are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The files of the system, of which one counts.
    pub system: Vec<PathBuf>,
    /// The administrator's, which counts, too.
    pub own: Option<PathBuf>,
}

/// What is believed by one configuration.
pub struct Trust {
    keeping: Keeping,
    trusted: Trusted,
    read: Read,
    /// What is wrong with the administrator's file.
    problem: Option<String>,
}

/// What was read.
#[derive(Clone)]
struct Read {
    authorities: Authorities,
    /// Of all that was read, so that the same is not read into certificates again.
    digest: Sha256Digest,
}

impl Trust {
    /// Reads what `trusted` says. Nobody goes by it yet. At a start, the system's authorities serve alone if the
    /// administrator's file is no good.
    ///
    /// # Errors
    ///
    /// The administrator's file is no good.
    pub async fn prepare(trusted: Trusted, keeping: Keeping) -> Result<Self, NoCertificate> {
        let has_begun = keeping.tls.has_identity();
        match read(&keeping, &trusted).await {
            Ok(read) => Ok(Self { keeping, trusted, read, problem: None }),
            Err(no_good) if has_begun => Err(no_good),
            Err(no_good) => {
                let of_system = Trusted { own: None, ..trusted.clone() };
                let read = read(&keeping, &of_system).await?;
                Ok(Self {
                    keeping,
                    trusted,
                    read,
                    problem: Some(sentence(&no_good, "only the system's authorities are trusted")),
                })
            }
        }
    }

    /// Goes by it from now on.
    pub fn activate(&self) {
        let count = self.read.authorities.count();
        debug!("{count} authorities are trusted to name servers elsewhere");
        self.keeping.tls.set_authorities(&self.read.authorities);
        self.report();
    }

    /// Follows the files. It never ends.
    pub async fn run(mut self) {
        loop {
            sleep(LOOKED_AT_EVERY).await;
            self.look().await;
        }
    }

    /// Takes what has changed.
    pub(super) async fn look(&mut self) {
        self.problem = match read(&self.keeping, &self.trusted).await {
            Ok(read) => {
                if read.digest != self.read.digest {
                    self.read = read;
                    self.activate();
                }
                None
            }
            Err(no_good) => Some(sentence(&no_good, "what was trusted before still is")),
        };
        self.report();
    }

    fn report(&self) {
        self.keeping.disk.report(Topic::Authorities, self.problem.clone());
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

fn sentence(NoCertificate { why, remedy }: &NoCertificate, meanwhile: &str) -> String {
    format!("{why}; {meanwhile}; {remedy}")
}

async fn read(keeping: &Keeping, trusted: &Trusted) -> Result<Read, NoCertificate> {
    let files = trusted.clone();
    let read = work::run(&*keeping.work, move || read_files(&files)).await;
    read.map_err(|error| no_good(format!("the authorities' certificates cannot be read: {error}")))?
}

fn read_files(trusted: &Trusted) -> Result<Read, NoCertificate> {
    let mut certificates = trusted.system.iter().find_map(|file| read_bounded(file).ok()).unwrap_or_default();
    if let Some(own) = &trusted.own {
        let content = read_own(own)?;
        // The system's file may end without a line's end.
        certificates.push(b'\n');
        certificates.extend(content);
    }
    let digest = sha256(&certificates);
    // None at all is nobody.
    let authorities = Authorities::from_pem(&certificates).unwrap_or_else(|_| Authorities::none());
    Ok(Read { authorities, digest })
}

/// The administrator's file, which has a certificate.
fn read_own(file: &Path) -> Result<Vec<u8>, NoCertificate> {
    let why = |error: &dyn fmt::Display| no_good(format!("{}: {error}", file.display()));
    let content = read_bounded(file).map_err(|error: io::Error| why(&error))?;
    Authorities::from_pem(&content).map_err(|error| why(&error))?;
    Ok(content)
}

fn no_good(why: String) -> NoCertificate {
    let remedy = "write a file with certificates in PEM in tls.authorities, or leave it out";
    NoCertificate { why, remedy: remedy.to_owned() }
}
