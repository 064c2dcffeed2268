//! The restore of a backup: its checks, its journal, and what is written.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gatepost_services::clock::WallTime;
use gatepost_services::store::{StagedFile, Storage, sealed};
use tracing::{info, warn};

use super::archive::{Archive, Octets, in_memory, is_kept, kept_names, name_below};
use crate::config::Config;
use crate::error::Error;
use crate::gateway::state::damaged_files;

/// The file in the state directory that has the archive until all of it is written.
pub const JOURNAL: &str = "restore-under-way";

/// What is written beside the word for it when nothing has changed.
pub(super) const NOT_RESTORED: &str = "nothing is restored";

/// An archive that has passed all checks, for a configuration's file at this path.
#[derive(Debug)]
pub struct Checked {
    archive: Archive,
    config: Config,
    file: PathBuf,
    /// Files that the configuration names and that are nowhere, a sentence each.
    missing: Vec<String>,
}

impl Checked {
    /// Reads `content`, an archive, and checks whether it can be restored with its configuration at `file`.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing has changed.
    pub fn new(content: &[u8], file: &Path) -> Result<Self, Error> {
        let refuse = |why: String| {
            let remedy = "take another backup, or the version of the program that has made it";
            Error::failed(NOT_RESTORED, why, remedy)
        };
        let archive: Archive = serde_json::from_slice(content)
            .map_err(|error| refuse(format!("the archive is not understood: {error}")))?;
        archive.check_size().map_err(&refuse)?;
        let name = file.display().to_string();
        let config = Config::parse(&name, &archive.configuration).map_err(Error::mistakes)?;
        if let Some(name) = archive.state.keys().find(|name| !is_kept(name)) {
            return Err(refuse(format!("{name:?} is no file of the state")));
        }
        let memory = in_memory(&archive.state).map_err(|error| refuse(error.to_string()))?;
        if let Some((name, damage)) = damaged_files(&memory).into_iter().next() {
            return Err(refuse(format!("{name}: {damage}")));
        }
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let named = config.named_files();
        let below: BTreeSet<_> = named.iter().filter_map(|file| name_below(folder, file)).collect();
        if let Some(name) = archive.beside.keys().find(|name| !below.contains(*name)) {
            return Err(refuse(format!("the configuration names no file {name:?} in its folder")));
        }
        for (name, content) in &archive.beside {
            check_beside(&folder.join(name), content)?;
        }
        let has = |path: &&Path| {
            path.exists() || name_below(folder, path).is_some_and(|it| archive.beside.contains_key(&it))
        };
        let missing = named.iter().filter(|path| !has(path));
        let missing =
            missing.map(|path| format!("{} is not in the backup; put it there", path.display())).collect();
        Ok(Self { archive, config, file: file.to_owned(), missing })
    }

    /// The configuration that is restored.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// When it was made, as text.
    pub fn made(&self) -> String {
        WallTime::text_of_millis(self.archive.made_at.saturating_mul(1000))
    }

    /// What the configuration names that is neither in the backup nor there, a sentence each.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Stores the journal in `storage`, that of the configuration's state directory, and then the configuration's file.
    /// From then on the next [`finish`] restores the rest.
    ///
    /// # Errors
    ///
    /// An error of the file system. Nothing is restored then, now or later.
    pub fn begin(&self, storage: &dyn Storage) -> Result<(), Error> {
        let failed = |what: &Path, error: io::Error| {
            Error::failed(
                NOT_RESTORED,
                format!("{}: {error}", what.display()),
                "see that there is room, and try again",
            )
        };
        let staged = StagedFile::write(&self.file, self.archive.configuration.as_bytes())
            .map_err(|error| failed(&self.file, error))?;
        let content = serde_json::to_vec(&self.archive)
            .map_err(|error| failed(Path::new(JOURNAL), io::Error::other(error)))?;
        storage
            .replace(JOURNAL, &sealed::seal(&content))
            .map_err(|error| failed(Path::new(JOURNAL), error))?;
        match staged.put() {
            Ok(None) => Ok(()),
            Ok(Some(unsynced)) => {
                warn!("{}: a power cut now may undo the restore: {unsynced}", self.file.display());
                Ok(())
            }
            Err(error) => {
                // The next start removes it, too: it is of another configuration.
                _ = storage.remove(JOURNAL);
                Err(failed(&self.file, error))
            }
        }
    }
}

/// A file beside the configuration is written where there is none, and replaces none.
fn check_beside(path: &Path, content: &Octets) -> Result<(), Error> {
    let is_same = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.is_file() => fs::read(path).is_ok_and(|there| there == content.0),
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    let why = format!("{} is there already, and is not as in the backup", path.display());
    Err(Error::failed(NOT_RESTORED, why, "move it away, and try again"))
}

/// Writes what a restore has begun to write: the state in `storage`, and the files beside the configuration at `file`,
/// which has the text `configuration`. Returns whether there was a restore to finish. The journal of another
/// configuration is removed: the power went before its restore had begun.
///
/// # Errors
///
/// An error of the file system. The journal is still there, so that it can be tried again.
pub fn finish(storage: &dyn Storage, file: &Path, configuration: &str) -> io::Result<bool> {
    let Some(record) = storage.read(JOURNAL)? else { return Ok(false) };
    if record.is_empty() {
        // The power went just before its removal.
        return storage.remove(JOURNAL).map(|()| false);
    }
    let content =
        sealed::unseal(&record).map_err(|damage| io::Error::other(format!("{JOURNAL}: {damage}")))?;
    let archive: Archive = serde_json::from_slice(content)?;
    if archive.configuration != configuration {
        warn!("a restore of a backup was interrupted before it had changed anything; try it again");
        remove_journal(storage)?;
        return Ok(false);
    }
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    for (name, content) in &archive.beside {
        let path = folder.join(name);
        if !path.exists() {
            StagedFile::write_private(&path, &content.0)?.put()?.map_or(Ok(()), Err)?;
        }
    }
    for name in kept_names(storage)?.iter().filter(|name| !archive.state.contains_key(*name)) {
        storage.remove(name)?;
    }
    for (name, content) in archive.state.iter().filter(|(name, _)| is_kept(name)) {
        if storage.read(name)?.as_ref() != Some(&content.0) {
            storage.replace(name, &content.0)?;
        }
    }
    remove_journal(storage)?;
    info!("the office is restored as it was backed up: {} files", archive.files());
    Ok(true)
}

/// Removes the journal, durably.
fn remove_journal(storage: &dyn Storage) -> io::Result<()> {
    // An empty journal counts as none, and its sync makes durable what was removed elsewhere.
    storage.replace(JOURNAL, b"")?;
    storage.remove(JOURNAL)
}
