//! `gatepost backup` and `gatepost restore`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use gatepost_services::clock::Clock;
use gatepost_services::store::{Files, OpenError, ReadOnlyFiles, StagedFile, open_regular};

use super::restore::finish;
use super::{Archive, BACKUP_OCTETS_MAX, new_passphrase, open, seal};
use crate::config::Source;
use crate::error::Error;
use crate::port::clock::SystemClock;
use crate::port::{ask_secret, read_secret_line};

/// The path that stands for stdout.
const STDOUT: &str = "-";

/// The arguments of `gatepost backup`.
#[derive(Debug, clap::Args)]
pub struct BackUp {
    /// The file, which is replaced if it is there; - for stdout.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    around: Around,
}

/// The arguments of `gatepost restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup.
    file: PathBuf,
    /// Only check whether it can be restored.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    around: Around,
}

#[derive(Debug, clap::Args)]
struct Around {
    /// Take the passphrase from the first line of stdin.
    #[arg(long)]
    stdin: bool,
    /// The configuration, which names the state directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl BackUp {
    /// Writes the backup, whether a gateway runs or not.
    ///
    /// # Errors
    ///
    /// Why there is none. A file that was there is as before.
    pub fn run(self) -> Result<(), Error> {
        const WHAT: &str = "no backup is made";
        let source = Source::new(self.around.config);
        let (config, _, text) = source.load_with_text()?;
        let passphrase = if self.around.stdin {
            read_secret_line(io::stdin().lock(), WHAT)?
        } else {
            ask_secret("Passphrase of the backup", WHAT, true)?
        };
        let passphrase = new_passphrase(&config, &passphrase)?;
        let folder = source.file().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
        let storage = ReadOnlyFiles::new(&config.system.state_dir);
        let now = SystemClock::new().unix_time();
        let (archive, left_out) =
            Archive::gather((&config, text.as_deref().unwrap_or_default()), folder, &storage, now)?;
        let backup = seal(&archive, &passphrase)?;
        if self.output == Path::new(STDOUT) {
            io::stdout().write_all(&backup).map_err(|error| Error::failed(WHAT, error, "try again"))?;
        } else {
            let written = StagedFile::write_private(&self.output, &backup).and_then(StagedFile::put);
            written.and_then(|unsynced| unsynced.map_or(Ok(()), Err)).map_err(|error| {
                let why = format!("{}: {error}", self.output.display());
                Error::failed(WHAT, why, "name a place where you may write and where there is room")
            })?;
        }
        left_out.iter().for_each(|what| say(&format!("warning: {what}")));
        say(&format!(
            "{} files are in the backup; mail is not, see `gatepost mail export --help`",
            archive.files()
        ));
        Ok(())
    }
}

impl Restore {
    /// Restores the backup, or only checks it. No gateway may run on the state directory.
    ///
    /// # Errors
    ///
    /// Why nothing is restored, or why it is not finished yet.
    pub fn run(self) -> Result<(), Error> {
        const WHAT: &str = super::restore::NOT_RESTORED;
        let source = Source::new(self.around.config);
        let (path, _) = source.written();
        let unread = |error: io::Error| {
            Error::failed(WHAT, format!("{}: {error}", self.file.display()), "name a backup that can be read")
        };
        let mut backup = Vec::new();
        let mut file = open_regular(&self.file).map_err(unread)?.take(BACKUP_OCTETS_MAX as u64 + 1);
        file.read_to_end(&mut backup).map_err(unread)?;
        let passphrase = if self.around.stdin {
            read_secret_line(io::stdin().lock(), WHAT)?
        } else {
            ask_secret("Passphrase of the backup", WHAT, false)?
        };
        let checked = open(&backup, &passphrase, path)?;
        let (archive, state_dir) = (checked.archive(), &checked.config().system.state_dir);
        if !self.check {
            // A gateway on the present configuration would go on with what it has in memory.
            let _present = source
                .load()
                .ok()
                .filter(|(present, _)| present.system.state_dir != *state_dir)
                .filter(|(present, _)| present.system.state_dir.exists())
                .map(|(present, _)| lock(&present.system.state_dir))
                .transpose()?;
            let storage = lock(state_dir)?;
            checked.begin(&storage)?;
            finish(&storage, path, &archive.configuration).map_err(|error| {
                let remedy = "make room; the next start of the gateway finishes it";
                Error::failed("the restore is not finished", error, remedy)
            })?;
        }
        checked.missing().iter().for_each(|what| say(&format!("warning: {what}")));
        let (files, program) = (archive.files(), &archive.program);
        let done = if self.check { "can be restored" } else { "are restored; start the gateway" };
        // The exit code reports the outcome if stdout is closed.
        _ = writeln!(io::stdout(), "{files} files of {}, by gatepost {program}, {done}", checked.made());
        Ok(())
    }
}

/// The state directory, held.
fn lock(state_dir: &Path) -> Result<Files, Error> {
    Files::open(state_dir).map_err(|error| {
        let remedy = match error {
            OpenError::InUse => "stop the gateway, restore, and start it again",
            OpenError::Io(_) => "run it as the gateway's user",
        };
        let why = format!("the state directory {}: {error}", state_dir.display());
        Error::failed(super::restore::NOT_RESTORED, why, remedy)
    })
}

/// Says it on stderr: stdout may be the backup.
fn say(what: &str) {
    // If stderr is closed, the exit code still reports the outcome.
    _ = writeln!(io::stderr(), "gatepost: {what}");
}
