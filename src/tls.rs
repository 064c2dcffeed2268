//! `gatepost tls`: the office's own authority, for users who have to trust it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gatepost_services::clock::Clock;
use gatepost_services::store::read_file;
use gatepost_services::tls::authority::{Names, fingerprint};
use gatepost_services::tls::keeper::{OWN_FILE, authority_in};

use crate::config::{Source, System};
use crate::error::Error;
use crate::port::clock::SystemClock;

/// The commands of `gatepost tls`.
#[derive(Debug, clap::Subcommand)]
pub enum Tls {
    /// Print the certificate of the office's own authority, which everybody may have and install; to stderr,
    /// its SHA-256 fingerprint.
    Ca {
        /// The configuration, which names the state directory.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

impl Tls {
    /// Does it.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    pub fn run(self) -> Result<(), Error> {
        let Self::Ca { config } = self;
        let (config, _) = Source::new(config).load()?;
        let certificate = authority(&config.system, &config.system.state_dir)?;
        // Beside the certificate, which is often written to a file.
        if let Some(fingerprint) = fingerprint(&certificate) {
            _ = writeln!(io::stderr(), "SHA-256 fingerprint: {fingerprint}");
        }
        // If stdout is closed, the exit code still reports the outcome.
        _ = write!(io::stdout(), "{certificate}");
        Ok(())
    }
}

/// The certificate, in PEM, of the authority of a gateway with the names in `system`.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub(crate) fn authority(system: &System, state_dir: &Path) -> Result<String, Error> {
    const WHAT: &str = "the authority's certificate cannot be shown";
    let content = read_file(state_dir, OWN_FILE).map_err(|error| {
        let file = state_dir.join(OWN_FILE);
        Error::failed(WHAT, format!("{} cannot be read: {error}", file.display()), "run it as root")
    })?;
    let names = Names::new(&system.hostname, &system.domain, []);
    let found = match content {
        Some(content) => authority_in(&content, &names, SystemClock::new().unix_time()).map_err(|why| {
            let remedy = "see `gatepost check --state`; a start of the gateway makes another one";
            Error::failed(WHAT, format!("{OWN_FILE} is damaged: {why}"), remedy)
        })?,
        None => None,
    };
    found.ok_or_else(|| {
        let why = format!("there is none for {}.{}", names.hostname, names.domain);
        Error::failed(WHAT, why, "start the gateway with admin.enabled = true, or with a user in its file")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    #[test]
    fn fingerprints_are_written_as_browsers_do() {
        let pem = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        let of_abc =
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
        assert_eq!(fingerprint(pem).as_deref(), Some(of_abc));
        assert_eq!(fingerprint("no certificate"), None);
    }

    #[test]
    fn what_is_not_there_or_damaged_is_said() {
        let path = std::env::temp_dir().join(format!("gatepost-tls-ca-{}", std::process::id()));
        let system = Config::default().system;
        let told = || authority(&system, &path).expect_err("there is none").to_string();
        assert!(
            told().contains("there is none for gatepost.office.example; start the gateway"),
            "{}",
            told()
        );
        fs::create_dir_all(path.join("tls")).expect("a directory");
        fs::write(path.join(OWN_FILE), "2 00000000 [").expect("a file");
        assert!(told().contains("tls/own.json is damaged: its checksum is wrong; see"), "{}", told());
        fs::remove_dir_all(&path).expect("removed");
    }
}
