//! The encryption of archives and the checks of passphrases, as the command line and the pages use them.

#![expect(clippy::disallowed_types, reason = "a process draws its salts from the system")]

use std::path::Path;

use gatepost_services::users::password::Prepared;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

use super::restore::{Checked, NOT_RESTORED};
use super::{Archive, BACKUP_OCTETS_MAX, Envelope};
use crate::config::Config;
use crate::error::Error;

/// Encrypts `archive`.
///
/// # Errors
///
/// It is too large, or there is no randomness.
pub fn seal(archive: &Archive, passphrase: &Prepared) -> Result<Vec<u8>, Error> {
    const WHAT: &str = "no backup is made";
    let mut rng =
        StdRng::try_from_rng(&mut SysRng).map_err(|error| Error::failed(WHAT, error, "try again"))?;
    let content = serde_json::to_vec(archive).map_err(|error| Error::failed(WHAT, error, "try again"))?;
    Envelope::FULL.seal(content, passphrase, &mut rng).ok_or_else(|| {
        let why = format!("it would have more than {BACKUP_OCTETS_MAX} octets");
        Error::failed(WHAT, why, "see what has grown in the state directory")
    })
}

/// Opens and checks `backup`, to restore its configuration at `file`.
///
/// # Errors
///
/// Why it cannot be restored.
pub fn open(backup: &[u8], passphrase: &str, file: &Path) -> Result<Checked, Error> {
    let refuse = |why: &dyn std::fmt::Display| {
        let remedy = "check the file and the passphrase, and mind capital letters";
        Error::failed(NOT_RESTORED, why, remedy)
    };
    let passphrase = Prepared::new(passphrase).map_err(|error| refuse(&error))?;
    let content = Envelope::open(backup, &passphrase).map_err(|error| refuse(&error))?;
    Checked::new(&content, file)
}

/// Checks that `text` is strong enough for a backup: whoever has the file can guess as often as he likes.
///
/// # Errors
///
/// Why it is not.
pub fn new_passphrase(config: &Config, text: &str) -> Result<Prepared, Error> {
    let refuse = |why: &dyn std::fmt::Display| {
        let remedy = "take another passphrase, such as four words that have nothing in common";
        Error::failed("no backup is made", why, remedy)
    };
    let passphrase = Prepared::new(text).map_err(|error| refuse(&error))?;
    let names = [config.system.hostname.as_str(), &config.system.domain, env!("CARGO_PKG_NAME"), "backup"];
    passphrase.weakness(&names).map_or(Ok(passphrase), |weakness| Err(refuse(&weakness)))
}
